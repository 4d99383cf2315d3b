"""Damage is found, and named as closely as it can be."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import polars as pl
import pyarrow.parquet as pq
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.files import read_bars, write_bars
from aiopt.bars.importing.bar_import import import_bars
from aiopt.bars.reducing.filling import fill_flat
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.catalog import Verification, compact, find_entries, verify
from aiopt.market.sessions import parse_session
from aiopt.ticks.manifest import Manifest, hash_partitions, read_manifest, write_manifest
from aiopt.ticks.store import write_ticks
from aiopt.timeframe import parse_timeframe
from tests.unit.catalog.conftest import write_dataset, write_stream


def check(root: Path, *, values: bool = False) -> Verification:
    return verify(find_entries([root]), values=values)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def day(root: Path, manifest: Manifest, number: int = 0) -> Path:
    return root / "ticks" / "EURUSD" / manifest.partitions[number].path


@pytest.fixture
def checked(root: Path) -> Path:
    """Return the root without its download, whose answer is made up, and with page checksums in the ticks."""
    (root / "downloads" / "EURUSD" / ".hours.json").unlink()
    for entry in find_entries([root / "ticks"]):
        compact(entry)
    return root


def test_what_is_whole_is_ok(checked: Path) -> None:
    done: list[tuple[int, int]] = []
    result = verify(find_entries([checked]), values=True, progress=lambda *at: done.append(at))
    assert result.ok
    assert (result.entries, result.faults) == (4, [])
    assert done[-1][0] == done[-1][1] == result.bytes
    assert result.unproven == [str(checked / name) for name in ("bars/EURUSD/5m", "log", "runs/first")]


def test_a_flipped_bit_is_traced_to_its_row_group(checked: Path, manifest: Manifest) -> None:
    path = day(checked, manifest)
    table = pq.read_table(path, partitioning=None)
    rows = table.num_rows
    with pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True) as writer:
        for start in range(0, rows, 1_000):
            writer.write_table(table.slice(start, 1_000))
    column = pq.read_metadata(path).row_group(1).column(2)
    end = column.dictionary_page_offset + column.total_compressed_size
    flip(path, end - 10)
    faults = check(checked / "ticks").faults
    assert [(fault.file, fault.row_group) for fault in faults] == [(manifest.partitions[0].path, 1)]
    assert "CRC checksum verification failed" in faults[0].problem


def test_a_day_with_fewer_ticks_is_traced_to_the_hour(checked: Path, manifest: Manifest) -> None:
    path = day(checked, manifest)
    table = pq.read_table(path, partitioning=None)
    hour = manifest.partitions[0].first_ts_ns + 5 * 3_600_000_000_000
    row = int((table.column("ts_event_ns").to_numpy() >= hour).argmax())
    short = pl.concat([pl.from_arrow(table.slice(0, row)), pl.from_arrow(table.slice(row + 1))])  # type: ignore[arg-type]
    write_ticks(path, short.to_arrow().cast(table.schema))  # type: ignore[union-attr]
    (fault,) = check(checked / "ticks").faults
    assert (fault.file, fault.row_group) == (manifest.partitions[0].path, None)
    assert f"{table.num_rows - 1} ticks instead of {table.num_rows} (hours 05h)" in fault.problem


def test_other_values_other_bytes_missing_and_foreign_files_are_told_apart(
    checked: Path, manifest: Manifest
) -> None:
    path = day(checked, manifest)
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table, path, compression="snappy")
    assert "its values are the same (rewritten?)" in check(checked / "ticks").faults[0].problem
    frame = pl.from_arrow(table).with_columns(bid=pl.col("bid") + 1e-5)  # type: ignore[union-attr]
    write_ticks(path, frame.to_arrow().cast(table.schema))
    assert check(checked / "ticks").faults[0].problem.endswith("values differ")
    path.unlink()
    day(checked, manifest, 1).with_name("stray.parquet").write_bytes(day(checked, manifest, 1).read_bytes())
    problems = {fault.problem for fault in check(checked / "ticks").faults}
    assert problems == {"missing", "not in the manifest"}


def test_values_are_compared_on_demand(checked: Path) -> None:
    (entry,) = find_entries([checked / "ticks"])
    folder = Path(entry.path)
    manifest = read_manifest(folder)
    parts = [msgspec.structs.replace(part, content_sha256="0" * 64) for part in manifest.partitions]
    changed = msgspec.structs.replace(manifest, partitions=parts, data_hash=hash_partitions(parts))
    write_manifest(folder, changed)
    assert check(checked / "ticks").ok
    problems = [fault.problem for fault in check(checked / "ticks", values=True).faults]
    assert problems == ["the file is the one imported, but the manifest names other values"] * 2


def test_bars_and_runs_are_read_through(checked: Path) -> None:
    path = checked / "bars" / "EURUSD" / "5m" / "bid.parquet"
    column = pq.read_metadata(path).row_group(0).column(1)
    flip(path, column.data_page_offset + column.total_compressed_size // 2)
    (checked / "runs" / "first" / "ranking.json").write_text("{")
    faults = {(fault.file, fault.row_group) for fault in check(checked).faults}
    assert faults == {("bid.parquet", 0), ("ranking.json", None)}


def test_bars_that_break_a_rule_of_bars_are_at_fault(checked: Path) -> None:
    path = checked / "bars" / "EURUSD" / "5m" / "bid.parquet"
    table = pq.read_table(path, partitioning=None)
    high = table.schema.get_field_index("high")
    pq.write_table(table.set_column(high, "high", table.column("low")), path)
    (fault,) = check(checked).faults
    assert "high must be at least open, low and close" in fault.problem


def test_bars_are_proven_by_building_them_again(checked: Path, manifest: Manifest) -> None:
    (checked / "runs" / "first" / "config.json").unlink()
    entries = find_entries([checked / "bars", checked / "ticks"])
    assert verify(entries).unproven == [str(checked / "bars" / "EURUSD" / "5m")]
    assert verify(entries, rebuild=True).unproven == []
    path = checked / "bars" / "EURUSD" / "5m" / "ask.parquet"
    table = read_bars(path)
    high = pl.when(pl.int_range(pl.len()) == 7).then(pl.col("high") + 1e-5).otherwise("high")
    write_bars(path, table.frame.with_columns(high=high), table.meta)
    assert verify(entries).ok
    (fault,) = verify(entries, rebuild=True).faults
    assert fault.file == "ask.parquet"
    assert "high of bar 7 (2024-05-06T00:35:00.000000000Z) is" in fault.problem
    write_bars(path, table.frame[:-1], table.meta)
    (fault,) = verify(entries, rebuild=True).faults
    assert f"{len(table) - 1} bars, but {len(table)} by the ticks" in fault.problem
    write_bars(path, fill_flat(table.frame, parse_timeframe("5m")), table.meta)
    assert verify(entries, rebuild=True).ok
    day(checked, manifest).unlink()
    assert verify(entries, rebuild=True).unproven == [str(checked / "bars" / "EURUSD" / "5m")]


def test_a_stream_is_read_through_and_a_dataset_is_held_to_its_hashes(root: Path, manifest: Manifest) -> None:
    write_stream(root / "logs")
    write_dataset(root / "sets" / "first", manifest)
    assert check(root / "logs").ok
    assert check(root / "logs").unproven == [str(root / "logs" / "signals")]
    assert check(root / "sets").ok
    segment = sorted((root / "logs").rglob("*.parquet"))[2]
    column = pq.read_metadata(segment).row_group(0).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    flip(segment, start + column.total_compressed_size - 2)
    assert [fault.row_group for fault in check(root / "logs").faults] == [0]
    path = root / "sets" / "first" / "data" / "train-0.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    assert "SHA-256 differs from dataset.json" in check(root / "sets").faults[0].problem
    path.unlink()
    assert [fault.problem for fault in check(root / "sets").faults] == ["missing"]


def test_a_kept_answer_that_changed_or_is_gone_is_at_fault(root: Path) -> None:
    folder = root / "downloads" / "EURUSD"
    (fault,) = check(folder).faults
    assert (fault.file, fault.problem[:38]) == ("a.bi5", "the answer of 2024-05-06T10 is missing")
    (folder / "a.bi5").write_bytes(b"other")
    assert "is not the one kept" in check(folder).faults[0].problem


@pytest.mark.parametrize(
    "request_of",
    [
        BarRequest(
            parse_bar_rules("time", "1h"), ("bid", "mid"), session=parse_session("17:00", "Asia/Tokyo")
        ),
        BarRequest(parse_bar_rules("time", "30s"), ("ask",), fill="linear", spread_stats=True),
        BarRequest(parse_bar_rules("time", "30s"), ("ask",), fill="flat"),
        BarRequest(parse_bar_rules("time", "30s"), ("ask",), empty="flat"),
        *(
            BarRequest(parse_bar_rules(type_, size), ("bid", "mid"), spread_stats=True)
            for type_, size in (("tick", "70"), ("volume", "500000"), ("range", "2.5"), ("renko", "2"))
        ),
    ],
)
def test_bars_of_every_type_are_proven(root: Path, request_of: BarRequest) -> None:
    folder = root / "others"
    build(root / "ticks" / "EURUSD", folder, request_of)
    entries = find_entries([folder, root / "ticks"])
    steps: list[tuple[int, int]] = []
    result = verify(entries, rebuild=True, progress=lambda done, work: steps.append((done, work)))
    assert (result.ok, len(result.rebuilt), result.unproven) == (True, 1, [])
    assert steps == sorted(steps)
    assert len(steps) == 3  # bars read, ticks read, bars built again
    assert steps[-1][0] == steps[-1][1] > result.bytes == sum(entry.bytes for entry in entries)
    path = next(folder.rglob("*.parquet"))
    table = read_bars(path)
    last = pl.int_range(pl.len()) == len(table) - 1
    changed = table.frame.with_columns(volume=pl.when(last).then(pl.col("volume") + 1).otherwise("volume"))
    write_bars(path, changed, table.meta)
    (fault,) = verify(entries, rebuild=True).faults
    assert (fault.file, f"volume of bar {len(table) - 1}" in fault.problem) == (path.name, True)


def _imported(folder: Path) -> Path:
    rows = [f"20140501 10:0{at},1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0" for at in range(5)]
    with zipfile.ZipFile(folder / "eurusd.zip", "w") as archive:
        archive.writestr("eurusd.csv", "\n".join(rows) + "\n")
    import_bars(folder / "eurusd.zip", folder / "bars")
    return folder / "bars" / "EURUSD" / "1m"


def test_imported_bars_are_proven_by_the_hash_they_carry(tmp_path: Path) -> None:
    folder = _imported(tmp_path)
    whole = verify(find_entries([tmp_path / "bars"]))
    assert (whole.ok, whole.unproven, whole.files) == (True, [], 2)
    again = read_bars(folder / "bid.parquet")
    import_bars(tmp_path / "eurusd.zip", tmp_path / "bars")
    assert read_bars(folder / "bid.parquet").meta == again.meta


@pytest.mark.parametrize("column", ["close", "volume", "ts_open_ns", "ticks"])
def test_a_changed_value_of_imported_bars_is_found(tmp_path: Path, column: str) -> None:
    folder = _imported(tmp_path)
    table = read_bars(folder / "ask.parquet")
    changed = table.frame.with_columns(pl.col(column) + (1e-5 if column == "close" else 1))
    write_bars(folder / "ask.parquet", changed, table.meta)
    (fault,) = verify(find_entries([tmp_path / "bars"])).faults
    assert (fault.file, fault.problem.startswith("the bars are not those imported")) == ("ask.parquet", True)


def test_another_origin_and_a_missing_side_of_imported_bars_are_found(tmp_path: Path) -> None:
    folder = _imported(tmp_path)
    table = read_bars(folder / "ask.parquet")
    (folder / "ask.parquet").unlink()
    (missing,) = verify(find_entries([tmp_path / "bars"])).faults
    assert (missing.file, missing.problem.split(":")[0]) == ("ask.parquet", "missing")
    write_bars(folder / "ask.parquet", table.frame, msgspec.structs.replace(table.meta, instrument="GBPUSD"))
    assert "not those imported" in verify(find_entries([tmp_path / "bars"])).faults[0].problem
