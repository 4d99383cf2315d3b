"""A folder above tick stores: the message names the store meant, and nothing is guessed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aiopt.errors import DataError, ManifestError
from aiopt.ticks.importing import check_sample, import_ticks, open_ticks, validate_ticks
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.places import hint_below, stores_below

ROWS = "time,bid,ask\n" + "".join(f"2024-05-06T10:00:{second:02},1.1,1.1001\n" for second in range(5))


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    """Return a folder with the one store EURUSD."""
    source = tmp_path / "in" / "EURUSD.csv"
    source.parent.mkdir()
    source.write_text(ROWS)
    import_ticks(source, tmp_path / "ticks" / "EURUSD")
    return tmp_path / "ticks"


def test_the_one_store_below_a_folder_is_named(ticks: Path) -> None:
    wanted = rf"{re.escape(str(ticks))}: This folder is no tick store.*Did you mean {ticks / 'EURUSD'}\?"
    with pytest.raises(ManifestError, match=wanted):
        read_manifest(ticks)
    with pytest.raises(DataError, match=wanted):
        open_ticks(ticks, ticks.parent / "cache")
    with pytest.raises(DataError, match=wanted):
        validate_ticks(ticks)
    with pytest.raises(DataError, match=wanted):
        check_sample(ticks)
    assert not (ticks.parent / "cache").exists()
    assert hint_below(ticks.parent) == f" Did you mean {ticks / 'EURUSD'}?"


def test_of_several_stores_none_is_chosen(ticks: Path) -> None:
    (ticks / "EURUSD").rename(ticks / "a")
    for name in "bcde":
        import_ticks(ticks.parent / "in" / "EURUSD.csv", ticks / name)
    assert [path.name for path in stores_below(ticks)] == ["a", "b", "c", "d", "e"]
    with pytest.raises(
        ManifestError, match=r"5 stores lie below it: .*/a, .*/b, .*/c and 2 more\. Name one\."
    ):
        read_manifest(ticks)


def test_a_copy_of_a_manifest_is_no_store(ticks: Path) -> None:
    # A run folder keeps the manifest of its ticks.
    run = ticks.parent / "runs" / "one"
    run.mkdir(parents=True)
    (run / "manifest.json").write_bytes((ticks / "EURUSD" / "manifest.json").read_bytes())
    assert hint_below(ticks.parent / "runs") == ""
    with pytest.raises(ManifestError, match=r"it has no manifest\.json\. Make one with `aiopt ticks import"):
        read_manifest(ticks.parent / "runs")


def test_the_store_itself_is_read(ticks: Path) -> None:
    assert read_manifest(ticks / "EURUSD").rows == 5
    assert open_ticks(ticks / "EURUSD", ticks.parent / "cache") == ticks / "EURUSD"
