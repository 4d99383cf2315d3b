"""What holds entries back in a backtest: counts the fills of a day and looks at each entry signal.

Owns the state of `aiopt.strategy.entry_limits`' rules.  Knows fills and balances; orders are the strategy's
business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.growing_bars import GrowingBars
from aiopt.backtest.money import Amount, to_float
from aiopt.indicators.wall_clock import trading_days
from aiopt.strategy.entry_limits import LimitPlan

_NEVER = -(2**62)


class _KnownBars:
    """The calendar of a series that is known from its beginning to its end."""

    def __init__(self, ts_open_ns: NDArray[np.int64]) -> None:
        self._ts_open_ns = ts_open_ns
        self.trading_day = trading_days(ts_open_ns).tolist().__getitem__

    def bar_of(self, ts_ns: int) -> int:
        """Return the bar a fill lies in: all quotes of a bar are stamped inside it."""
        return int(np.searchsorted(self._ts_open_ns, ts_ns, side="right")) - 1


class LimitedEntries:
    """Follows one backtest, or one strategy on bars that grow.

    Parameters
    ----------
    plan : LimitPlan
        What the strategy asks for.
    bars : ndarray of shape (n_bars,), int64, or GrowingBars
        Opening times of the bars, UTC; or the bars so far.
    """

    def __init__(self, plan: LimitPlan, bars: NDArray[np.int64] | GrowingBars) -> None:
        self._plan = plan
        self._bars = bars if isinstance(bars, GrowingBars) else _KnownBars(bars)
        self._segment: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._last_exit = _NEVER
        self._day: int | None = None
        self._entries = 0
        self._gained: Amount = 0
        self._balance: Amount = 0

    def enter_segment(self, segment: int) -> None:
        """Begin a segment, as `aiopt.backtest.account` does; nothing happens inside the present one."""
        if segment != self._segment:
            self._segment = segment
            self._forget()

    def holds_back(self, bar: int, balance: Amount) -> bool:
        """Return whether an entry signal at the close of a bar counts for nothing.

        Parameters
        ----------
        bar : int
            0-based.
        balance : int
            Of the account at that close, without open profit, exactly.
        """
        self._roll(bar, balance)
        plan = self._plan
        if bar - self._last_exit < plan.pause_bars:
            return True
        if plan.trades_per_day and self._entries >= plan.trades_per_day:
            return True
        return plan.loses_too_much(-to_float(self._gained), to_float(self._balance))

    def entered(self, ts_ns: int, balance: Amount) -> None:
        """Take note of an entry's fill; `balance` without open profit."""
        self._roll(self._bars.bar_of(ts_ns), balance)
        self._entries += 1

    def left(self, ts_ns: int, gained: Amount, balance: Amount, *, ends: bool = True) -> None:
        """Take note of an exit's fill.

        Parameters
        ----------
        ts_ns : int
            Of the fill.
        gained : int
            What it brought after costs.
        balance : int
            Before it was booked.
        ends : bool
            Whether nothing of the position is left.
        """
        bar = self._bars.bar_of(ts_ns)
        self._roll(bar, balance)
        self._gained += gained
        if ends:
            self._last_exit = bar

    def _roll(self, bar: int, balance: Amount) -> None:
        """Begin the trading day of a bar, if it is another one."""
        day = self._bars.trading_day(bar)
        if day != self._day:
            self._day = day
            self._entries, self._gained, self._balance = 0, 0, balance

    def save(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {name: getattr(self, f"_{name}") for name in _STATE}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `save` returned."""
        for name in _STATE:
            setattr(self, f"_{name}", state[name])


_STATE = ("segment", "last_exit", "day", "entries", "gained", "balance")
