"""How much of a result was held over night, and what nights would cost.

Owns the arithmetic on counted nights; knows nothing of clocks, swap tables or strategies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiopt.evaluation.statement import statement

ASSUMED_PIPS_PER_NIGHT = 0.7
"""What a night of EUR/USD has cost a retail account, roughly, on the side that costs more."""


@dataclass(frozen=True)
class HeldOver:
    """What was held over 17:00 New York.

    Attributes
    ----------
    trades, held : int
        All trades, and those held over at least one rollover.
    nights : int
        Nights of those, the triple day's rollover counting three.
    assumed_cost : float
        Quote currency: `ASSUMED_PIPS_PER_NIGHT` for each night on each trade's units.
    """

    trades: int
    held: int
    nights: int
    assumed_cost: float


def held_over(trades: Iterable[tuple[int, float]], *, pip_size: float) -> HeldOver:
    """Return what was held over.

    Parameters
    ----------
    trades : iterable of (int, float)
        Nights and units of each trade.
    pip_size : float
        Quote currency per pip and unit.
    """
    rows = list(trades)
    unit_nights = sum(nights * units for nights, units in rows)
    return HeldOver(
        trades=len(rows),
        held=sum(nights > 0 for nights, _ in rows),
        nights=sum(nights for nights, _ in rows),
        assumed_cost=unit_nights * pip_size * ASSUMED_PIPS_PER_NIGHT,
    )


def held_over_text(
    held: HeldOver, *, currency: str, charged: float | None, account_currency: str | None = None
) -> str:
    """Return the sentence that stands in reports, on the console and in a script's header.

    Parameters
    ----------
    held : HeldOver
        The counts.
    currency : str
        Quote currency, of `HeldOver.assumed_cost`.
    charged : float or None
        Swap booked, account currency, negative where it was paid; None if swap was off.
    account_currency : str, optional
        Default: the quote currency.
    """
    account_currency = currency if account_currency is None else account_currency
    trades = f"{held.held:,} of {held.trades:,} trades were held over 17:00 New York, {held.nights:,} nights"
    if charged is not None:
        return f"{trades}; swap booked on them: {statement(charged, account_currency)} {account_currency}"
    return (
        f"{trades}; swap is not charged: at {ASSUMED_PIPS_PER_NIGHT:g} pip a night they would have cost "
        f"{statement(held.assumed_cost, currency)} {currency}"
    )
