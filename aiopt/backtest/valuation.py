"""What a position is worth at the closes of bars, in the account's currency.

Owns marks and rates of all bars, and the search for a close that takes the whole account.  What costs are
charged is `aiopt.backtest.bookkeeper`'s business, what follows from a loss `aiopt.backtest.account`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.bookkeeper import Bookkeeper
from aiopt.backtest.growing_bars import GrowingBars
from aiopt.backtest.money import Amount, to_float
from aiopt.bars.schema import BarSet

_TOLERANCE = 1e-6
"""Of the account's currency and its share: looking closely at one bar too many does no harm."""


class OpenPosition(Protocol):
    """What is needed of a held position."""

    @property
    def side(self) -> int:
        """1 for a long, -1 for a short."""
        ...

    @property
    def units(self) -> float:
        """Size, positive."""
        ...

    @property
    def entry_ts_ns(self) -> int:
        """Time of the fill."""
        ...

    @property
    def entry_price(self) -> float:
        """Price of the fill."""
        ...


class Valuation:
    """Values positions and entries at the closes of bars.

    Parameters
    ----------
    bars : BarSet or GrowingBars
        A long is valued at the bid, a short at the ask.  Bars that grow are valued at any close so far;
        `first_loss` needs all of a series.
    books : Bookkeeper
        Costs, nights and conversion.
    rates : ndarray of shape (n_bars,) or None
        Account currency per quote currency at each close; None where they are the same.
    """

    def __init__(
        self, bars: BarSet | GrowingBars, books: Bookkeeper, rates: NDArray[np.float64] | None
    ) -> None:
        self._books = books
        self._bid, self._ask = bars.bid.close, bars.ask.close
        self._opens_ns, self._length_ns = bars.bid.ts_open_ns, bars.timeframe.ns
        self._rates = rates

    @cached_property
    def _ends_ns(self) -> NDArray[np.int64]:
        return np.asarray(self._opens_ns) + self._length_ns

    @cached_property
    def _extremes(self) -> tuple[float, float, float]:
        """The lowest bid, the highest ask and the largest rate of all closes."""
        rate = 1.0 if self._rates is None else float(self._rates.max())
        return float(np.asarray(self._bid).min()), float(np.asarray(self._ask).max()), rate

    def entry_price(self, side: int, bar: int) -> float:
        """Return what a unit would cost at a bar's close, account currency."""
        price = (self._ask if side > 0 else self._bid)[bar]
        return float(price if self._rates is None else price * self._rates[bar])

    def open_value(self, held: OpenPosition, bar: int) -> Amount:
        """Return what a position has added to the balance at a bar's close, its costs so far deducted."""
        mark = float((self._bid if held.side > 0 else self._ask)[bar])
        ts_ns = int(self._opens_ns[bar]) + self._length_ns
        return self._books.open_value(held.side, held.units, held.entry_ts_ns, held.entry_price, ts_ns, mark)

    def first_loss(self, held: Sequence[OpenPosition], balance: Amount, start: int, end: int) -> int:
        """Return the first bar in [start, end) at whose close the account may be lost, else `end`.

        Parameters
        ----------
        held : sequence of OpenPosition
            All that is open.
        balance : int
            Without open profit.
        start, end : int
            Bars.
        """
        charged = sum(self._books.commission(one.units, one.entry_price, one.entry_ts_ns) for one in held)
        left = to_float(balance - charged)
        limit = _TOLERANCE * (1.0 + abs(left))
        if left + sum(self._worst(one) for one in held) > limit:
            return end
        part = slice(start, end)
        equity = np.full(end - start, left)
        for one in held:
            marks = (self._bid if one.side > 0 else self._ask)[part]
            moved = one.side * (marks - one.entry_price) * one.units
            equity += moved if self._rates is None else moved * self._rates[part]
            if self._books.worst_swap_per_unit < 0.0 and end > start:
                last_ns = int(self._ends_ns[end - 1])
                nights = self._books.rollovers(one.side, one.units, one.entry_ts_ns, last_ns)
                for ts_ns, amount in nights:
                    equity[self._ends_ns[part] >= ts_ns] += min(0.0, to_float(amount))
        reached = equity <= limit
        return start + int(reached.argmax()) if reached.any() else end

    def _worst(self, held: OpenPosition) -> float:
        """Return the most that a position could lose at some close of the series, not positive."""
        lowest, highest, rate = self._extremes
        mark = lowest if held.side > 0 else highest
        moved = min(0.0, held.side * (mark - held.entry_price))
        return (moved + self._books.worst_swap_per_unit) * rate * held.units
