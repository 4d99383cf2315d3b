"""Where an output may go: missing folders, folders in the way, files of another kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import aiopt as ao
from aiopt.errors import ConfigError, StorageError
from aiopt.outputs import (
    BACKTEST,
    KINDS,
    PAGE,
    PICTURE,
    REPORT_TABLE,
    SPEC,
    SPREADS,
    TABLE,
    OutputKind,
    check_file,
    check_folder,
)
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bars, write_bar_file


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_a_new_file_may_be_written_below_folders_that_do_not_exist(kind: OutputKind, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / f"x{kind.suffixes[0]}"
    assert check_file(path, kind) == path
    assert not path.parent.exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_notes_of_the_users_are_not_replaced(kind: OutputKind, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("# what I found today: 3 things\n")
    with pytest.raises(ConfigError, match=r"would replace .*notes, which is not .*Name another file"):
        check_file(path, kind)
    path.write_bytes(b"")
    assert check_file(path, kind) == path


def test_a_relative_path_becomes_a_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_file(Path("a.png"), PICTURE) == tmp_path / "a.png"
    assert check_folder(Path("charts")) == tmp_path / "charts"


@pytest.mark.parametrize(
    ("name", "kind", "ends"),
    [
        ("a.csv", BACKTEST, r"\.json"),
        ("a.JSON", PICTURE, r"\.png"),
        ("a.yaml", PAGE, r"\.html or \.htm"),
        ("a.parquet", SPREADS, r"\.yaml or \.yml"),
    ],
)
def test_a_name_of_another_kind_is_refused(name: str, kind: OutputKind, ends: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"Name a file that ends in {ends}"):
        check_file(tmp_path / name, kind)


def test_a_folder_is_no_file_and_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--chart must name a file, but .* is a folder.*NAME\.png"):
        check_file(tmp_path, PICTURE, name="--chart")
    for special in ("/dev/null", "/dev/full"):
        with pytest.raises(ConfigError, match="is a device or a pipe"):
            check_file(Path(special), BACKTEST)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ConfigError, match=r"--out must be a folder, but .* is a file"):
        check_folder(file, name="--out")
    for made in (lambda: check_folder(file / "charts"), lambda: check_file(file / "a.png", PICTURE)):
        with pytest.raises(ConfigError, match=r"file is a file, not a folder"):
            made()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="is not writable"):
            check_file(tmp_path / "deep" / "a.png", PICTURE)
    finally:
        tmp_path.chmod(0o700)


def test_bars_and_parts_of_a_store_or_run_are_no_tables_to_replace(tmp_path: Path) -> None:
    bars = tmp_path / "bid.parquet"
    write_bar_file(random_walk_bars(50, seed=1), bars)
    with pytest.raises(ConfigError, match="outside of bars, ticks and runs"):
        check_file(bars, TABLE)
    plain = tmp_path / "run" / "trials.parquet"
    plain.parent.mkdir()
    ao.read_bars(bars).to_polars().write_parquet(plain)
    assert check_file(plain, TABLE) == plain
    (plain.parent / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="outside of bars, ticks and runs"):
        check_file(plain, TABLE)


def test_what_is_written_today_is_known_again(tmp_path: Path) -> None:
    for name, space in FAMILIES.items():
        path = tmp_path / f"{name}.json"
        path.write_text(space.spec.to_json())
        assert check_file(path, SPEC) == path
        with pytest.raises(ConfigError, match="which is not the JSON of a backtest"):
            check_file(path, BACKTEST)


def test_a_table_of_something_else_beside_a_report_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("date,ticket,pips\n")
    with pytest.raises(ConfigError, match="which is not a table of a report"):
        check_file(path, REPORT_TABLE)
