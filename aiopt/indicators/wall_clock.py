"""Wall clocks: local time and the trading day of an instant, over arrays and one at a time.

Zone offsets change only on a quarter of an hour (UTC), so they are looked up once a quarter hour at most.
The trading day of foreign exchange rolls at 17:00 New York, whatever the clocks there do; its week begins
with the day that rolls in on Sunday.  Knows no bars.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo

import numpy as np
import numpy.typing as npt

from aiopt.errors import SpecError, did_you_mean
from aiopt.utc import DAY_NS, HOUR_NS, MINUTE_NS

NEW_YORK = "America/New_York"

ROLL_NS = 7 * HOUR_NS
"""From 17:00, where a trading day begins, to midnight."""

EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0 here

_QUARTER_NS = 15 * MINUTE_NS
_QUARTERS = 96  # in a day

IntArray = npt.NDArray[np.int64]


def check_timezone(timezone: str, *, where: str) -> None:
    """Raise unless there is a time zone of that name.

    Raises
    ------
    SpecError
        With a hint.
    """
    try:
        zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as failure:
        hint = did_you_mean(timezone, zoneinfo.available_timezones())
        hint = hint if hint.startswith(" Did") else " Use e.g. UTC, Europe/London, America/New_York."
        msg = f"{where}: there is no timezone {timezone!r}. Use an IANA name.{hint}"
        raise SpecError(msg) from failure


def utc_offsets_ns(timezone: str, ts_ns: IntArray) -> IntArray:
    """Return local time minus UTC at each instant.

    Parameters
    ----------
    timezone : str
        IANA name.
    ts_ns : ndarray of shape (n,), int64
        Instants, UTC.

    Returns
    -------
    ndarray of shape (n,), int64, ns
    """
    if timezone == "UTC" or ts_ns.size == 0:
        return np.zeros(ts_ns.size, dtype=np.int64)
    zone = zoneinfo.ZoneInfo(timezone)
    days = ts_ns // DAY_NS
    first, last = int(days.min()), int(days.max())
    present = np.zeros(last - first + 1, dtype=bool)
    present[days - first] = True
    at_midnight = {
        day: _offset_ns(zone, day * _QUARTERS)
        for start in np.flatnonzero(present) + first
        for day in (int(start), int(start) + 1)
    }
    by_day = np.zeros(present.size, dtype=np.int64)
    changing = []
    for day in (np.flatnonzero(present) + first).tolist():
        by_day[day - first] = at_midnight[day]
        if at_midnight[day] != at_midnight[day + 1]:
            changing.append(day)
    offsets: IntArray = by_day[days - first]
    for day in changing:
        rows = np.flatnonzero(days == day)
        quarters, inverse = np.unique(ts_ns[rows] // _QUARTER_NS, return_inverse=True)
        offsets[rows] = np.array([_offset_ns(zone, int(quarter)) for quarter in quarters])[inverse]
    return offsets


def _offset_ns(zone: zoneinfo.ZoneInfo, quarter: int) -> int:
    """Return the offset at the start of a quarter hour counted from the Unix epoch."""
    instant = dt.datetime.fromtimestamp(quarter * 900, tz=dt.UTC)
    offset = instant.astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * 1_000_000_000


class WallClock:
    """Streaming twin of `local_ns`."""

    def __init__(self, timezone: str) -> None:
        self._zone = zoneinfo.ZoneInfo(timezone)
        self._quarter: int | None = None
        self._offset_ns = 0

    def local_ns(self, ts_ns: float) -> int:
        """Return the local time of an instant as nanoseconds since the epoch of a clock on the wall."""
        instant = int(ts_ns)
        quarter = instant // _QUARTER_NS
        if quarter != self._quarter:
            self._quarter = quarter
            self._offset_ns = _offset_ns(self._zone, quarter)
        return instant + self._offset_ns


def local_ns(timezone: str, ts_ns: IntArray) -> IntArray:
    """Return the local time of each instant as nanoseconds since the epoch of a clock on the wall."""
    return ts_ns + utc_offsets_ns(timezone, ts_ns)


def trading_days(ts_ns: IntArray) -> IntArray:
    """Return the trading day of each instant: days since 1 January 1970, rolling at 17:00 New York."""
    return (local_ns(NEW_YORK, ts_ns) + ROLL_NS) // DAY_NS


def weeks_of(days: IntArray) -> IntArray:
    """Return the week of each trading day, Monday's first."""
    return (days + EPOCH_WEEKDAY) // 7
