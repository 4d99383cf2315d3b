"""Longer bars merged from shorter ones are those of the ticks below, bit for bit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.reducing.resampling import check_timeframes, resample_bars
from aiopt.errors import DataError
from aiopt.testing.reference_bars import build_bars
from aiopt.timeframe import parse_timeframe

MINUTE_NS = 60_000_000_000
START_NS = 1_546_300_800_000_000_000


def ticks_of(gaps_s: list[int], steps: list[int]) -> pl.DataFrame:
    ts = START_NS + np.cumsum(np.array(gaps_s, dtype=np.int64)) * 1_000_000_000
    bid = (113_000 + np.cumsum(np.array(steps, dtype=np.int64))) / 100_000
    size = np.arange(1, ts.size + 1, dtype=np.float64) * 1000
    return pl.DataFrame(
        {"ts_event_ns": ts, "bid": bid, "ask": bid + 0.0001, "bid_size": size, "ask_size": size}
    )


@settings(max_examples=60)
@given(
    moves=st.lists(
        st.tuples(st.sampled_from([0, 1, 17, 60, 299, 3601, 90_000]), st.integers(-30, 30)),
        min_size=1,
        max_size=60,
    ),
    base=st.sampled_from(["1m", "5m", "1h"]),
    times=st.sampled_from([1, 2, 3, 4, 12, 24]),
    price=st.sampled_from(["bid", "ask", "mid"]),
)
def test_merged_bars_are_those_of_the_ticks(
    moves: list[tuple[int, int]], base: str, times: int, price: str
) -> None:
    ticks = ticks_of([gap for gap, _ in moves], [step for _, step in moves])
    short = parse_timeframe(base)
    long = parse_timeframe(f"{short.seconds * times}s")
    merged = resample_bars(build_bars(ticks, short, price), short, long)
    assert merged.equals(build_bars(ticks, long, price))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [(("1m", "5m"), "cannot be cut into shorter ones, but 1m, 5m was asked"), (("40m",), "40m is none")],
)
def test_what_cannot_be_made_is_refused(wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_timeframes(parse_timeframe("15m"), tuple(map(parse_timeframe, wanted)))


def test_bars_off_the_grid_stay_as_they_are_and_are_not_merged() -> None:
    minute = parse_timeframe("1m")
    bars = build_bars(ticks_of([30] * 40, [1] * 40), minute, "bid")
    off = bars.with_columns(pl.col("ts_open_ns") + 30_000_000_000)
    assert resample_bars(off, minute, minute).equals(off)
    with pytest.raises(DataError, match="whole multiples of 1m, UTC, but one does at 2019-01-01T00:00:30"):
        resample_bars(off, minute, parse_timeframe("5m"))
