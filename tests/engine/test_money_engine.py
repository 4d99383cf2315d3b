"""Money of whole backtests: equal to an independent account in decimals, and adding up to the cent."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.conversion import with_conversion
from aiopt.backtest.pricing import add_spread
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.signals import ArraySignals, StreamedSignals
from aiopt.backtest.swap import InterestRate, SwapConfig, SwapPoints
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import SignalArrays
from aiopt.strategy.spec import RiskSize
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


def script(bars, seed, units, exits=0.2):
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
        exit_long=rng.random(n_bars) < exits,
        exit_short=rng.random(n_bars) < exits,
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
    config = BacktestConfig(
        stop_slippage_ticks=0.0, initial_balance=1e9, leverage=1000.0, commission_per_million=commission
    )
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", signals)
    lines = account_statement(oracle(bars, signals), bars, commission_per_million=commission)
    assert len(lines) == len(result.trades) > 10
    for trade, line in zip(result.trades, lines, strict=True):
        # The float nearest to the exact decimal: nothing is rounded on the way.
        assert (trade.pnl, trade.commission) == (float(line.pnl), float(line.commission))
    net = sum(line.pnl for line in lines)
    # Nearer than any cent; half a cent itself may fall to either side in a sum of floats.
    assert abs(Decimal(repr(result.metrics.net_profit)) - net) < Decimal("1e-8")
    assert abs(Decimal(repr(float(result.equity[-1]))) - (10**9 + net)) < Decimal("1e-6")
    assert math.fsum(trade.pnl for trade in result.trades) == pytest.approx(float(net), abs=1e-9)


RATES = {
    "EUR": [("2017-01-01", "-0.4"), ("2018-03-13", "0.25")],
    "USD": [("2017-06-01", "1.5"), ("2018-11-04", "2.375")],
    "JPY": [("2010-01-01", "-0.1")],
}


def priced(kind, pair):
    """A swap table twice: as configuration, and as the oracle's price of a night."""
    if kind == "points":
        points = SwapPoints(long=-6.37, short=1.25, unit="points")
        tick = Decimal(repr(pair.tick_size))
        return SwapConfig(
            points={pair.symbol: points}
        ), lambda date, side, bid: tick * Decimal("-6.37" if side == "long" else "1.25")
    rates = {
        name: tuple(InterestRate(date=date, percent=float(percent)) for date, percent in rows)
        for name, rows in RATES.items()
    }

    def night(date, side, bid):
        base, quote = (
            [Decimal(percent) for start, percent in RATES[name] if start <= date.isoformat()][-1]
            for name in (pair.base, pair.quote)
        )
        percent = (base - quote if side == "long" else quote - base) - Decimal("0.5")
        return bid * percent / 100 / 360

    return SwapConfig(rates=rates, markup_percent=0.5), night


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    symbol=st.sampled_from(["EURUSD", "USDJPY"]),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from([None, "points", "rates"]),
    # Around both clock changes of 2018, and over Christmas, whose nights count as any.
    start=st.sampled_from(["2018-03-07T21:00", "2018-10-31T20:00", "2018-12-20T22:30"]),
    timeframe=st.sampled_from(["30m", "1h", "4h"]),
    units=st.sampled_from([1, 100_000]),
)
def test_nights_are_counted_and_charged_as_the_oracle_says(symbol, seed, kind, start, timeframe, units):
    first_ns = int(np.datetime64(start, "ns").astype(np.int64))
    bars = walk(symbol, 240, seed, timeframe=timeframe, first_ns=first_ns)
    signals = script(bars, seed, units)
    signals = replace(
        signals, exit_long=signals.exit_long & (signals.exit_short), exit_short=signals.exit_long
    )
    swap, night = (None, None) if kind is None else priced(kind, bars.instrument)
    config = BacktestConfig(stop_slippage_ticks=0.0, initial_balance=1e8, leverage=1000.0, swap=swap)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", signals)
        streamed = session._run("script", StreamedSignals(Scripted(signals)), None, None)
    assert streamed.trades == result.trades
    assert np.array_equal(streamed.equity, result.equity)
    lines = account_statement(oracle(bars, signals), bars, commission_per_million=35.0, night=night)
    assert [trade.nights for trade in result.trades] == [line.nights for line in lines]
    assert sum(line.nights for line in lines) > 0
    for trade, line in zip(result.trades, lines, strict=True):
        # An interest rate is a quotient: kept to 1e-16 per rollover, exact otherwise.
        assert trade.swap == pytest.approx(float(line.swap), rel=1e-15, abs=1e-14)
        assert trade.pnl == pytest.approx(float(line.pnl), rel=1e-12, abs=1e-12)
    net = sum(line.pnl for line in lines)
    cent = Decimal("0.01")
    assert Decimal(repr(result.metrics.net_profit)).quantize(cent) == net.quantize(cent)
    assert Decimal(repr(float(result.equity[-1]))).quantize(cent) == (10**8 + net).quantize(cent)


def other_pair(symbol, n_bars, seed, first_ns):
    """Bars of a conversion pair, of another timeframe than what is traded and from well before it."""
    return walk(symbol, n_bars, seed, timeframe="15m", first_ns=first_ns - 3 * 3_600 * 10**9)


def rate_of(pair, *, inverse):
    """The mid price of the last bar that has ended, as the oracle reads it."""
    ends = (pair.bid.ts_open_ns + pair.timeframe.ns) // 10**9

    def rate(moment):
        ended = int((ends <= int(moment.timestamp())).sum()) - 1
        bid, ask = (Decimal(repr(float(side.close[ended]))) for side in (pair.bid, pair.ask))
        mid = (bid + ask) / 2
        return 1 / mid if inverse else mid

    return rate


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    case=st.sampled_from([("USDJPY", "USD", None), ("GBPJPY", "USD", "USDJPY"), ("EURGBP", "USD", "GBPUSD")]),
    units=st.sampled_from([1, 100_000]),
    charged=st.booleans(),
)
def test_money_of_an_account_in_another_currency_is_converted_at_each_booking(seed, case, units, charged):
    symbol, account, pair = case
    first_ns = int(np.datetime64("2018-03-06T10:00", "ns").astype(np.int64))
    bars = walk(symbol, 150, seed, timeframe="1h", first_ns=first_ns)
    rates = bars if pair is None else other_pair(pair, 900, seed + 1, first_ns)
    rate = rate_of(rates, inverse=pair != "GBPUSD")
    if pair is not None:
        bars = with_conversion(bars, rates)
    swap, night = priced("points", bars.instrument) if charged else (None, None)
    config = BacktestConfig(
        stop_slippage_ticks=0.0, initial_balance=1e8, leverage=1000.0, account_currency=account, swap=swap
    )
    signals = script(bars, seed, units, exits=0.1)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", signals)
        streamed = session._run("script", StreamedSignals(Scripted(signals)), None, None)
    assert streamed.trades == result.trades
    lines = account_statement(
        oracle(bars, signals), bars, commission_per_million=35.0, night=night, rate=rate
    )
    assert len(lines) == len(result.trades) > 10
    for trade, line in zip(result.trades, lines, strict=True):
        assert trade.commission == pytest.approx(float(line.commission), rel=1e-13, abs=1e-15)
        assert trade.swap == pytest.approx(float(line.swap), rel=1e-13, abs=1e-14)
        assert trade.pnl == pytest.approx(float(line.pnl), rel=1e-9, abs=1e-13)
    net = sum(line.pnl for line in lines)
    assert result.metrics.net_profit == pytest.approx(float(net), abs=1e-7)
    assert result.equity[-1] == pytest.approx(1e8 + float(net), abs=1e-6)


def test_risk_and_margin_are_measured_in_the_accounts_currency():
    spec = FAMILIES["rsi_reversion"].spec
    sized = msgspec.structs.replace(spec, size=RiskSize(risk_pct=1.0, step=1))
    bars = walk("USDJPY", 3000, 5)
    with BacktestSession(bars, BacktestConfig(account_currency="USD", initial_balance=10_000.0)) as session:
        dollars = session.run(sized)
    with BacktestSession(
        bars, BacktestConfig(account_currency="USD", initial_balance=10_000.0, signals="streaming")
    ) as session:
        assert session.run(sized).trades == dollars.trades
    with BacktestSession(bars, BacktestConfig(initial_balance=1_200_000.0)) as session:
        yen = session.run(sized)
    assert len(dollars.trades) == len(yen.trades) > 10
    price = float(bars.bid.close.mean())
    for left, right in zip(dollars.trades, yen.trades, strict=True):
        # Ten thousand dollars are 10,000 times the price in yen, of which one per cent is risked.
        assert left.size == pytest.approx(right.size * 10_000 * left.entry_price / 1_200_000, rel=0.02)
        assert left.pnl == pytest.approx(right.pnl * left.size / right.size / left.exit_price, rel=0.02)
    # As yen, ten thousand carry next to nothing: sizes are cut to the margin.
    with BacktestSession(bars, BacktestConfig(initial_balance=10_000.0)) as session:
        assert all(trade.size < 10_000 * 30 / price * 1.1 for trade in session.run(sized).trades)


def test_an_account_without_a_rate_is_refused_with_the_bars_that_would_do():
    bars = walk("GBPJPY", 50, 1)
    with pytest.raises(ConfigError, match=r"Give bars of USDJPY or JPYUSD \(--conversion\), or set"):
        BacktestSession(bars, BacktestConfig(account_currency="USD"))
    other = with_conversion(bars, walk("EURUSD", 50, 1))
    with pytest.raises(ConfigError, match="needs bars of USDJPY or JPYUSD, but these are of EURUSD"):
        BacktestSession(other, BacktestConfig(account_currency="USD"))
    with pytest.raises(ConfigError, match="Leave out the bars of EURUSD"):
        BacktestSession(other, BacktestConfig())
    late = with_conversion(bars, walk("USDJPY", 50, 1, first_ns=int(bars.bid.ts_open_ns[-1])))
    with pytest.raises(DataError, match=r"bar 0, which ends .* has none of USDJPY 1m"):
        BacktestSession(late, BacktestConfig(account_currency="USD"))
    with pytest.raises(ConfigError, match="A parity run's account is in the quote currency, JPY"):
        BacktestSession(bars, BacktestConfig(mode="parity", account_currency="USD"))


def test_conversion_bars_are_named_by_the_results_data_hash():
    bars = walk("GBPJPY", 50, 1)
    first, second = (with_conversion(bars, walk("USDJPY", 50, seed)) for seed in (1, 2))
    assert len({bars.data_hash, first.data_hash, second.data_hash}) == 3


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), converted=st.booleans(), long=st.sampled_from([-300.0, -2000.0, 5.0]))
def test_nights_that_ruin_an_account_ruin_it_in_both_replays(seed, converted, long):
    first_ns = int(np.datetime64("2018-03-06T10:00", "ns").astype(np.int64))
    bars = walk("USDJPY", 200, seed, timeframe="1h", first_ns=first_ns)
    signals = script(bars, seed, 10_000, exits=0.02)
    swap = SwapConfig(points={"USDJPY": SwapPoints(long=long, short=-500.0)})
    account = {"account_currency": "USD"} if converted else {}
    balance = 1_000.0 if converted else 120_000.0
    config = BacktestConfig(initial_balance=balance, leverage=1000.0, swap=swap, **account)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("script", signals)
        streamed = session._run("script", StreamedSignals(Scripted(signals)), None, None)
    assert streamed.trades == result.trades
    assert streamed.ruined_bars == result.ruined_bars
    assert np.array_equal(streamed.equity, result.equity)


class Scripted:
    """Stands for `StreamingSignals`: says what the arrays say, bar after bar."""

    size_step = None
    exits = None
    limits = None
    pyramiding = 1

    def __init__(self, signals):
        self._source = ArraySignals(signals, np.full(len(signals), np.nan))
        self._bar = -1

    def update(self, ts_open_ns, open, high, low, close, volume):
        self._bar += 1
        return self._source.at(self._bar)


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
