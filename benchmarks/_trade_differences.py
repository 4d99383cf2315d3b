"""Our trades beside those of another backtester, trade by trade, and why the others differ.

Owns the classes of difference.  Both sides traded the same one-sided signals with a stop and a target on one
price; a class is only given where its reason is seen in the trade: prices of bars, levels, what was held.
What no reason explains is counted as that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAME_PRICE = 1e-8
"""Quote currency: far below a tick, above the noise of floats."""

SAME_MONEY = 2e-8
"""Account currency per unit: what `SAME_PRICE` at entry and exit may come to."""

REASONS = {
    "equal": "same bars, prices and profit per unit",
    "costs": "same bars and prices, other profit per unit",
    "signal_close": "same bars; market orders fill at the close of the signal's bar, ours at the next open",
    "entry_price": "same bar of entry, other price",
    "entry_bar": "we leave on the bar of entry; the other looks at stop and target from the next bar on",
    "gap": "the bar opens beyond the level: one fills at the open, the other at the level",
    "order_in_bar": "the bar reaches stop and target: each side takes another one",
    "level_price": "same bar, left by a stop or target that lies elsewhere",
    "level_bar": "other bar of exit: a stop or target that lies elsewhere is reached earlier, later or not",
    "held": "one still held a trade that the other had left: follows from a difference before it",
    "unexplained": "none of these",
}
"""Classes of trades, in the order in which they are looked for."""


class Deal(NamedTuple):
    """A trade, long.

    Attributes
    ----------
    entry, exit : int
        Bars.
    entry_price, exit_price : float
        Quote currency.
    units, pnl : float
        Size, and profit after costs, account currency.
    """

    entry: int
    exit: int
    entry_price: float
    exit_price: float
    units: float
    pnl: float


class Levels(NamedTuple):
    """Where a trade of each side would be left."""

    stop: float
    target: float

    def are(self, other: Levels) -> bool:
        """Tell whether both are the same."""
        return _same(self.stop, other.stop) and _same(self.target, other.target)

    def leg(self, trade: Deal, opens: float) -> str:
        """Return by which of the two a trade was left, or by an open beyond it; empty for neither."""
        at_open = _same(trade.exit_price, opens)
        if _same(trade.exit_price, self.stop) or (at_open and opens <= self.stop):
            return "stop"
        if _same(trade.exit_price, self.target) or (at_open and opens >= self.target):
            return "target"
        return ""


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_PRICE


def compared(
    mine: Sequence[Deal],
    theirs: Sequence[Deal],
    levels: Mapping[int, tuple[Levels, Levels]],
    bars: Mapping[str, NDArray[np.float64]],
) -> Counter[str]:
    """Return how many trades fall into each class of `REASONS`, those of both sides that are no pair too.

    Parameters
    ----------
    mine, theirs : sequence of Deal
        Of one point, by entry.
    levels : mapping of int to tuple of Levels
        By bar of entry: ours and theirs.
    bars : mapping of str to ndarray of shape (n_bars,)
        ``open``, ``high``, ``low``, ``close``.
    """
    found: Counter[str] = Counter()
    other = {trade.entry: trade for trade in theirs}
    for trade in mine:
        pair = other.pop(trade.entry, None)
        if pair is None:
            found["held" if _holds(theirs, trade.entry) else "unexplained"] += 1
        else:
            found[_class_of_pair(trade, pair, *levels[trade.entry], bars)] += 1
    for trade in other.values():
        found["held" if _holds(mine, trade.entry) else "unexplained"] += 1
    return found


def _holds(trades: Sequence[Deal], bar: int) -> bool:
    """Tell whether a side held a trade, or left one, on the bar on which the other entered."""
    return any(trade.entry < bar <= trade.exit for trade in trades)


def _class_of_pair(
    mine: Deal, theirs: Deal, our: Levels, their: Levels, bars: Mapping[str, NDArray[np.float64]]
) -> str:
    close = bars["close"]
    entered = _same(mine.entry_price, theirs.entry_price)
    if not entered and not _same(theirs.entry_price, float(close[mine.entry - 1])):
        return "entry_price"
    if mine.exit == theirs.exit:
        left = _same(mine.exit_price, theirs.exit_price)
        if entered and left:
            apart = abs(mine.pnl / mine.units - theirs.pnl / theirs.units)
            return "equal" if apart <= SAME_MONEY else "costs"
        if left or _same(theirs.exit_price, float(close[mine.exit - 1])):
            return "signal_close"
    return _class_of_exit(mine, theirs, our, their, bars)


def _class_of_exit(
    mine: Deal, theirs: Deal, our: Levels, their: Levels, bars: Mapping[str, NDArray[np.float64]]
) -> str:
    """Return why two trades of one entry were not left alike, by their stops and targets."""
    opens, low, high = (float(bars[name][mine.exit]) for name in ("open", "low", "high"))
    legs = our.leg(mine, opens), their.leg(theirs, float(bars["open"][theirs.exit]))
    if mine.exit == mine.entry < theirs.exit and legs[0]:
        return "entry_bar"
    if mine.exit == theirs.exit and all(legs):
        if legs[0] == legs[1] and _same(mine.exit_price, opens) != _same(theirs.exit_price, opens):
            return "gap"
        if legs[0] != legs[1] and any(low <= one.stop and high >= one.target for one in (our, their)):
            return "order_in_bar"
        if legs[0] == legs[1] and not our.are(their):
            return "level_price"
    if any(legs) and not our.are(their):
        return "level_bar"
    return "unexplained"
