"""The proof: emitted Pine, run by an independent Pine engine, trades exactly as NautilusTrader does.

Same bars, parity mode: entry and exit bar, side, both prices to the tick, size and the reason of the exit.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.results import TrialResult
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.broker import simulate
from aiopt.timeframe import parse_timeframe
from aiopt.verification.verifying import opens_past_one_leg_and_reaches_the_other

pytestmark = pytest.mark.slow

MONTH_BARS = 30_000
EURUSD = instrument("EURUSD")

TIGHT = """{"name": "tight", "params": {"length": 5, "stop_pips": 0.8, "target_pips": 1.1},
 "indicators": {"average": {"kind": "ema", "args": {"length": "length"}}},
 "entry_long": "crossover(close, average)", "entry_short": "crossunder(close, average)",
 "exit_long": "falling(close, 2)", "exit_short": "rising(close, 2)",
 "stop_loss": {"unit": "pips", "value": "stop_pips"},
 "take_profit": {"unit": "pips", "value": "target_pips"}}"""
"""Stops of the size of a bar: gapped stops, entries beyond their own stop, stop and target in one bar."""

RISK = """{"name": "risk", "params": {"length": 20, "stop_atr": 1.5, "risk_length": 3},
 "indicators": {"bands": {"kind": "bollinger", "args": {"length": "length", "multiplier": 1.5}},
                "atr": {"kind": "atr", "args": {"length": 10}}},
 "entry_long": "close < bands.lower and not rising(close, risk_length)",
 "entry_short": "close > bands.upper and (high - low) / atr > 0.7",
 "exit_long": "close > highest(high[1], 10) or close > bands.middle + atr",
 "stop_loss": {"unit": "atr", "value": "stop_atr", "indicator": "atr"},
 "session": {"start": "21:30", "end": "07:15", "timezone": "America/New_York", "weekdays": [1, 3, 4, 7]},
 "size": {"kind": "risk", "risk_pct": 0.5}}"""
"""No target, no exit for shorts, a session over midnight in another zone, sizes by risk, lifted functions."""

LEVERED = """{"name": "levered", "params": {"length": 9},
 "indicators": {"average": {"kind": "sma", "args": {"length": "length"}}},
 "entry_long": "close > average", "entry_short": "close < average",
 "stop_loss": {"unit": "pips", "value": 90}, "take_profit": {"unit": "pips", "value": 11},
 "size": {"kind": "risk", "risk_pct": 80.0}}"""
"""Asks for more than margin allows at every entry and reverses until nothing is left; not one of SPECS."""

LONG_ONLY = """{"name": "long_only", "params": {"level": 30.0},
 "indicators": {"rsi": {"kind": "rsi", "source": "hlc3", "args": {"length": 7}}},
 "entry_long": "rsi < level", "exit_long": "rsi > 100 - level"}"""
"""One side, no stop, no target."""

SPECS: dict[str, StrategySpec] = {
    **{name: space.spec for name, space in FAMILIES.items()},
    **{spec.name: spec for spec in (StrategySpec.from_json(text) for text in (TIGHT, RISK, LONG_ONLY))},
}


@cache
def _script(name: str, version: int = 6) -> str:
    return emit(SPECS[name], provenance=Provenance(), instrument=EURUSD, version=version)


def _bar_set(bars: BarArrays) -> BarSet:
    return BarSet(
        instrument=EURUSD,
        timeframe=bars.timeframe,
        bid=bars,
        ask=bars,
        single_price=True,
        data_hash=bars.data_hash,
    )


@pytest.fixture(scope="module")
def generated_month() -> BarSet:
    return _bar_set(random_walk_bars(MONTH_BARS, seed=20180101))


@pytest.fixture(scope="module")
def real_month(shared_data: Path) -> BarSet:
    """January 2018 of HistData, stamps moved from New York to UTC."""
    rows = []
    with zipfile.ZipFile(shared_data / "histdata" / "HISTDATA_COM_ASCII_EURUSD_M12018.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".csv"))
        with archive.open(name) as raw, io.TextIOWrapper(raw, encoding="ascii") as lines:
            for line in lines:
                stamp, *prices, _volume = line.strip().split(";")
                when = dt.datetime.strptime(stamp, "%Y%m%d %H%M%S").replace(tzinfo=dt.UTC)
                rows.append((int(when.timestamp()) + 5 * 3600, *map(float, prices)))
                if len(rows) == MONTH_BARS:
                    break
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    bars = BarArrays(
        instrument="EURUSD",
        timeframe=parse_timeframe("1m"),
        price="bid",
        ts_open_ns=columns[0].astype(np.int64) * 1_000_000_000,
        open=columns[1],
        high=columns[2],
        low=columns[3],
        close=columns[4],
        volume=np.zeros(len(rows)),
        data_hash=hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest(),
    )
    return _bar_set(bars)


def _run_nautilus(spec: StrategySpec, bars: BarSet) -> TrialResult:
    with BacktestSession(bars, BacktestConfig(mode="parity")) as session:
        return session.run(spec)


def _pine_reason(trade) -> str:
    if trade.exit_comment in {"Stop", "Target"}:
        return {"Stop": "stop_loss", "Target": "take_profit"}[trade.exit_comment]
    return "exit_signal" if trade.exit_comment == "Exit signal" else "reverse"


def _pine_rows(trades) -> list[tuple]:
    return [
        (
            trade.entry_bar,
            trade.exit_bar,
            trade.side,
            round(trade.entry_price, 5),
            round(trade.exit_price, 5),
            round(float(trade.size), 6),
            _pine_reason(trade),
        )
        for trade in trades
    ]


def _nautilus_rows(result: TrialResult) -> list[tuple]:
    return [
        (
            trade.entry_bar,
            trade.exit_bar,
            trade.side,
            round(trade.entry_price, 5),
            round(trade.exit_price, 5),
            round(float(trade.size), 6),
            trade.exit_reason,
        )
        for trade in result.trades
    ]


def _signals(spec: StrategySpec, bars: BarArrays):
    return compute_signals(
        spec,
        bars,
        tick_size=EURUSD.tick_size,
        pip_size=EURUSD.pip_size,
        initial_balance=100_000.0,
    )


def _assert_equal_trades(result: TrialResult, found: list[tuple], bars: BarArrays, *, at_least: int) -> None:
    expected = _nautilus_rows(result)
    excused = 0
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        if one != other and opens_past_one_leg_and_reaches_the_other(result.trades[index], bars):
            excused += 1
            # Everything but the price and the reason of the exit still has to agree.
            one, other = (*one[:4], one[5]), (*other[:4], other[5])
        assert one == other, f"trade {index}: Nautilus {one}, Pine {other}"
    assert len(expected) == len(found)
    # An empty comparison proves nothing, nor does one full of excuses.
    assert len(found) >= at_least
    assert excused <= len(found) // 2000


@pytest.mark.parametrize("name", sorted(SPECS))
def test_trades_equal_on_a_generated_month(pine, generated_month: BarSet, name: str) -> None:
    result = _run_nautilus(SPECS[name], generated_month)
    run = pine.run(_script(name), generated_month.bid)
    _assert_equal_trades(result, _pine_rows(run.closed), generated_month.bid, at_least=50)
    assert len(run.open) == (0 if result.open_trade is None else 1)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_trades_equal_on_a_real_month(pine, real_month: BarSet, name: str) -> None:
    result = _run_nautilus(SPECS[name], real_month)
    run = pine.run(_script(name), real_month.bid)
    _assert_equal_trades(result, _pine_rows(run.closed), real_month.bid, at_least=50)


@pytest.mark.parametrize(("balance", "refuses"), [(100_000.0, False), (50.0, True)])
def test_sizes_by_risk_are_cut_and_refused_alike(
    pine, generated_month: BarSet, balance: float, refuses: bool
) -> None:
    spec = StrategySpec.from_json(LEVERED)
    bars = generated_month.slice(0, 1500)
    config = BacktestConfig(mode="parity", initial_balance=balance, leverage=25.0)
    with BacktestSession(bars, config) as session:
        result = session.run(spec)
    script = emit(
        spec, provenance=Provenance(), instrument=EURUSD, initial_balance=balance, leverage=config.leverage
    )
    run = pine.run(script, bars.bid)
    assert _nautilus_rows(result) == _pine_rows(run.closed)
    assert len(result.trades) >= 20
    assert result.capped_bars
    assert bool(result.refused_bars) == refuses
    closed = {trade.exit_bar - 1 for trade in result.trades if trade.exit_reason == "reverse"}
    assert bool(closed & set(result.refused_bars)) == refuses, "a refused reversal closes the position"


@pytest.mark.parametrize("name", ["rsi_reversion", "tight"])
def test_version_5_trades_as_version_6(pine, generated_month: BarSet, name: str) -> None:
    bars = generated_month.bid.slice(0, 8000)
    assert _pine_rows(pine.run(_script(name, 5), bars).closed) == _pine_rows(
        pine.run(_script(name), bars).closed
    )


@pytest.mark.parametrize("name", sorted(SPECS))
def test_signals_and_indicators_equal_bar_for_bar(pine, generated_month: BarSet, name: str) -> None:
    spec = SPECS[name]
    bars = generated_month.bid.slice(0, 6000)
    signals = _signals(spec, bars)
    sides = [side for side in ("long", "short") if getattr(spec, f"entry_{side}") is not None]
    outputs = [output for outputs in spec.output_names().values() for output in outputs]
    run = pine.run(_script(name), bars, plots=[*outputs, *(f"{side.title()} signal" for side in sides)])
    fired = {side: run.plots[f"{side.title()} signal"] == 1 for side in sides}
    both = np.logical_and.reduce([fired.get(side, np.zeros(len(bars), bool)) for side in ("long", "short")])
    for side in sides:
        expected = getattr(signals, f"entry_{side}")
        assert expected.any()
        np.testing.assert_array_equal(fired[side] & ~both, expected, err_msg=f"{side} signals")
    for output in outputs:
        # The engine rounds what it hands out to ten decimals.
        np.testing.assert_allclose(run.plots[output], signals.indicators[output], rtol=0, atol=2e-8)


def test_the_tight_spec_meets_the_corner_cases(generated_month: BarSet) -> None:
    """The comparison above covers what it is meant to cover."""
    bars = generated_month.bid
    signals = _signals(SPECS["tight"], bars)
    trades = [
        trade
        for trade in simulate(signals, generated_month, pine_entry_bar=True)
        if trade.exit_bar is not None
    ]
    gapped_stops = beyond_stop = same_bar = spared = 0
    for trade in trades:
        signal_bar = trade.entry_bar - 1
        stop = (signals.stop_long if trade.side == "long" else signals.stop_short)[signal_bar]
        same_bar += trade.entry_bar == trade.exit_bar
        past = trade.entry_price <= stop if trade.side == "long" else trade.entry_price >= stop
        beyond_stop += past and trade.side == "long"
        spared += past and trade.side == "short"
        gapped_stops += trade.exit_reason == "stop_loss" and trade.exit_price == bars.open[trade.exit_bar]
    reasons = {trade.exit_reason for trade in trades}
    assert reasons == {"stop_loss", "take_profit", "exit_signal", "reverse"}
    assert min(gapped_stops, beyond_stop, same_bar, spared) >= 5, (
        gapped_stops,
        beyond_stop,
        same_bar,
        spared,
    )
