"""The account of a backtest, segment by segment: what margin allows, what it refuses, when it is lost.

Owns the rules of margin and ruin and the count of what they did.  Knows nothing of NautilusTrader, of signals
or of how a position is closed.

Rules
-----
* Every segment begins with the initial balance, whatever happened before it.
* An entry is judged when it is ordered, at the close of the signal's bar, as a broker judges it: by the
  equity at that close and the price the entry would pay there (ask of a buy, bid of a sale).
* A fixed size whose margin, ``units * price / leverage``, exceeds that equity is refused.
* A size by risk is cut to what that equity carries, ``floor(equity * leverage / price / step) * step``; it is
  refused only if not one step is left.
* An entry that is added needs margin for what is held beside it too, all at that price.
* An account whose equity is not positive at a bar's close, or whose balance is not positive after a position
  was closed, is ruined.  The loss stands as it is, and nothing is entered until the segment ends.

Parity accounts have no margin and no ruin, as the emitted script has none; sizes by risk are cut there too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiopt.backtest.money import Amount, to_amount, to_float


class AccountRules(NamedTuple):
    """What an account may do.

    Attributes
    ----------
    initial_balance : float
        At the start of every segment, quote currency.
    leverage : float
        Largest value of a position per equity.
    has_margin : bool
        Whether entries beyond the margin are refused and ruin ends a segment's trading.
    size_step : int or None
        Units to which a size by risk is rounded down; None for fixed sizes.
    """

    initial_balance: float
    leverage: float
    has_margin: bool
    size_step: int | None


class SegmentAccount:
    """Balance and events of one backtest, one segment after the other.

    Attributes
    ----------
    balance : int
        Of the present segment, without open profit, exactly.
    ruined : bool
        Whether the present segment's account is lost.
    refused_bars, capped_bars : list of int
        Signal bars whose entry was refused, and whose size was cut.
    ruined_ts_ns : list of int
        When each ruin was found, at most one per segment.
    """

    def __init__(self, rules: AccountRules) -> None:
        self._rules = rules
        self._segment: int | None = None
        self._initial: Amount = to_amount(rules.initial_balance)
        self.balance = self._initial
        self.ruined = False
        self.refused_bars: list[int] = []
        self.capped_bars: list[int] = []
        self.ruined_ts_ns: list[int] = []

    def enter_segment(self, segment: int) -> None:
        """Begin a segment with the initial balance; nothing happens inside the present one."""
        if segment != self._segment:
            self._segment = segment
            self.balance = self._initial
            self.ruined = False

    def admit(self, bar: int, units: float, *, price: float, equity: Amount, beside: float = 0.0) -> float:
        """Return the units of an entry the account carries; 0.0 refuses it.

        Parameters
        ----------
        bar : int
            The signal's bar.
        units : float
            Size asked for, positive.
        price : float
            What the entry would pay at the bar's close.
        equity : int
            Of the account at that close, exactly.
        beside : float
            Units of its side that are held already and stay.
        """
        rules, money = self._rules, to_float(equity)
        if self.ruined:
            return 0.0
        if rules.size_step is not None:
            carried = affordable_units(money, leverage=rules.leverage, price=price, step=rules.size_step)
            carried -= beside
            if 0.0 < carried < units:
                self.capped_bars.append(bar)
            admitted = max(0.0, min(units, carried))
        elif rules.has_margin and (beside + units) * price / rules.leverage > money:
            admitted = 0.0
        else:
            admitted = units
        if admitted == 0.0:
            self.refused_bars.append(bar)
        return admitted

    def book(self, profit: Amount, ts_ns: int) -> None:
        """Take the profit of a closed position, after commission; a balance that is gone is a ruin."""
        self.balance += profit
        if self.balance <= 0:
            self._ruin(ts_ns)

    def is_lost(self, equity: Amount, ts_ns: int) -> bool:
        """Return whether the equity at a bar's close ruins the account, and take note of it."""
        if not self._rules.has_margin or equity > 0:
            return False
        self._ruin(ts_ns)
        return True

    def save(self) -> dict[str, Any]:
        """Return balance and segment as plain data; what was counted so far is not part of it."""
        return {"segment": self._segment, "balance": self.balance, "ruined": self.ruined}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `save` returned."""
        self._segment, self.balance, self.ruined = state["segment"], state["balance"], state["ruined"]

    def _ruin(self, ts_ns: int) -> None:
        if self._rules.has_margin and not self.ruined:
            self.ruined = True
            self.ruined_ts_ns.append(ts_ns)


def affordable_units(equity: float, *, leverage: float, price: float, step: int) -> float:
    """Return the largest position, in whole steps, whose margin an equity covers; not positive if none.

    Parameters
    ----------
    equity : float
        Quote currency.
    leverage : float
        Value of a position per equity.
    price : float
        Quote currency per unit, positive.
    step : int
        Units.
    """
    return math.floor(equity * leverage / price / step) * float(step)
