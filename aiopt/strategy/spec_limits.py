"""What holds a strategy back from entering: a pause after exits, entries per day, a day's loss.

Owns the fields and what each of them must keep alone or by the strategy's parameters.  When they act is
`aiopt.strategy.entry_limits`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from aiopt.errors import SpecError
from aiopt.strategy.spec_parts import ByContent

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

MOST_PAUSE_BARS = 100_000
"""Longest pause."""
MOST_TRADES_PER_DAY = 10_000
"""More entries than a day can have."""
MOST_PERCENT, MOST_MONEY = 100, 1e12


class DailyLoss(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """The loss of a trading day behind which nothing more is entered on it.

    Attributes
    ----------
    percent : number or str or None
        Of the balance with which the day began, in (0, 100]; or the name of a parameter.
    money : number or str or None
        In the account's currency, positive; or the name of a parameter.  Exactly one of the two.
    """

    percent: int | float | str | None = None
    money: int | float | str | None = None

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.money is None):
            given = "neither" if self.percent is None else "both"
            msg = f"daily_loss: it must have either percent or money, but got {given}."
            raise SpecError(f"{msg} Give one, e.g. percent: 2.")


class EntryLimits(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """When an entry signal counts for nothing: it enters, reverses and delays no position.

    Attributes
    ----------
    pause_bars : int or str or None
        Signals count again from the close of the bar so many behind the bar of the last exit.
    trades_per_day : int or str or None
        Positions entered on a trading day at most.
    daily_loss : DailyLoss or None
        Loss that ends a trading day's entries.
    """

    pause_bars: int | str | None = None
    trades_per_day: int | str | None = None
    daily_loss: DailyLoss | None = None

    def __post_init__(self) -> None:
        if self.pause_bars is None and self.trades_per_day is None and self.daily_loss is None:
            msg = "limits: it names no limit. Give pause_bars, trades_per_day or daily_loss, or remove it."
            raise SpecError(msg)


def limit_counts(spec: StrategySpec) -> Iterator[tuple[str, int | str, int]]:
    """Yield the whole numbers of a strategy's limits: field, value or parameter, and the largest allowed."""
    limits = spec.limits
    if not isinstance(limits, EntryLimits):
        return
    if limits.pause_bars is not None:
        yield "limits.pause_bars", limits.pause_bars, MOST_PAUSE_BARS
    if limits.trades_per_day is not None:
        yield "limits.trades_per_day", limits.trades_per_day, MOST_TRADES_PER_DAY


def limit_amounts(spec: StrategySpec) -> Iterator[tuple[str, int | float | str, float]]:
    """Yield the amounts of a strategy's limits: field, value or parameter, and the largest allowed."""
    limits = spec.limits
    if not isinstance(limits, EntryLimits) or limits.daily_loss is None:
        return
    if limits.daily_loss.percent is not None:
        yield "limits.daily_loss.percent", limits.daily_loss.percent, MOST_PERCENT
    if limits.daily_loss.money is not None:
        yield "limits.daily_loss.money", limits.daily_loss.money, MOST_MONEY


def limit_names(spec: StrategySpec) -> Iterator[str]:
    """Yield the parameters that a strategy's limits name."""
    for _, value, _ in (*limit_counts(spec), *limit_amounts(spec)):
        if isinstance(value, str):
            yield value


def check_limits(
    spec: StrategySpec,
    *,
    param: Callable[[str, str, str], None],
    fail: Callable[[str, str], SpecError],
) -> None:
    """Check what limits must keep by the strategy's parameters.

    Parameters
    ----------
    spec : StrategySpec
        Whose limits.
    param : callable
        Checks that a parameter exists: place, key, name.
    fail : callable
        Makes the error: place and text.

    Raises
    ------
    SpecError
        Names the strategy, the field, the rule, the value and the remedy.
    """
    for field, value, most in limit_counts(spec):
        if isinstance(value, str):
            param(field, "it", value)
        found = spec.value_of(value)
        if not isinstance(found, int) or not 1 <= found <= most:
            text = f"it must be a whole number from 1 to {most}, but got {found!r}."
            raise fail(field, f"{text} Choose one, or leave it out.")
    for field, amount, largest in limit_amounts(spec):
        if isinstance(amount, str):
            param(field, "it", amount)
        worth = spec.value_of(amount)
        if not 0 < worth <= largest:
            text = f"it must be above 0 and at most {largest:g}, but got {worth!r}."
            raise fail(field, f"{text} Choose one, or leave it out.")


LIMIT_FIELDS: Mapping[str, type[ByContent]] = {"limits": EntryLimits}
"""Fields of `StrategySpec` that hold these, left out of its canonical JSON where they are not set."""
