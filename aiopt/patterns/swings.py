"""Patterns of several swings: double tops, head and shoulders, triangles, channels, breakouts.

Owns their formulas.  Everything is decided at a bar's close from that bar and those before it; a pattern that
needs a close beyond a line exists from that close on, not from its last pivot on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from aiopt.patterns.bars import Prices
from aiopt.patterns.kinds import PATTERN_KINDS, Pattern
from aiopt.patterns.pivots import REVERSAL, Pivot, zigzag

BREAKOUT_BARS = 20
"""Bars of the range a breakout leaves."""

_MAX_RANGE = 6.0
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
    upside_down = Prices(-prices.open, -prices.low, -prices.high, -prices.close)
    pivots = zigzag(prices, reversal)
    # Bearish reversals are found on the bars, bullish ones on their mirror image by the same lines.
    turned = [
        Pivot(
            bar=pivot.bar,
            price=-pivot.price,
            kind="low" if pivot.kind == "high" else "high",
            confirmed_bar=pivot.confirmed_bar,
        )
        for pivot in pivots
    ]
    found = [*_tops(prices, pivots), *_lines(prices, pivots), *_breakouts(prices)]
    found += [
        Pattern(
            confirmed_bar=pattern.confirmed_bar,
            first_bar=pattern.first_bar,
            last_bar=pattern.last_bar,
            kind=PATTERN_KINDS[pattern.kind].mirror,
            price=-pattern.price,
        )
        for pattern in _tops(upside_down, turned)
    ]
    return sorted(found)


# --- reversals --------------------------------------------------------------------------------------------


def _tops(prices: Prices, pivots: Sequence[Pivot]) -> Iterator[Pattern]:
    """Yield double tops and heads with shoulders.

    Double top of pivots L0 H1 L H2: with ``height = min(H1, H2) - L``, ``|H1 - H2| <= 0.2 height`` and
    ``H1 - L0 >= height``.  Known at the first close below L, if none above the higher top came before and
    it comes within H2 - H1 bars after H2.

    Head and shoulders of pivots H1 L1 H2 L2 H3: with ``height = H2 - (L1 + L2) / 2``, H2 above both
    shoulders by ``0.2 height``, ``|H1 - H3| <= 0.25 height``, ``|L1 - L2| <= 0.25 height``.  Known at the
    first close below the line through L1 and L2, under the same conditions with H3 - H1 bars.
    """
    for i, pivot in enumerate(pivots):
        if pivot.kind != "high":
            continue
        if i >= 3:
            start, first, trough = pivots[i - 3 : i]
            height = min(first.price, pivot.price) - trough.price
            if abs(first.price - pivot.price) <= 0.2 * height and first.price - start.price >= height:
                found = _broken(prices, pivot, trough, trough, first.bar, max(first.price, pivot.price))
                if found is not None:
                    yield _reversal("double_top", first, pivot, *found)
        if i >= 4:
            left, low_1, head, low_2 = pivots[i - 4 : i]
            height = head.price - (low_1.price + low_2.price) / 2
            if (
                head.price - max(left.price, pivot.price) >= 0.2 * height
                and abs(left.price - pivot.price) <= 0.25 * height
                and abs(low_1.price - low_2.price) <= 0.25 * height
            ):
                found = _broken(prices, pivot, low_1, low_2, left.bar, head.price)
                if found is not None:
                    yield _reversal("head_and_shoulders", left, pivot, *found)


def _reversal(kind: str, first: Pivot, last: Pivot, bar: int, price: float) -> Pattern:
    return Pattern(confirmed_bar=bar, first_bar=first.bar, last_bar=last.bar, kind=kind, price=price)


def _broken(
    prices: Prices, last: Pivot, neck_1: Pivot, neck_2: Pivot, first_bar: int, ceiling: float
) -> tuple[int, float] | None:
    """Return the bar of the first close below the neckline and the line's price there."""
    slope = 0.0
    if neck_2.bar > neck_1.bar:
        slope = (neck_2.price - neck_1.price) / (neck_2.bar - neck_1.bar)
    stop = min(len(prices), last.bar + 1 + (last.bar - first_bar))
    for bar in range(last.bar + 1, stop):
        line = neck_2.price + slope * (bar - neck_2.bar)
        if prices.close[bar] > ceiling:
            return None
        if prices.close[bar] < line:
            # The close may come before the last pivot is confirmed; the pattern is known with the later.
            return max(bar, last.confirmed_bar), float(line)
    return None


# --- triangles, channels, rectangles ----------------------------------------------------------------------


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


# --- breakouts --------------------------------------------------------------------------------------------


def _breakouts(prices: Prices) -> Iterator[Pattern]:
    """Yield closes more than 0.1 units beyond the range of the `BREAKOUT_BARS` bars before.

    The range is at most 6 units wide, and the bar before was no breakout to the same side: the first close
    out of a narrow range counts, not every further one.
    """
    n_bars = len(prices)
    if n_bars <= BREAKOUT_BARS:
        return
    windows = np.lib.stride_tricks.sliding_window_view
    top = windows(prices.high[:-1], BREAKOUT_BARS).max(axis=1)
    bottom = windows(prices.low[:-1], BREAKOUT_BARS).min(axis=1)
    close, unit = prices.close[BREAKOUT_BARS:], prices.unit[BREAKOUT_BARS - 1 : -1]
    narrow = (unit > 0) & (top - bottom <= _MAX_RANGE * unit)
    for kind, beyond, edge in (
        ("breakout_up", narrow & (close - top > 0.1 * unit), top),
        ("breakout_down", narrow & (bottom - close > 0.1 * unit), bottom),
    ):
        first = beyond.copy()
        first[1:] &= ~beyond[:-1]
        for offset in np.flatnonzero(first):
            bar = int(offset) + BREAKOUT_BARS
            yield Pattern(
                confirmed_bar=bar,
                first_bar=bar - BREAKOUT_BARS,
                last_bar=bar,
                kind=kind,
                price=float(edge[offset]),
            )
