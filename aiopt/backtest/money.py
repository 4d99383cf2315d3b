"""Amounts of money as whole numbers.

Owns the arithmetic: an amount is an `int` of 10**-16 of a currency (`Amount`), so that sums are exact in any
order and a commission of a hundredth of a cent is not lost.  Nothing is rounded where it is booked.  An
account statement rounds its totals, and so does whoever prints one: `statement` gives the currency's own
decimals (US dollar 2, yen 0).  Knows nothing of positions; `aiopt.backtest.bookkeeper` settles them.
"""

from __future__ import annotations

from decimal import Decimal

AMOUNT_DECIMALS = 16
"""An `Amount` counts 10**-16 of its currency: finer than any product of a price, a size and a commission."""

Amount = int
"""Whole multiples of 10**-16 of a currency."""

_ONE = 10**AMOUNT_DECIMALS


def to_amount(value: float) -> Amount:
    """Return the decimal number a float prints as, as an amount; digits beyond 10**-16 are rounded.

    >>> to_amount(0.1) == 10**15
    True
    """
    sign, digits, exponent = Decimal(repr(float(value))).as_tuple()
    number = int("".join(map(str, digits))) * (-1 if sign else 1)
    assert isinstance(exponent, int)
    shift = exponent + AMOUNT_DECIMALS
    return number * 10**shift if shift >= 0 else divided(number, 10**-shift)


def to_float(amount: Amount) -> float:
    """Return the float nearest to an amount in units of its currency."""
    return amount / _ONE  # Python divides integers of any size correctly rounded


def divided(numerator: int, denominator: int) -> int:
    """Return a quotient of whole numbers (`denominator` positive) as the nearest one, halves to even."""
    quotient, remainder = divmod(numerator, denominator)
    if 2 * remainder > denominator or (2 * remainder == denominator and quotient % 2):
        quotient += 1
    return quotient
