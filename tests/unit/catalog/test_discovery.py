"""What lies in a root is found, by its manifests, with what can be said of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aiopt.bars.importing.bar_import import import_bars
from aiopt.catalog import Entry, find_entries, verify
from aiopt.errors import DataError
from aiopt.ticks.manifest import Manifest
from tests.unit.catalog.conftest import NOW, make_ticks, write_dataset, write_run, write_stream


def by_kind(root: Path) -> dict[str, Entry]:
    return {entry.kind: entry for entry in find_entries([root])}


def test_every_kind_is_found_once(root: Path, manifest: Manifest) -> None:
    found = by_kind(root)
    assert len(find_entries([root, root / "ticks"])) == len(found) == 5
    ticks = found["ticks"]
    assert (ticks.instrument, ticks.rows, ticks.hash) == ("EURUSD", 4_000, manifest.data_hash)
    assert (ticks.first_ts_ns, ticks.last_ts_ns) == (manifest.first_ts_ns, manifest.last_ts_ns)
    assert (ticks.provenance, ticks.used_by) == ("synthetic", [str(root / "runs" / "first")])
    assert ticks.bytes == sum(path.stat().st_size for path in (root / "ticks").rglob("*") if path.is_file())
    bars = found["bars"]
    assert (bars.instrument, bars.detail, bars.hash) == ("EURUSD", "5m ask/bid", manifest.data_hash)
    assert bars.current is True
    assert bars.first_ts_ns == manifest.first_ts_ns
    assert (found["run"].detail, found["run"].hash) == ("done report", manifest.data_hash)
    assert (found["downloads"].detail, found["downloads"].rows) == ("hours: 1 ticks", 1)
    plain = found["parquet"]
    assert (plain.rows, plain.detail, plain.provenance) == (300, "6 Parquet files", "unknown")
    stamps = make_ticks(300)["ts_event_ns"]
    assert (plain.first_ts_ns, plain.last_ts_ns) == (stamps.min(), stamps.max())


def test_a_stream_and_a_dataset_are_what_they_say(root: Path, manifest: Manifest) -> None:
    write_stream(root / "logs")
    write_dataset(root / "sets" / "first", manifest)
    found = by_kind(root)
    stream = found["stream"]
    assert (Path(stream.path).name, stream.rows, stream.detail) == ("signals", 60, "6 segments, version 1")
    assert stream.source == "ts_ns, score, note"
    dataset = found["dataset"]
    assert (dataset.instrument, dataset.detail, dataset.rows) == ("EURUSD", "5m 2 splits", 3)
    assert (dataset.hash, dataset.current, dataset.provenance) == (manifest.data_hash, True, "synthetic")
    assert (dataset.first_ts_ns, dataset.last_ts_ns) == (10, 40)
    (root / "logs" / "signals" / "0001" / "stranger.parquet").write_bytes(b"PAR1")
    assert "The log did not write this file" in by_kind(root)["stream"].problem


def test_bars_whose_ticks_are_gone_say_so(root: Path) -> None:
    shutil.rmtree(root / "ticks")
    assert by_kind(root)["bars"].current is False


def test_freshness_counts_hours_of_open_market(root: Path) -> None:
    # The last tick is of Tuesday 09 h; until Monday 00 h UTC there are 48 hours of closed market less.
    entry = by_kind(root)["ticks"]
    last = (entry.last_ts_ns or 0) // 3_600_000_000_000
    this = int(NOW.timestamp()) // 3600
    assert entry.open_hours_behind(NOW) == this - last - 1 - 48
    assert by_kind(root)["run"].open_hours_behind(NOW) is None


def test_damage_that_shows_from_outside_is_a_problem_of_the_entry(root: Path) -> None:
    (root / "ticks" / "EURUSD" / "manifest.json").write_text("{")
    (root / "log" / "part-3.parquet").write_bytes(b"PAR1")
    (root / "runs" / "first" / "state.json").write_text("[")
    found = by_kind(root)
    assert "not one that `aiopt ticks import` wrote" in found["ticks"].problem
    assert "part-3.parquet is not readable Parquet" in found["parquet"].problem
    assert "state.json cannot be read" in found["run"].problem


def test_work_in_progress_is_no_entry(root: Path) -> None:
    shutil.copytree(root / "ticks" / "EURUSD", root / "ticks" / ".import-0123456789ab")
    assert len(find_entries([root])) == 5


def test_a_manifest_copied_into_a_run_is_no_tick_store(root: Path, manifest: Manifest) -> None:
    write_run(root / "runs" / "second", manifest)
    assert sum(entry.kind == "ticks" for entry in find_entries([root])) == 1


def test_a_root_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_entries([tmp_path / "none"])


def test_bars_imported_as_bars_have_no_ticks_to_miss(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv"
    source.write_text("20180101 170000;1.2;1.3;1.1;1.2;0\n20180101 170100;1.2;1.3;1.1;1.2;0\n")
    imported = import_bars(source, root / "own")
    write_dataset(root / "sets", imported)
    bars, dataset = find_entries([root / "own", root / "sets"])
    assert (bars.kind, bars.hash, bars.current) == ("bars", imported.data_hash, None)
    assert (dataset.kind, dataset.current) == ("dataset", True)
    assert find_entries([root / "sets"])[0].current is False


def test_a_stray_file_hides_nothing_below_it(root: Path) -> None:
    make_ticks(10).write_parquet(root / "stray.parquet")
    make_ticks(10).write_parquet(root / "bars" / "stray.parquet")
    (root / "bars" / "day=2024-05-06").mkdir()
    make_ticks(10).write_parquet(root / "bars" / "day=2024-05-06" / "rows.parquet")
    found = find_entries([root])
    loose = {Path(entry.path): entry for entry in found if entry.kind == "parquet"}
    assert (loose[root].rows, loose[root].files) == (10, 1)
    assert (loose[root / "bars"].rows, loose[root / "bars"].files) == (20, 2)
    assert {entry.kind for entry in found} == {"bars", "downloads", "parquet", "run", "ticks"}
    assert loose[root].bytes == (root / "stray.parquet").stat().st_size
    assert verify(found).files == sum(verify([entry]).files for entry in found)
    assert verify([loose[root]]).files == 1
