"""Session filter: which bars open inside a strategy's trading hours, over arrays and bar by bar.

The conversion from UTC to a wall clock is that of `aiopt.indicators.wall_clock`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aiopt.indicators.wall_clock import EPOCH_WEEKDAY, WallClock, local_ns
from aiopt.strategy.spec import SessionFilter
from aiopt.utc import MINUTE_NS, MINUTES_PER_DAY


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
    local_minutes = local_ns(session.timezone, ts) // MINUTE_NS
    days = local_minutes // MINUTES_PER_DAY
    minute = local_minutes - days * MINUTES_PER_DAY
    start, end = session.start_minute, session.end_minute
    inside = (minute >= start) & (minute < end) if start < end else (minute >= start) | (minute < end)
    allowed = np.zeros(7, dtype=bool)
    allowed[[day - 1 for day in session.weekdays]] = True
    return inside & allowed[(days + EPOCH_WEEKDAY) % 7]


class SessionClock:
    """Streaming twin of `session_mask`."""

    def __init__(self, session: SessionFilter) -> None:
        self._start, self._end = session.start_minute, session.end_minute
        self._weekdays = frozenset(day - 1 for day in session.weekdays)
        self._clock = WallClock(session.timezone)

    def contains(self, ts_open_ns: int) -> bool:
        """Return whether a bar that opens at `ts_open_ns` (UTC) lies in the session."""
        days, minute = divmod(self._clock.local_ns(ts_open_ns) // MINUTE_NS, MINUTES_PER_DAY)
        if (days + EPOCH_WEEKDAY) % 7 not in self._weekdays:
            return False
        if self._start < self._end:
            return self._start <= minute < self._end
        return minute >= self._start or minute < self._end
