"""Bars that grow say what a finished series says: columns, calendar, nights, limits, moving stops."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aiopt.backtest.bookkeeper import Bookkeeper
from aiopt.backtest.entry_limits import LimitedEntries
from aiopt.backtest.growing_bars import BarRow, GrowingBars, GrowingColumn
from aiopt.backtest.growing_nights import GrowingNights
from aiopt.backtest.moving_exits import MovingExits
from aiopt.backtest.positions import HeldPosition
from aiopt.backtest.swap import InterestRate, Nights, SwapConfig, SwapPoints
from aiopt.backtest.valuation import Valuation
from aiopt.bars.schema import BarSet
from aiopt.errors import BacktestError
from aiopt.strategy.entry_limits import LimitPlan
from aiopt.strategy.exits import Clock, ExitPlan
from aiopt.testing.bars import random_walk_bar_set

RATES = SwapConfig(
    rates={
        "EUR": (InterestRate(date="1990-01-01", percent=2.25), InterestRate(date="2024-01-20", percent=3.0)),
        "USD": (InterestRate(date="1990-01-01", percent=5.5),),
    },
    markup_percent=0.5,
)
POINTS = SwapConfig(points={"EURUSD": SwapPoints(long=-0.7, short=0.1)})


def rows(bars: BarSet) -> list[BarRow]:
    sides = [getattr(bars.bid, name) for name in ("open", "high", "low", "close", "volume")]
    sides += [getattr(bars.ask, name) for name in ("open", "high", "low", "close", "volume")]
    columns = [bars.bid.ts_open_ns.tolist(), *(side.tolist() for side in sides)]
    return [BarRow(*row, 1) for row in zip(*columns, strict=True)]


def test_a_column_keeps_its_newest_by_their_numbers() -> None:
    column = GrowingColumn(4, np.int64)
    for number in range(50):
        column.append(number * 10)
        assert (len(column), column[number]) == (number + 1, number * 10)
        oldest = max(0, number - 3)
        assert column[oldest : number + 1].tolist() == [10 * n for n in range(oldest, number + 1)]
    assert column[48:99].tolist() == [480, 490]
    with pytest.raises(IndexError, match="Bar 50 is to come"):
        column[50]
    with pytest.raises(BacktestError, match="forgotten, but bar 1 was"):
        column[1]


def test_bars_come_in_order() -> None:
    bars = random_walk_bar_set(3, seed=1)
    growing = GrowingBars(bars.instrument, bars.timeframe)
    with pytest.raises(BacktestError, match="There is no bar yet"):
        growing.end_ns  # noqa: B018
    first = rows(bars)[0]
    growing.append(first)
    with pytest.raises(BacktestError, match="must follow each other"):
        growing.append(first)
    assert repr(growing) == "GrowingBars(EURUSD, 5m, 1 bars)"


@pytest.mark.parametrize("timeframe", ["5m", "1h", "4h"])
def test_a_moment_lies_in_the_same_bar_and_day(timeframe: str) -> None:
    bars = random_walk_bar_set(300, seed=2, timeframe=timeframe)
    growing, known = GrowingBars(bars.instrument, bars.timeframe), bars.bid.ts_open_ns
    limits = LimitedEntries(LimitPlan(pause_bars=1), known)
    for number, row in enumerate(rows(bars)):
        # Asked while the bar is being formed, and once more when it has ended.
        moment = row.ts_open_ns + 7
        day = limits._bars.trading_day(number)
        assert (growing.bar_of(moment), growing.trading_day(number)) == (number, day)
        growing.append(row)
        assert (growing.bar_of(moment), growing.trading_day(number)) == (number, day)
    with pytest.raises(BacktestError, match="has not begun"):
        growing.trading_day(len(growing) + 5)


@pytest.mark.parametrize("config", [None, POINTS, RATES])
@pytest.mark.parametrize("timeframe", ["15m", "1h", "1d"])
def test_nights_are_those_of_the_finished_series(config: SwapConfig | None, timeframe: str) -> None:
    bars = random_walk_bar_set(400, seed=3, timeframe=timeframe)
    whole = Nights(config, bars.instrument, bars.bid.ts_open_ns, bars.timeframe.ns, bars.bid.close, 6)
    growing = GrowingNights(config, bars.instrument, 6)
    entry = int(bars.bid.ts_open_ns[0]) + 2
    charged = 0
    for row in rows(bars):
        growing.bar_ended(row.ts_open_ns, row.ts_open_ns + bars.timeframe.ns, row.bid_close)
        exit_ns = row.ts_open_ns + bars.timeframe.ns + 3
        if exit_ns > int(bars.bid.ts_open_ns[-1]):
            break
        assert growing.count(entry, exit_ns) == whole.count(entry, exit_ns)
        assert growing.bookings(1, 1000.0, entry, exit_ns) == whole.bookings(1, 1000.0, entry, exit_ns)
        assert growing.bookings(-1, 1000.0, entry, exit_ns) == whole.bookings(-1, 1000.0, entry, exit_ns)
        charged = whole.count(entry, exit_ns)
    assert charged > 3


def test_a_position_is_worth_the_same() -> None:
    bars = random_walk_bar_set(200, seed=4, timeframe="1h")
    whole_nights = Nights(POINTS, bars.instrument, bars.bid.ts_open_ns, bars.timeframe.ns, bars.bid.close, 6)
    growing_nights = GrowingNights(POINTS, bars.instrument, 6)
    whole, grown = (
        Bookkeeper(price_decimals=6, commission_per_million=35.0, nights=nights)
        for nights in (whole_nights, growing_nights)
    )
    growing = GrowingBars(bars.instrument, bars.timeframe, kept=8)
    values, expected = Valuation(growing, grown, None), Valuation(bars, whole, None)
    held = HeldPosition(-1, 1000.0, int(bars.bid.ts_open_ns[0]) + 2, 1.1, 1.2, 1.0)
    for number, row in enumerate(rows(bars)):
        growing.append(row)
        grown.bar_ended(row.ts_open_ns, row.ts_open_ns + bars.timeframe.ns, row.bid_close)
        assert values.open_value(held, number) == expected.open_value(held, number)
        for side in (1, -1):
            assert values.entry_price(side, number) == expected.entry_price(side, number)


def followed(plan: ExitPlan, bars: BarSet | GrowingBars, entry: int) -> MovingExits:
    moving = MovingExits(plan, bars, 6)
    moving.open(
        side=1, entry_bar=entry, entry_price=1.1, stop=1.0, trail=0.0005, trail_after=0.0, even_after=0.0002
    )
    return moving


def test_stops_move_and_clocks_strike_alike_also_after_a_restart() -> None:
    bars = random_walk_bar_set(400, seed=5, timeframe="15m")
    plan = ExitPlan(even_plus=0.0001, clock=Clock(16 * 60, "Europe/London"), time_bars=300)
    struck = 0
    for entry in (1, 40, 90, 230):
        growing, kept = GrowingBars(bars.instrument, bars.timeframe, kept=64), []
        whole = followed(plan, bars, entry)
        grown: MovingExits | None = None
        for number, row in enumerate(rows(bars)):
            growing.append(row)
            if number < entry:
                continue
            if grown is None:
                grown = followed(plan, growing, entry)
            elif number % 7 == 0:
                kept = json.loads(json.dumps(grown.save()))
                grown = MovingExits(plan, growing, 6)
                grown.restore(kept)
            assert grown.is_due(number) == whole.is_due(number)
            if whole.is_due(number):
                struck += 1
                break
            assert grown.stop_after(number) == whole.stop_after(number)
    assert struck == 4
    assert MovingExits(plan, bars, 6).save() == {}


def test_limits_survive_a_restart() -> None:
    bars = random_walk_bar_set(60, seed=6, timeframe="1h")
    plan = LimitPlan(pause_bars=3, trades_per_day=2, loss_money=50.0)
    growing = GrowingBars(bars.instrument, bars.timeframe)
    whole, grown = LimitedEntries(plan, bars.bid.ts_open_ns), LimitedEntries(plan, growing)
    held = []
    for number, row in enumerate(rows(bars)):
        stamp = row.ts_open_ns + 5
        for one in (whole, grown):
            one.enter_segment(0)
            if number % 5 == 2:
                one.entered(stamp, 10**18)
            if number % 5 == 4:
                one.left(stamp, -30 * 10**16, 10**18)
        growing.append(row)
        state = json.loads(json.dumps(grown.save()))
        grown = LimitedEntries(plan, growing)
        grown.restore(state)
        held.append(whole.holds_back(number, 10**18))
        assert grown.holds_back(number, 10**18) == held[-1]
    assert 5 < sum(held) < len(held)
