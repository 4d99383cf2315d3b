"""Grids of nanoseconds over spans from 1 ns to 30 years: no edge is lost, whatever the period."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.backtest.results import pnl_by_period
from aiopt.bars.reducing.filling import fill_flat, fill_gaps
from aiopt.bars.schema import BAR_SCHEMA
from aiopt.errors import ConfigError
from aiopt.evaluation.folds import (
    WalkForwardConfig,
    active_boundaries,
    period_profits,
    plan_walk_forward,
    segment_boundaries,
)
from aiopt.testing.reference_bars import build_bars
from aiopt.ticks.schema import nearest_decimal
from aiopt.timeframe import parse_timeframe, time_grid

YEAR_NS = 365 * 86_400_000_000_000
SPAN_NS = st.integers(1, 30 * YEAR_NS)
START_NS = st.integers(631_152_000_000_000_000, 1_800_000_000_000_000_000)  # 1990 to 2027
LABELS = ("1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d", "7d")


@given(START_NS, SPAN_NS, st.integers(1, 10_000))
def test_a_grid_has_every_step_before_its_end(start: int, span: int, steps: int) -> None:
    step = max(span // steps, 1)
    stop = start + span
    grid = time_grid(start, stop, step)
    assert grid.size == len(range(start, stop, step))
    assert (int(grid[0]), int(grid[-1])) == (start, range(start, stop, step)[-1])
    assert (np.diff(grid) == step).all()


@given(START_NS, st.integers(1, 20_000), st.sampled_from(LABELS))
def test_the_last_step_that_just_fits_is_there(start: int, count: int, label: str) -> None:
    """The case that numpy.arange loses: the span is a whole number of steps and one nanosecond."""
    step = parse_timeframe(label).ns
    assert time_grid(start, start + count * step + 1, step).size == count + 1
    assert time_grid(start, start + count * step, step).size == count


def test_an_empty_span_has_no_steps_and_a_step_is_positive() -> None:
    assert time_grid(5, 5, 1).size == time_grid(5, 4, 1).size == 0
    with pytest.raises(ConfigError, match=r"step_ns must be above 0, but is 0"):
        time_grid(0, 1, 0)


@given(st.integers(0, 2**31), st.sampled_from(("1h", "4h", "1d")), st.integers(2, 270_000))
def test_period_profits_cover_the_whole_grid(seed: int, label: str, periods: int) -> None:
    """Up to 30 years of hours: one profit per period, and together the change of equity."""
    period = parse_timeframe(label).ns
    periods = min(periods, 30 * YEAR_NS // period)
    start = 1_262_304_000_000_000_000 // period * period
    rng = np.random.default_rng(seed)
    at = np.unique(rng.integers(0, periods, 50))
    times = start + at * period + rng.integers(0, period, at.size)
    cents = rng.integers(-10_000, 10_000, at.size)
    equity = 100_000.0 + np.concatenate(([0], np.cumsum(cents))) / 100
    stop = start + periods * period
    found = period_profits(times, equity, start_ns=start, stop_ns=stop, period_ns=period)
    assert found.size == periods
    expected = np.zeros(periods)
    expected[at] = cents / 100
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    other = pnl_by_period(equity, times, period, start_ns=start, end_ns=stop)
    np.testing.assert_array_equal(other, expected)


@given(START_NS, SPAN_NS, st.sampled_from(("1s", "1m", "1h", "1d")), st.integers(1, 60))
def test_segments_cover_the_span_and_are_whole_periods(start: int, span: int, label: str, n: int) -> None:
    align = parse_timeframe(label).ns
    last = start + span
    if last // align - start // align + 1 < n:
        return
    edges = segment_boundaries(start, last, n, align_ns=align)
    assert edges.size == n + 1
    assert (edges % align == 0).all()
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= start
    assert edges[-1] > last


@pytest.mark.parametrize("years", [1, 5, 12, 30])
def test_a_plan_over_years_has_as_many_periods_as_its_edges_say(years: int) -> None:
    hour = parse_timeframe("1h").ns
    start = 820_454_400_000_000_000
    times = start + hour * np.arange(years * 8760, dtype=np.int64)
    times = times[(times // (24 * hour)) % 7 != 3]  # a day a week is closed
    plan = plan_walk_forward(WalkForwardConfig(), times)
    equity = 100_000.0 + np.arange(times.size + 1) * 0.01
    stretches = ((plan.start_ns, plan.holdout_start_ns), (plan.holdout_start_ns, plan.stop_ns))
    counts = [
        period_profits(times, equity, start_ns=low, stop_ns=high, period_ns=hour).size
        for low, high in stretches
    ]
    assert counts == [plan.development_periods, plan.holdout_periods]
    assert sum(counts) == plan.periods_of(tuple(range(plan.config.segments))).size
    assert active_boundaries(times, plan.config.segments).tolist() == list(plan.boundaries_ns)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("count", [2, 150_000, 160_000])
def test_filled_bars_reach_to_the_last(label: str, count: int) -> None:
    """From 149,797 minutes on, 104 days, the last bar used to be lost."""
    timeframe = parse_timeframe(label)
    first = 946_684_800_000_000_000 // timeframe.ns * timeframe.ns
    if first + count * timeframe.ns > 2**62:
        count = 9_000
    frame = pl.DataFrame(
        {
            "ts_open_ns": [first, first + (count - 1) * timeframe.ns],
            **{name: [1.1, 1.2] for name in ("open", "high", "low", "close")},
            "volume": [1.0, 1.0],
            "ticks": [1, 1],
        },
        schema=BAR_SCHEMA,
    )
    flat = fill_flat(frame, timeframe)
    filled = fill_gaps(
        frame.with_columns(ts_close_ns=pl.col("ts_open_ns") + timeframe.ns),
        timeframe,
        "flat",
        always_open=True,
    )
    for found in (flat, filled):
        assert found.height == count
        assert found["ts_open_ns"][-1] == frame["ts_open_ns"][-1]
        assert found["close"][-1] == 1.2


@given(
    st.sampled_from([1, 2, 3, 5, 8]),
    st.lists(st.tuples(st.integers(1, 8_000_000), st.integers(0, 300)), min_size=1, max_size=30),
)
def test_a_mid_price_is_the_double_nearest_to_the_half_tick(
    decimals: int, quotes: list[tuple[int, int]]
) -> None:
    scale = 10**decimals
    bid = np.array([points for points, _ in quotes]) / scale
    ask = np.array([points + spread for points, spread in quotes]) / scale
    expected = [float(Decimal(2 * points + spread) / (2 * scale)) for points, spread in quotes]
    assert nearest_decimal((bid + ask) / 2).tolist() == expected
    ticks = pl.DataFrame(
        {
            "ts_event_ns": np.arange(len(quotes)) * 60_000_000_000,
            "bid": bid,
            "ask": ask,
            "bid_size": np.ones(len(quotes)),
            "ask_size": np.ones(len(quotes)),
        }
    )
    assert build_bars(ticks, "1m", "mid")["close"].to_list() == expected


def test_prices_without_nine_decimals_stay_as_they_are() -> None:
    prices = np.array([9_007_199.3, 1.5e7 + 0.5, 1e300, -1e300])
    assert nearest_decimal(prices).tolist() == prices.tolist()
