"""Files of ladders: beside the bars they belong to, the same whatever the shards, proved by their hash."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.rules import time_rules
from aiopt.bars.stops.stop_files import STOPS_NAME, read_stop_table, write_stop_table
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.catalog.discovery import recognise
from aiopt.catalog.verification import verify
from aiopt.errors import ConfigError, DataError
from aiopt.testing.tick_stores import write_tick_store
from tests.unit.bars.stops.made_ladders import MINUTE, SCALE, made_ticks, request


def store(folder: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    ticks = made_ticks(
        110_000 + np.cumsum(rng.integers(-4, 5, 3_000)), rng.integers(1, 9, 3_000), rng.integers(0, 9, 3_000)
    )
    write_tick_store(folder, pl.DataFrame(ticks), row_group_rows=700)
    return folder


def test_bars_carry_their_ladder_whatever_the_shards(tmp_path: Path) -> None:
    ticks = store(tmp_path / "ticks")
    build(ticks, tmp_path / "a", request())
    build(ticks, tmp_path / "b", request(), rows_per_shard=700)
    for label in ("1m", "5m"):
        one, other = ((tmp_path / name / "EURUSD" / label / STOPS_NAME) for name in "ab")
        assert one.read_bytes() == other.read_bytes()
        bars = load_bar_set(tmp_path / "a", timeframe=label)
        ladder = bars.stops
        assert isinstance(ladder, StopLadder)
        first, last = ladder.bid_offsets[:-1], ladder.bid_offsets[1:] - 1
        assert np.array_equal(ladder.bid_steps[first] / SCALE, bars.bid.open)
        assert np.array_equal(ladder.bid_steps[last] / SCALE, bars.bid.low)
        assert np.array_equal(ladder.ask_steps[ladder.ask_offsets[1:] - 1] / SCALE, bars.ask.high)
        part = bars.slice(3, 9)
        assert isinstance(part.stops, StopLadder)
        for bar in range(6):
            low = float(part.bid.low[bar])
            assert part.stops.fill_price(bar, low, sells=True) == low


def test_filled_bars_without_ticks_have_no_records(tmp_path: Path) -> None:
    ticks = made_ticks(np.array([110_000, 109_990, 110_010]), np.full(3, 8), np.array([0, 1, 200]))
    write_tick_store(tmp_path / "ticks", pl.DataFrame(ticks))
    build(tmp_path / "ticks", tmp_path / "bars", request(empty="flat", rules=time_rules([MINUTE])))
    bars = load_bar_set(tmp_path / "bars")
    assert isinstance(bars.stops, StopLadder)
    assert np.diff(bars.stops.bid_offsets).tolist() == [2, 0, 0, 1]
    assert bars.stops.fill_price(1, 1.2, sells=True) is None
    assert bars.stops.fill_price(3, 1.2, sells=True) == 1.1001


def test_one_side_has_no_ladder_and_other_ticks_take_it_away(tmp_path: Path) -> None:
    build(store(tmp_path / "a"), tmp_path / "bars", request())
    path = tmp_path / "bars" / "EURUSD" / "1m" / STOPS_NAME
    assert path.is_file()
    build(store(tmp_path / "b", seed=1), tmp_path / "bars", request(stops=False))
    assert not path.exists()
    assert load_bar_set(tmp_path / "bars", timeframe="1m").stops is None
    build(tmp_path / "a", tmp_path / "mid", request(prices=("mid",)))
    assert not list((tmp_path / "mid").rglob(STOPS_NAME))


def test_a_ladder_of_other_bars_or_a_changed_one_is_refused(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        build(store(tmp_path / f"ticks-{name}", seed), tmp_path / name, request())
    ours, theirs = ((tmp_path / name / "EURUSD" / "1m" / STOPS_NAME) for name in "ab")
    table = read_stop_table(ours)
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(DataError, match=r"must be of the bars beside it, but its data_hash is .* Build"):
        load_bar_set(tmp_path / "a", timeframe="1m")
    write_stop_table(ours, table)
    assert load_bar_set(tmp_path / "a", timeframe="1m").stops is not None
    moved = dataclasses.replace(table, ts_open_ns=table.ts_open_ns + MINUTE.ns)
    write_stop_table(ours, moved)
    with pytest.raises(DataError, match=r"has bars that they have not"):
        load_bar_set(tmp_path / "a", timeframe="1m")
    ours.write_bytes(b"no ladder")
    with pytest.raises(DataError, match=r"must be a stop ladder, but is not"):
        load_bar_set(tmp_path / "a", timeframe="1m")


def test_the_catalogue_knows_the_ladder_and_proves_it(tmp_path: Path) -> None:
    build(store(tmp_path / "ticks"), tmp_path / "bars", request(rules=time_rules([MINUTE])))
    folder = tmp_path / "bars" / "EURUSD" / "1m"
    entry, ticks = recognise(folder), recognise(tmp_path / "ticks")
    assert entry is not None
    assert ticks is not None
    assert (entry.kind, entry.problem, entry.detail) == ("bars", "", "1m ask/bid")
    assert entry.rows == 2 * len(load_bar_set(folder))
    assert not verify([entry, ticks], rebuild=True).faults
    table = read_stop_table(folder / STOPS_NAME)
    steps = table.ladder.bid_steps.copy()
    steps[1] += 1
    forged = dataclasses.replace(table, ladder=dataclasses.replace(table.ladder, bid_steps=steps))
    write_stop_table(folder / STOPS_NAME, forged)
    faults = verify([entry, ticks], rebuild=True).faults
    assert [(fault.file, "not the stop ladder" in fault.problem) for fault in faults] == [(STOPS_NAME, True)]


def test_a_request_without_both_sides_asks_for_no_ladder() -> None:
    assert request().with_stops
    assert not request(prices=("bid", "mid")).with_stops
    assert not request(stops=False).with_stops
    with pytest.raises(ConfigError, match="at least one price"):
        request(prices=())
