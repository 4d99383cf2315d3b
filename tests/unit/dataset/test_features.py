"""Features: formulas against plain loops, and no value that depends on a later bar."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.charts import parse_plot
from aiopt.dataset import FeatureConfig
from aiopt.dataset.features import compute_features, indicator_name, trailing_rank
from aiopt.errors import ConfigError, SpecError
from aiopt.indicators import INDICATORS, atr
from aiopt.testing.bars import random_walk_bar_set
from tests.unit.dataset.futures import shaken

BARS = random_walk_bar_set(700, seed=11, timeframe="5m")
SLOW = {"ichimoku", "previous_day", "previous_week", "session_range"} | {
    kind for kind in INDICATORS if kind.startswith("higher_")
}
"""Kinds whose first value comes after the rank's."""
KINDS = tuple(kind for kind in INDICATORS if kind not in SLOW)
CONFIG = FeatureConfig(indicators=KINDS, regime_window=50)


@settings(max_examples=40, deadline=None)
@given(first=st.integers(1, len(BARS) - 1), seed=st.integers(0, 2**32 - 1))
def test_no_feature_moves_when_the_future_does(first: int, seed: int) -> None:
    known = compute_features(BARS, CONFIG)
    other = compute_features(shaken(BARS, first, seed), CONFIG)
    assert known.columns.keys() == other.columns.keys()
    for name, values in known.columns.items():
        np.testing.assert_array_equal(values[:first], other.columns[name][:first], err_msg=name)
    np.testing.assert_array_equal(known.atr[:first], other.atr[:first])
    # The test sees something: behind the cut the features do move.
    assert any(not np.array_equal(known.columns[n][first:], other.columns[n][first:]) for n in ("close",))


@settings(max_examples=15, deadline=None)
@given(stop=st.integers(1, len(BARS)))
def test_features_of_a_prefix_are_the_prefix_of_the_features(stop: int) -> None:
    whole = compute_features(BARS, CONFIG)
    part = compute_features(BARS.slice(0, stop), CONFIG)
    for name, values in part.columns.items():
        np.testing.assert_array_equal(values, whole.columns[name][:stop], err_msg=name)


def test_formulas_of_single_bars() -> None:
    columns = compute_features(BARS, CONFIG).columns
    bid, ask, pip = BARS.bid, BARS.ask, BARS.instrument.pip_size
    true_range = atr(bid.high, bid.low, bid.close, 14)
    for i in (200, 333, 699):
        o, h, lo, c = (float(getattr(bid, name)[i]) for name in ("open", "high", "low", "close"))
        span = h - lo
        expected = {
            "open": o,
            "close": c,
            "volume": float(bid.volume[i]),
            "body_ratio": (c - o) / span if span else 0.0,
            "upper_wick_ratio": (h - max(o, c)) / span if span else 0.0,
            "lower_wick_ratio": (min(o, c) - lo) / span if span else 0.0,
            "range_atr": span / true_range[i],
            "log_return_5": math.log(c / bid.close[i - 5]),
            "atr_pips": true_range[i] / pip,
            "ema_20_distance": (c - columns["ema_20"][i]) / true_range[i],
            "spread_pips": (ask.close[i] - c) / pip,
            "spread_atr": (ask.close[i] - c) / true_range[i],
        }
        for name, value in expected.items():
            assert columns[name][i] == pytest.approx(value, rel=1e-12, abs=1e-15), name
        moment = dt.datetime.fromtimestamp((bid.ts_open_ns[i] + BARS.timeframe.ns) / 1e9, dt.UTC)
        hours = moment.hour + moment.minute / 60
        day, week = 2 * math.pi * hours / 24, 2 * math.pi * (moment.weekday() * 24 + hours) / 168
        for name, value in (("day_sin", math.sin(day)), ("day_cos", math.cos(day))):
            assert columns[name][i] == pytest.approx(value, abs=1e-12)
        for name, value in (("week_sin", math.sin(week)), ("week_cos", math.cos(week))):
            assert columns[name][i] == pytest.approx(value, abs=1e-12)


def test_a_bar_without_range_has_no_shape() -> None:
    flat = BARS.bid.high == BARS.bid.low
    assert flat.any()
    columns = compute_features(BARS, CONFIG).columns
    for name in ("body_ratio", "upper_wick_ratio", "lower_wick_ratio"):
        assert (columns[name][flat] == 0).all()
    shape = columns["upper_wick_ratio"] + columns["lower_wick_ratio"] + np.abs(columns["body_ratio"])
    np.testing.assert_allclose(shape[~flat], 1.0)


@pytest.mark.parametrize("window", [2, 7, 50])
def test_the_trailing_rank_counts_the_values_not_above(window: int) -> None:
    values = np.random.default_rng(5).integers(0, 20, 9_000).astype(np.float64)
    values[10] = np.nan
    rank = trailing_rank(values, window)
    assert np.isnan(rank[: window - 1]).all()
    for i in (*range(window - 1, 60), 4_095, 4_096, 4_097, 8_999):
        part = values[i - window + 1 : i + 1]
        expected = np.nan if np.isnan(part).any() else sum(v <= values[i] for v in part) / window
        assert rank[i] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(trailing_rank(values[:3], 5)).all()


def test_the_regime_follows_the_rank_and_readiness_follows_the_longest_warm_up() -> None:
    features = compute_features(BARS, CONFIG)
    rank, regime = (features.columns[name] for name in ("volatility_rank", "volatility_regime"))
    ready = features.ready
    assert set(regime[ready]) == {0.0, 1.0, 2.0}
    assert (rank[regime == 0] <= CONFIG.regime_low).all()
    assert (rank[regime == 2] > CONFIG.regime_high).all()
    # ATR(14) has its first value on bar 13, the rank 49 bars later.
    assert features.warm_up == 13 + 49
    assert ready[features.warm_up :].all()


def test_one_price_gives_no_spread() -> None:
    single = replace(BARS, ask=BARS.bid, single_price=True)
    assert not {"spread_pips", "spread_atr"} & compute_features(single, CONFIG).columns.keys()


def test_too_few_bars_are_all_warm_up() -> None:
    features = compute_features(BARS.slice(0, 20), CONFIG)
    assert features.warm_up == 20
    assert not features.ready.any()


def test_columns_are_named_after_all_that_tells_indicators_apart() -> None:
    assert indicator_name(parse_plot("rsi"), "value") == "rsi_14"
    assert indicator_name(parse_plot("macd"), "signal") == "macd_12_26_9_signal"
    name = indicator_name(parse_plot("bollinger:multiplier=2.5,source=hl2"), "upper")
    assert name == "bollinger_20_2p5_hl2_upper"


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"indicators": ("rsii",)}, SpecError, "Did you mean 'rsi'"),
        ({"return_lags": (0,)}, ConfigError, "1 <= features.return_lags"),
        ({"return_lags": (3, 3)}, ConfigError, "must not repeat a value"),
        ({"regime_window": 1}, ConfigError, "2 <= features.regime_window"),
        ({"regime_low": 0.8}, ConfigError, "0 < regime_low < regime_high < 1"),
    ],
)
def test_bad_settings(fields: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FeatureConfig(**fields)
