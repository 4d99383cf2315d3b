"""Double tops, heads with shoulders and their mirror images: over pivots, and bar by bar.

Owns the formulas.  Everything is decided at a bar's close from that bar and those before it: a pattern exists
from the close beyond its neckline on, not from its last pivot on.  Bullish patterns are found by the same
lines on prices turned upside down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aiopt.patterns.bars import Prices, above, at_least
from aiopt.patterns.kinds import PATTERN_KINDS, Pattern
from aiopt.patterns.pivots import REVERSAL, Pivot

DOUBLE_TOP, HEAD = "double_top", "head_and_shoulders"
TURNED = {PATTERN_KINDS[kind].mirror: kind for kind in (DOUBLE_TOP, HEAD)}
"""Kinds that are found upside down, with what they are then."""
REVERSALS = (DOUBLE_TOP, HEAD, *TURNED)

PIVOTS = {DOUBLE_TOP: 4, HEAD: 5}
"""Pivots that form one, the newest last."""
TOPS_APART = 0.2
"""Of the height: how far the tops of a double top may lie apart, and how far a head rises above shoulders."""
SHOULDERS_APART = 0.25
"""Of the height: how far shoulders may lie apart, and the lows between them."""


class Neckline(NamedTuple):
    """The line whose break makes a pattern of pivots known.

    Attributes
    ----------
    rise, run : float, int
        The line changes by ``rise`` over ``run`` bars.
    price, bar : float, int
        A point of it.
    ceiling : float
        A close above it before the break ends the pattern.
    last_bar : int
        Last bar on which the break counts: as far behind the last pivot as that is behind the first.
    """

    rise: float
    run: int
    price: float
    bar: int
    ceiling: float
    last_bar: int

    def broken(self, bar: int, close: float) -> bool:
        """Return whether a close lies below the line."""
        # Multiplied out: a slope would be a fraction, and the last bit of it would decide at a tie.
        return bool(above(self.rise * (bar - self.bar), (close - self.price) * self.run))


def neckline(kind: str, pivots: Sequence[Pivot]) -> Neckline | None:
    """Return the neckline if the newest pivots form a pattern that only needs its break, else None.

    Double top of pivots L0 H1 L H2: with ``height = min(H1, H2) - L``, ``|H1 - H2| <= 0.2 height`` and
    ``H1 - L0 >= height``.  Its line is the price L, its ceiling the higher top.

    Head and shoulders of pivots H1 L1 H2 L2 H3: with ``height = H2 - (L1 + L2) / 2``, H2 above both
    shoulders by ``0.2 height``, ``|H1 - H3| <= 0.25 height``, ``|L1 - L2| <= 0.25 height``.  Its line runs
    through L1 and L2, its ceiling is the head.

    Parameters
    ----------
    kind : str
        `DOUBLE_TOP` or `HEAD`.
    pivots : sequence of Pivot
        Alternating, the last one a high.
    """
    if len(pivots) < PIVOTS[kind]:
        return None
    last = pivots[-1]
    if kind == DOUBLE_TOP:
        start, first, trough = pivots[-4:-1]
        height = min(first.price, last.price) - trough.price
        alike = at_least(TOPS_APART * height, abs(first.price - last.price))
        if not (alike and at_least(first.price - start.price, height)):
            return None
        low_1 = low_2 = trough
        ceiling = max(first.price, last.price)
    else:
        first, low_1, head, low_2 = pivots[-5:-1]
        height = head.price - (low_1.price + low_2.price) / 2
        if not (
            at_least(head.price - max(first.price, last.price), TOPS_APART * height)
            and at_least(SHOULDERS_APART * height, abs(first.price - last.price))
            and at_least(SHOULDERS_APART * height, abs(low_1.price - low_2.price))
        ):
            return None
        ceiling = head.price
    return Neckline(
        rise=low_2.price - low_1.price,
        run=max(low_2.bar - low_1.bar, 1),
        price=low_2.price,
        bar=low_2.bar,
        ceiling=ceiling,
        last_bar=last.bar + last.bar - first.bar,
    )


def reversals(prices: Prices, pivots: Sequence[Pivot]) -> Iterator[Pattern]:
    """Yield every reversal to both sides, in no order.

    Parameters
    ----------
    prices : Prices
        Any number of bars.
    pivots : sequence of Pivot
        Their `zigzag`.
    """
    yield from _tops(prices, pivots)
    upside_down = Prices(-prices.open, -prices.low, -prices.high, -prices.close)
    for pattern in _tops(upside_down, [_turned(pivot) for pivot in pivots]):
        yield Pattern(
            confirmed_bar=pattern.confirmed_bar,
            first_bar=pattern.first_bar,
            last_bar=pattern.last_bar,
            kind=PATTERN_KINDS[pattern.kind].mirror,
            price=-pattern.price,
        )


def _turned(pivot: Pivot) -> Pivot:
    return Pivot(
        bar=pivot.bar,
        price=-pivot.price,
        kind="low" if pivot.kind == "high" else "high",
        confirmed_bar=pivot.confirmed_bar,
    )


def _tops(prices: Prices, pivots: Sequence[Pivot]) -> Iterator[Pattern]:
    """Yield the patterns whose last pivot is a high, once their neckline is broken."""
    for i, pivot in enumerate(pivots):
        if pivot.kind != "high":
            continue
        for kind, length in PIVOTS.items():
            line = neckline(kind, pivots[max(i - length + 1, 0) : i + 1])
            bar = None if line is None else _broken(prices, pivot, line)
            if line is not None and bar is not None:
                yield Pattern(
                    # The close may come before the last pivot is known; the pattern is known with the later.
                    confirmed_bar=max(bar, pivot.confirmed_bar),
                    first_bar=pivot.bar + pivot.bar - line.last_bar,
                    last_bar=pivot.bar,
                    kind=kind,
                    price=line.price + line.rise / line.run * (bar - line.bar),
                )


def _broken(prices: Prices, last: Pivot, line: Neckline) -> int | None:
    """Return the bar of the first close below the line, if none above the ceiling comes before."""
    for bar in range(last.bar + 1, min(len(prices), line.last_bar + 1)):
        close = float(prices.close[bar])
        if above(close, line.ceiling):
            return None
        if line.broken(bar, close):
            return bar
    return None


class ReversalFinder:
    """Finds one kind bar by bar: `zigzag` and `reversals` without what is to come.

    Parameters
    ----------
    kind : str
        One of `REVERSALS`.
    """

    def __init__(self, kind: str) -> None:
        self._is_turned = kind in TURNED
        self._kind = TURNED.get(kind, kind)
        self._bar = -1
        self._direction = 0
        self._top = self._bottom = 0
        # High, low and close from bar `_first` on: of the extreme that is to become a pivot, and all since.
        self._first = 0
        self._since: list[tuple[float, float, float]] = []
        self._pivots: deque[Pivot] = deque(maxlen=PIVOTS[self._kind])
        self._open: list[Neckline] = []

    def update(self, high: float, low: float, close: float, unit: float) -> bool:
        """Add one bar; return whether a pattern becomes known at its close.

        Parameters
        ----------
        high, low, close : float
            Price units, finite.
        unit : float
            `aiopt.patterns.bars.typical_range` of the bar.
        """
        if self._is_turned:
            high, low, close = -low, -high, -close
        self._bar += 1
        found = False
        kept = []
        for line in self._open:
            if self._bar > line.last_bar or above(close, line.ceiling):
                continue
            if line.broken(self._bar, close):
                found = True
            else:
                kept.append(line)
        self._open = kept
        self._since.append((high, low, close))
        closes = self._turn(high, low, REVERSAL * unit) if self._bar else []
        newest = neckline(self._kind, list(self._pivots)) if closes else None
        return found if newest is None else self._looked_back(newest, closes) or found

    def _looked_back(self, line: Neckline, closes: list[float]) -> bool:
        """Return whether a line was broken before its last pivot was known; keep it where it may yet be."""
        start = self._pivots[-1].bar + 1
        for bar, close in enumerate(closes, start):
            if bar > line.last_bar or above(close, line.ceiling):
                return False
            if line.broken(bar, close):
                return True
        self._open.append(line)
        return False

    def _turn(self, high: float, low: float, threshold: float) -> list[float]:
        """Follow the zigzag; return the closes behind a high that this bar makes a pivot, else nothing."""
        moves = above(threshold, 0.0)
        highest, lowest = self._since[self._top - self._first][0], self._since[self._bottom - self._first][1]
        fell, rose = (
            moves and at_least(highest - low, threshold),
            moves and at_least(high - lowest, threshold),
        )
        if self._direction == 0 and fell != rose:
            self._direction = 1 if fell else -1
        if self._direction == 0:
            self._top = self._bar if above(high, highest) else self._top
            self._bottom = self._bar if above(lowest, low) else self._bottom
        elif self._direction > 0:
            if above(high, highest):
                self._restart(self._bar)
            elif fell:
                closes = [bar[2] for bar in self._since[self._top - self._first + 1 :]]
                self._confirm("high", self._top, highest)
                return closes
        elif above(lowest, low):
            self._restart(self._bar)
        elif rose:
            self._confirm("low", self._bottom, lowest)
        return []

    def _confirm(self, kind: str, bar: int, price: float) -> None:
        """Take a pivot, and the farthest bar behind it for the next one."""
        is_high = kind == "high"
        self._pivots.append(
            Pivot(bar=bar, price=price, kind="high" if is_high else "low", confirmed_bar=self._bar)
        )
        self._direction = -1 if is_high else 1
        farthest = bar + 1
        for other in range(bar + 2, self._bar + 1):
            one, best = self._since[other - self._first], self._since[farthest - self._first]
            if above(best[1], one[1]) if is_high else above(one[0], best[0]):
                farthest = other
        self._restart(farthest)

    def _restart(self, bar: int) -> None:
        """Let a bar be the extreme that is to become a pivot."""
        del self._since[: bar - self._first]
        self._first = self._top = self._bottom = bar
