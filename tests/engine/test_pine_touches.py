"""Exact touches: a bar that reaches a stop or target to the last digit fills it, in every engine alike.

On bid bars prices lie on the tick, on mid bars on half a tick; both grids, many bars that just touch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.broker import simulate

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
N_BARS = 2500
PRICES = ("open", "high", "low", "close")

TIGHT = StrategySpec.from_json(
    """{"name": "touches", "params": {"length": 5},
 "indicators": {"average": {"kind": "ema", "args": {"length": "length"}}},
 "entry_long": "crossover(close, average)", "entry_short": "crossunder(close, average)",
 "exit_long": "falling(close, 2)", "exit_short": "rising(close, 2)",
 "stop_loss": {"unit": "pips", "value": 0.8}, "take_profit": {"unit": "pips", "value": 2.9}}"""
)


def bars_on(grid: str) -> BarSet:
    """Return bars on whole ticks (``bid``) or on half ticks (``mid``)."""
    bars = random_walk_bars(N_BARS, seed=11)
    if grid == "mid":
        random = np.random.default_rng(5)
        steps = {name: np.rint(getattr(bars, name) * 100_000) * 2 for name in PRICES}
        for name in PRICES:
            steps[name] += random.integers(0, 2, N_BARS)
        steps["high"] = np.maximum.reduce([steps["open"], steps["high"], steps["close"]])
        steps["low"] = np.minimum.reduce([steps["open"], steps["low"], steps["close"]])
        bars = replace(bars, price="mid", **{name: steps[name] / 200_000 for name in PRICES})
    return BarSet(
        instrument=EURUSD,
        timeframe=bars.timeframe,
        bid=bars,
        ask=bars,
        single_price=True,
        data_hash=bars.data_hash,
    )


def touches(bars: BarArrays, trades: list[tuple]) -> int:
    """Count exits at exactly the high or low of their bar."""
    return sum(price in (round(bars.high[bar], 6), round(bars.low[bar], 6)) for _, bar, _, _, price in trades)


@pytest.mark.parametrize("grid", ["bid", "mid"])
def test_a_bar_that_just_touches_fills_in_every_engine(pine, grid: str) -> None:
    bars = bars_on(grid)
    with BacktestSession(bars, BacktestConfig(mode="parity")) as session:
        result = session.run(TIGHT)
    found = [(t.entry_bar, t.exit_bar, t.side, t.entry_price, t.exit_price) for t in result.trades]
    signals = compute_signals(
        TIGHT, bars.bid, tick_size=bars.price_step, pip_size=EURUSD.pip_size, initial_balance=100_000.0
    )
    rows = [*simulate(signals, bars, pine_entry_bar=True)]
    rows += pine.run(
        emit(TIGHT, provenance=Provenance(), instrument=EURUSD), bars.bid, tick_size=bars.price_step
    ).closed
    others = [
        (t.entry_bar, t.exit_bar, t.side, round(t.entry_price, 6), round(t.exit_price, 6))
        for t in rows
        if t.exit_bar is not None
    ]
    assert others == found + found
    assert touches(bars.bid, found) >= 15
    on_half_ticks = sum(round(price * 1_000_000) % 10 == 5 for *_, price in found)
    assert on_half_ticks > 50 if grid == "mid" else on_half_ticks == 0


TIES = StrategySpec.from_json(
    """{"name": "ties", "entry_long": "close > open", "entry_short": "close < open",
 "stop_loss": {"unit": "pips", "value": 2}, "take_profit": {"unit": "pips", "value": 2},
 "size": {"kind": "fixed", "units": 1}}"""
)


@pytest.mark.parametrize(
    ("symbol", "price"), [("EURUSD", 1.2), ("USDJPY", 110.0), ("XAUUSD", 1_800.0), ("BTCUSD", 60_000.0)]
)
def test_an_open_in_the_middle_goes_up_first_at_every_height_of_prices(
    pine, symbol: str, price: float
) -> None:
    """Each bar opens in its middle and reaches stop and target: one last place decided, in gold and yen."""
    market = instrument(symbol)
    ticks = round(price / market.tick_size)
    pip = round(market.pip_size / market.tick_size)
    draw, n_bars = np.random.default_rng(3), 400
    close = ticks + np.cumsum(draw.integers(-3 * pip, 3 * pip + 1, n_bars))
    opened = np.concatenate([[ticks], close[:-1]])
    half = draw.integers(4 * pip, 6 * pip, n_bars)
    digits = len(f"{market.tick_size:.10f}".rstrip("0").partition(".")[2])
    steps = {"open": opened, "high": opened + half, "low": opened - half, "close": close}
    prices = {name: np.round(steps[name] * market.tick_size, digits) for name in PRICES}
    made = replace(random_walk_bars(n_bars, seed=1), instrument=symbol, **prices)
    bars = BarSet(market, made.timeframe, made, made, True, "ties")
    with BacktestSession(bars, BacktestConfig(mode="parity")) as session:
        trades = session.run(TIES).trades
    both = [trade for trade in trades if trade.entry_bar == trade.exit_bar]
    assert len(both) > 100
    assert all((trade.exit_reason == "take_profit") == (trade.side == "long") for trade in both)
    run = pine.run(emit(TIES, provenance=Provenance(), instrument=market), made, tick_size=bars.price_step)
    expected = [(t.entry_bar, t.exit_bar, t.side, round(t.exit_price, digits)) for t in trades]
    assert [(t.entry_bar, t.exit_bar, t.side, round(t.exit_price, digits)) for t in run.closed] == expected
