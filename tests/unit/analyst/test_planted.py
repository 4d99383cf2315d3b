"""Planted charts: valid bars, the same for the same seed, even sides, honest controls."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.analyst.planted import (
    N_BARS,
    PLANTED_KINDS,
    blank_bars,
    mirrored_bars,
    planted_case,
    planted_cases,
    shuffled_bars,
)
from aiopt.bars.schema import BarArrays
from aiopt.errors import ConfigError
from aiopt.patterns import PATTERN_KINDS, Prices


def rows(bars: BarArrays) -> np.ndarray:
    return np.column_stack([bars.open, bars.high, bars.low, bars.close])


@pytest.mark.parametrize("kind", PLANTED_KINDS)
@pytest.mark.parametrize("noise", [0.0, 1.0, 2.0])
def test_every_kind_gives_valid_bars_on_the_tick_grid(kind: str, noise: float) -> None:
    for seed in range(20):
        case = planted_case(kind, seed=seed, noise=noise)
        prices = Prices(case.bars.open, case.bars.high, case.bars.low, case.bars.close)
        assert len(prices) == N_BARS
        assert np.array_equal(np.round(rows(case.bars), 5), rows(case.bars))
        assert 0 <= case.first_bar <= case.last_bar < N_BARS
        assert kind == "none" or case.last_bar > case.first_bar or kind in ("hammer", "shooting_star")
        assert case.bars.synthetic


def test_kinds_are_those_of_the_detectors_and_sides_follow_them() -> None:
    sides = {"bullish": "long", "bearish": "short", "neutral": "neutral"}
    for kind in PLANTED_KINDS:
        if kind != "none":
            assert planted_case(kind, seed=1).bias == sides[PATTERN_KINDS[kind].direction]


def test_cases_are_even_and_the_same_for_the_same_seed() -> None:
    cases = planted_cases(90, seed=4)
    assert [sum(case.bias == bias for case in cases) for bias in ("long", "short", "neutral")] == [30] * 3
    again = planted_cases(90, seed=4)
    assert all(np.array_equal(rows(a.bars), rows(b.bars)) for a, b in zip(cases, again, strict=True))
    other = planted_cases(90, seed=5)
    assert not any(np.array_equal(rows(a.bars), rows(b.bars)) for a, b in zip(cases, other, strict=True))


def test_a_mirrored_chart_mirrored_is_the_chart() -> None:
    bars = planted_case("double_top", seed=3).bars
    mirrored = mirrored_bars(bars)
    assert rows(mirrored_bars(mirrored)) == pytest.approx(rows(bars), abs=1e-9)
    assert mirrored.high.max() - mirrored.low.min() == pytest.approx(bars.high.max() - bars.low.min())
    assert np.array_equal(mirrored.ts_open_ns, bars.ts_open_ns)


def test_shuffling_keeps_the_bars_shapes_and_both_ends() -> None:
    bars = planted_case("rising_channel", seed=3).bars
    shuffled = shuffled_bars(bars, seed=1)
    assert shuffled.close[-1] == pytest.approx(bars.close[-1], abs=2e-5)
    before, after = (np.sort(one.high - one.low) for one in (bars, shuffled))
    assert after == pytest.approx(before, abs=2e-5)
    assert not np.array_equal(rows(shuffled), rows(bars))


def test_a_blank_chart_does_nothing() -> None:
    bars = blank_bars(seed=1)
    assert np.ptp(bars.close) == 0
    assert np.ptp(rows(bars)) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("kind", "noise", "message"),
    [("dubble_top", 1.0, "Did you mean 'double_top'"), ("none", -1.0, "noise=-1")],
)
def test_bad_arguments(kind: str, noise: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planted_case(kind, seed=1, noise=noise)
