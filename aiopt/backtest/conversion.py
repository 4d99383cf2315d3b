"""An account in another currency than the instrument's quote: at which rate its money is converted.

Owns the choice of the rate and its exact arithmetic (`aiopt.backtest.money`).  Knows nothing of
NautilusTrader and of what the money was paid for.

Profit, commission and swap arise in the quote currency (yen for USDJPY).  Each amount is converted when it is
booked, at the mid price of the last bar of a conversion pair that has ended by then: the close of the bar
before for a fill at an open, and the bar's own close for a fill inside a bar, which counts at its end.  So no
decision and no booking sees a price to come.  The pair quotes the one currency in the other, either way
round; where the account is in the instrument's own base currency, its own bars are the conversion bars.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.money import Amount, divided
from aiopt.bars.schema import BarSet
from aiopt.config import content_hash
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import Instrument
from aiopt.utc import DAY_NS, stamp_text

_OLDEST_RATE_NS = 4 * DAY_NS
"""A rate holds over a week-end with a holiday at its side, not longer."""
_FILL_NS = 3
"""Fills inside a bar are stamped up to this before its end (`aiopt.backtest.replay`) and count at its end."""


def with_conversion(bars: BarSet, conversion: BarSet) -> BarSet:
    """Return bars that carry the bars of a conversion pair; results then name both by their `data_hash`.

    Parameters
    ----------
    bars : BarSet
        What is traded.
    conversion : BarSet
        Of a pair of the quote and the account's currency; any timeframe, over the same span.
    """
    data_hash = content_hash({"bars": bars.data_hash, "conversion": conversion.data_hash})
    return replace(bars, conversion=conversion, data_hash=data_hash)


def account_currency(bars: BarSet, wanted: str | None) -> str:
    """Return the currency of an account: the one wanted, or the instrument's quote currency."""
    return bars.instrument.quote if wanted is None else wanted


class Conversion:
    """Rates of an account's currency per quote currency.

    Parameters
    ----------
    bars : BarSet
        What is traded, with `BarSet.conversion` where another pair is needed.
    account : str
        The account's currency, another than the quote currency.

    Raises
    ------
    ConfigError
        If no bars of a fitting pair are there.
    DataError
        If they do not cover the bars traded.
    """

    def __init__(self, bars: BarSet, account: str) -> None:
        quote = bars.instrument.quote
        given = bars.conversion
        check_account(bars.instrument, account, None if given is None else given.instrument)
        pair = bars if given is None else given
        decimals = pair.instrument.price_precision + 1
        sides = (pair.bid.close, pair.ask.close)
        bid, ask = (np.rint(side * 10**decimals).astype(np.int64) for side in sides)
        self._twice_mids = bid + ask
        self._twice_mid: list[int] = self._twice_mids.tolist()
        self.unit = 2 * 10**decimals
        """What twice a mid price in whole steps is counted in."""
        self.multiplies = pair.instrument.base == quote
        """Whether amounts are multiplied by the pair's price, or divided by it."""
        ends = pair.bid.ts_open_ns + pair.timeframe.ns
        self._ends_ns: list[int] = ends.tolist()
        _check_cover(bars, pair, ends)
        mid = (bid + ask) / self.unit
        self._rates = mid if self.multiplies else 1.0 / mid
        self._ends = ends

    def converted(self, amount: Amount, ts_ns: int) -> Amount:
        """Return an amount of quote currency in the account's currency, at the rate of a fill's time.

        Parameters
        ----------
        amount : int
            Quote currency.
        ts_ns : int
            When it is booked.
        """
        place = max(0, bisect_right(self._ends_ns, ts_ns + _FILL_NS) - 1)
        twice_mid = self._twice_mid[place]
        if self.multiplies:
            return divided(amount * twice_mid, self.unit)
        return divided(amount * self.unit, twice_mid)

    def twice_mids_at(self, ts_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return twice the mid price, in whole steps, that bookings at times are converted by."""
        places = np.searchsorted(self._ends, ts_ns + _FILL_NS, side="right") - 1
        return np.ascontiguousarray(self._twice_mids[np.maximum(places, 0)])

    def rates_at(self, ts_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return account currency per quote currency at times, e.g. the ends of bars."""
        places = np.searchsorted(self._ends, ts_ns, side="right") - 1
        return np.ascontiguousarray(self._rates[np.maximum(places, 0)])


def check_account(traded: Instrument, account: str, pair: Instrument | None) -> None:
    """Refuse an account whose currency cannot be reached, and conversion bars that convert nothing.

    Parameters
    ----------
    traded : Instrument
        What is traded.
    account : str
        The account's currency.
    pair : Instrument or None
        Of the conversion bars, if there are any.

    Raises
    ------
    ConfigError
        Names the bars that would do.
    """
    names = f"{account}{traded.quote} or {traded.quote}{account}"
    if account in (traded.base, traded.quote):
        if pair is not None:
            msg = (
                f"Conversion bars must convert something, but {traded.symbol} in {account} needs none but "
                f"its own. Leave out the bars of {pair.symbol} (--conversion)."
            )
            raise ConfigError(msg)
    elif pair is None:
        msg = (
            f"The account is in {account}, but {traded.symbol} is quoted in {traded.quote}, and there is no "
            f"rate. Give bars of {names} (--conversion), or set account_currency to {traded.quote}."
        )
        raise ConfigError(msg)
    elif {pair.base, pair.quote} != {traded.quote, account}:
        msg = f"The conversion needs bars of {names}, but these are of {pair.symbol}. Give others."
        raise ConfigError(msg)


def chart_balance(bars: BarSet, account: str | None, balance: float) -> float:
    """Return a balance as the account of a chart has it: in the quote currency, at the first bar's rate."""
    currency = account_currency(bars, account)
    if currency == bars.instrument.quote:
        return balance
    rate = Conversion(bars, currency).rates_at(bars.bid.ts_open_ns[:1] + bars.timeframe.ns)[0]
    return round(balance / float(rate), 2)


def pip_in_account(bars: BarSet, account: str | None) -> float:
    """Return what a pip of one unit is worth on average, account currency."""
    currency = account_currency(bars, account)
    if currency == bars.instrument.quote:
        return bars.instrument.pip_size
    rates = Conversion(bars, currency).rates_at(bars.bid.ts_open_ns + bars.timeframe.ns)
    return bars.instrument.pip_size * float(rates.mean())


def _check_cover(bars: BarSet, pair: BarSet, ends: NDArray[np.int64]) -> None:
    """Refuse conversion bars that leave a bar without a rate, or with one that is days old."""
    closes = bars.bid.ts_open_ns + bars.timeframe.ns
    places = np.searchsorted(ends, closes, side="right") - 1
    age = closes - ends[np.maximum(places, 0)]
    wrong = np.flatnonzero((places < 0) | (age > _OLDEST_RATE_NS))
    if wrong.size:
        row = int(wrong[0])
        at = stamp_text(int(closes[row]), "s").removesuffix("Z")
        msg = (
            f"Every bar needs a conversion rate at most four days old, but bar {row}, which ends {at} UTC, "
            f"has none of {pair.instrument.symbol} {pair.timeframe.label}. Give bars of the whole span."
        )
        raise DataError(msg, row=row)
