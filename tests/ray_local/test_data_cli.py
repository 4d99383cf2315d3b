"""`aiopt bars`: both engines write the same files; JSON on stdout; exit codes of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.market.bars import load_bar_set
from aiopt.market.manifest import read_manifest
from aiopt.market.sample import generate_ticks
from cluster.cli import run

# Ray Data warns of the defaults of its own settings when it first builds them.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated.*:DeprecationWarning")


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ticks")
    generate_ticks(folder, days=3, ticks_per_day=20_000)
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    """Run a command line and return its exit code and the one JSON document on stdout."""
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def build(capsys: pytest.CaptureFixture[str], ticks: Path, out: Path, *more: str) -> dict[str, object]:
    code, document = call(capsys, "bars", "build", "--ticks", str(ticks), "--out", str(out), *more)
    assert code == 0, document
    return document


def test_both_engines_write_the_same_files(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path, ray_driver: object
) -> None:
    flags = ("--timeframes", "1m,5m", "--price", "all", "--empty", "flat")
    local = build(capsys, ticks, tmp_path / "local", *flags, "--engine", "local")
    # A connected cluster is taken by `auto`, whatever the size.
    for engine in ("ray", "auto"):
        ray = build(capsys, ticks, tmp_path / engine, *flags, "--engine", engine)
        assert (local["engine"], ray["engine"]) == ("local", "ray")
        assert ray["ticks"] == local["ticks"] == read_manifest(ticks).rows
        assert len(ray["files"]) == 6  # type: ignore[arg-type]
        for ours, theirs in zip(local["files"], ray["files"], strict=True):  # type: ignore[call-overload]
            assert Path(ours["path"]).read_bytes() == Path(theirs["path"]).read_bytes()
    bars = load_bar_set(tmp_path / "ray", timeframe="5m")
    assert bars.synthetic
    assert bars.data_hash == read_manifest(ticks).data_hash


def test_show_prints_what_a_backtest_would_read(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path
) -> None:
    build(capsys, ticks, tmp_path, "--timeframes", "1m", "--price", "bid,ask", "--engine", "local")
    code, document = call(capsys, "bars", "show", str(tmp_path))
    bars = load_bar_set(tmp_path)
    assert code == 0
    assert document["bars"] == len(bars)
    assert document["prices"] == ["bid", "ask"]
    assert document["first_ts_open_ns"] == bars.bid.ts_open_ns[0]
    assert run(["bars", "show", str(tmp_path)]) == 0
    assert "EURUSD" in capsys.readouterr().out


def test_a_table_is_printed_for_people(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path
) -> None:
    assert run(["bars", "build", "--ticks", str(ticks), "--out", str(tmp_path), "--engine", "local"]) == 0
    printed = capsys.readouterr()
    assert "synthetic ticks" in printed.out
    assert "EURUSD/1m/bid.parquet" in printed.out
    assert f"Written below {tmp_path}" in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--timeframes", "7x"), "number and one of s, m, h, d"),
        (("--timeframes", ","), "at least one timeframe"),
        (("--price", "middle"), "must be one of bid, ask, mid"),
        (("--ticks", "nowhere"), "does not exist"),
    ],
)
def test_bad_input_is_code_two_with_a_message(
    capsys: pytest.CaptureFixture[str], ticks: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    command = ("bars", "build", "--ticks", str(ticks), "--out", str(tmp_path / "out"), "--engine", "local")
    code, document = call(capsys, *command, *arguments)
    assert code == 2
    assert message in document["error"]["message"]  # type: ignore[index]
    assert not (tmp_path / "out").exists()


def test_an_empty_or_strange_path_to_show_is_code_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, document = call(capsys, "bars", "show", str(tmp_path))
    assert code == 2
    assert "found none" in document["error"]["message"]  # type: ignore[index]
