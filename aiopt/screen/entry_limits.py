"""Entry limits in compiled code: the twin of `aiopt.backtest.entry_limits`.  Numbers in, an answer out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.indicators.wall_clock import trading_days
from aiopt.screen.amounts import Pair, to_float
from aiopt.strategy.entry_limits import LOSS_TOLERANCE, limit_plan
from aiopt.strategy.spec import StrategySpec

NO_DAY = -(2**62)
"""No trading day, and the bar of an exit that never was."""

_TOLERANCE = LOSS_TOLERANCE


class Limits(NamedTuple):
    """`aiopt.strategy.entry_limits.LimitPlan` as numbers, and the trading day of every bar.

    Attributes
    ----------
    any : bool
        Whether something can hold entries back.
    pause_bars, trades_per_day : int
        0 for none.
    loss_percent, loss_money : float
        0.0 for none.
    day : ndarray of shape (n_bars,), int64
        Empty where there are no limits.
    """

    any: bool
    pause_bars: int
    trades_per_day: int
    loss_percent: float
    loss_money: float
    day: NDArray[np.int64]


NO_LIMITS = Limits(False, 0, 0, 0.0, 0.0, np.empty(0, dtype=np.int64))


class LimitsOverBars:
    """The limits of many specs over the same bars.

    Parameters
    ----------
    ts_open_ns : ndarray of shape (n_bars,), int64
        Opening times, UTC.
    """

    def __init__(self, ts_open_ns: NDArray[np.int64]) -> None:
        self._ts_open_ns = ts_open_ns
        self._days: NDArray[np.int64] | None = None

    def of(self, spec: StrategySpec) -> Limits:
        """Return a spec's limits as numbers."""
        plan = limit_plan(spec)
        if plan is None:
            return NO_LIMITS
        if self._days is None:
            self._days = trading_days(self._ts_open_ns)
        return Limits(True, *plan, day=self._days)


# reason: numbers rather than a record with an array, see `aiopt.screen.orders`
@compiled
def holds_back(  # noqa: PLR0913
    bars_since_exit: int,
    entries: int,
    gained: Pair,
    balance: Pair,
    pause_bars: int,
    trades_per_day: int,
    loss_percent: float,
    loss_money: float,
) -> bool:
    """Return whether an entry signal counts for nothing.

    Parameters
    ----------
    bars_since_exit : int
        Its bar less that of the last exit.
    entries : int
        Filled on its trading day.
    gained : tuple of int
        What the trades closed on that day brought, an amount.
    balance : tuple of int
        With which that day began.
    pause_bars, trades_per_day, loss_percent, loss_money
        As in `Limits`.
    """
    if bars_since_exit < pause_bars:
        return True
    if trades_per_day > 0 and entries >= trades_per_day:
        return True
    if loss_percent == 0.0 and loss_money == 0.0:
        return False
    allowed = loss_money
    if allowed == 0.0:
        allowed = loss_percent / 100.0 * to_float(balance[0], balance[1])
    lost = -to_float(gained[0], gained[1])
    return lost > _TOLERANCE and lost >= allowed - _TOLERANCE
