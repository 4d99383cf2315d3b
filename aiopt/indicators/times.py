"""Values of the clock and the trading day: calendar, days and weeks before, session ranges, VWAP.

The trading day rolls at 17:00 New York; so does the week, on Sunday.  A bar belongs to the day, week and
session it **opens** in.  What has ended is known from the first bar that opens after it.  NaN policy: a bar
with a NaN is passed over.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.bar_series import TIME
from aiopt.indicators.definition import ZONE, IndicatorDef, clock_arg
from aiopt.indicators.wall_clock import (
    EPOCH_WEEKDAY,
    NEW_YORK,
    ROLL_NS,
    IntArray,
    WallClock,
    local_ns,
    trading_days,
    weeks_of,
)
from aiopt.indicators.weighted import ZERO
from aiopt.indicators.windows import NAN, FloatArray, finite
from aiopt.utc import DAY_NS, MINUTE_NS

_MINUTES = 1440
_EPOCH = dt.date(1970, 1, 1)


class CalendarFields(NamedTuple):
    """The outputs of `calendar`, arrays or single values."""

    minute_of_day: FloatArray | float
    hour: FloatArray | float
    minute: FloatArray | float
    weekday: FloatArray | float
    day: FloatArray | float
    month: FloatArray | float


def calendar(time: IntArray, timezone: str) -> CalendarFields:
    """Return date and time at which bars open, on the clocks of a time zone.

    Parameters
    ----------
    time : ndarray of shape (n_bars,), int64
        When bars open, UTC nanoseconds.
    timezone : str
        IANA name; daylight saving is followed.

    Returns
    -------
    CalendarFields
        Whole numbers: minutes from midnight, hour 0 to 23, minute 0 to 59, weekday 1 (Monday) to 7, day of
        the month, month 1 to 12.
    """
    local = local_ns(timezone, np.asarray(time, dtype=np.int64))
    days, minutes = np.divmod(local // MINUTE_NS, _MINUTES)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    fields = (
        minutes,
        minutes // 60,
        minutes % 60,
        (days + EPOCH_WEEKDAY) % 7 + 1,
        (dates - months).astype(np.int64) + 1,
        months.astype(np.int64) % 12 + 1,
    )
    return CalendarFields(*(field.astype(np.float64) for field in fields))


class Calendar:
    """Streaming twin of `calendar`."""

    def __init__(self, timezone: str) -> None:
        self._clock = WallClock(timezone)

    def update(self, time: float) -> CalendarFields:
        """Add one bar; return the fields of its opening time."""
        days, minutes = divmod(self._clock.local_ns(time) // MINUTE_NS, _MINUTES)
        date = _EPOCH + dt.timedelta(days=days)
        fields = (minutes, minutes // 60, minutes % 60, date.isoweekday(), date.day, date.month)
        return CalendarFields(*map(float, fields))


class PeriodPrices(NamedTuple):
    """Prices of a whole period, arrays or single values."""

    open: FloatArray | float
    high: FloatArray | float
    low: FloatArray | float
    close: FloatArray | float


class PeriodSoFar(NamedTuple):
    """Prices of a period up to a bar, arrays or single values."""

    open: FloatArray | float
    high: FloatArray | float
    low: FloatArray | float


def _periods(
    keys: IntArray, open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike
) -> FloatArray:
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    result = np.full((7, keys.size), NAN)
    kernels.periods(keys, finite(open), finite(high), finite(low), finite(close), result)
    return result


def previous_day(
    time: IntArray, open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike
) -> PeriodPrices:
    """Return open, high, low and close of the trading day before: the last one that has bars.

    Parameters
    ----------
    time : ndarray of shape (n_bars,), int64
        When bars open, UTC nanoseconds.
    open, high, low, close : array_like of shape (n_bars,)
        Price units.

    Returns
    -------
    PeriodPrices
        NaN until the first trading day of the bars is over, which may be a part of one.
    """
    rows = _periods(trading_days(np.asarray(time, dtype=np.int64)), open, high, low, close)
    return PeriodPrices(*rows[:4])


def previous_week(
    time: IntArray, open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike
) -> PeriodPrices:
    """Return open, high, low and close of the trading week before; see `previous_day`."""
    weeks = weeks_of(trading_days(np.asarray(time, dtype=np.int64)))
    return PeriodPrices(*_periods(weeks, open, high, low, close)[:4])


def today(
    time: IntArray, open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike
) -> PeriodSoFar:
    """Return open, high and low of the trading day up to and with each bar; see `previous_day`."""
    rows = _periods(trading_days(np.asarray(time, dtype=np.int64)), open, high, low, close)
    return PeriodSoFar(*rows[4:])


class _Periods:
    """Bars gathered into periods by a key."""

    def __init__(self, days: int) -> None:
        self._days = days  # 1: trading days, 7: weeks
        self._clock = WallClock(NEW_YORK)
        self._key: int | None = None
        self._before = (NAN, NAN, NAN, NAN)
        self._now = (NAN, NAN, NAN, NAN)

    def add(
        self, time: float, open: float, high: float, low: float, close: float
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Add one bar; return the period before and this one."""
        if not math.isfinite(open + high + low + close):
            return (NAN,) * 4, (NAN,) * 4
        key = (self._clock.local_ns(time) + ROLL_NS) // DAY_NS
        key = key if self._days == 1 else (key + EPOCH_WEEKDAY) // 7
        if key != self._key:
            self._key = key
            self._before, self._now = self._now, (open, high, low, close)
        start, top, bottom, _ = self._now
        self._now = (start, max(top, high), min(bottom, low), close)
        return self._before, self._now


class PreviousDay:
    """Streaming twin of `previous_day`."""

    _days = 1

    def __init__(self) -> None:
        self._periods = _Periods(self._days)

    def update(self, time: float, open: float, high: float, low: float, close: float) -> PeriodPrices:
        """Add one bar; return the period before."""
        return PeriodPrices(*self._periods.add(time, open, high, low, close)[0])


class PreviousWeek(PreviousDay):
    """Streaming twin of `previous_week`."""

    _days = 7


class Today:
    """Streaming twin of `today`."""

    def __init__(self) -> None:
        self._periods = _Periods(1)

    def update(self, time: float, open: float, high: float, low: float, close: float) -> PeriodSoFar:
        """Add one bar; return the day so far."""
        return PeriodSoFar(*self._periods.add(time, open, high, low, close)[1][:3])


class RangeLines(NamedTuple):
    """Highest and lowest price of a session, arrays or single values."""

    high: FloatArray | float
    low: FloatArray | float


# reason: three series and three arguments
def session_range(
    time: IntArray, high: npt.ArrayLike, low: npt.ArrayLike, start: int, end: int, timezone: str
) -> RangeLines:
    """Return the range of the last session that is over, e.g. of 07:00 to 08:00 in London.

    A bar is in the session if ``start <= opening time < end`` on the clocks of `timezone`, over midnight if
    ``start >= end``.  The range is known from the first bar that opens after the session; while a session
    runs, and on days on which it has no bars, that of the one before stands.

    Parameters
    ----------
    time : ndarray of shape (n_bars,), int64
        When bars open, UTC nanoseconds.
    high, low : array_like of shape (n_bars,)
        Price units.
    start, end : int
        Minutes from midnight.
    timezone : str
        IANA name; daylight saving is followed.

    Returns
    -------
    RangeLines
        NaN until the first session of the bars is over.
    """
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    local = local_ns(timezone, np.asarray(time, dtype=np.int64))
    days, minutes = np.divmod(local // MINUTE_NS, _MINUTES)
    after, before = minutes >= start, minutes < end
    inside = after & before if start < end else after | before
    if start >= end:
        days = days - before
    result = np.full((2, days.size), NAN)
    kernels.session_ranges(inside, days.astype(np.int64), finite(high), finite(low), result)
    return RangeLines(*result)


class SessionRange:
    """Streaming twin of `session_range`."""

    def __init__(self, start: int, end: int, timezone: str) -> None:
        self._start, self._end = start, end
        self._clock = WallClock(timezone)
        self._now, self._last = (NAN, NAN), (NAN, NAN)
        self._day = 0

    def update(self, time: float, high: float, low: float) -> RangeLines:
        """Add one bar; return the last range."""
        if not math.isfinite(high + low):
            return RangeLines(NAN, NAN)
        day, minute = divmod(self._clock.local_ns(time) // MINUTE_NS, _MINUTES)
        after, before = minute >= self._start, minute < self._end
        over_midnight = self._start >= self._end
        inside = after or before if over_midnight else after and before
        if over_midnight and before:
            day -= 1
        open_session = not math.isnan(self._now[0])
        fresh = inside and (not open_session or day != self._day)
        if (fresh or not inside) and open_session:
            self._last = self._now
        if not inside:
            self._now = (NAN, NAN)
        elif fresh:
            self._now, self._day = (high, low), day
        else:
            self._now = (max(self._now[0], high), min(self._now[1], low))
        return RangeLines(*self._last)


def vwap(source: npt.ArrayLike, volume: npt.ArrayLike, time: IntArray) -> FloatArray:
    """Return the mean price of the trading day so far, weighted by volume (``ta.vwap`` anchored to the day).

    Parameters
    ----------
    source, volume : array_like of shape (n_bars,)
        Price (Pine takes ``hlc3``) and volume; NaN while the day has no volume.
    time : ndarray of shape (n_bars,), int64
        When bars open, UTC nanoseconds.
    """
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    days = trading_days(np.asarray(time, dtype=np.int64))
    return kernels.anchored_mean(days, finite(source), finite(volume), ZERO)


class Vwap:
    """Streaming twin of `vwap`."""

    def __init__(self) -> None:
        self._clock = WallClock(NEW_YORK)
        self._day: int | None = None
        self._total = self._weight = 0.0

    def update(self, source: float, volume: float, time: float) -> float:
        """Add one bar; return the mean of its trading day so far."""
        if not (math.isfinite(source) and math.isfinite(volume)):
            return NAN
        day = (self._clock.local_ns(time) + ROLL_NS) // DAY_NS
        if day != self._day:
            self._day = day
            self._total = self._weight = 0.0
        self._total += source * volume
        self._weight += volume
        return self._total / self._weight if self._weight > ZERO else NAN


_PRICES = (TIME, "open", "high", "low", "close")

TIME_KINDS = (
    IndicatorDef(
        kind="calendar",
        title="Date and time at which a bar opens",
        args={"timezone": ZONE},
        inputs=(TIME,),
        outputs=CalendarFields._fields,
        function=calendar,
        streaming=Calendar,
        warmup=lambda a: 0,
    ),
    IndicatorDef(
        kind="previous_day",
        title="Prices of the trading day before",
        args={},
        inputs=_PRICES,
        outputs=PeriodPrices._fields,
        function=previous_day,
        streaming=PreviousDay,
        warmup=lambda a: 1,
    ),
    IndicatorDef(
        kind="previous_week",
        title="Prices of the trading week before",
        args={},
        inputs=_PRICES,
        outputs=PeriodPrices._fields,
        function=previous_week,
        streaming=PreviousWeek,
        warmup=lambda a: 1,
    ),
    IndicatorDef(
        kind="today",
        title="Prices of the trading day so far",
        args={},
        inputs=_PRICES,
        outputs=PeriodSoFar._fields,
        function=today,
        streaming=Today,
        warmup=lambda a: 0,
    ),
    IndicatorDef(
        kind="session_range",
        title="Range of the last session that is over",
        args={"start": clock_arg(7 * 60), "end": clock_arg(8 * 60), "timezone": ZONE},
        inputs=(TIME, "high", "low"),
        outputs=RangeLines._fields,
        function=session_range,
        streaming=SessionRange,
        warmup=lambda a: 1,
    ),
    IndicatorDef(
        kind="vwap",
        title="Volume weighted price of the trading day so far",
        args={},
        inputs=("source", "volume", TIME),
        outputs=("value",),
        function=vwap,
        streaming=Vwap,
        warmup=lambda a: 0,
    ),
)
