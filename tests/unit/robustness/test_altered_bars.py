from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from aiopt.backtest.pricing import widen_spread
from aiopt.bars.schema import OHLC, BarSet
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.robustness.altered_bars import (
    draw_blocks,
    draw_gaps,
    draw_widening,
    mean_stops,
    rebuilt,
    thinned,
    widened,
)
from aiopt.testing.bars import random_walk_bar_set
from aiopt.utc import DAY_NS, HOUR_NS
from tests.engine.test_screen import ladder_of


@pytest.fixture(scope="module")
def bars() -> BarSet:
    made = random_walk_bar_set(3000, seed=4, timeframe="15m")
    return replace(made, stops=ladder_of(made, random.Random(2)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_constant_widening_is_that_of_the_backtest(bars: BarSet) -> None:
    other, known = widened(bars, np.full(len(bars), 3)), widen_spread(bars, 0.3)
    for name in OHLC:
        np.testing.assert_array_equal(getattr(other.ask, name), getattr(known.ask, name))
        np.testing.assert_array_equal(getattr(other.bid, name), getattr(bars.bid, name))
    assert isinstance(other.stops, StopLadder)
    assert isinstance(known.stops, StopLadder)
    np.testing.assert_array_equal(other.stops.ask_steps, known.stops.ask_steps)
    np.testing.assert_array_equal(other.stops.bid_steps, known.stops.bid_steps)


def test_a_ladder_moves_with_its_own_bar_also_in_a_part_of_the_bars(bars: BarSet) -> None:
    part = bars.slice(100, 400)
    steps = np.arange(300)
    stops = widened(part, steps).stops
    assert isinstance(stops, StopLadder)
    assert isinstance(part.stops, StopLadder)
    for bar in (0, 7, 299):
        before = part.stops.ask_steps[part.stops.ask_offsets[bar] : part.stops.ask_offsets[bar + 1]]
        after = stops.ask_steps[stops.ask_offsets[bar] : stops.ask_offsets[bar + 1]]
        np.testing.assert_array_equal(after - before, bar)


def test_a_widening_has_the_mean_asked_for_and_is_the_same_all_hour(bars: BarSet) -> None:
    drawn = np.array([draw_widening(bars, 0.5, rng(seed)) for seed in range(1000, 1600)])
    assert drawn.min() >= 0
    assert drawn.mean() / 10 == pytest.approx(0.5, rel=0.1)
    hours = bars.bid.ts_open_ns // HOUR_NS
    same = hours[1:] == hours[:-1]
    assert (drawn[:, 1:][:, same] == drawn[:, :-1][:, same]).all()


def test_gaps_take_about_the_share_asked_for_and_leave_the_ends(bars: BarSet) -> None:
    kept = np.array([draw_gaps(len(bars), 0.05, 5.0, rng(seed)) for seed in range(100)])
    assert 1 - kept.mean() == pytest.approx(0.05, rel=0.15)
    assert kept[:, [0, -1]].all()
    gaps = np.diff(kept.astype(int)) == -1
    assert (~kept).sum() / gaps.sum() == pytest.approx(5.0, rel=0.2)


def test_bars_are_removed_with_their_quotes(bars: BarSet) -> None:
    part = bars.slice(50, 350)
    keep = draw_gaps(300, 0.3, 4.0, rng(1))
    other = thinned(part, keep)
    rows = np.flatnonzero(keep)
    assert len(other) == rows.size < 300
    assert isinstance(other.stops, StopLadder)
    assert isinstance(part.stops, StopLadder)
    for place in (0, rows.size // 2, rows.size - 1):
        for side in ("bid", "ask"):
            offsets, steps = (getattr(part.stops, f"{side}_{what}") for what in ("offsets", "steps"))
            new_offsets, new_steps = (getattr(other.stops, f"{side}_{what}") for what in ("offsets", "steps"))
            np.testing.assert_array_equal(
                new_steps[new_offsets[place] : new_offsets[place + 1]],
                steps[offsets[rows[place]] : offsets[rows[place] + 1]],
            )
        assert other.ask.high[place] == part.ask.high[rows[place]]


def test_bars_rebuilt_from_themselves_are_the_same(bars: BarSet) -> None:
    same = rebuilt(bars, np.arange(len(bars)))
    for side in ("bid", "ask"):
        for name in OHLC:
            np.testing.assert_array_equal(
                getattr(getattr(same, side), name), getattr(getattr(bars, side), name), err_msg=name
            )


def test_rebuilt_bars_enclose_their_prices_and_keep_the_spread_of_their_source(bars: BarSet) -> None:
    source = draw_blocks(bars, np.ones(len(bars), dtype=bool), 24.0, rng(3))
    other = rebuilt(bars, source)
    assert (other.bid.close != bars.bid.close).mean() > 0.9
    for side in (other.bid, other.ask):
        assert (side.high >= np.maximum(side.open, side.close)).all()
        assert (side.low <= np.minimum(side.open, side.close)).all()
    spread = (bars.ask.close - bars.bid.close)[source]
    np.testing.assert_allclose(other.ask.close - other.bid.close, spread, atol=1e-9)
    returns = np.log(other.bid.close / other.bid.open)
    np.testing.assert_allclose(returns, np.log(bars.bid.close / bars.bid.open)[source], atol=2e-5)


def test_blocks_keep_hours_and_weekends_and_take_what_may_be_taken(bars: BarSet) -> None:
    opens = bars.bid.ts_open_ns
    first = np.zeros(len(bars), dtype=bool)
    first[1:] = np.diff(opens) >= DAY_NS
    usable = np.arange(len(bars)) >= 1000
    source = draw_blocks(bars, usable, 12.0, rng(5))
    assert source[0] == 0
    assert (source[1:] >= 1000).all()
    begins = np.flatnonzero(np.diff(source) != 1) + 1
    begins = begins[begins > 1]
    hour = opens // HOUR_NS % 24
    inside = begins[~first[begins]]
    np.testing.assert_array_equal(hour[source[inside]], hour[inside])
    assert first.sum() == 0 or first[source[first]].all()
    assert not first[source[~first]].any()
    # Twelve hours of quarters of an hour.
    assert 25 < np.diff(begins).mean() < 60


def test_stops_of_rebuilt_bars_fill_by_a_measured_mean(bars: BarSet) -> None:
    measured = mean_stops(bars)
    assert measured is not None
    assert measured.n > 0
    assert measured.mean_ticks == round(measured.mean_ticks, 1)
    assert mean_stops(replace(bars, stops=None)) is None
