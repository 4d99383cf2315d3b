"""Packing keeps every row and the hash, and a kill at any moment loses nothing."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.catalog import Entry, compact, find_entries, verify
from aiopt.catalog.discovery import parquet_files
from aiopt.catalog.rows import RowHash
from aiopt.errors import ConfigError, DataError, ManifestError
from aiopt.featurelog import read_stream
from aiopt.ticks.manifest import Manifest, read_manifest, verify_store
from tests.unit.catalog.conftest import make_ticks, write_stream
from tests.unit.ticks.killing import Killer, contents, folders, start_launcher


def entry_of(folder: Path) -> Entry:
    (entry,) = find_entries([folder])
    return entry


def rows_of(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in parquet_files(folder)])


# --- tick stores ------------------------------------------------------------------------------------------


def test_days_of_many_row_groups_are_written_again_with_the_same_hash(root: Path, manifest: Manifest) -> None:
    folder = root / "ticks" / "EURUSD"
    before = rows_of(folder)
    seen: list[tuple[int, int]] = []
    result = compact(entry_of(folder), progress=lambda *at: seen.append(at))
    assert (result.changed, result.hash, result.rows) == (True, manifest.data_hash, 4_000)
    assert (result.row_groups_before, result.row_groups_after) == (9, 2)
    assert seen[-1] == (4_000, 4_000)
    after = verify_store(folder)
    assert after.data_hash == manifest.data_hash
    assert rows_of(folder).equals(before)
    assert result.bytes_after == sum(path.stat().st_size for path in parquet_files(folder))
    again = compact(entry_of(folder))
    assert (again.changed, again.row_groups_after) == (False, 2)


def test_a_damaged_day_is_not_packed(root: Path, manifest: Manifest) -> None:
    path = root / "ticks" / "EURUSD" / manifest.partitions[0].path
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table, path, row_group_size=100)
    before = contents(root / "ticks")
    with pytest.raises(ManifestError, match="its SHA-256 differs from the manifest"):
        compact(entry_of(root / "ticks"))
    assert contents(root / "ticks") == before


# --- plain files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("period", "files"), [("hour", 3), ("day", 1), ("month", 1)])
def test_small_files_become_one_per_period(root: Path, period: str, files: int) -> None:
    folder = root / "log"
    before = rows_of(folder)
    result = compact(entry_of(folder), period=period)  # type: ignore[arg-type]
    assert (result.files_before, result.files_after, result.rows) == (6, files, 300)
    assert rows_of(folder).equals(before)
    entry = entry_of(folder)
    assert (entry.kind, entry.hash, entry.rows) == ("parquet", result.hash, 300)
    assert verify([entry]).ok
    assert verify([entry]).unproven == []
    again = compact(entry, period=period)  # type: ignore[arg-type]
    assert (again.changed, again.hash) == (False, result.hash)


def test_the_hash_is_that_of_the_rows_whatever_the_period(root: Path) -> None:
    folder = root / "log"
    hashes = {compact(entry_of(folder), period=period).hash for period in ("hour", "day", "month", "hour")}  # type: ignore[arg-type]
    assert len(hashes) == 1


def test_files_that_came_later_are_taken_in(root: Path) -> None:
    folder = root / "log"
    compact(entry_of(folder))
    late = make_ticks(400).slice(300, 100)
    late.write_parquet(folder / "late.parquet")
    assert "written after it" in verify([entry_of(folder)]).faults[0].problem
    result = compact(entry_of(folder))
    assert (result.changed, result.rows) == (True, 400)
    assert rows_of(folder).equals(make_ticks(400))
    assert verify([entry_of(folder)]).ok


def test_a_dry_run_changes_nothing(root: Path) -> None:
    before = contents(root)
    assert compact(entry_of(root / "log"), dry_run=True).files_after == 1
    assert compact(entry_of(root / "ticks"), dry_run=True).row_groups_after == 2
    assert contents(root) == before


def test_what_cannot_be_packed_is_refused_and_left(root: Path) -> None:
    folder = root / "log"
    with pytest.raises(ConfigError, match="There is no period 'week'"):
        compact(entry_of(folder), period="week")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="This is of kind bars"):
        compact(entry_of(root / "bars"))
    with pytest.raises(DataError, match="There is no column"):
        compact(entry_of(folder), time_column="when")
    with pytest.raises(DataError, match="must be int64 nanoseconds or a date-time, but bid is double"):
        compact(entry_of(folder), time_column="bid")
    entry = entry_of(folder)
    make_ticks(9).drop("ask").write_parquet(folder / "x.parquet")
    with pytest.raises(DataError, match="must have the same columns"):
        compact(entry)
    (folder / "x.parquet").unlink()
    (folder / "symbol=EURUSD").mkdir()
    (folder / "part-0.parquet").rename(folder / "symbol=EURUSD" / "part-0.parquet")
    before = contents(folder)
    with pytest.raises(DataError, match="packing would lose symbol=EURUSD"):
        compact(entry)
    assert contents(folder) == before


def test_rows_without_a_time_are_refused(root: Path) -> None:
    path = root / "log" / "part-2.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(ts_event_ns=pl.when(pl.int_range(pl.len()) > 3).then("ts_event_ns")).write_parquet(
        path
    )
    with pytest.raises(DataError, match="ts_event_ns is null in row group 0"):
        compact(entry_of(root / "log"))


@settings(max_examples=25, deadline=None)
@given(
    files=st.lists(
        st.lists(
            st.tuples(st.integers(0, 4 * 86_400), st.one_of(st.none(), st.text(max_size=3))),
            min_size=1,
            max_size=9,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_files_keep_their_rows_in_order_of_time_then_file(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[tuple[int, str | None]]]
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    frames = []
    for number, rows in enumerate(files):
        frame = pl.DataFrame(
            {"ts_ns": [second * 10**9 for second, _ in rows], "note": [note for _, note in rows]},
            schema={"ts_ns": pl.Int64, "note": pl.String},
        )
        frame.write_parquet(folder / f"{number}.parquet", row_group_size=3)
        frames.append(frame)
    result = compact(entry_of(folder))
    expected = pl.concat(frames).sort("ts_ns", maintain_order=True)
    assert rows_of(folder).equals(expected)
    assert result.rows == expected.height
    assert verify([entry_of(folder)]).ok


def test_the_hash_of_rows_does_not_depend_on_batches_and_sees_every_change() -> None:
    table = pa.table(
        {"a": pa.array([1, None, 3, 0]), "b": ["x", "yz", "", None], "c": [True, None, False, True]}
    )

    def digest(*parts: pa.Table) -> str:
        found = RowHash(table.schema)
        for part in parts:
            found.update(part)
        return found.hexdigest()

    whole = digest(table)
    assert whole == digest(table.slice(0, 1), table.slice(1, 2), table.slice(3))
    zeros = pa.table({"a": pa.array([1, 0, 3, None]), "b": table["b"], "c": table["c"]})
    assert digest(zeros) != whole
    assert digest(table.slice(0, 3)) != whole
    assert digest(table.take([1, 0, 2, 3])) != whole


# --- killed -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def launcher() -> Iterator[subprocess.Popen[str]]:
    with start_launcher() as process:
        yield process


@pytest.fixture
def killer(launcher: subprocess.Popen[str], tmp_path: Path) -> Killer:
    return Killer(launcher, tmp_path)


def test_segments_of_a_stream_are_merged_and_the_rows_stay(root: Path) -> None:
    folder = write_stream(root / "logs")
    rows = read_stream(root / "logs", "signals")
    result = compact(entry_of(folder))
    assert (result.files_before, result.files_after, result.rows, result.changed) == (6, 1, 60, True)
    assert read_stream(root / "logs", "signals").equals(rows)
    again = compact(entry_of(folder))
    assert (again.changed, again.hash) == (False, result.hash)


@pytest.mark.slow
@pytest.mark.unmeasured
def test_killed_before_every_change_merging_a_stream_loses_nothing(
    root: Path, killer: Killer, tmp_path: Path
) -> None:
    folder = write_stream(root / "logs")
    shutil.copytree(folder, tmp_path / "old")
    rows = read_stream(root / "logs", "signals")
    arguments = ["data", "compact", str(folder), "--json"]
    steps = killer.finish(arguments, below=folder)
    assert steps > 8
    for step in range(1, steps + 1):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "old", folder)
        assert killer.run(arguments, below=folder, die_at=step) == -signal.SIGKILL
        assert read_stream(root / "logs", "signals").equals(rows), f"after a kill before change {step}"
        assert compact(entry_of(folder)).files_after == 1
        assert read_stream(root / "logs", "signals").equals(rows)


@pytest.mark.parametrize("kind", ["ticks", "log"])
@pytest.mark.slow
@pytest.mark.unmeasured
def test_killed_before_every_change_packing_loses_nothing(
    root: Path, killer: Killer, tmp_path: Path, kind: str
) -> None:
    folder = root / ("ticks/EURUSD" if kind == "ticks" else "log")
    shutil.copytree(folder, tmp_path / "old")
    arguments = ["data", "compact", str(folder), "--json", "--period", "hour"]
    steps = killer.finish(arguments, below=folder)
    packed = contents(folder)
    assert steps > 8
    for step in range(1, steps + 1):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "old", folder)
        assert killer.run(arguments, below=folder, die_at=step) == -signal.SIGKILL
        if kind == "ticks":
            read_manifest(folder)
            verify_store(folder)
        compact(entry_of(folder), period="hour")
        assert contents(folder) == packed, f"after a kill before change {step}"
        assert not [name for name in folders(folder) if name.startswith(".")]


@pytest.mark.slow
@pytest.mark.unmeasured
def test_twenty_kills_at_random_moments_of_packing_change_nothing(
    root: Path, killer: Killer, tmp_path: Path
) -> None:
    folder = root / "log"
    for part in range(40):
        make_ticks(45_000).slice(300 + part * 1_000, 1_000).write_parquet(
            folder / f"part-{part + 6:02}.parquet"
        )
    shutil.copytree(folder, tmp_path / "old")
    arguments = ["data", "compact", str(folder), "--json"]
    killer.finish(arguments)
    packed = contents(folder)

    def prepare() -> None:
        # What a killed one leaves stays for the next; a finished one would leave nothing to do.
        if (folder / "catalog.json").exists():
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "old", folder)

    killer.kill_twenty_times(arguments, prepare=prepare, check=lambda: None, seed=5)
    killer.finish(arguments)
    assert contents(folder) == packed
