"""The FX week: Sunday 17:00 to Friday 17:00 New York, in UTC nanoseconds, right through clock changes.

Owns when the market is open.  Knows no public holidays: a quiet Christmas counts as open and silent.  A
download asks for those hours too (`aiopt.market.holidays`).
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from aiopt.utc import DAY_NS, HOUR_NS

NEW_YORK = ZoneInfo("America/New_York")

_SESSION_EDGE = dt.time(17)
_WEEK_NS = 7 * DAY_NS
# 1970-01-04 was a Sunday: weeks are counted from it.
_FIRST_SUNDAY = dt.date(1970, 1, 4)
_FIRST_SUNDAY_NS = 3 * DAY_NS


def is_open(ts_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which stamps lie in the FX week: ``open <= ts < close``.

    Parameters
    ----------
    ts_ns : ndarray of int64, shape (n,)
        UTC nanoseconds.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    stamps = np.asarray(ts_ns, dtype=np.int64)
    if stamps.size == 0:
        return np.zeros(0, dtype=bool)
    opens, closes = fx_weeks(int(stamps.min()), int(stamps.max()))
    week = np.searchsorted(opens, stamps, side="right") - 1
    return np.asarray(stamps < closes[week])


def open_time_ns(start_ns: NDArray[np.int64], stop_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how long the market is open between two stamps, element by element.

    Parameters
    ----------
    start_ns, stop_ns : ndarray of int64, shape (n,)
        UTC nanoseconds, ``start_ns <= stop_ns``.

    Returns
    -------
    ndarray of int64, shape (n,)
        Nanoseconds; a week-end between the two does not count.
    """
    start = np.asarray(start_ns, dtype=np.int64)
    stop = np.asarray(stop_ns, dtype=np.int64)
    if start.size == 0:
        return np.zeros(0, dtype=np.int64)
    opens, closes = fx_weeks(int(start.min()), int(stop.max()))
    before = np.concatenate(([0], np.cumsum(closes - opens)[:-1]))

    def elapsed(ts: NDArray[np.int64]) -> NDArray[np.int64]:
        week = np.searchsorted(opens, ts, side="right") - 1
        return np.asarray(before[week] + np.minimum(ts, closes[week]) - opens[week])

    return elapsed(stop) - elapsed(start)


def open_hours(first_hour: int, last_hour: int) -> NDArray[np.int64]:
    """Return the hours from `first_hour` to `last_hour` (both included) in which the market opens or is open.

    Hours are counted since the epoch, UTC.
    """
    hours = np.arange(first_hour, last_hour + 1, dtype=np.int64)
    return hours[open_time_ns(hours * HOUR_NS, (hours + 1) * HOUR_NS) > 0]


def fx_weeks(start_ns: int, stop_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return opening and closing times of the FX weeks around a span, UTC nanoseconds.

    The first opens before the span and the last after it.
    """
    first = (start_ns - _FIRST_SUNDAY_NS) // _WEEK_NS - 1
    last = (stop_ns - _FIRST_SUNDAY_NS) // _WEEK_NS + 1
    edges = np.array([_week(number) for number in range(first, last + 1)], dtype=np.int64)
    return np.ascontiguousarray(edges[:, 0]), np.ascontiguousarray(edges[:, 1])


@lru_cache(maxsize=8192)
def _week(number: int) -> tuple[int, int]:
    sunday = _FIRST_SUNDAY + dt.timedelta(days=7 * number)
    return _new_york_ns(sunday), _new_york_ns(sunday + dt.timedelta(days=5))


def _new_york_ns(day: dt.date) -> int:
    # 17:00 exists exactly once on every day: clocks change at 02:00.
    local = dt.datetime.combine(day, _SESSION_EDGE, tzinfo=NEW_YORK)
    return int(local.timestamp()) * 1_000_000_000
