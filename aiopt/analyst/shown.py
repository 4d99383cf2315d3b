"""What a chart shows, by exact definition: labels of any bars, real ones too, that no reader's rules made.

Each definition reads the bars of the window and nothing else: none before, none after.  None of them uses
`aiopt.patterns`, with which the rule-based reader reads, so scoring that reader on these labels is not
circular.  All are free of scale: prices times a number, or shifted, have the same labels.  Turned upside
down, a chart has the mirrored label.

Owns the definitions and their words.  What is true of them says nothing of what a market does next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.errors import MetricInputError

FloatArray = NDArray[np.float64]

RECENT_BARS = 20
"""Last bars whose meeting with the levels before them is asked about."""

ENGULFING_BARS = 5
"""Last bars in which an engulfing body is looked for."""

FEWEST_BARS = 2 * RECENT_BARS
"""A window of fewer bars has no labels."""

TREND_SHARE = 1 / 3
"""Share of the chart's range between first and last close from which on it is a trend."""

TOUCH_SHARE = 1 / 20
"""Share of the chart's range within which a level is touched."""

BODY_SHARE = 1 / 40
"""Smallest engulfing body, in ranges of the chart: what can be seen."""

VOLATILITY_RATIO = 1.5
"""Mean range of the last quarter over that of the bars before: high from here on, low up to its inverse."""

QUARTERS = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Definition:
    """Something a chart shows.

    Attributes
    ----------
    name : str
        In records and answers.
    question : str
        As a model is asked.
    choices : tuple of str
        The possible labels.
    mirror : dict of str to str
        Label of the chart upside down, where it is another.
    label : callable
        Returns the label of bars; None where these show neither.
    """

    name: str
    question: str
    choices: tuple[str, ...]
    mirror: dict[str, str]
    label: Callable[[BarArrays], str | None]

    def mirrored(self, label: str) -> str:
        """Return the label of the same chart upside down."""
        return self.mirror.get(label, label)


def label_of(bars: BarArrays, name: str) -> str | None:
    """Return a label of bars.

    Parameters
    ----------
    bars : BarArrays
        The window.
    name : str
        A key of `DEFINITIONS`.

    Returns
    -------
    str or None
        None where the chart has no range, so that nothing can be seen in it.

    Raises
    ------
    MetricInputError
        If there are fewer than `FEWEST_BARS` bars.
    """
    if len(bars) < FEWEST_BARS:
        msg = f"What a chart shows needs at least {FEWEST_BARS} bars, but got {len(bars)}. Give more."
        raise MetricInputError(msg)
    if _range(bars) <= 0:
        return None
    return DEFINITIONS[name].label(bars)


def trend(bars: BarArrays) -> str:
    """Return up, down or sideways: the last close against the first.

    Up if it lies at least a third of the chart's range (highest high minus lowest low) above it, down if as
    far below.
    """
    change = float(bars.close[-1] - bars.close[0])
    if abs(change) < TREND_SHARE * _range(bars):
        return "sideways"
    return "up" if change > 0 else "down"


def volatility(bars: BarArrays) -> str:
    """Return low, normal or high: mean high minus low of the last quarter of the bars against the rest's.

    High from 1.5 times on, low up to 1 / 1.5; high too where the rest had no range.
    """
    ranges = bars.high - bars.low
    border = len(bars) - len(bars) // 4
    before, last = float(ranges[:border].mean()), float(ranges[border:].mean())
    if last >= VOLATILITY_RATIO * before:
        return "high"
    return "low" if last * VOLATILITY_RATIO <= before else "normal"


def highest(bars: BarArrays) -> str:
    """Return the quarter of the bars with the highest high; of equal ones the earliest counts."""
    return QUARTERS[int(np.argmax(bars.high)) * 4 // len(bars)]


def lowest(bars: BarArrays) -> str:
    """Return the quarter of the bars with the lowest low; of equal ones the earliest counts."""
    return QUARTERS[int(np.argmin(bars.low)) * 4 // len(bars)]


def close_position(bars: BarArrays) -> str:
    """Return bottom, middle or top: the third of the chart's range that holds the last close."""
    share = float(bars.close[-1] - bars.low.min()) / _range(bars)
    # Both borders belong to the middle, so that upside down they do too.
    return "bottom" if share < 1 / 3 else "top" if share > 2 / 3 else "middle"


def support_price(bars: BarArrays) -> float:
    """Return the support: the lowest low of all bars but the last 20."""
    return float(bars.low[:-RECENT_BARS].min())


def resistance_price(bars: BarArrays) -> float:
    """Return the resistance: the highest high of all bars but the last 20."""
    return float(bars.high[:-RECENT_BARS].max())


def support(bars: BarArrays) -> str:
    """Return what the last 20 bars did with the support (`support_price`).

    Broken if a close lies more than a twentieth of the chart's range below it; else touched if a low comes
    within a twentieth of the range of it, or below; else untouched.
    """
    near = TOUCH_SHARE * _range(bars)
    level = support_price(bars)
    if float(bars.close[-RECENT_BARS:].min()) < level - near:
        return "broken"
    return "touched" if float(bars.low[-RECENT_BARS:].min()) <= level + near else "untouched"


def resistance(bars: BarArrays) -> str:
    """Return what the last 20 bars did with the resistance: `support` upside down."""
    near = TOUCH_SHARE * _range(bars)
    level = resistance_price(bars)
    if float(bars.close[-RECENT_BARS:].max()) > level + near:
        return "broken"
    return "touched" if float(bars.high[-RECENT_BARS:].max()) >= level - near else "untouched"


def engulfing(bars: BarArrays) -> str:
    """Return the last engulfing body among the last 5 bars: bullish, bearish or none.

    A bar engulfs the one before it if one of them rose and the other fell, its body (open to close) covers
    the other's and is larger, and it is at least a fortieth of the chart's range.
    """
    found = engulfing_bar(bars)
    return "none" if found is None else found[1]


def engulfing_bar(bars: BarArrays) -> tuple[int, str] | None:
    """Return the number of the bar of `engulfing`, and bullish or bearish; None where there is none."""
    opened, close = bars.open, bars.close
    for i in range(len(bars) - 1, len(bars) - 1 - ENGULFING_BARS, -1):
        body, before = float(close[i] - opened[i]), float(close[i - 1] - opened[i - 1])
        if body * before >= 0 or abs(body) <= abs(before) or abs(body) < BODY_SHARE * _range(bars):
            continue
        low, high = sorted((float(opened[i]), float(close[i])))
        if low <= min(opened[i - 1], close[i - 1]) and high >= max(opened[i - 1], close[i - 1]):
            return i, "bullish" if body > 0 else "bearish"
    return None


def _range(bars: BarArrays) -> float:
    """Return the chart's range: highest high minus lowest low."""
    return float(bars.high.max() - bars.low.min())


_UP_DOWN = {"up": "down", "down": "up"}

DEFINITIONS: dict[str, Definition] = {
    one.name: one
    for one in (
        Definition(
            "trend",
            "Compare the last close with the first: did the price rise or fall by at least a third of the "
            "chart's range, or is it sideways?",
            ("up", "down", "sideways"),
            _UP_DOWN,
            trend,
        ),
        Definition(
            "volatility",
            "Compare the ranges of the bars in the last quarter with those before: are they high (1.5 times "
            "or more), low (1 / 1.5 or less) or normal?",
            ("low", "normal", "high"),
            {},
            volatility,
        ),
        Definition("highest", "Which quarter of the chart holds the highest high?", QUARTERS, {}, highest),
        Definition("lowest", "Which quarter of the chart holds the lowest low?", QUARTERS, {}, lowest),
        Definition(
            "close_position",
            "In which third of the chart's range is the last close?",
            ("bottom", "middle", "top"),
            {"bottom": "top", "top": "bottom"},
            close_position,
        ),
        Definition(
            "support",
            "Take the lowest low of all bars but the last 20. Did the last 20 bars leave it untouched, touch "
            "it, or close clearly below it (broken)?",
            ("untouched", "touched", "broken"),
            {},
            support,
        ),
        Definition(
            "resistance",
            "Take the highest high of all bars but the last 20. Did the last 20 bars leave it untouched, "
            "touch it, or close clearly above it (broken)?",
            ("untouched", "touched", "broken"),
            {},
            resistance,
        ),
        Definition(
            "engulfing",
            "Is there a body among the last 5 bars that covers the opposite body of the bar before it? Name "
            "the last one: bullish, bearish or none.",
            ("bullish", "bearish", "none"),
            {"bullish": "bearish", "bearish": "bullish"},
            engulfing,
        ),
    )
}
"""Every definition by name.  `highest` and `lowest`, and `support` and `resistance`, are each other's mirror
image: upside down, the label of one is that of the other."""

MIRROR_NAMES = {"highest": "lowest", "lowest": "highest", "support": "resistance", "resistance": "support"}
"""Definitions that become another one when the chart is turned upside down."""
