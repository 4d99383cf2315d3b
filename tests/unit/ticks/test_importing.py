"""Import: round trips, idempotence, crashes, full disks, what the manifest accounts for."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.errors import DataError, ManifestError, StorageError
from aiopt.ticks import import_pass, store
from aiopt.ticks.checks.validation import parse_rules
from aiopt.ticks.importing import import_ticks, open_ticks, validate_ticks
from aiopt.ticks.manifest import Manifest, differences, read_manifest, verify_store
from aiopt.ticks.schema import TICK_COLUMNS, TICK_SCHEMA
from aiopt.ticks.sources import ReaderOptions

MONDAY_NS = int(np.datetime64("2024-05-06T23:00", "ns").astype(np.int64))


def ticks(count: int = 2_000, step_ns: int = 5_000_000_000) -> pl.DataFrame:
    """Return clean ticks over two days."""
    number = np.arange(count)
    bid = 110_000 + (number * 7) % 40
    return pl.DataFrame(
        {
            "ts_event_ns": MONDAY_NS + number * step_ns,
            "bid": bid / 1e5,
            "ask": (bid + 10) / 1e5,
            "bid_size": (number % 5) * 100_000.0,
            "ask_size": (number % 3) * 100_000.0,
        }
    )


def source(folder: Path, frame: pl.DataFrame | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (ticks() if frame is None else frame).write_parquet(folder / "ticks.parquet")
    return folder


def stored(out: Path, manifest: Manifest) -> pl.DataFrame:
    return pl.concat(
        [pl.read_parquet(out / part.path, hive_partitioning=False) for part in manifest.partitions]
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_clean_ticks_come_back_exactly_and_the_manifest_accounts_for_them(tmp_path: Path) -> None:
    out = tmp_path / "store"
    calls: list[tuple[int, int]] = []
    manifest = import_ticks(
        source(tmp_path / "in"), out, progress=lambda done, total: calls.append((done, total))
    )
    assert manifest == read_manifest(out) == verify_store(out)
    assert stored(out, manifest).equals(ticks())
    assert [part.date for part in manifest.partitions] == ["2024-05-06", "2024-05-07"]
    assert (manifest.rows, manifest.rows_read, manifest.synthetic) == (2_000, 2_000, False)
    assert sum(sum(part.hour_rows) for part in manifest.partitions) == 2_000
    assert manifest.partitions[0].hour_rows == [0] * 23 + [720]
    assert (manifest.first_ts_ns, manifest.last_ts_ns) == (MONDAY_NS, MONDAY_NS + 1_999 * 5_000_000_000)
    assert manifest.files[0].rows == 2_000
    assert not [name for name in snapshot(out) if name.startswith(".")]
    assert calls[-1][0] == calls[-1][1]
    assert calls == sorted(calls)


def test_partitions_have_the_schema_zstd_and_bounded_row_groups(tmp_path: Path) -> None:
    out = tmp_path / "store"
    manifest = import_ticks(source(tmp_path / "in", ticks(300_000, 100_000_000)), out)
    for part in manifest.partitions:
        file = pq.ParquetFile(out / part.path)
        assert file.schema_arrow.remove_metadata().equals(TICK_SCHEMA)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        assert max(group.num_rows for group in groups) <= 131_072
        assert {group.column(0).compression for group in groups} == {"ZSTD"}


def test_the_same_import_twice_changes_no_byte_and_no_time(tmp_path: Path) -> None:
    out, given_source = tmp_path / "store", source(tmp_path / "in")
    first = import_ticks(given_source, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert import_ticks(given_source, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    moved = tmp_path / "elsewhere" / "in"
    shutil.copytree(given_source, moved)
    assert import_ticks(moved, tmp_path / "other").data_hash == first.data_hash
    assert snapshot(out).keys() == snapshot(tmp_path / "other").keys()


def test_other_ticks_have_another_hash_and_are_not_laid_over(tmp_path: Path) -> None:
    out = tmp_path / "store"
    first = import_ticks(source(tmp_path / "a"), out)
    other = source(tmp_path / "b", ticks(1_999))
    with pytest.raises(
        DataError, match=r"a tick store of another source or other rules\. Choose another folder"
    ):
        import_ticks(other, out)
    assert verify_store(out) == first
    second = import_ticks(other, out, replace=True)
    assert verify_store(out) == second
    assert second.data_hash != first.data_hash
    with pytest.raises(DataError, match="another source or other rules"):
        import_ticks(other, out, rules=parse_rules(["zero_spread=drop"]))


def test_a_damaged_store_is_named_and_made_whole_by_the_same_import(tmp_path: Path) -> None:
    out, given_source = tmp_path / "store", source(tmp_path / "in")
    manifest = import_ticks(given_source, out)
    path = out / manifest.partitions[0].path
    path.write_bytes(path.read_bytes()[:-1])
    (out / manifest.partitions[1].path).unlink()
    assert differences(out, manifest) == [
        f"{manifest.partitions[0].path} is not the file that was imported (its SHA-256 differs)",
        f"{manifest.partitions[1].path} is missing",
    ]
    with pytest.raises(ManifestError, match=r"does not agree with its manifest: .* \(and 1 more\)"):
        open_ticks(out, tmp_path / "cache")
    check = validate_ticks(out)
    assert (check.ok, len(check.failures)) == (False, 2)
    assert import_ticks(given_source, out) == manifest
    assert verify_store(out) == manifest


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "store"
    import_ticks(source(tmp_path / "in"), out)
    path = out / "manifest.json"
    good = path.read_text()
    path.write_text(good.replace('"rows": 720', '"rows": 721'))
    with pytest.raises(ManifestError, match="The manifest was edited"):
        read_manifest(out)
    path.write_text(good.replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(ManifestError, match="is of version 2; this aiopt reads 1"):
        read_manifest(out)
    path.write_text("{")
    with pytest.raises(ManifestError, match="not one that `aiopt ticks import` wrote"):
        read_manifest(out)
    with pytest.raises(ManifestError, match="There is no such folder"):
        read_manifest(tmp_path / "nothing")
    with pytest.raises(ManifestError, match=r"is no tick store: it has no manifest\.json"):
        read_manifest(tmp_path)


def test_the_output_must_be_empty_and_apart(tmp_path: Path) -> None:
    given_source = source(tmp_path / "in")
    busy = tmp_path / "busy"
    busy.mkdir()
    (busy / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"no tick store: it holds thesis\.txt"):
        import_ticks(given_source, busy)
    assert (busy / "thesis.txt").read_text() == "mine"
    with pytest.raises(DataError, match="lie in one another"):
        import_ticks(given_source, given_source / "out")
    with pytest.raises(DataError, match="The output is no folder"):
        import_ticks(given_source, busy / "thesis.txt")
    (tmp_path / "foreign/instrument=EURUSD").mkdir(parents=True)
    with pytest.raises(DataError, match="it holds instrument=EURUSD"):
        import_ticks(given_source, tmp_path / "foreign")


# --- crashes ----------------------------------------------------------------------------------------------


def killed(given_source: Path, out: Path, where: str) -> None:
    """Import, and die without any clean-up at a step of the writing."""

    def die(*args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(store, where, die)
    import_ticks(given_source, out)


@pytest.mark.parametrize("where", ["write_ticks", "write_manifest"])
def test_a_killed_import_leaves_no_store_and_the_next_completes(tmp_path: Path, where: str) -> None:
    out, given_source = tmp_path / "store", source(tmp_path / "in")
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(given_source, out, where))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert any(out.iterdir()), "the crash came before anything was written: the test proves nothing"
    with pytest.raises(ManifestError, match=r"has no manifest\.json"):
        read_manifest(out)
    manifest = import_ticks(given_source, out)
    assert verify_store(out) == manifest
    assert not list(out.glob(".import-*"))


@pytest.mark.parametrize("where", ["write_ticks", "write_manifest"])
def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out, given_source = tmp_path / "store", source(tmp_path / "in")
    with monkeypatch.context() as patch:
        patch.setattr(store, where, full)
        with pytest.raises(StorageError, match=r"The disk of .* is full"):
            import_ticks(given_source, out)
    assert not out.exists() or not list(out.iterdir())
    assert import_ticks(given_source, out).rows == 2_000


def test_a_full_disk_while_scattering_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(import_pass, "_append", full)
    with pytest.raises(StorageError, match=r"The disk of .* is full"):
        import_ticks(source(tmp_path / "in"), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_failed_replacement_keeps_the_old_store(tmp_path: Path) -> None:
    out = tmp_path / "store"
    old = import_ticks(source(tmp_path / "a"), out)
    bad = source(tmp_path / "b", ticks().with_columns(bid=pl.lit(-1.0)))
    with pytest.raises(DataError, match="The rule non_positive found"):
        import_ticks(bad, out, replace=True)
    assert verify_store(out) == old


def concurrent(given_source: Path, out: Path) -> None:
    import_ticks(given_source, out)


@pytest.mark.slow
def test_two_imports_at_once_make_one_store(tmp_path: Path) -> None:
    out, given_source = tmp_path / "store", source(tmp_path / "in", ticks(200_000, 100_000_000))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=concurrent, args=(given_source, out)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert verify_store(out).rows == 200_000


# --- dirty ticks ------------------------------------------------------------------------------------------


def test_what_was_dropped_and_why_is_in_the_manifest(tmp_path: Path) -> None:
    frame = ticks()
    dirty = pl.concat([frame, frame[100:101], frame[50:51].with_columns(ask=pl.lit(1.0))])
    manifest = import_ticks(source(tmp_path / "in", dirty), tmp_path / "store")
    counts = {count.rule: (count.found, count.dropped) for count in manifest.rules if count.found}
    assert counts == {"backward": (2, 0), "crossed": (1, 1), "duplicate": (1, 1)}
    assert manifest.rows_read - manifest.rows == 2
    assert sum(sum(part.hour_dropped) for part in manifest.partitions) == 2
    assert stored(tmp_path / "store", manifest).equals(frame)


def test_days_in_any_order_give_the_same_store(tmp_path: Path) -> None:
    shuffled = ticks().sample(fraction=1.0, shuffle=True, seed=3)
    a = import_ticks(source(tmp_path / "a"), tmp_path / "sa")
    b = import_ticks(source(tmp_path / "b", shuffled), tmp_path / "sb")
    assert a.data_hash == b.data_hash


def test_silent_hours_are_listed(tmp_path: Path) -> None:
    hour = pl.col("ts_event_ns") // 3_600_000_000_000 - MONDAY_NS // 3_600_000_000_000
    frame = ticks().filter(hour != 1).with_columns(ask=pl.when(hour == 2).then(1.0).otherwise("ask"))
    manifest = import_ticks(source(tmp_path / "in", frame), tmp_path / "store")
    # The third hour is the last: its ticks were all dropped, so the span ends before it.
    assert [(item.hour, item.reason) for item in manifest.silent_hours] == []
    frame = ticks(3_000).filter(hour != 1).with_columns(ask=pl.when(hour == 2).then(1.0).otherwise("ask"))
    manifest = import_ticks(source(tmp_path / "in2", frame), tmp_path / "store2")
    assert [(item.hour, item.reason) for item in manifest.silent_hours] == [
        ("2024-05-07T00", "no_ticks"),
        ("2024-05-07T01", "all_dropped"),
    ]


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    crossed = ticks(5).with_columns(ask=pl.lit(1.0))
    with pytest.raises(DataError, match="No tick is left after the rules crossed dropped 5"):
        import_ticks(source(tmp_path / "in", crossed), tmp_path / "store")
    with pytest.raises(DataError, match="No tick is left"):
        import_ticks(source(tmp_path / "none", ticks(5).clear()), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_validate_counts_failures_to_the_end(tmp_path: Path) -> None:
    bid = pl.when(pl.col("ts_event_ns") < MONDAY_NS + 10 * 5_000_000_000).then(float("nan")).otherwise("bid")
    check = validate_ticks(source(tmp_path / "in", ticks().with_columns(bid=bid)), instrument="EURUSD")
    assert not check.ok
    assert {count.rule: count.found for count in check.rules if count.found} == {"non_finite": 10}
    assert "row 0: The rule non_finite found" in check.failures[0]
    assert check.rows_kept == 1_990


def test_a_file_not_in_the_manifest_fails_validation(tmp_path: Path) -> None:
    out = tmp_path / "store"
    manifest = import_ticks(source(tmp_path / "in"), out)
    shutil.copy(out / manifest.partitions[0].path, out / "instrument=EURUSD" / "stray.parquet")
    assert validate_ticks(out).failures == ["instrument=EURUSD/stray.parquet is not in the manifest"]


# --- open_ticks -------------------------------------------------------------------------------------------


def test_open_ticks_takes_a_store_as_it_is_and_imports_the_rest_once(tmp_path: Path) -> None:
    given_source, cache = source(tmp_path / "in"), tmp_path / "cache"
    out = open_ticks(given_source, cache)
    before = snapshot(cache)
    assert open_ticks(given_source, cache) == out
    assert snapshot(cache) == before
    assert open_ticks(out, cache) == out
    source(tmp_path / "in", ticks(1_000))
    changed = open_ticks(given_source, cache)
    assert changed != out
    assert (read_manifest(changed).rows, read_manifest(out).rows) == (1_000, 2_000)


def test_open_ticks_refuses_a_store_of_another_instrument(tmp_path: Path) -> None:
    out = open_ticks(source(tmp_path / "in"), tmp_path / "cache")
    with pytest.raises(DataError, match="This store is of EURUSD, not of GBPUSD"):
        open_ticks(out, tmp_path / "cache", instrument="GBPUSD")


def test_a_folder_of_our_partitions_without_manifest_is_a_source(tmp_path: Path) -> None:
    first = open_ticks(source(tmp_path / "in"), tmp_path / "cache")
    plain = tmp_path / "plain"
    shutil.copytree(first, plain)
    (plain / "manifest.json").unlink()
    again = open_ticks(plain, tmp_path / "cache")
    assert again != first
    assert read_manifest(again).data_hash == read_manifest(first).data_hash


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3 * 86_400_000),
            st.integers(109_000, 111_000),
            st.integers(1, 50),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=80,
        unique_by=lambda row: row[0],
    ),
    kind=st.sampled_from(["csv", "parquet"]),
)
def test_any_clean_ticks_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int]], kind: str
) -> None:
    ms, bid, spread, size = (np.array(column) for column in zip(*rows, strict=True))
    frame = pl.DataFrame(
        {
            "ts_event_ns": MONDAY_NS + ms * 1_000_000,
            "bid": bid / 1e5,
            "ask": (bid + spread) / 1e5,
            "bid_size": size * 1e5,
            "ask_size": size * 2e5,
        }
    )
    folder = tmp_path_factory.mktemp("round")
    if kind == "csv":
        (folder / "in").mkdir()
        frame.write_csv(folder / "in/ticks.csv")
    else:
        source(folder / "in", frame)
    # The rows have no order: some step back by an hour, which is no clock that was set back.
    rules = parse_rules(["spike=keep", "clock_shift=keep"])
    manifest = import_ticks(folder / "in", folder / "out", rules=rules, options=ReaderOptions())
    found = stored(folder / "out", manifest)
    assert found.columns == list(TICK_COLUMNS)
    assert found.equals(frame.sort("ts_event_ns"))


def test_a_store_of_the_time_before_fixes_is_read_and_shown_as_it_is(tmp_path: Path) -> None:
    import_ticks(source(tmp_path / "in"), tmp_path / "store")
    path = tmp_path / "store" / "manifest.json"
    old = json.loads(path.read_text())
    old["rules"] = [rule for rule in old["rules"] if rule["rule"] not in {"stale", "clock_shift"}]
    for rule in old["rules"]:
        del rule["fixed"]
    path.write_text(json.dumps(old))
    assert all(rule.fixed == 0 for rule in verify_store(tmp_path / "store").rules)
    check = validate_ticks(tmp_path / "store")
    assert (check.ok, check.rows_kept) == (True, 2_000)
    with pytest.raises(DataError, match="another source or other rules"):
        import_ticks(source(tmp_path / "other", ticks(1_000)), tmp_path / "store")
