"""Marked filling: its formulas, where it stays out, and that prices to come are no past."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.reducing.filling import fill_gaps
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.errors import DataError
from aiopt.market.calendar import is_open
from aiopt.market.sessions import TradingSession
from aiopt.testing.tick_stores import write_tick_store
from aiopt.timeframe import parse_timeframe
from tests.unit.bars.quoted_ticks import T0, some_ticks

MINUTE_NS = 60_000_000_000


def bars_at(minutes: list[int], closes: list[float], start: int = T0) -> pl.DataFrame:
    count = len(minutes)
    return pl.DataFrame(
        {
            "ts_open_ns": np.array(minutes) * MINUTE_NS + start,
            "open": closes,
            "high": closes,
            "low": closes,
            "close": closes,
            "volume": [5.0] * count,
            "ticks": [2] * count,
        }
    )


def test_flat_and_linear_bars_follow_their_formulas() -> None:
    bars = bars_at([0, 4, 5], [1.0, 1.4, 1.5])
    flat = fill_gaps(bars, parse_timeframe("1m"), "flat")
    assert flat["filled"].to_list() == [False, True, True, True, False, False]
    assert flat["close"].to_list() == [1.0, 1.0, 1.0, 1.0, 1.4, 1.5]
    assert flat["ticks"].to_list() == [2, 0, 0, 0, 2, 2]
    linear = fill_gaps(bars, parse_timeframe("1m"), "linear")
    assert np.allclose(linear["open"], [1.0, 1.0, 1 + 0.4 / 3, 1 + 0.8 / 3, 1.4, 1.5])
    assert np.allclose(linear["close"], [1.0, 1 + 0.4 / 3, 1 + 0.8 / 3, 1.4, 1.4, 1.5])
    assert linear.filter("filled")["volume"].to_list() == [0.0, 0.0, 0.0]
    assert fill_gaps(bars, parse_timeframe("1m"), "none").equals(bars)


@given(seed=st.integers(0, 10_000), fill=st.sampled_from(["flat", "linear"]))
@settings(max_examples=30, deadline=None)
def test_filling_keeps_every_bar_and_marks_every_other(seed: int, fill: str) -> None:
    random = np.random.default_rng(seed)
    minutes = np.unique(random.integers(0, 4 * 24 * 60, 40))
    bars = bars_at(minutes.tolist(), (1 + random.random(minutes.size)).tolist())
    filled = fill_gaps(bars, parse_timeframe("1m"), fill)  # type: ignore[arg-type]
    assert filled.filter(~pl.col("filled")).drop("filled").equals(bars)
    ts = filled["ts_open_ns"].to_numpy()
    assert (np.diff(ts) > 0).all()
    every = np.arange(ts[0], ts[-1] + 1, MINUTE_NS)
    # Thursday to Monday: nothing is made up for the week-end.
    assert set(ts) == set(every[is_open(every)]) | set(bars["ts_open_ns"])
    always = fill_gaps(bars, parse_timeframe("1m"), fill, always_open=True)  # type: ignore[arg-type]
    assert np.array_equal(always["ts_open_ns"], every)


def test_filling_stays_in_the_session() -> None:
    session = TradingSession(start="08:00", end="08:10", timezone="Europe/London")
    start = round(dt.datetime(2014, 5, 1, 7, 0, tzinfo=dt.UTC).timestamp()) * 10**9
    bars = bars_at([1, 24 * 60 + 8], [1.0, 1.1], start).with_columns(
        ts_close_ns=pl.Series(np.array([2, 24 * 60 + 9]) * MINUTE_NS + start)
    )
    filled = fill_gaps(bars, parse_timeframe("1m"), "flat", session=session)
    minutes = ((filled["ts_open_ns"] - start) // MINUTE_NS).to_list()
    assert minutes == [*range(1, 10), *range(24 * 60, 24 * 60 + 9)]
    assert ((filled["ts_close_ns"] - filled["ts_open_ns"]) == MINUTE_NS).all()


def test_linear_bars_are_marked_as_no_past(tmp_path: Path) -> None:
    write_tick_store(tmp_path / "ticks", pl.DataFrame(some_ticks(40, 4)))
    request = BarRequest(parse_bar_rules("time", "1m"), ("bid", "ask"), fill="linear")
    build(tmp_path / "ticks", tmp_path / "bars", request)
    with pytest.raises(DataError, match="filled with prices from the future"):
        load_bar_set(tmp_path / "bars")
    assert load_bar_set(tmp_path / "bars", allow_interpolated=True).interpolated
    request = BarRequest(request.rules, request.prices, fill="flat")
    build(tmp_path / "ticks", tmp_path / "bars", request)
    bars = load_bar_set(tmp_path / "bars")
    assert not bars.interpolated
    assert set(np.diff(bars.bid.ts_open_ns)) == {MINUTE_NS}
