"""The stop and target of a trade are the prices of the orders the engine held for it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread, chart_price
from aiopt.backtest.process_engine import process_engine
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.market.instrument import instrument
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import compute_signals
from aiopt.testing.bars import random_walk_bars


def one_price_bars(n_bars: int) -> BarSet:
    bars = random_walk_bars(n_bars, seed=5)
    return BarSet(instrument("EURUSD"), bars.timeframe, bars, bars, True, "made")


def orders_of_positions() -> list[tuple[float | None, float | None]]:
    """Return the prices of the stop and the target order of each position of the last run, in order."""
    cache = process_engine().strategy(1).cache
    found = []
    for position in sorted(cache.positions(), key=lambda one: one.ts_opened):
        stop = target = None
        for order in cache.orders_for_position(position.id):
            if order.has_trigger_price:
                stop = round(order.trigger_price.as_double(), 6)
            elif order.has_price:
                target = round(order.price.as_double(), 6)
        found.append((stop, target))
    return found


@pytest.mark.parametrize("mode", ["research", "parity"])
@pytest.mark.parametrize("name", ["rsi_reversion", "ema_cross_atr"])
def test_levels_are_the_engines_orders_and_the_signals_prices(name: str, mode: str) -> None:
    one_price = one_price_bars(4_000)
    bars = chart_price(one_price) if mode == "parity" else add_spread(one_price, 0.8)
    spec = FAMILIES[name].spec
    with BacktestSession(bars, BacktestConfig(mode=mode)) as session:
        result = session.run(spec)
    held = [*result.trades, *([result.open_trade] if result.open_trade else [])]
    levels = [(trade.stop_price, trade.target_price) for trade in held]
    assert len(levels) > 10
    assert levels == orders_of_positions()
    pair = instrument("EURUSD")
    signals = compute_signals(
        spec, bars.bid, tick_size=pair.tick_size, pip_size=pair.pip_size, initial_balance=100_000.0
    )
    for trade in held:
        decided = trade.entry_bar - 1
        expected = (float(getattr(signals, f"{kind}_{trade.side}")[decided]) for kind in ("stop", "target"))
        assert (trade.stop_price, trade.target_price) == tuple(
            None if math.isnan(price) else price for price in expected
        )


def test_a_strategy_without_stop_has_none() -> None:
    bars = add_spread(one_price_bars(2_000), 0.8)
    pair = instrument("EURUSD")
    spec = FAMILIES["rsi_reversion"].spec
    signals = compute_signals(
        spec, bars.bid, tick_size=pair.tick_size, pip_size=pair.pip_size, initial_balance=100_000.0
    )
    signals.stop_long[:] = np.nan
    signals.stop_short[:] = np.nan
    with BacktestSession(bars, BacktestConfig()) as session:
        result = session.run_signals(spec.spec_hash, signals)
    assert result.trades
    assert {trade.stop_price for trade in result.trades} == {None}
    assert None not in {trade.target_price for trade in result.trades}
