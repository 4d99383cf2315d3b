"""Entry limits as numbers: what a spec's pause, entries per day and daily loss ask for.

Owns the rule of each.  Who keeps count is the engine's business.

Rules
-----
* A limit is looked at with the entry signal, at the close of its bar, and knows the fills up to that close.
  A signal held back is no signal: it enters nothing, reverses nothing, and does not come later.
* The trading day of a signal, an entry and an exit is that of the bar it lies in, by the bar's opening time;
  it rolls at 17:00 New York, whatever the clocks there do.
* Pause: a signal at the close of bar t is held back if ``t - exit_bar < pause_bars``, with the bar on which a
  position ended last: of one that leaves in parts, the bar of its last part.
* Entries per day: held back if so many entries were filled on the signal's trading day.  An entry ordered at
  a day's last close is filled on the next day, and counts there.  An entry that leaves in parts is one.
* Daily loss: held back if the trades closed on the signal's trading day have together lost so much, after
  their costs, every part as it closes; per cent are of the balance before the first of them.  Open positions
  count for nothing and are left alone.
* Nothing of an account's earlier segment counts in a later one.
"""

from __future__ import annotations

from typing import NamedTuple

from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_limits import EntryLimits

LOSS_TOLERANCE = 1e-6
"""Currency: a loss so near to its limit has reached it, as sums of floats in a script come near it only."""


class LimitPlan(NamedTuple):
    """The entry limits of a spec, its parameters resolved; 0 where there is none.

    Attributes
    ----------
    pause_bars : int
        From the bar of an exit on.
    trades_per_day : int
        Entries.
    loss_percent : float
        Of the balance with which a trading day began.
    loss_money : float
        The account's currency.
    """

    pause_bars: int = 0
    trades_per_day: int = 0
    loss_percent: float = 0.0
    loss_money: float = 0.0

    def loses_too_much(self, lost: float, balance: float) -> bool:
        """Return whether a day's loss has reached its limit.

        Parameters
        ----------
        lost : float
            Positive for a loss, account currency.
        balance : float
            With which the day began.
        """
        if not (self.loss_percent or self.loss_money):
            return False
        allowed = self.loss_money or self.loss_percent / 100.0 * balance
        return lost > LOSS_TOLERANCE and lost >= allowed - LOSS_TOLERANCE


def limit_plan(spec: StrategySpec) -> LimitPlan | None:
    """Return a strategy's entry limits; None where it has none."""
    limits = spec.limits
    if not isinstance(limits, EntryLimits):
        return None
    loss = limits.daily_loss
    return LimitPlan(
        pause_bars=0 if limits.pause_bars is None else int(spec.value_of(limits.pause_bars)),
        trades_per_day=0 if limits.trades_per_day is None else int(spec.value_of(limits.trades_per_day)),
        loss_percent=0.0 if loss is None or loss.percent is None else float(spec.value_of(loss.percent)),
        loss_money=0.0 if loss is None or loss.money is None else float(spec.value_of(loss.money)),
    )
