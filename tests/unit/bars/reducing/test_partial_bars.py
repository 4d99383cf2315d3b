"""Partial bars: any cut of the ticks gives the bars of the reference, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.reducing.partial_bars import (
    empty_partial,
    finish_bars,
    merge_partials,
)
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest, base_timeframe, tick_columns
from aiopt.bars.rules import time_rules
from aiopt.bars.schema import PRICES
from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.testing.reference_bars import build_bars
from aiopt.timeframe import Timeframe, parse_timeframe
from tests.unit.bars.midnight_ticks import T0, ticks_around_midnights, timeframes


def reducer_of(wanted: Sequence[Timeframe], prices: tuple[str, ...] = PRICES) -> TimeReducer:
    return TimeReducer(BarRequest(time_rules(wanted), prices), instrument("EURUSD"))


def arrays(ticks: pl.DataFrame) -> dict[str, np.ndarray]:
    return {name: ticks[name].to_numpy() for name in ticks.columns}


@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    labels=st.sampled_from(
        [("1m",), ("1m", "5m", "15m"), ("4m", "6m"), ("7m", "1h"), ("30s", "1d"), ("5h",)]
    ),
    empty=st.sampled_from(["omit", "flat"]),
)
@settings(max_examples=60, deadline=None)
def test_bars_do_not_depend_on_where_the_ticks_are_cut(
    seed: int, cuts: list[int], labels: tuple[str, ...], empty: str
) -> None:
    ticks = ticks_around_midnights(400, seed)
    wanted = timeframes(*labels)
    reducer = reducer_of(wanted)
    edges = [0, *sorted(cuts), ticks.height]
    parts = [reducer.reduce(arrays(ticks[start:stop])) for start, stop in itertools.pairwise(edges)]
    merged = merge_partials(parts, base_timeframe(wanted))
    assert merged["ticks"].sum() == ticks.height
    for timeframe in wanted:
        for price in PRICES:
            bars = finish_bars(merged, price, timeframe, empty)  # type: ignore[arg-type]
            assert bars.equals(build_bars(ticks, timeframe, price, empty))  # type: ignore[arg-type]


@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 200), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_merging_is_associative(seed: int, cuts: list[int]) -> None:
    ticks = ticks_around_midnights(200, seed)
    base = parse_timeframe("1m")
    edges = [0, *sorted(cuts), ticks.height]
    parts = [
        reducer_of([base]).reduce(arrays(ticks[start:stop])) for start, stop in itertools.pairwise(edges)
    ]
    at_once = merge_partials(parts, base)
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = merge_partials([one_by_one, part], base)
    for name in at_once:
        assert np.array_equal(at_once[name], one_by_one[name])


def test_the_base_is_the_longest_common_length() -> None:
    for labels, base in (
        (("1m", "5m"), "1m"),
        (("5m", "15m"), "5m"),
        (("4m", "6m"), "2m"),
        (("90s", "1m"), "30s"),
    ):
        assert base_timeframe(timeframes(*labels)).label == base


def test_only_the_columns_needed_are_read() -> None:
    assert tick_columns(["bid"]) == ["ts_event_ns", "bid", "bid_size"]
    assert tick_columns(["mid"]) == ["ts_event_ns", "bid", "ask", "bid_size", "ask_size"]
    assert tick_columns(["ask", "bid"]) == ["ts_event_ns", "bid", "ask", "bid_size", "ask_size"]


def test_ticks_out_of_order_or_not_finite_are_refused_with_their_row() -> None:
    ticks = ticks_around_midnights(50, 1)
    reducer = reducer_of([parse_timeframe("1m")], ("mid",))
    backward = arrays(ticks)
    backward["ts_event_ns"] = np.concatenate((ticks["ts_event_ns"][:20], [T0 - 1], ticks["ts_event_ns"][21:]))
    with pytest.raises(DataError, match="in time order") as caught:
        reducer.reduce(backward)
    assert caught.value.row == 20
    for column, value in (("bid", np.nan), ("ask", np.inf), ("ask_size", np.nan), ("bid", -np.inf)):
        broken = arrays(ticks)
        broken[column] = np.where(np.arange(50) == 33, value, broken[column])
        with pytest.raises(DataError, match=f"{column} is") as caught:
            reducer.reduce(broken)
        assert caught.value.row == 33


def test_parts_out_of_order_are_refused() -> None:
    ticks = ticks_around_midnights(100, 2)
    base = parse_timeframe("1m")
    reducer = reducer_of([base], ("bid",))
    parts = [reducer.reduce(arrays(part)) for part in (ticks[50:], ticks[:50])]
    with pytest.raises(DataError, match="must be in time order"):
        merge_partials(parts, base)


def test_no_ticks_are_an_empty_partial() -> None:
    base = parse_timeframe("1m")
    nothing = reducer_of([base]).reduce(arrays(ticks_around_midnights(10, 0)[:0]))
    assert all(values.size == 0 for values in nothing.values())
    some = reducer_of([base]).reduce(arrays(ticks_around_midnights(10, 0)))
    merged = merge_partials([empty_partial(PRICES, stops=True), some, nothing], base)
    assert all(np.array_equal(merged[name], some[name]) for name in some)
