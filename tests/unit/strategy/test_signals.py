"""Signals over arrays and bar by bar: equality, gate, session, sides, stops, sizes."""

from __future__ import annotations

import io
import math
import zipfile

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.schema import BarArrays
from aiopt.errors import SpecError
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import (
    BarSignal,
    compute_signals,
    price_digits,
    round_to_tick,
    series_arrays,
    signals_equal,
    stream_signals,
)
from aiopt.strategy.spec import IndicatorSpec, PriceDistance, RiskSize, SessionFilter, StrategySpec
from aiopt.timeframe import parse_timeframe
from tests.unit.strategy.condition_trees import make_bars

ACCOUNT = {"tick_size": 1e-5, "pip_size": 1e-4, "initial_balance": 100_000.0}
SERIES_NAMES = ("ts_open_ns", "open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def real_bars(shared_data):
    """Six days of one-minute bid bars (OANDA, May 2014: summer time in London)."""
    tables, days = [], []
    for archive in sorted((shared_data / "oanda" / "minute" / "eurusd").glob("*_quote.zip")):
        with zipfile.ZipFile(archive) as bundle:
            table = np.loadtxt(io.StringIO(bundle.read(bundle.namelist()[0]).decode()), delimiter=",")
        day = archive.name[:8]
        tables.append(table)
        midnight = np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "ns").astype(np.int64)
        days.append(midnight + table[:, 0].astype(np.int64) * 1_000_000)
    columns = np.concatenate(tables)
    open_, high, low, close = (np.ascontiguousarray(columns[:, i]) for i in range(1, 5))
    return BarArrays(
        instrument="EURUSD",
        timeframe=parse_timeframe("1m"),
        price="bid",
        ts_open_ns=np.concatenate(days),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=np.zeros(len(close)),
        data_hash="oanda",
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_streaming_equals_arrays_on_real_bars(name, real_bars):
    space = FAMILIES[name]
    for spec in (space.spec, *space.specs(2, seed=7)):
        arrays = compute_signals(spec, real_bars, **ACCOUNT)
        assert signals_equal(arrays, stream_signals(spec, real_bars, **ACCOUNT))
        assert arrays.ready.sum() == len(real_bars) - spec.warmup_bars
    arrays = compute_signals(space.spec, real_bars, **ACCOUNT)
    assert arrays.entry_long.sum() >= 10
    assert arrays.entry_short.sum() >= 10


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(FAMILIES)),
    seed=st.integers(0, 50),
    flat=st.sampled_from([0.0, 0.3, 0.97]),
    risk=st.booleans(),
)
def test_streaming_equals_arrays_on_random_bars(name, seed, flat, risk):
    spec = FAMILIES[name].specs(1, seed=seed)[0]
    if risk:
        spec = msgspec.structs.replace(spec, size=RiskSize(risk_pct=0.5))
    bars = make_bars(300, seed=seed, flat=flat)  # over the change of clocks in London
    assert signals_equal(compute_signals(spec, bars, **ACCOUNT), stream_signals(spec, bars, **ACCOUNT))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("cut", [0, 1, 57, 310])
def test_no_signal_depends_on_later_bars(name, cut):
    bars = make_bars(400, seed=3)
    whole = compute_signals(FAMILIES[name].spec, bars, **ACCOUNT)
    part = compute_signals(FAMILIES[name].spec, bars.slice(0, cut), **ACCOUNT)
    for field in BarSignal._fields:
        np.testing.assert_array_equal(getattr(whole, field)[:cut], getattr(part, field))


def spec_of(**changes):
    fields = {"name": "s", "entry_long": "close > open"}
    return StrategySpec(**{**fields, **changes})


def test_nothing_fires_before_every_indicator_has_a_value():
    spec = spec_of(
        indicators={"avg": IndicatorSpec(kind="sma", args={"length": 50})},
        entry_long="close > 0 or avg > 0",
        entry_short="close < 0",
        exit_long="close > 0",
    )
    signals = compute_signals(spec, make_bars(100), **ACCOUNT)
    assert np.flatnonzero(signals.entry_long)[0] == spec.warmup_bars == 49
    assert np.flatnonzero(signals.exit_long)[0] == 49
    assert signals.entry_long[49:].all()


def test_a_gap_in_an_indicator_closes_the_gate_again():
    spec = spec_of(
        indicators={
            "st": IndicatorSpec(kind="stochastic", args={"k_length": 2, "k_smooth": 1, "d_smooth": 1})
        },
        entry_long="close > 0 or st.k > 0",
    )
    bars = make_bars(30, flat=0.0)
    for name in ("open", "high", "low", "close"):
        getattr(bars, name)[10:13] = bars.close[10]
    signals = compute_signals(spec, bars, **ACCOUNT)
    assert np.flatnonzero(~signals.entry_long).tolist() == [0, 11, 12]
    assert signals_equal(signals, stream_signals(spec, bars, **ACCOUNT))


def test_both_entries_true_means_neither():
    spec = spec_of(entry_long="close >= open", entry_short="close <= open")
    bars = make_bars(200, flat=0.5)
    signals = compute_signals(spec, bars, **ACCOUNT)
    equal = bars.close == bars.open
    assert 20 < equal.sum() < 180
    assert not (signals.entry_long | signals.entry_short)[equal].any()
    assert (signals.entry_long | signals.entry_short)[~equal].all()


def test_session_restricts_entries_and_not_exits():
    session = SessionFilter(start="08:00", end="12:00", timezone="Europe/London")
    spec = spec_of(entry_long="close > 0", exit_long="close > 0", session=session)
    bars = make_bars(4 * 24 * 5)  # from Friday to Tuesday, summer time begins on Sunday
    signals = compute_signals(spec, bars, **ACCOUNT)
    hours = (bars.ts_open_ns[signals.entry_long] // 3_600_000_000_000 % 24).tolist()
    days = bars.ts_open_ns[signals.entry_long] // 86_400_000_000_000
    assert sorted(set(hours[:16])) == [8, 9, 10, 11]
    assert sorted(set(hours[16:])) == [7, 8, 9, 10]
    assert len(set(days.tolist())) == 3
    assert signals.exit_long.all()


def test_stops_and_targets_in_pips():
    spec = spec_of(
        stop_loss=PriceDistance(unit="pips", value=10), take_profit=PriceDistance(unit="pips", value=25.5)
    )
    bars = make_bars(3)
    bars.close[:] = [1.1, 1.12345, 1.00001]
    signals = compute_signals(spec, bars, **ACCOUNT)
    assert signals.stop_long.tolist() == [1.099, 1.12245, 0.99901]
    assert signals.stop_short.tolist() == [1.101, 1.12445, 1.00101]
    assert signals.target_long.tolist() == [1.10255, 1.126, 1.00256]
    assert signals.target_short.tolist() == [1.09745, 1.1209, 0.99746]


def test_stops_in_atr_follow_the_signal_bar():
    spec = spec_of(
        indicators={"atr": IndicatorSpec(kind="atr", args={"length": 3})},
        stop_loss=PriceDistance(unit="atr", value=2.0, indicator="atr"),
    )
    bars = make_bars(20)
    signals = compute_signals(spec, bars, **ACCOUNT)
    assert np.isnan(signals.stop_long[:2]).all()
    assert np.isnan(signals.target_long).all()
    expected = np.round(np.floor((bars.close - 2.0 * signals.indicators["atr"]) / 1e-5 + 0.5) * 1e-5, 5)
    np.testing.assert_array_equal(signals.stop_long, expected)
    assert (
        np.abs(signals.stop_long[2:] - (bars.close - 2 * signals.indicators["atr"])[2:]).max() <= 0.500001e-5
    )


def test_risk_size_is_measured_by_the_initial_balance():
    spec = spec_of(stop_loss=PriceDistance(unit="pips", value=20), size=RiskSize(risk_pct=0.5))
    signals = compute_signals(spec, make_bars(5), **ACCOUNT)
    # 500 of 100,000 at risk over 0.0020: 250,000 units
    assert signals.units.tolist() == [250_000.0] * 5


def test_an_entry_smaller_than_a_step_does_not_fire():
    spec = spec_of(
        entry_long="close > 0",
        stop_loss=PriceDistance(unit="pips", value=20),
        size=RiskSize(risk_pct=0.001, step=1000),
    )
    signals = compute_signals(spec, make_bars(5), **ACCOUNT)
    assert signals.units.tolist() == [0.0] * 5
    assert not signals.entry_long.any()
    assert signals_equal(signals, stream_signals(spec, make_bars(5), **ACCOUNT))


def test_size_without_any_range_is_bounded():
    spec = spec_of(
        indicators={"atr": IndicatorSpec(kind="atr", args={"length": 1})},
        stop_loss=PriceDistance(unit="atr", value=2.0, indicator="atr"),
        size=RiskSize(risk_pct=1.0),
    )
    bars = make_bars(3)
    for name in ("open", "high", "low", "close"):
        getattr(bars, name)[:] = 1.1
    bars.high[1] += 1e-300
    bars.high[2] += 1e-13
    signals = compute_signals(spec, bars, **ACCOUNT)
    assert signals.units.tolist() == [0.0, 0.0, 1e9]
    assert signals_equal(signals, stream_signals(spec, bars, **ACCOUNT))


def test_no_bars():
    signals = compute_signals(FAMILIES["macd_adx_trend"].spec, make_bars(400).slice(0, 0), **ACCOUNT)
    assert len(signals) == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hl2", 3.0), ("hlc3", 8.5 / 3), ("ohlc4", 2.625), ("volume", 7.0), ("open", 2.0)],
)
def test_series(name, expected):
    bars = make_bars(1)
    for column, value in zip(SERIES_NAMES[1:], [2.0, 4.0, 2.0, 2.5, 7.0], strict=True):
        getattr(bars, column)[0] = value
    assert series_arrays(bars, name).tolist() == [expected]


@pytest.mark.parametrize(("tick", "digits"), [(1e-5, 5), (0.001, 3), (0.25, 2), (1.0, 0), (10.0, 0)])
def test_price_digits(tick, digits):
    assert price_digits(tick) == digits


@pytest.mark.parametrize("tick", [0.0, -1.0, math.nan, math.inf])
def test_price_digits_refuses(tick):
    with pytest.raises(SpecError, match=r"`tick_size > 0` must hold, but got tick_size="):
        price_digits(tick)


@settings(max_examples=300, deadline=None)
@given(ticks=st.integers(1, 10**6), tenths=st.integers(-4, 4))
def test_round_to_tick_gives_the_float_of_the_decimal(ticks, tenths):
    price = np.array([(ticks + tenths / 10.0) * 1e-5])
    assert round_to_tick(price, 1e-5)[0] == float(f"{ticks // 100000}.{ticks % 100000:05}")


def test_signals_equal_sees_a_difference():
    left = compute_signals(FAMILIES["ema_cross_atr"].spec, make_bars(300), **ACCOUNT)
    right = compute_signals(FAMILIES["ema_cross_atr"].spec, make_bars(300), **ACCOUNT)
    assert signals_equal(left, right)
    right.stop_long[250] += 1e-12
    assert not signals_equal(left, right)
