"""Values and first bars of every indicator against Pine: an engine's golden, plain loops, and edge cases."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from aiopt.indicators import INDICATORS, atr, bollinger, dmi, ema, macd, rma, rsi, sma, stochastic, true_range

NAN = math.nan
GOLDEN = Path(__file__).with_name("golden_pine_engine.json")


@pytest.fixture(scope="module")
def golden():
    """Output of the independent Pine engine over 240 bars, 40 of them without any movement."""
    return json.loads(GOLDEN.read_text())


TIMELESS = [kind for kind, definition in INDICATORS.items() if "time" not in definition.inputs]
"""Kinds that do not ask when a bar opens: tests/engine/test_pine_times.py holds the others to Pine."""


@pytest.mark.parametrize("kind", TIMELESS)
def test_equals_the_pine_engine(golden, kind):
    definition = INDICATORS[kind]
    names = ["close" if name == "source" else name for name in definition.inputs]
    results = definition.compute([np.array(golden[name]) for name in names], definition.defaults())
    assert len(results) == len(definition.outputs)
    for output, values in zip(definition.outputs, results, strict=True):
        expected = np.array(
            [NAN if value is None else value for value in golden["outputs"][f"{kind}.{output}"]]
        )
        assert np.isfinite(expected).sum() > 140
        # The engine rounds every variable to 1e-10, which ratios magnify.
        tolerance = {"dmi": 1e-6, "cci": 1e-7, "cmo": 1e-7, "stoch_rsi": 1e-9}.get(kind, 2e-10)
        np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "args", "first"),
    [
        ("sma", {"length": 20}, [19]),
        ("ema", {"length": 20}, [19]),
        ("rma", {"length": 14}, [13]),
        ("rsi", {"length": 14}, [14]),
        ("atr", {"length": 14}, [13]),
        ("dmi", {"length": 14, "smoothing": 14}, [14, 14, 27]),
        ("macd", {"fast": 12, "slow": 26, "signal": 9}, [25, 33, 33]),
        ("macd", {"fast": 30, "slow": 10, "signal": 5}, [29, 33, 33]),
        ("bollinger", {"length": 20, "multiplier": 2.0}, [19, 19, 19]),
        ("stochastic", {"k_length": 14, "k_smooth": 3, "d_smooth": 3}, [15, 17]),
        ("rsi", {"length": 1}, [1]),
        ("atr", {"length": 1}, [0]),
        ("dmi", {"length": 1, "smoothing": 1}, [1, 1, 1]),
        ("wma", {"length": 20}, [19]),
        ("hma", {"length": 20}, [22]),
        ("hma", {"length": 2}, [1]),
        ("linreg", {"length": 20}, [19]),
        ("vwma", {"length": 20}, [19]),
        ("keltner", {"length": 20, "multiplier": 2.0}, [19, 20, 20]),
        ("donchian", {"length": 20}, [19, 19, 19]),
        ("ichimoku", {"conversion": 9, "base": 20, "span": 30, "displacement": 26}, [8, 19, 44, 54]),
        ("supertrend", {"length": 10, "multiplier": 3.0}, [9, 9]),
        ("supertrend", {"length": 1, "multiplier": 1.0}, [0, 0]),
        ("williams_r", {"length": 14}, [13]),
        ("cci", {"length": 20}, [19]),
        ("stoch_rsi", {"rsi_length": 14, "k_length": 14, "k_smooth": 3, "d_smooth": 3}, [29, 31]),
        ("roc", {"length": 10}, [10]),
        ("tsi", {"short": 13, "long": 25}, [37]),
        ("cmo", {"length": 9}, [9]),
        ("obv", {}, [0]),
        ("mfi", {"length": 14}, [14]),
        ("heikin_ashi", {}, [0, 0, 0, 0]),
        ("stochastic", {"k_length": 1, "k_smooth": 1, "d_smooth": 1}, [0, 0]),
    ],
)
def test_first_values(kind, args, first):
    generator = np.random.default_rng(1)
    close = 1.1 + np.cumsum(generator.normal(0, 1e-4, 60))
    high, low = close + 2e-4, close - 1e-4
    definition = INDICATORS[kind]
    columns = {"open": close, "high": high, "low": low, "close": close, "source": close}
    columns["volume"] = generator.integers(1, 9, 60).astype(float)
    results = definition.compute([columns[name] for name in definition.inputs], args)
    assert [int(np.flatnonzero(~np.isnan(values))[0]) for values in results] == first
    assert all(not np.isnan(values[start:]).any() for values, start in zip(results, first, strict=True))
    assert definition.warmup(args) == max(first)


@pytest.mark.parametrize("kind", TIMELESS)
@pytest.mark.parametrize("n_bars", [0, 1, 2])
def test_fewer_bars_than_the_length_give_nan(kind, n_bars):
    definition = INDICATORS[kind]
    column = np.linspace(1.0, 1.1, n_bars)
    results = definition.compute([column] * len(definition.inputs), definition.defaults())
    assert [values.shape for values in results] == [(n_bars,)] * len(definition.outputs)
    if definition.warmup(definition.defaults()) >= n_bars:
        assert all(np.isnan(values).all() for values in results)


def test_sma_is_the_mean_of_its_window():
    np.testing.assert_array_equal(sma([1.0, 2.0, 3.0, 6.0], 3), [NAN, NAN, 2.0, 11.0 / 3.0])


def test_ema_is_seeded_by_the_sma():
    # alpha = 2 / (3 + 1) = 0.5; the seed is (1 + 2 + 6) / 3 = 3
    np.testing.assert_array_equal(ema([1.0, 2.0, 6.0, 5.0, 4.0], 3), [NAN, NAN, 3.0, 4.0, 4.0])


def test_rma_is_seeded_by_the_sma():
    # alpha = 1 / 2; the seed is (1 + 3) / 2 = 2
    np.testing.assert_array_equal(rma([1.0, 3.0, 4.0, 1.0], 2), [NAN, 2.0, 3.0, 2.0])


def test_rsi_without_losses_is_100_and_without_gains_0():
    rising = np.arange(1.0, 9.0)
    assert rsi(rising, 3)[3:].tolist() == [100.0] * 5
    assert rsi(-rising, 3)[3:].tolist() == [0.0] * 5
    assert rsi(np.ones(8), 3)[3:].tolist() == [100.0] * 5  # Pine asks for losses first


def test_rsi_by_hand():
    # changes +2, -1, +1; length 2: gains 1 -> 1, losses 0.5 -> 0.25
    assert rsi([10.0, 12.0, 11.0, 12.0], 2)[2:].tolist() == [
        100.0 - 100.0 / (1.0 + 1.0 / 0.5),
        100.0 - 100.0 / (1.0 + 1.0 / 0.25),
    ]


def test_macd_signal_is_seeded_where_macd_begins():
    lines = macd([1.0, 2.0, 4.0, 8.0], fast=1, slow=2, signal=2)
    slow = [NAN, 1.5, 1.5 + (4.0 - 1.5) * 2.0 / 3.0]
    np.testing.assert_allclose(lines.macd[:3], [NAN, 0.5, 4.0 - slow[2]], rtol=1e-15)
    np.testing.assert_allclose(lines.signal[2], (0.5 + lines.macd[2]) / 2.0, rtol=1e-15)
    assert np.isnan(lines.signal[:2]).all()
    np.testing.assert_array_equal(lines.histogram, lines.macd - lines.signal)


def test_bollinger_uses_the_population_deviation():
    bands = bollinger([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 8, 2.0)
    assert (bands.middle[-1], bands.upper[-1], bands.lower[-1]) == (5.0, 9.0, 1.0)


def test_bollinger_does_not_cancel_far_from_zero():
    wiggle = np.tile([0.0, 1e-5], 10)
    bands = bollinger(1e4 + wiggle, 20, 1.0)
    assert bands.upper[-1] - bands.middle[-1] == pytest.approx(5e-6, rel=1e-6)


def test_stochastic_by_hand():
    high, low, close = [3.0, 5.0, 4.0], [1.0, 2.0, 3.0], [2.0, 4.0, 3.5]
    lines = stochastic(high, low, close, 2, 1, 1)
    np.testing.assert_array_equal(lines.k, [NAN, 100.0 * 3.0 / 4.0, 100.0 * 1.5 / 3.0])


def test_stochastic_without_range_is_nan_until_the_window_has_left_it():
    price = np.array([1.0, 1.0, 1.0, 2.0, 3.0, 2.0, 3.0, 2.0])
    lines = stochastic(price, price, price, 2, 2, 1)
    # raw %K is 0/0 on bars 1 and 2; the two-bar average is clean from bar 4 on
    assert np.flatnonzero(~np.isnan(lines.k)).tolist() == [4, 5, 6, 7]


def test_true_range_of_the_first_bar():
    high, low, close = [2.0, 3.0], [1.0, 2.5], [1.5, 2.75]
    assert true_range(high, low, close, first=True).tolist() == [1.0, 1.5]
    np.testing.assert_array_equal(true_range(high, low, close, first=False), [NAN, 1.5])
    assert atr(high, low, close, 2)[1] == 1.25


def test_dmi_tie_counts_for_neither_side():
    # up-move 1.10003 - 1.10000 and down-move 1.09990 - 1.09987: equal prices, unequal floats
    high, low, close = [1.10000, 1.10003], [1.09990, 1.09987], [1.09995, 1.09995]
    assert (high[1] - high[0]) != (low[0] - low[1])
    lines = dmi(high, low, close, 1, 1)
    assert (lines.plus[1], lines.minus[1], lines.adx[1]) == (0.0, 0.0, 0.0)


def test_dmi_by_hand():
    lines = dmi([2.0, 4.0, 4.0], [1.0, 1.5, 0.5], [1.5, 3.0, 1.0], 1, 1)
    # bar 1: up 2, down -0.5, range 2.5; bar 2: up 0, down 1, range 3.5
    np.testing.assert_array_equal(lines.plus, [NAN, 100.0 * 2.0 / 2.5, 0.0])
    np.testing.assert_array_equal(lines.minus, [NAN, 0.0, 100.0 * 1.0 / 3.5])
    np.testing.assert_array_equal(lines.adx, [NAN, 100.0, 100.0])


def test_dmi_without_any_range_is_zero():
    flat = np.ones(10)
    lines = dmi(flat, flat, flat, 3, 2)
    assert lines.adx[4:].tolist() == [0.0] * 6


def test_recursions_pass_over_missing_bars():
    values = np.array([1.0, NAN, 3.0, 4.0, math.inf, 1.0])
    np.testing.assert_array_equal(rma(values, 2), [NAN, NAN, 2.0, 3.0, NAN, 2.0])


def test_windows_with_a_missing_bar_are_missing():
    values = np.array([1.0, 2.0, NAN, 4.0, 5.0, 6.0])
    np.testing.assert_array_equal(sma(values, 2), [NAN, 1.5, NAN, NAN, 4.5, 5.5])
