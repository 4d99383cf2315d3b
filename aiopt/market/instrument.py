"""Instruments: what a symbol trades, how its price is quoted and what it may plausibly cost.

Owns the instrument table and looking a symbol up in it.  Instruments a user declares come from
`aiopt.market.instrument_file`.  Knows nothing of ticks and bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from aiopt.errors import DataError, did_you_mean
from aiopt.utc import DAY_NS

EARLIEST_DATE = "1990-01-01"
"""First day any stamp may have: electronic quotes of currencies are not older."""


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a symbol trades and how it is quoted.

    Attributes
    ----------
    symbol : str
        Upper-case letters and digits, e.g. ``"EURUSD"``, ``"BTCUSDT"``.
    base, quote : str
        Currency bought, and currency paid.
    price_precision : int
        Decimal places of a price.
    pip_size : float
        Quote currency per unit of base that one pip is worth.
    tick_size : float
        Smallest step of a price; ``10 ** -price_precision``.
    price_scale : int
        Integer points per quote currency, ``10 ** price_precision``; the divisor of Dukascopy's raw prices.
    size_increment : int
        Sizes are whole multiples of it, in units of the base currency, so that their sums are exact.
    plausible_low, plausible_high : float
        A price outside is a wrong scale or another instrument, not a market.
    always_open : bool
        True if it trades through the weekend.
    contract_size : float
        Units of base of one lot.
    life_start : str
        First day it could be quoted, ``YYYY-MM-DD``, UTC; a stamp before it is of a wrong unit, clock or
        instrument.
    """

    symbol: str
    base: str
    quote: str
    price_precision: int
    pip_size: float
    tick_size: float
    price_scale: int
    size_increment: int = 1
    plausible_low: float = 0.0
    plausible_high: float = 1e12
    always_open: bool = False
    contract_size: float = 100_000.0
    life_start: str = EARLIEST_DATE

    @property
    def life_start_ns(self) -> int:
        """Start of `life_start`, UTC nanoseconds."""
        return (date.fromisoformat(self.life_start) - date(1970, 1, 1)).days * DAY_NS

    @property
    def steps_per_pip(self) -> int:
        """Price steps of one pip."""
        return round(self.pip_size * self.price_scale)

    def price_text(self, price: float) -> str:
        """Return a price with the decimals of its quotes, and one more where it lies between two of them.

        Examples
        --------
        >>> instrument("EURUSD").price_text(1.1), instrument("XAUUSD").price_text(2345.678)
        ('1.10000', '2345.678')
        >>> instrument("BTCUSD").price_text(65432.15)
        '65432.15'
        """
        fine = f"{price:.{self.price_precision + 1}f}"
        return fine[:-1].rstrip(".") if fine.endswith("0") else fine


_LIVES = {"EUR": "1999-01-01", "BTC": "2009-01-03"}
"""First day of currencies younger than `EARLIEST_DATE`: the euro's fixed rates, Bitcoin's first block."""
_LOTS = {"XAU": 100.0, "XAG": 5_000.0, "BTC": 1.0}
"""Units of a lot where it is not 100,000: troy ounces of metals, one Bitcoin."""


def _define(symbol: str, precision: int, low: float, high: float, *, always_open: bool = False) -> Instrument:
    # One pip is ten price steps for currencies, metals and Bitcoin alike, as Dukascopy and MetaTrader count.
    return Instrument(
        symbol=symbol,
        base=symbol[:3],
        quote=symbol[3:],
        price_precision=precision,
        pip_size=float(f"1e{1 - precision}"),
        tick_size=float(f"1e{-precision}"),
        price_scale=10**precision,
        plausible_low=low,
        plausible_high=high,
        always_open=always_open,
        contract_size=_LOTS.get(symbol[:3], 100_000.0),
        life_start=max(_LIVES.get(currency, EARLIEST_DATE) for currency in (symbol[:3], symbol[3:])),
    )


# The plausible ranges hold every price since 1990 with room on both sides.  Those of currencies are narrower
# than a factor of ten, so that a price decoded with a wrong scale falls outside.
INSTRUMENTS: dict[str, Instrument] = {
    item.symbol: item
    for item in (
        _define("EURUSD", 5, 0.5, 2.2),
        _define("GBPUSD", 5, 0.7, 3.0),
        _define("AUDUSD", 5, 0.3, 1.6),
        _define("NZDUSD", 5, 0.3, 1.3),
        _define("USDCHF", 5, 0.5, 2.5),
        _define("USDCAD", 5, 0.6, 2.2),
        _define("EURGBP", 5, 0.4, 1.4),
        _define("EURCHF", 5, 0.6, 2.2),
        _define("EURAUD", 5, 0.8, 3.0),
        _define("EURCAD", 5, 0.8, 2.5),
        _define("EURNZD", 5, 1.0, 3.2),
        _define("GBPCHF", 5, 0.7, 3.5),
        _define("GBPAUD", 5, 1.0, 3.5),
        _define("GBPCAD", 5, 1.0, 3.2),
        _define("GBPNZD", 5, 1.2, 4.0),
        _define("AUDCAD", 5, 0.5, 1.5),
        _define("AUDCHF", 5, 0.35, 1.5),
        _define("AUDNZD", 5, 0.7, 2.0),
        _define("NZDCAD", 5, 0.5, 1.3),
        _define("NZDCHF", 5, 0.35, 1.2),
        _define("CADCHF", 5, 0.4, 1.6),
        _define("USDJPY", 3, 50.0, 300.0),
        _define("EURJPY", 3, 60.0, 350.0),
        _define("GBPJPY", 3, 80.0, 450.0),
        _define("AUDJPY", 3, 35.0, 200.0),
        _define("NZDJPY", 3, 30.0, 180.0),
        _define("CADJPY", 3, 50.0, 200.0),
        _define("CHFJPY", 3, 50.0, 350.0),
        _define("XAUUSD", 3, 200.0, 20_000.0),
        _define("XAGUSD", 3, 2.0, 500.0),
        _define("BTCUSD", 1, 50.0, 5_000_000.0, always_open=True),
    )
}


def known_instruments() -> Mapping[str, Instrument]:
    """Return every instrument by symbol: the table, and those declared, which go before."""
    from aiopt.market.instrument_file import declared_instruments

    declared = declared_instruments()
    return {**INSTRUMENTS, **declared} if declared else INSTRUMENTS


def instrument(symbol: str) -> Instrument:
    """Return the instrument of a symbol.

    Parameters
    ----------
    symbol : str
        ``"EURUSD"``; also ``"eur/usd"``, ``"EUR-USD"`` and ``"EUR_USD"``.

    Raises
    ------
    DataError
        If neither the table nor the declared instruments have such a symbol; names the nearest one.

    Examples
    --------
    >>> instrument("eur/usd").price_scale
    100000
    """
    found = find_instrument(symbol)
    if found is None:
        hint = did_you_mean(symbol.upper(), known_instruments())
        msg = f"There is no instrument {symbol!r} in the table.{hint}"
        raise DataError(f"{msg} Others are declared in a file: --instruments FILE.")
    return found


def find_instrument(symbol: str) -> Instrument | None:
    """Return the instrument of a symbol in any usual notation, None if it is not known."""
    plain = symbol.upper()
    for separator in "/-_. ":
        plain = plain.replace(separator, "")
    return known_instruments().get(plain)
