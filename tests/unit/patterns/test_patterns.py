"""Pattern detectors: hand-made bars for each kind, and the properties all of them share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.errors import MetricInputError
from aiopt.patterns import (
    PATTERN_KINDS,
    Pattern,
    Prices,
    candlestick_patterns,
    find_patterns,
    price_levels,
    swing_patterns,
    trend_regime,
    typical_range,
    volatility_regime,
    zigzag,
)

TOP = 1 << 20


def bars(rows: Sequence[Sequence[float]]) -> Prices:
    table = np.array(rows, dtype=np.float64)
    return Prices(*(table[:, i] for i in range(4)))


def walk(seed: int, n_bars: int) -> Prices:
    """Whole-number prices, so that mirroring, shifting and doubling are exact."""
    rng = np.random.default_rng(seed)
    scale = np.exp(np.clip(np.cumsum(rng.normal(0, 0.05, n_bars)), -1, 1)) * 40
    drift = np.repeat(rng.normal(0, 12, n_bars // 20 + 1), 20)[:n_bars]
    body = np.rint(rng.normal(0, 1, n_bars) * scale + drift)
    gap = np.rint(rng.normal(0, 2, n_bars))
    close = TOP / 2 + np.cumsum(body + gap)
    opened = close - body
    high = np.maximum(opened, close) + np.rint(rng.exponential(0.5, n_bars) * scale)
    low = np.minimum(opened, close) - np.rint(rng.exponential(0.5, n_bars) * scale)
    return Prices(opened, high, low, close)


def path(*turns: float, step: float = 2.0, wick: float = 0.5) -> Prices:
    """Bars that go straight from turn to turn, `step` per bar."""
    rows = []
    for start, end in itertools.pairwise(turns):
        n_steps = max(1, round(abs(end - start) / step))
        for i in range(n_steps):
            opened = start + (end - start) * i / n_steps
            close = start + (end - start) * (i + 1) / n_steps
            rows.append((opened, max(opened, close) + wick, min(opened, close) - wick, close))
    return bars(rows)


def kinds(found: Sequence[Pattern]) -> set[str]:
    return {pattern.kind for pattern in found}


FALL = [(100 - 2 * i, 101 - 2 * i, 97 - 2 * i, 98 - 2 * i) for i in range(10)]  # last close 80
RISE = [(100 + 2 * i, 103 + 2 * i, 99 + 2 * i, 102 + 2 * i) for i in range(10)]  # last close 120


@pytest.mark.parametrize(
    ("before", "rows", "kind"),
    [
        (FALL, [(80, 82, 78, 80)], "doji"),
        (FALL, [(80, 81.2, 72, 81)], "hammer"),
        (RISE, [(120, 128, 118.8, 119)], "shooting_star"),
        (FALL, [(80, 81, 77, 78), (77, 83, 76, 82)], "bullish_engulfing"),
        (RISE, [(120, 123, 119, 122), (123, 124, 117, 118)], "bearish_engulfing"),
        (FALL, [(80, 84, 76, 79), (79, 81, 78, 80)], "inside_bar"),
        (FALL, [(80, 81, 79, 80), (80, 85, 75, 81)], "outside_bar"),
        (FALL, [(80, 81, 73, 74), (73.5, 74.5, 72.5, 74), (74, 81, 73, 80)], "morning_star"),
        (RISE, [(120, 127, 119, 126), (126.5, 127.5, 125.5, 126), (126, 127, 119, 120)], "evening_star"),
        (
            FALL,
            [(80, 83.5, 79, 83), (82, 86.5, 81, 86), (85, 89.5, 84, 89)],
            "three_white_soldiers",
        ),
        (
            RISE,
            [(120, 121, 116.5, 117), (118, 119, 113.5, 114), (115, 116, 110.5, 111)],
            "three_black_crows",
        ),
    ],
)
def test_each_candlestick_pattern_is_found_at_its_last_bar(
    before: list[tuple[float, ...]], rows: list[tuple[float, ...]], kind: str
) -> None:
    prices = bars([*before, *rows])
    last = len(prices) - 1
    found = [pattern for pattern in candlestick_patterns(prices) if pattern.last_bar == last]
    assert kind in kinds(found)
    pattern = next(pattern for pattern in found if pattern.kind == kind)
    assert (pattern.first_bar, pattern.confirmed_bar) == (len(before), last)
    assert pattern.price == prices.close[-1]


def test_a_hammer_needs_a_fall_before_it() -> None:
    shape = (120.0, 121.2, 112.0, 121.0)
    assert "hammer" not in kinds(candlestick_patterns(bars([*RISE, shape])))


@pytest.mark.parametrize(
    ("turns", "kind"),
    [
        ((40, 100, 70, 101, 60), "double_top"),
        ((160, 100, 130, 99, 140), "double_bottom"),
        ((20, 100, 70, 130, 72, 101, 50), "head_and_shoulders"),
        ((180, 100, 130, 70, 128, 99, 150), "inverse_head_and_shoulders"),
        ((40, 100, 50, 100, 70, 100, 86, 99, 90), "ascending_triangle"),
        ((160, 100, 150, 100, 130, 100, 114, 101, 110), "descending_triangle"),
        ((70, 140, 60, 125, 78, 112, 90, 101), "symmetrical_triangle"),
        ((40, 80, 60, 100, 80, 120, 100, 140, 120), "rising_channel"),
        ((160, 120, 140, 100, 120, 80, 100, 60, 80), "falling_channel"),
        ((80, 100, 80, 100, 80, 100, 80, 100), "rectangle"),
    ],
)
def test_each_swing_pattern_is_found(turns: tuple[float, ...], kind: str) -> None:
    assert kind in kinds(swing_patterns(path(*turns)))


@pytest.mark.parametrize(("end", "kind"), [(112, "breakout_up"), (88, "breakout_down")])
def test_a_close_out_of_a_narrow_range_is_a_breakout(end: float, kind: str) -> None:
    quiet = [(100 + (i % 2), 102, 99, 101 - (i % 2)) for i in range(30)]
    found = swing_patterns(bars([*quiet, (100, max(end, 101), min(end, 99), end), (end, end, end, end)]))
    assert [pattern.kind for pattern in found if pattern.kind.startswith("breakout")] == [kind]
    pattern = next(pattern for pattern in found if pattern.kind == kind)
    assert (pattern.confirmed_bar, pattern.price) == (30, 102 if kind == "breakout_up" else 99)


def test_a_double_top_that_is_not_left_downwards_is_none() -> None:
    assert "double_top" not in kinds(swing_patterns(path(40, 100, 70, 101, 80, 120)))


def test_kinds_mirror_each_other() -> None:
    turned = {"bullish": "bearish", "bearish": "bullish", "neutral": "neutral"}
    for kind in PATTERN_KINDS.values():
        mirror = PATTERN_KINDS[kind.mirror]
        assert mirror.mirror == kind.name
        assert mirror.direction == turned[kind.direction]
        assert mirror.group == kind.group


SEEDS = st.integers(0, 10_000)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_mirrored_prices_give_mirrored_patterns(seed: int) -> None:
    prices = walk(seed, 400)
    # Whole-number inputs; lines between pivots are divided, so their prices are equal but for rounding.
    found = [(p.confirmed_bar, p.first_bar, p.last_bar, p.kind) for p in find_patterns(prices)]
    turned = [
        (p.confirmed_bar, p.first_bar, p.last_bar, PATTERN_KINDS[p.kind].mirror)
        for p in find_patterns(prices.mirrored(TOP))
    ]
    assert sorted(found) == sorted(turned)
    trend, mirrored = trend_regime(prices), trend_regime(prices.mirrored(TOP))
    assert mirrored.strength == pytest.approx(-trend.strength)
    assert volatility_regime(prices.mirrored(TOP)) == volatility_regime(prices)


@given(SEEDS, st.sampled_from([0.25, 0.5, 2.0, 1024.0]), st.integers(-1000, 1000))
@settings(max_examples=40, deadline=None)
def test_scale_and_level_of_prices_do_not_matter(seed: int, factor: float, shift: int) -> None:
    prices = walk(seed, 400)
    moved = Prices(*(factor * (v + shift) for v in (prices.open, prices.high, prices.low, prices.close)))
    keys = [
        [(p.confirmed_bar, p.first_bar, p.last_bar, p.kind) for p in find_patterns(series)]
        for series in (prices, moved)
    ]
    assert keys[0] == keys[1]
    assert trend_regime(moved).trend == trend_regime(prices).trend
    assert volatility_regime(moved)[0] == volatility_regime(prices)[0]


@given(SEEDS, st.integers(1, 399))
@settings(max_examples=60, deadline=None)
def test_bars_appended_later_change_no_pattern_and_no_pivot(seed: int, cut: int) -> None:
    prices = walk(seed, 400)
    known = [pattern for pattern in find_patterns(prices) if pattern.confirmed_bar < cut]
    assert find_patterns(prices.head(cut)) == known
    pivots = [pivot for pivot in zigzag(prices) if pivot.confirmed_bar < cut]
    assert zigzag(prices.head(cut)) == pivots
    assert np.array_equal(prices.head(cut).unit, prices.unit[:cut])


def test_random_walks_hold_patterns_of_every_kind_so_the_properties_are_not_empty() -> None:
    seen = set().union(*(kinds(find_patterns(walk(seed, 400))) for seed in range(60)))
    assert seen == set(PATTERN_KINDS)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_pivots_alternate_and_are_confirmed_after_they_happened(seed: int) -> None:
    prices = walk(seed, 400)
    pivots = zigzag(prices)
    for before, after in itertools.pairwise(pivots):
        assert before.kind != after.kind
        assert before.bar < after.bar
        assert before.confirmed_bar < after.confirmed_bar
    for pivot in pivots:
        assert pivot.bar < pivot.confirmed_bar
        span = slice(pivot.bar, pivot.confirmed_bar + 1)
        extreme = prices.high[span].max() if pivot.kind == "high" else prices.low[span].min()
        assert pivot.price == extreme


def test_typical_range_equals_a_plain_loop() -> None:
    prices = walk(5, 60)
    ranges = [
        prices.high[i] - prices.low[i]
        if i == 0
        else max(
            prices.high[i] - prices.low[i],
            abs(prices.high[i] - prices.close[i - 1]),
            abs(prices.low[i] - prices.close[i - 1]),
        )
        for i in range(60)
    ]
    expected = [np.mean(ranges[max(0, i - 13) : i + 1]) for i in range(60)]
    assert typical_range(prices.high, prices.low, prices.close) == pytest.approx(expected)


def test_levels_are_where_swings_turned() -> None:
    prices = path(100, 120, 100, 120, 100, 120, 108)
    levels = price_levels(prices, zigzag(prices))
    assert [(level.kind, level.touches) for level in levels] == [("support", 3), ("resistance", 3)]
    assert levels[0].price == pytest.approx(99.5)
    assert levels[1].price == pytest.approx(120.5)


@pytest.mark.parametrize(
    ("turns", "trend"), [((100, 160), "up"), ((160, 100), "down"), ((100, 110) * 8, "sideways")]
)
def test_trends(turns: tuple[float, ...], trend: str) -> None:
    assert trend_regime(path(*turns)).trend == trend


def test_volatility() -> None:
    calm = [(100.0, 101.0, 99.0, 100.0)] * 80
    wild = [(100.0, 104.0, 96.0, 100.0)] * 14
    assert volatility_regime(bars([*calm, *wild])) == ("high", 4.0)
    assert volatility_regime(bars([*wild * 6, *calm[:14]]))[0] == "low"
    assert volatility_regime(bars(calm)) == ("normal", 1.0)


def test_flat_bars_have_no_pattern_and_no_trend() -> None:
    flat = bars([(100.0, 100.0, 100.0, 100.0)] * 50)
    assert find_patterns(flat) == []
    assert zigzag(flat) == []
    assert trend_regime(flat).trend == "sideways"
    assert volatility_regime(flat) == ("low", 0.0)


def test_no_bars_at_all() -> None:
    none = Prices(*(np.empty(0) for _ in range(4)))
    assert find_patterns(none) == []
    with pytest.raises(MetricInputError, match="at least one bar, but got none"):
        trend_regime(none)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, 2, 0.5, float("nan"))], r"close\[0\] is nan"),
        ([(1, 2, 1.5, 1)], "`low <= open, close <= high` must hold for every bar, but bar 0"),
    ],
)
def test_broken_bars_are_named(rows: list[tuple[float, ...]], message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        bars(rows)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(MetricInputError, match="one shape"):
        Prices(np.ones(3), np.ones(3), np.ones(2), np.ones(3))


def test_a_reversal_must_be_positive() -> None:
    with pytest.raises(MetricInputError, match="`reversal > 0` must hold"):
        zigzag(walk(1, 10), 0.0)
