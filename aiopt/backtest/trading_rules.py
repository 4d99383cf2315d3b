"""What the engine's strategy must know of market, mode and segments in one backtest.

Owns the record alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from aiopt.backtest.account import AccountRules
from aiopt.backtest.bookkeeper import Bookkeeper
from aiopt.backtest.entry_limits import LimitedEntries
from aiopt.backtest.growing_bars import GrowingBars
from aiopt.backtest.laid_levels import LaidLevels
from aiopt.backtest.moving_exits import MovingExits
from aiopt.backtest.parts import TargetParts
from aiopt.backtest.valuation import Valuation


class TradingRules(NamedTuple):
    """What the strategy must know of market, mode and segments.

    Attributes
    ----------
    may_enter : callable of int to bool
        Whether a signal at the close of a bar may open a position.
    n_bars : int or None
        Bars of the series; nothing is ordered at the close of the last.  None: nobody knows.
    price_decimals, size_decimals : int
        Of the engine's instrument.
    volume : sequence of float or None
        Bar volumes, None with `stream`; not read from the engine's bars, whose volumes are rounded to its
        size precision.
    pine_entry_bar : bool
        True: a short whose entry bar opens at or above its stop keeps it unarmed until that bar has closed,
        as TradingView does (a long in the same place is stopped at the open).
    account : AccountRules
        Margin and ruin.
    segment_of : callable of int to int
        Segment a bar lies in; each has an account of its own.
    values : Valuation
        What positions and entries are valued at, at the close of each bar.
    books : Bookkeeper
        Settles every position; the venue charges nothing.
    flatten_reason : str
        Exit reason of a position closed at its segment's end.
    moving : MovingExits or None
        Where the stop lies and when time is up, if the strategy asks for that.
    limits : LimitedEntries or None
        What holds entries back, if the strategy asks for that.
    parts : TargetParts or None
        How an entry is cut, if the strategy has several targets.
    most_entries : int
        Entries of one side that may be open at once.
    levels : LaidLevels or None
        Stop and target, if the strategy lays one from the entry's own price.
    stream : GrowingBars or None
        The bars, where they arrive one by one: each is added before the strategy is told of it.
    order_prefix : str
        What the ids of orders begin with, a number behind it; empty: NautilusTrader's own.
    """

    may_enter: Callable[[int], bool]
    n_bars: int | None
    price_decimals: int
    size_decimals: int
    volume: Any
    pine_entry_bar: bool
    account: AccountRules
    segment_of: Callable[[int], int]
    values: Valuation
    books: Bookkeeper
    flatten_reason: str
    moving: MovingExits | None = None
    limits: LimitedEntries | None = None
    parts: TargetParts | None = None
    most_entries: int = 1
    levels: LaidLevels | None = None
    stream: GrowingBars | None = None
    order_prefix: str = ""
