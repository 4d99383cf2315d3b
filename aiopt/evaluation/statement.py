"""Totals as an account statement prints them.

Owns the decimals of currencies and the one place where money is rounded; knows nothing of trades.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

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
