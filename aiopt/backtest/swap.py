"""What a night costs: swap points or interest rates, charged on positions held over the rollover.

Owns the configuration `SwapConfig` and its arithmetic, in exact amounts (`aiopt.backtest.money`).  Knows
nothing of NautilusTrader; times of the rollovers come from `aiopt.backtest.rollover`.

A position is held over a rollover if it was opened before it and closed at or after it.  A fill at the open
of a bar counts at that instant; a stop or target filled inside a bar counts at the bar's end, so a position
closed in the bar that ends with the rollover is not charged, and one closed inside a long bar that the
rollover lies in is.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from functools import cached_property
from typing import Literal, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.money import AMOUNT_DECIMALS, Amount, divided, to_amount, to_float
from aiopt.backtest.rollover import TRIPLE_DAYS, TripleDay, rollovers
from aiopt.errors import ConfigError
from aiopt.market.calendar import NEW_YORK
from aiopt.market.instrument import Instrument

_PERCENT_DECIMALS = 6
_LARGEST_PIPS = 10_000.0
_LARGEST_PERCENT = 1_000.0


class SwapPoints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one night adds to a position of one instrument, per unit of base currency.

    Attributes
    ----------
    long, short : float
        Pips or points per night, as a broker's table gives them: negative is paid, positive received.
    unit : str
        ``"pips"``, or ``"points"``: the instrument's smallest price steps, as MetaTrader counts.
    """

    long: float
    short: float
    unit: Literal["pips", "points"] = "pips"

    def __post_init__(self) -> None:
        for name in ("long", "short"):
            value = getattr(self, name)
            if not -_LARGEST_PIPS <= value <= _LARGEST_PIPS:  # refuses NaN too
                msg = f"`-10000 <= swap.points.{name} <= 10000` must hold, but got {name}={value!r}."
                raise ConfigError(f"{msg} Give pips per night, e.g. -0.7.")
        if self.unit not in ("pips", "points"):
            msg = f"`swap.points.unit` must be pips or points, but got unit={self.unit!r}. Choose one."
            raise ConfigError(msg)


class InterestRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An annual interest rate from a date on.

    Attributes
    ----------
    date : str
        First New York date it holds on, ``YYYY-MM-DD``.
    percent : float
        Per year, at most six decimals; may be negative.
    """

    date: str
    percent: float

    def __post_init__(self) -> None:
        try:
            dt.date.fromisoformat(self.date)
        except ValueError:
            msg = f"`swap.rates` need dates YYYY-MM-DD, but got date={self.date!r}. Write e.g. 2018-12-20."
            raise ConfigError(msg) from None
        _check_percent("swap.rates percent", self.percent)


class SwapConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is charged for nights: `points`, or `rates`.

    Attributes
    ----------
    points : dict of str to SwapPoints
        Per instrument, e.g. ``{"EURUSD": {"long": -0.7, "short": 0.1}}``.
    rates : dict of str to tuple of InterestRate
        Per currency, of base and quote, in the order of their dates.  A night adds, in quote currency,
        ``units * price * (sign * (r_base - r_quote) - markup_percent) / 100 / day_count`` with the sign 1 for
        a long and -1 for a short, the rates of the rollover's date, and the bid close of the last bar that
        has ended at the rollover as the price.
    markup_percent : float
        With `rates`: what the broker keeps of both sides, per year.
    day_count : int
        With `rates`: days of the year interest is reckoned by, 360 or 365.
    triple_day : str
        Weekday whose rollover counts three nights; ``"none"`` for no such day.

    Raises
    ------
    ConfigError
        If neither or both tables are given, a value is out of range or dates do not ascend.
    """

    points: dict[str, SwapPoints] = {}
    rates: dict[str, tuple[InterestRate, ...]] = {}
    markup_percent: float = 0.0
    day_count: Literal[360, 365] = 360
    triple_day: TripleDay = "wednesday"

    def __post_init__(self) -> None:
        if bool(self.points) == bool(self.rates):
            given = "both" if self.points else "neither"
            msg = f"`swap` needs either points or rates, but {given} is given. Give one table."
            raise ConfigError(msg)
        _check_percent("swap.markup_percent", self.markup_percent)
        if self.markup_percent < 0 or (self.points and self.markup_percent):
            msg = f"`swap.markup_percent` is not negative and goes with rates, but got {self.markup_percent}."
            raise ConfigError(msg + " Put it into the points instead.")
        if self.day_count not in (360, 365):
            msg = f"`swap.day_count` must be 360 or 365, but got {self.day_count}. Choose one."
            raise ConfigError(msg)
        if self.triple_day not in TRIPLE_DAYS:
            choices = ", ".join(TRIPLE_DAYS)
            msg = f"`swap.triple_day` must be one of {choices}, but got {self.triple_day!r}. Choose one."
            raise ConfigError(msg)
        for currency, rows in self.rates.items():
            dates = [row.date for row in rows]
            if not dates or sorted(set(dates)) != dates:
                msg = f"`swap.rates.{currency}` needs rows whose dates ascend, but got {dates}. Sort them."
                raise ConfigError(msg)


def _check_percent(name: str, value: float) -> None:
    held = (
        math.isfinite(value) and abs(value) <= _LARGEST_PERCENT and value == round(value, _PERCENT_DECIMALS)
    )
    if not held:
        msg = f"`{name}` must be a yearly rate of at most six decimals, but got {value!r}. Write e.g. 2.5."
        raise ConfigError(msg)


class Rollovers(NamedTuple):
    """Rollovers in the order of time.

    Attributes
    ----------
    ts_ns : list of int
        Times, UTC.
    nights : list of int
        1 or 3 each.
    bid_steps : list of int
        The last bid before each, in whole price steps; read only where rates are charged.
    """

    ts_ns: list[int]
    nights: list[int]
    bid_steps: list[int]


class Nights:
    """Counts and prices the nights positions are held over.

    Parameters
    ----------
    config : SwapConfig or None
        None: nights are counted, Wednesday's as three, and nothing is charged.
    instrument : Instrument
        What is held.
    ts_open_ns : ndarray of shape (n_bars,), int64
        Opening times of the bars.
    timeframe_ns : int
        Length of a bar.
    bid_close : ndarray of shape (n_bars,), float64
        Bid at the bars' ends.
    price_decimals : int
        Prices are whole multiples of ``10**-price_decimals``.

    Bars that grow have `GrowingNights`.

    Raises
    ------
    ConfigError
        If the tables say nothing about the instrument, or begin after the bars.
    """

    def __init__(
        self,
        config: SwapConfig | None,
        instrument: Instrument,
        ts_open_ns: NDArray[np.int64],
        timeframe_ns: int,
        bid_close: NDArray[np.float64],
        price_decimals: int,
    ) -> None:
        ts_ns, nights = rollovers(
            int(ts_open_ns[0]),
            int(ts_open_ns[-1]) + timeframe_ns,
            triple_day="wednesday" if config is None else config.triple_day,
            always_open=instrument.always_open,
        )
        ended = np.searchsorted(ts_open_ns + timeframe_ns, ts_ns, side="right") - 1
        closes = bid_close[np.maximum(ended, 0)].tolist()
        steps = [round(close * 10**price_decimals) for close in closes]
        self._take(config, instrument, Rollovers(ts_ns.tolist(), nights.tolist(), steps), price_decimals)

    @classmethod
    def of(
        cls, config: SwapConfig | None, instrument: Instrument, passed: Rollovers, price_decimals: int
    ) -> Self:
        """Return the nights of rollovers that are known one by one, as where there are no bars to come.

        Parameters
        ----------
        config : SwapConfig or None
            As of the constructor.
        instrument : Instrument
            What is held.
        passed : Rollovers
            Those that have passed.
        price_decimals : int
            Prices are whole multiples of ``10**-price_decimals``.

        Raises
        ------
        ConfigError
            As the constructor.
        """
        nights = cls.__new__(cls)
        nights._take(config, instrument, passed, price_decimals)
        return nights

    def _take(
        self, config: SwapConfig | None, instrument: Instrument, known: Rollovers, price_decimals: int
    ) -> None:
        self._ts_ns = known.ts_ns
        self._nights = known.nights
        self._before: list[int] = [0, *itertools.accumulate(known.nights)]
        self.charged = config is not None
        self._per_night: Callable[[int, int], tuple[int, int]] | None = None
        if config is None:
            return
        if config.points:
            self._per_night = point_amounts(config, instrument)
        else:
            self._per_night = _rate_amounts(config, instrument, known.ts_ns, known.bid_steps, price_decimals)

    @cached_property
    def worst_per_unit(self) -> float:
        """What a unit held over every rollover pays on the costlier side, quote currency; not positive."""
        if self._per_night is None:
            return 0.0
        paid = 0.0
        for index, nights in enumerate(self._nights):
            amounts = (to_float(divided(*self._per_night(side, index))) for side in (1, -1))
            paid += nights * min(0.0, *amounts)
        return paid

    def table(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Callable[[int, int], tuple[int, int]] | None]:
        """Return times, nights of the rollovers before each, and what a unit is charged.

        Returns
        -------
        ts_ns : ndarray of shape (n,), int64
            Times of the rollovers.
        before : ndarray of shape (n + 1,), int64
            Nights of the first k rollovers.
        per_unit : callable or None
            Takes side and rollover and returns the amount per unit *and night* as a fraction; None where
            nothing is charged.
        """
        times = np.array(self._ts_ns, dtype=np.int64)
        return times, np.array(self._before, dtype=np.int64), self._per_night

    def count(self, entry_ts_ns: int, exit_ts_ns: int) -> int:
        """Return the nights between two fills; a triple rollover counts three."""
        first = bisect_right(self._ts_ns, entry_ts_ns)
        return self._before[bisect_right(self._ts_ns, exit_ts_ns)] - self._before[first]

    def bookings(
        self, side: int, units: float, entry_ts_ns: int, exit_ts_ns: int
    ) -> list[tuple[int, Amount]]:
        """Return time and amount (quote currency, positive is received) of every rollover held over."""
        if self._per_night is None:
            return []
        first, behind = bisect_right(self._ts_ns, entry_ts_ns), bisect_right(self._ts_ns, exit_ts_ns)
        booked = []
        for index in range(first, behind):
            numerator, denominator = self._per_night(side, index)
            amount = divided(numerator * int(units) * self._nights[index], denominator)
            booked.append((self._ts_ns[index], amount))
        return booked


def point_amounts(config: SwapConfig, instrument: Instrument) -> Callable[[int, int], tuple[int, int]]:
    """Return a function of side and rollover: amount per unit and night as a fraction."""
    points = config.points.get(instrument.symbol)
    if points is None:
        known = ", ".join(sorted(config.points))
        msg = f"`swap.points` must name the instrument traded, but has {known} and not {instrument.symbol}."
        raise ConfigError(f"{msg} Add {instrument.symbol}, or leave swap out.")
    size = Decimal(repr(instrument.pip_size if points.unit == "pips" else instrument.tick_size))
    long, short = (to_amount(float(Decimal(repr(value)) * size)) for value in (points.long, points.short))
    return lambda side, index: (long if side > 0 else short, 1)


def _rate_amounts(
    config: SwapConfig, instrument: Instrument, ts_ns: list[int], price_steps: list[int], price_decimals: int
) -> Callable[[int, int], tuple[int, int]]:
    """Return a function of side and rollover: amount per unit and night as a fraction."""
    dates = [dt.datetime.fromtimestamp(ts // 10**9, NEW_YORK).date().isoformat() for ts in ts_ns]
    base, quote = (_rates_on(dates, config, name) for name in (instrument.base, instrument.quote))
    markup = scaled_percent(config.markup_percent)
    numerator = 10**AMOUNT_DECIMALS
    denominator = 10 ** (price_decimals + _PERCENT_DECIMALS + 2) * config.day_count

    def per_night(side: int, index: int) -> tuple[int, int]:
        percent = side * (base[index] - quote[index]) - markup
        return percent * price_steps[index] * numerator, denominator

    return per_night


def _rates_on(dates: list[str], config: SwapConfig, currency: str) -> list[int]:
    _rows_of(config, currency)
    return [rate_on(date, config, currency) for date in dates]


def _rows_of(config: SwapConfig, currency: str) -> tuple[InterestRate, ...]:
    rows = config.rates.get(currency)
    if rows is None:
        known = ", ".join(sorted(config.rates))
        msg = f"`swap.rates` must name base and quote currency, but has {known} and not {currency}."
        raise ConfigError(f"{msg} Add {currency}.")
    return rows


def rate_on(date: str, config: SwapConfig, currency: str) -> int:
    """Return a currency's rate at the rollover of a date, in 10**-6 percent.

    Raises
    ------
    ConfigError
        If the table has no such currency, or begins later.
    """
    rows = _rows_of(config, currency)
    starts = [row.date for row in rows]
    if date < starts[0]:
        msg = f"`swap.rates.{currency}` must begin before the bars do, but begins {starts[0]} and the first "
        raise ConfigError(f"{msg}rollover is on {date}. Add an earlier row.")
    return scaled_percent(rows[bisect_right(starts, date) - 1].percent)


def scaled_percent(percent: float) -> int:
    """Return a rate in 10**-6 percent."""
    return round(percent * 10**_PERCENT_DECIMALS)
