"""Amounts of money as whole numbers, and what a position costs and earns.

Owns the arithmetic: an amount is an `int` of 10**-16 of a currency (`Amount`), so that sums are exact in any
order and a commission of a hundredth of a cent is not lost.  Prices are whole price steps, sizes whole units;
profit and commission are products of decimals and come out exact.  Nothing is rounded where it is booked.  An
account statement rounds its totals, and so does whoever prints one: `statement` gives the currency's own
decimals (US dollar 2, yen 0).

Knows nothing of NautilusTrader, signals or results.  Its engine's own amounts are not used, as it rounds the
commission of every fill to whole cents or whole yen.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

from aiopt.errors import ConfigError

AMOUNT_DECIMALS = 16
"""An `Amount` counts 10**-16 of its currency: finer than any product of a price, a size and a commission."""

Amount = int
"""Whole multiples of 10**-16 of a currency."""

_ONE = 10**AMOUNT_DECIMALS
_PER_MILLION_DECIMALS = 6

_DECIMALS = {
    **dict.fromkeys(("JPY", "KRW", "CLP", "ISK", "VND", "PYG", "XAF", "XOF", "XPF", "UGX", "RWF"), 0),
    **dict.fromkeys(("KWD", "BHD", "OMR", "JOD", "TND", "IQD", "LYD"), 3),
    "BTC": 8,
    "ETH": 8,
}
"""ISO 4217's decimals of the currencies that have not two, and those usual for the two coins."""


def statement_decimals(currency: str) -> int:
    """Return the decimals an account statement in a currency has: 2 for USD, 0 for JPY."""
    return _DECIMALS.get(currency, 2)


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


def statement(value: float, currency: str) -> str:
    """Return a total as an account statement prints it: in the currency's decimals, halves away from zero.

    Parameters
    ----------
    value : float
        Units of the currency, read as the decimal number it prints as.
    currency : str
        Whose decimals count.

    >>> statement(19.235, "USD"), statement(-1234.5, "JPY")
    ('19.24', '-1,235')
    """
    step = Decimal(1).scaleb(-statement_decimals(currency))
    rounded = Decimal(repr(float(value))).quantize(step, rounding=ROUND_HALF_UP, context=_CONTEXT)
    return f"{rounded if rounded else abs(rounded):,}"


_CONTEXT = Context(prec=400)
"""Enough for any float: quantize refuses a result of more digits."""


def divided(numerator: int, denominator: int) -> int:
    """Return a quotient of whole numbers (`denominator` positive) as the nearest one, halves to even."""
    quotient, remainder = divmod(numerator, denominator)
    if 2 * remainder > denominator or (2 * remainder == denominator and quotient % 2):
        quotient += 1
    return quotient


class Settlement(NamedTuple):
    """What one round trip did to the account, in amounts of its currency.

    Attributes
    ----------
    gross : int
        Profit of the prices alone.
    entry_commission, exit_commission : int
        Paid at the entry and at the exit, not negative.
    """

    gross: Amount
    entry_commission: Amount
    exit_commission: Amount

    @property
    def commission(self) -> Amount:
        """Of both sides."""
        return self.entry_commission + self.exit_commission

    @property
    def net(self) -> Amount:
        """What the balance gained."""
        return self.gross - self.commission


class Bookkeeper:
    """Settles positions on one instrument under one set of costs.

    Parameters
    ----------
    price_decimals : int
        Prices are whole multiples of ``10**-price_decimals``.
    commission_per_million : float
        Quote currency per million of quote currency traded, on each side; at most four decimals.

    Raises
    ------
    ConfigError
        If the commission has more decimals than are kept exactly.
    """

    def __init__(self, *, price_decimals: int, commission_per_million: float) -> None:
        self._steps_per_unit = 10**price_decimals
        scaled = Decimal(repr(float(commission_per_million))).scaleb(4)
        if scaled != scaled.to_integral_value():
            msg = (
                "`commission_per_million` may have at most four decimals, but got "
                f"commission_per_million={commission_per_million!r}. Choose e.g. 35."
            )
            raise ConfigError(msg)
        self._per_million = int(scaled)  # 10**-4 of the quote currency
        decimals = price_decimals + _PER_MILLION_DECIMALS + 4
        self._commission_factor = 10 ** max(0, AMOUNT_DECIMALS - decimals)
        self._commission_divisor = 10 ** max(0, decimals - AMOUNT_DECIMALS)
        self._step_amount = 10 ** (AMOUNT_DECIMALS - price_decimals)

    def steps(self, price: float) -> int:
        """Return a price as whole price steps."""
        return round(price * self._steps_per_unit)

    def commission(self, units: float, price: float) -> Amount:
        """Return the commission of one fill: ``units * price / 1e6 * commission_per_million``."""
        product = int(units) * self.steps(price) * self._per_million * self._commission_factor
        return divided(product, self._commission_divisor)

    def gross(self, side: int, units: float, entry_price: float, exit_price: float) -> Amount:
        """Return the profit of the prices alone; `side` is 1 for a long and -1 for a short."""
        return side * int(units) * (self.steps(exit_price) - self.steps(entry_price)) * self._step_amount

    def settle(self, side: int, units: float, entry_price: float, exit_price: float) -> Settlement:
        """Return what a round trip did to the account."""
        return Settlement(
            gross=self.gross(side, units, entry_price, exit_price),
            entry_commission=self.commission(units, entry_price),
            exit_commission=self.commission(units, exit_price),
        )
