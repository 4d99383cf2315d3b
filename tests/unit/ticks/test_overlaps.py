"""Overlapping files, repeated downloads and newest-first files give the ticks of one whole file, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.errors import DataError
from aiopt.ticks.checks.sourced import SourcedTicks
from aiopt.ticks.checks.validation import parse_rules
from aiopt.ticks.importing import import_ticks, validate_ticks
from aiopt.ticks.manifest import Manifest, read_manifest
from aiopt.ticks.overlaps import FileEdges, is_newest_first, lay_over, time_order
from aiopt.ticks.schema import TickArrays

MONDAY_S = 1_549_274_400  # 2019-02-04 10:00 UTC
KEEP = parse_rules(["duplicate=keep", "spike=keep"])


def _series(per_stamp: list[int], *, pattern: int = 7) -> pl.DataFrame:
    """Return ticks in whole seconds, `per_stamp` of them each, no two neighbours equal."""
    stamps = np.repeat(MONDAY_S + np.arange(len(per_stamp)), per_stamp)
    bid = (114_000 + np.arange(stamps.size) % pattern) / 1e5
    return pl.DataFrame({"ts": stamps, "bid": bid, "ask": bid + 0.00008, "bid_size": 1e6, "ask_size": 2e6})


def _import(parts: dict[str, pl.DataFrame], folder: Path) -> tuple[Manifest, pl.DataFrame]:
    source = folder / "in"
    source.mkdir(parents=True)
    for name, part in parts.items():
        part.write_csv(source / f"{name}.csv")
    manifest = import_ticks(source, folder / "out", rules=KEEP)
    return manifest, pl.concat([pl.read_parquet(folder / "out" / part.path) for part in manifest.partitions])


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cuts_in_any_order_lay_over_to_the_same_ticks(data: st.DataObject) -> None:
    per_stamp = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=12))
    # Ticks of one stamp differ, so that a cut inside a stamp can be put together in one way only.
    whole = _series(per_stamp)
    total = whole.height
    cuts = sorted(data.draw(st.lists(st.integers(1, total - 1), max_size=4, unique=True)))
    spans = []
    for begin, end in zip([0, *cuts], [*cuts, total], strict=True):
        start = data.draw(st.integers(0, begin))
        spans.append((start, data.draw(st.integers(end, total))))
    spans += data.draw(st.lists(st.sampled_from(spans), max_size=2))
    spans = data.draw(st.permutations(spans))
    # As the readers do: files in order of their first stamp, then of their names.  Of two files that begin in
    # one stamp and share none of its ticks nothing but the names says which comes first.
    spans = sorted(spans, key=lambda span: (whole["ts"][span[0]], span[0]))
    newest_first = [data.draw(st.booleans()) and whole["ts"][a] < whole["ts"][b - 1] for a, b in spans]
    edges = FileEdges.of(len(spans))
    edges.newest_first[:] = newest_first
    batches = []
    for file, (begin, end) in enumerate(spans):
        rows = np.arange(end - begin)
        batch = _batch(whole[begin:end], file, rows[::-1] if newest_first[file] else rows)
        edges.see(batch)
        batches.append(batch)
    shuffled = _concat(batches)
    laid, copies = lay_over(time_order(shuffled, edges), edges)
    kept = laid.take(~copies)
    assert kept.ticks.bid.tolist() == whole["bid"].to_list()
    assert (kept.ticks.ts_event_ns // 10**9).tolist() == whole["ts"].to_list()
    assert int(copies.sum()) == len(shuffled) - total


def test_files_cut_inside_a_stamp_without_a_shared_tick_keep_their_order() -> None:
    whole = _series([1, 3])
    spans = [(0, 1), (1, 2), (2, 4)]
    edges = FileEdges.of(len(spans))
    batches = [_batch(whole[a:b], file, np.arange(b - a)) for file, (a, b) in enumerate(spans)]
    for batch in batches:
        edges.see(batch)
    laid, copies = lay_over(time_order(_concat(batches), edges), edges)
    assert laid.ticks.bid.tolist() == whole["bid"].to_list()
    assert not copies.any()


def _batch(frame: pl.DataFrame, file: int, rows: np.ndarray[Any, Any]) -> SourcedTicks:
    columns = [frame[name].to_numpy() for name in ("bid", "ask", "bid_size", "ask_size")]
    ticks = TickArrays(frame["ts"].to_numpy().astype(np.int64) * 10**9, *columns)
    return SourcedTicks(ticks, np.full(frame.height, file, dtype=np.int32), rows.astype(np.int64))


def _concat(batches: list[SourcedTicks]) -> SourcedTicks:
    columns = [
        np.concatenate([getattr(batch.ticks, name) for batch in batches])
        for name in ("ts_event_ns", "bid", "ask", "bid_size", "ask_size")
    ]
    file = np.concatenate([batch.file for batch in batches])
    return SourcedTicks(TickArrays(*columns), file, np.concatenate([batch.row for batch in batches]))


def test_overlapping_files_repeated_downloads_and_contained_files_count_once(tmp_path: Path) -> None:
    # Ticks that repeat inside a second, though not as neighbours, are real: a b a b.
    whole = _series([6] * 200, pattern=2)
    reference, wanted = _import({"all": whole}, tmp_path / "ref")
    assert reference.rows == whole.height
    parts = {"a": whole[:720], "b": whole[480:], "b (1)": whole[480:], "c": whole[600:660]}
    manifest, found = _import(parts, tmp_path / "parts")
    assert found.equals(wanted)
    assert manifest.data_hash == reference.data_hash
    assert manifest.rows_read - manifest.rows == 240 + 720 + 60
    counted = {
        count.rule: (count.found, count.dropped) for count in manifest.rules if count.rule == "overlap"
    }
    assert counted == {"overlap": (1020, 1020)}
    assert {file.path: file.copies for file in manifest.files} == {
        "a.csv": 0,
        "b (1).csv": 240,
        "b.csv": 720,
        "c.csv": 60,
    }
    assert "3 file(s) overlap others: 1020 ticks were there twice." in manifest.notes
    check = validate_ticks(tmp_path / "parts" / "in", instrument="EURUSD", rules=KEEP)
    assert check.rows_kept == whole.height
    assert "3 file(s) overlap others" in check.notes[-1]


def test_repeats_of_one_file_and_ticks_of_another_feed_stay(tmp_path: Path) -> None:
    whole = _series([4] * 30, pattern=2)
    manifest, found = _import({"all": whole}, tmp_path / "one")
    assert (manifest.rows, found.height) == (120, 120)
    other = whole.with_columns(pl.col("bid") - 0.00001)
    manifest, found = _import({"a": whole, "b": other}, tmp_path / "two")
    assert manifest.rows == 240
    assert not [file for file in manifest.files if file.copies]


@pytest.mark.parametrize("blocks", [1, 3])
def test_newest_first_files_are_turned_round_as_a_whole(tmp_path: Path, blocks: int) -> None:
    whole = _series([3] * 300)
    reference, wanted = _import({"all": whole}, tmp_path / "ref")
    size = whole.height // blocks
    parts = {f"{at}": whole[at * size : (at + 1) * size].reverse() for at in range(blocks)}
    manifest, found = _import(parts, tmp_path / "turned")
    assert found.equals(wanted)
    assert manifest.data_hash == reference.data_hash
    assert all(file.newest_first for file in manifest.files)
    assert f"{blocks} file(s) were newest first" in " ".join(manifest.notes)
    # Turned round, nothing of it lies behind a later row.
    assert not next(count.found for count in manifest.rules if count.rule == "backward")
    assert read_manifest(tmp_path / "turned" / "out") == manifest


def test_a_tick_out_of_place_in_a_newest_first_file_is_backward(tmp_path: Path) -> None:
    whole = _series([1] * 100).reverse()
    mixed = pl.concat([whole[:50], whole[51:], whole[50:51]])
    manifest, found = _import({"mixed": mixed}, tmp_path / "one")
    assert found["ts_event_ns"].is_sorted()
    assert manifest.files[0].newest_first
    assert next(count.found for count in manifest.rules if count.rule == "backward") == 1


def test_overlap_may_be_refused_or_kept(tmp_path: Path) -> None:
    whole = _series([2] * 20)
    for name, part in (("a", whole[:30]), ("b", whole[10:])):
        (tmp_path / "in").mkdir(exist_ok=True)
        part.write_csv(tmp_path / "in" / f"{name}.csv")
    with pytest.raises(DataError, match=r"b\.csv, row 0: The rule overlap found"):
        import_ticks(tmp_path / "in", tmp_path / "out", rules=parse_rules(["overlap=fail"]))
    kept = import_ticks(
        tmp_path / "in", tmp_path / "o", rules=parse_rules(["overlap=keep", "duplicate=keep"])
    )
    assert kept.rows == 60


def test_which_way_a_file_runs() -> None:
    ascending = np.repeat(np.arange(50), 3)
    assert is_newest_first(ascending[::-1])
    assert not is_newest_first(ascending)
    assert not is_newest_first(np.concatenate((ascending[75:], ascending[:75])))
    assert not is_newest_first(np.array([5]))
    assert not is_newest_first(np.zeros(4, dtype=np.int64))
