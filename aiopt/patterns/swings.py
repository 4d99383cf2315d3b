"""Patterns of several swings: triangles, channels and rectangles, with reversals and breakouts beside them.

Owns the formulas of the lines through pivots.  Everything is decided at a bar's close from that bar and those
before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aiopt.patterns.bars import Prices
from aiopt.patterns.breakouts import breakouts
from aiopt.patterns.kinds import Pattern
from aiopt.patterns.pivots import REVERSAL, Pivot, zigzag
from aiopt.patterns.reversals import reversals

_SHAPE_PIVOTS = 5


def swing_patterns(prices: Prices, reversal: float = REVERSAL) -> list[Pattern]:
    """Return every swing pattern, in order of the bar it is known at.

    Parameters
    ----------
    prices : Prices
        Any number of bars.
    reversal : float
        Size of a swing, see `zigzag`.

    Returns
    -------
    list of Pattern
        Appending bars adds patterns and changes none.
    """
    pivots = zigzag(prices, reversal)
    found = [*reversals(prices, pivots), *_lines(prices, pivots), *breakouts(prices)]
    return sorted(found)


def _lines(prices: Prices, pivots: Sequence[Pivot]) -> Iterator[Pattern]:
    """Yield triangles, channels and rectangles of the last five pivots, at the fifth's confirmation.

    One line runs through the first and last high, one through the first and last low; a third pivot of a
    side must lie within 0.75 units of its line.  ``g0`` and ``g1`` are the gaps between the lines at the
    first and last pivot, ``mu`` and ``ml`` the changes of upper and lower line over that stretch.

    - ``0 < g1 <= 0.6 g0``, shrink ``s = g0 - g1``: *ascending triangle* if ``|mu| <= 0.3 s`` and
      ``ml > 0``, *descending* if ``|ml| <= 0.3 s`` and ``mu < 0``, *symmetrical* if ``mu < -0.3 s`` and
      ``ml > 0.3 s``;
    - ``0.7 g0 <= g1 <= g0 / 0.7``, ``m = (mu + ml) / 2``, ``g = (g0 + g1) / 2``: *rising channel* if
      ``m >= 0.75 g``, *falling* if ``m <= -0.75 g``, *rectangle* if ``|m| <= 0.3 g``.

    A shape that the pivot before gave already is not given again.
    """
    before: str | None = None
    for i in range(_SHAPE_PIVOTS - 1, len(pivots)):
        window = pivots[i - _SHAPE_PIVOTS + 1 : i + 1]
        kind = _shape(prices, window)
        if kind is not None and kind != before:
            last = window[-1]
            yield Pattern(
                confirmed_bar=last.confirmed_bar,
                first_bar=window[0].bar,
                last_bar=last.bar,
                kind=kind,
                price=float(prices.close[last.confirmed_bar]),
            )
        before = kind


def _shape(prices: Prices, window: Sequence[Pivot]) -> str | None:
    tolerance = 0.75 * float(prices.unit[window[-1].confirmed_bar])
    start, end = window[0].bar, window[-1].bar
    sides = []
    for side in ("high", "low"):
        points = [pivot for pivot in window if pivot.kind == side]
        first, last = points[0], points[-1]
        slope = (last.price - first.price) / (last.bar - first.bar)
        for point in points[1:-1]:
            if abs(point.price - first.price - slope * (point.bar - first.bar)) > tolerance:
                return None
        sides.append((first.price, first.bar, slope))
    (high, high_bar, up), (low, low_bar, lo) = sides
    gap_0 = high - low + up * (start - high_bar) - lo * (start - low_bar)
    gap_1 = high - low + up * (end - high_bar) - lo * (end - low_bar)
    upper, lower = up * (end - start), lo * (end - start)
    if gap_0 <= 0 or gap_1 <= 0:
        return None
    shrink = gap_0 - gap_1
    if gap_1 <= 0.6 * gap_0:
        if abs(upper) <= 0.3 * shrink and lower > 0:
            return "ascending_triangle"
        if abs(lower) <= 0.3 * shrink and upper < 0:
            return "descending_triangle"
        return "symmetrical_triangle" if upper < -0.3 * shrink and lower > 0.3 * shrink else None
    if gap_1 < 0.7 * gap_0 or gap_0 < 0.7 * gap_1:
        return None
    move, gap = (upper + lower) / 2, (gap_0 + gap_1) / 2
    if abs(move) >= 0.75 * gap:
        return "rising_channel" if move > 0 else "falling_channel"
    return "rectangle" if abs(move) <= 0.3 * gap else None
