"""Session filter: which bars open inside a strategy's trading hours, over arrays and bar by bar.

Owns the conversion from UTC to the session's wall clock.  Zone offsets change only on a quarter of an hour
(UTC), so they are looked up once a quarter hour at most.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo

import numpy as np
import numpy.typing as npt

from aiopt.strategy.spec import SessionFilter
from aiopt.utc import DAY_NS, MINUTE_NS, MINUTES_PER_DAY

_QUARTER_NS = 15 * MINUTE_NS
_QUARTERS = 96  # in a day
_EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0 here

IntArray = npt.NDArray[np.int64]


def session_mask(session: SessionFilter, ts_open_ns: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which bars open inside a session.

    Parameters
    ----------
    session : SessionFilter
        Hours, weekdays and time zone.
    ts_open_ns : array_like of shape (n_bars,), int64
        Opening times of the bars, UTC.

    Returns
    -------
    ndarray of shape (n_bars,), bool
    """
    ts = np.asarray(ts_open_ns, dtype=np.int64)
    local_minutes = (ts + utc_offsets_ns(session.timezone, ts)) // MINUTE_NS
    days = local_minutes // MINUTES_PER_DAY
    minute = local_minutes - days * MINUTES_PER_DAY
    start, end = session.start_minute, session.end_minute
    inside = (minute >= start) & (minute < end) if start < end else (minute >= start) | (minute < end)
    allowed = np.zeros(7, dtype=bool)
    allowed[[day - 1 for day in session.weekdays]] = True
    return inside & allowed[(days + _EPOCH_WEEKDAY) % 7]


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


class SessionClock:
    """Streaming twin of `session_mask`."""

    def __init__(self, session: SessionFilter) -> None:
        self._start, self._end = session.start_minute, session.end_minute
        self._weekdays = frozenset(day - 1 for day in session.weekdays)
        self._zone = zoneinfo.ZoneInfo(session.timezone)
        self._quarter: int | None = None
        self._offset_ns = 0

    def contains(self, ts_open_ns: int) -> bool:
        """Return whether a bar that opens at `ts_open_ns` (UTC) lies in the session."""
        quarter = ts_open_ns // _QUARTER_NS
        if quarter != self._quarter:
            self._quarter = quarter
            self._offset_ns = _offset_ns(self._zone, quarter)
        days, minute = divmod((ts_open_ns + self._offset_ns) // MINUTE_NS, MINUTES_PER_DAY)
        if (days + _EPOCH_WEEKDAY) % 7 not in self._weekdays:
            return False
        if self._start < self._end:
            return self._start <= minute < self._end
        return minute >= self._start or minute < self._end
