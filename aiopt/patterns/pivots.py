"""Zigzag pivots: the highs and lows between which prices swing.  Owns when a pivot exists and is known.

A pivot is known only after prices have turned, so each carries `Pivot.confirmed_bar`.  Whoever acts on a
pivot before that bar looks into the future.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from aiopt.errors import MetricInputError
from aiopt.patterns.bars import Prices, above, at_least

REVERSAL = 3.0
"""Default reversal, in multiples of `Prices.unit`."""


class Pivot(msgspec.Struct, frozen=True, kw_only=True):
    """A turning point.

    Attributes
    ----------
    bar : int
        Bar of the extreme.
    price : float
        Its high or low.
    kind : {"high", "low"}
        Which of them.
    confirmed_bar : int
        First bar at whose close the turn is known, always after `bar`.
    """

    bar: int
    price: float
    kind: Literal["high", "low"]
    confirmed_bar: int


def zigzag(prices: Prices, reversal: float = REVERSAL) -> list[Pivot]:
    """Return alternating high and low pivots.

    A high is a pivot once a later bar's low lies ``reversal * unit`` or more below it, with no higher high
    between (`unit` being `Prices.unit` of that later bar); lows mirrored.  A bar that makes a new extreme
    cannot confirm it.  Bars are read once from left to right, so appending bars never changes a pivot.

    Parameters
    ----------
    prices : Prices
        Any number of bars.
    reversal : float
        Positive.

    Returns
    -------
    list of Pivot
        In order of `bar` and of `confirmed_bar`.
    """
    if not reversal > 0:
        msg = f"`reversal > 0` must hold, but got reversal={reversal}. Choose e.g. {REVERSAL}."
        raise MetricInputError(msg)
    pivots: list[Pivot] = []
    highs, lows, units = prices.high.tolist(), prices.low.tolist(), prices.unit.tolist()
    direction = 0  # +1: rising, the next pivot is a high; 0: no swing yet
    top = bottom = 0
    for bar in range(1, len(highs)):
        threshold = reversal * units[bar]
        moves = above(threshold, 0.0)
        fell = moves and at_least(highs[top] - lows[bar], threshold)
        rose = moves and at_least(highs[bar] - lows[bottom], threshold)
        if direction == 0 and fell != rose:
            direction = 1 if fell else -1
        if direction == 0:
            top = bar if above(highs[bar], highs[top]) else top
            bottom = bar if above(lows[bottom], lows[bar]) else bottom
        elif direction > 0:
            if above(highs[bar], highs[top]):
                top = bottom = bar
            elif fell:
                pivots.append(Pivot(bar=top, price=highs[top], kind="high", confirmed_bar=bar))
                direction, bottom = -1, _lowest(lows, top + 1, bar)
                top = bottom
        elif above(lows[bottom], lows[bar]):
            top = bottom = bar
        elif rose:
            pivots.append(Pivot(bar=bottom, price=lows[bottom], kind="low", confirmed_bar=bar))
            direction, top = 1, _highest(highs, bottom + 1, bar)
            bottom = top
    return pivots


def _lowest(values: list[float], start: int, last: int) -> int:
    """Return the first bar below which none lies."""
    found = start
    for bar in range(start + 1, last + 1):
        found = bar if above(values[found], values[bar]) else found
    return found


def _highest(values: list[float], start: int, last: int) -> int:
    return _lowest([-value for value in values[start : last + 1]], 0, last - start) + start
