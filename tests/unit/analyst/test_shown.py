"""Definitions of what a chart shows: by hand, by another route, and whatever scale and side it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.analyst.generators import GENERATORS, kinds_in_turn
from aiopt.analyst.planted import bars_of_rows, blank_bars, mirrored_bars, with_rows
from aiopt.analyst.shown import (
    DEFINITIONS,
    MIRROR_NAMES,
    label_of,
    resistance_price,
    support_price,
)
from aiopt.bars.schema import BarArrays
from aiopt.errors import MetricInputError
from aiopt.testing.bars import random_walk_bar_set

WALKS = [random_walk_bar_set(120, seed=seed, timeframe="5m").bid for seed in range(60)]
PLANTED = [
    generator.case(kind, seed=seed).bars
    for generator in GENERATORS.values()
    for seed, kind in enumerate(kinds_in_turn(generator, 30))
]
CHARTS = WALKS + PLANTED


def rows_of(bars: BarArrays) -> np.ndarray:
    return np.column_stack([bars.open, bars.high, bars.low, bars.close])


def made(closes: list[float], *, wick: float = 0.0) -> BarArrays:
    close = np.array(closes)
    opened = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opened, close) + wick, np.minimum(opened, close) - wick
    return bars_of_rows(np.column_stack([opened, high, low, close]))


def test_every_label_is_met_and_is_one_of_the_choices() -> None:
    for name, definition in DEFINITIONS.items():
        found = {label_of(bars, name) for bars in CHARTS}
        assert found == set(definition.choices), name


@pytest.mark.parametrize("name", DEFINITIONS)
def test_labels_do_not_depend_on_scale(name: str) -> None:
    for bars in CHARTS[::5]:
        # Powers of two move no bit but the exponent's.
        scaled = with_unrounded(bars, rows_of(bars) * 64.0)
        assert label_of(scaled, name) == label_of(bars, name)


def with_unrounded(bars: BarArrays, rows: np.ndarray) -> BarArrays:
    opened, high, low, close = (np.ascontiguousarray(column) for column in rows.T)
    return replace(bars, open=opened, high=high, low=low, close=close)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_upside_down_a_chart_has_the_mirrored_label(name: str) -> None:
    other = MIRROR_NAMES.get(name, name)
    differ = 0
    for bars in CHARTS:
        label, mirrored = label_of(bars, name), label_of(mirrored_bars(bars), other)
        assert label is not None
        differ += mirrored != DEFINITIONS[name].mirrored(label)
    # Mirroring rounds to the tick, which may tip a value that lies on a border.
    assert differ <= 1


@pytest.mark.parametrize("name", DEFINITIONS)
def test_no_bar_outside_the_window_counts(name: str) -> None:
    long = random_walk_bar_set(400, seed=5, timeframe="5m").bid
    for stop in (120, 200, 331):
        window = long.slice(stop - 120, stop)
        rows = rows_of(long)
        rows[stop:] *= 3.0
        rows[: stop - 120] *= 0.5
        changed = with_rows(long, rows)
        assert label_of(changed.slice(stop - 120, stop), name) == label_of(window, name)


def test_trend_is_a_third_of_the_range_from_first_to_last_close() -> None:
    rise = [1.1 + 0.001 * i for i in range(61)]
    assert label_of(made(rise), "trend") == "up"
    # Up by 60, back by 41: 19 of 60 are less than a third.  Back by 40: a third exactly.
    assert label_of(made(rise + [1.16 - 0.001 * i for i in range(1, 42)]), "trend") == "sideways"
    assert label_of(made(rise + [1.16 - 0.001 * i for i in range(1, 40)]), "trend") == "up"
    assert label_of(made(rise[::-1]), "trend") == "down"


def test_levels_are_those_before_the_last_twenty_bars() -> None:
    quiet = [1.1, 1.2] * 25 + [1.15]
    held = [1.15] * 20
    bars = made(quiet + held)
    assert (support_price(bars), resistance_price(bars)) == (1.1, 1.2)
    assert label_of(bars, "support") == label_of(bars, "resistance") == "untouched"
    assert label_of(made(quiet + held[:-1] + [1.104]), "support") == "touched"
    assert label_of(made(quiet + held[:-1] + [1.09]), "support") == "broken"
    assert label_of(made(quiet + held[:-1] + [1.196]), "resistance") == "touched"
    assert label_of(made(quiet + held[:-1] + [1.21]), "resistance") == "broken"
    # A low alone below the level touches it and breaks nothing.
    low = made(quiet + held)
    rows = rows_of(low)
    rows[-3, 2] = 1.05
    assert label_of(with_rows(low, rows), "support") == "touched"


def test_engulfing_is_the_last_of_five_bars_and_covers_the_body() -> None:
    flat = [1.1, 1.2] * 20
    rows = rows_of(made(flat + [1.15] * 8))
    rows[-4] = (1.15, 1.15, 1.14, 1.14)
    rows[-3] = (1.139, 1.155, 1.139, 1.151)
    bars = bars_of_rows(rows)
    assert label_of(bars, "engulfing") == "bullish"
    rows[-3] = (1.139, 1.155, 1.139, 1.149)  # does not cover the open before
    assert label_of(bars_of_rows(rows), "engulfing") == "none"
    rows[-3] = (1.139, 1.155, 1.139, 1.151)
    rows[-2] = (1.152, 1.152, 1.13, 1.138)  # a larger fall after it: the last one counts
    assert label_of(bars_of_rows(rows), "engulfing") == "bearish"
    older = np.vstack([rows[5:], rows_of(made([1.138] * 6))])
    assert label_of(bars_of_rows(older), "engulfing") == "none"


def test_by_another_route_quarters_and_volatility_are_the_same() -> None:
    for bars in CHARTS[::3]:
        quarter = len(bars) // 4
        parts = [bars.slice(i * quarter, (i + 1) * quarter) for i in range(4)]
        names = ("first", "second", "third", "fourth")
        tops = [float(part.high.max()) for part in parts]
        assert label_of(bars, "highest") == names[tops.index(max(tops))]
        spans = [float((part.high - part.low).mean()) for part in parts]
        ratio = spans[3] / (sum(spans[:3]) / 3)
        expected = "high" if ratio >= 1.5 else "low" if ratio <= 1 / 1.5 else "normal"
        assert label_of(bars, "volatility") == expected


def test_a_chart_without_range_shows_nothing_and_a_short_one_is_refused() -> None:
    flat = blank_bars(seed=1)
    rows = rows_of(flat)
    rows[:] = rows[0, 0]
    assert label_of(with_rows(flat, rows), "trend") is None
    with pytest.raises(MetricInputError, match="needs at least 40 bars, but got 39"):
        label_of(flat.slice(0, 39), "trend")
