"""Money of whole backtests: equal to an independent account in decimals, and adding up to the cent."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.backtest.config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.backtest.session import BacktestSession
from aiopt.market.bars import BarSet
from aiopt.market.instrument import instrument
from aiopt.strategy.signals import SignalArrays
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.broker import simulate
from aiopt.testing.statement import account_statement


def walk(symbol, n_bars, seed, *, timeframe="1m", spread_pips=0.8, first_ns=None):
    """Random bars; those of yen pairs have a hundred times the price, as the pairs have."""
    bid = random_walk_bars(n_bars, seed=seed, timeframe=timeframe)
    pair = instrument(symbol)
    factor = round(1e-4 / pair.pip_size) if pair.pip_size < 1e-4 else round(pair.pip_size / 1e-4)
    prices = {
        name: np.round(getattr(bid, name) * factor, pair.price_precision)
        for name in ("open", "high", "low", "close")
    }
    shift = 0 if first_ns is None else first_ns - int(bid.ts_open_ns[0])
    bid = replace(bid, instrument=symbol, ts_open_ns=bid.ts_open_ns + shift, **prices)
    return add_spread(BarSet(pair, bid.timeframe, bid, bid, True, bid.data_hash), spread_pips)


def script(bars, seed, units):
    """Entries and exits at random, some with a stop."""
    rng = np.random.default_rng(seed)
    n_bars = len(bars)
    kind = rng.choice(["", "", "long", "short"], n_bars)
    distance = np.where(rng.random(n_bars) < 0.5, np.nan, 12 * bars.instrument.pip_size)
    digits = bars.instrument.price_precision
    close = bars.bid.close
    return SignalArrays(
        entry_long=kind == "long",
        entry_short=kind == "short",
        exit_long=rng.random(n_bars) < 0.2,
        exit_short=rng.random(n_bars) < 0.2,
        stop_long=np.round(close - distance, digits),
        target_long=np.full(n_bars, np.nan),
        stop_short=np.round(close + distance, digits),
        target_short=np.full(n_bars, np.nan),
        units=np.full(n_bars, float(units)),
        ready=np.ones(n_bars, dtype=bool),
        indicators={},
    )


def oracle(bars, signals):
    return simulate(
        signals,
        bars,
        pine_entry_bar=False,
        flatten_bars={len(bars) - 1},
        flatten_reason="end_of_data",
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    symbol=st.sampled_from(["EURUSD", "USDJPY", "GBPJPY"]),
    seed=st.integers(0, 10**6),
    units=st.sampled_from([1, 7, 100, 12_345, 1_000_000]),
    commission=st.sampled_from([0.0, 2.5, 35.0, 33.3333]),
)
def test_every_trade_is_the_decimal_account_and_all_add_up_to_the_cent(symbol, seed, units, commission):
    bars = walk(symbol, 200, seed)
    signals = script(bars, seed, units)
    config = BacktestConfig(initial_balance=1e9, leverage=1000.0, commission_per_million=commission)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", signals)
    lines = account_statement(oracle(bars, signals), commission_per_million=commission)
    assert len(lines) == len(result.trades) > 10
    for trade, line in zip(result.trades, lines, strict=True):
        # The float nearest to the exact decimal: nothing is rounded on the way.
        assert (trade.pnl, trade.commission) == (float(line.pnl), float(line.commission))
    net = sum(line.pnl for line in lines)
    cent = Decimal("0.01")
    assert Decimal(repr(result.metrics.net_profit)).quantize(cent) == net.quantize(cent)
    assert Decimal(repr(float(result.equity[-1]))).quantize(cent) == (10**9 + net).quantize(cent)
    assert math.fsum(trade.pnl for trade in result.trades) == pytest.approx(float(net), abs=1e-9)


def test_small_trades_pay_small_commissions_in_both_replays():
    bars = walk("EURUSD", 2000, 7)
    signals = script(bars, 7, 1)
    config = BacktestConfig(commission_per_million=35.0)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", signals)
    notional = sum(trade.entry_price + trade.exit_price for trade in result.trades)
    assert len(result.trades) > 300
    assert result.metrics.commission == pytest.approx(notional * 35e-6, rel=1e-9)
    assert result.metrics.commission > 0.02
