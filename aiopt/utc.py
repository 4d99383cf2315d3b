"""Times in UTC: their units in nanoseconds and how they are written.

Owns the constants and the one way a time is shown.  Knows nothing of ticks, bars or calendars.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Unit = Literal["m", "s", "ms", "us", "ns"]
"""How far a time is written: to the minute, …, to the nanosecond."""

SECOND_NS = 1_000_000_000
MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
DAY_S = 86_400
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MINUTES_PER_DAY = 1_440


def day_text(day: int) -> str:
    """Return ``"2014-05-01"`` for a number of days since the epoch."""
    return str(np.datetime64(day, "D"))


def hour_text(hour: int) -> str:
    """Return ``"2014-05-01T13"`` for a number of hours since the epoch."""
    return str(np.datetime64(hour, "h"))


def hour_number(text: str) -> int:
    """Return the hours since the epoch of a text `hour_text` made."""
    return int(np.datetime64(text, "h").astype(np.int64))


def day_number(text: str) -> int:
    """Return the days since the epoch of a text `day_text` made."""
    return int(np.datetime64(text, "D").astype(np.int64))


def time_text(ts_ns: int, unit: Unit = "s") -> str:
    """Return a time in UTC for people, cut to a unit.

    Examples
    --------
    >>> time_text(1_398_938_400_123_456_789)
    '2014-05-01 10:00:00'
    >>> time_text(1_398_938_400_123_456_789, "m")
    '2014-05-01 10:00'
    """
    return str(np.datetime64(int(ts_ns), "ns").astype(f"datetime64[{unit}]")).replace("T", " ")


def stamp_text(ts_ns: int, unit: Unit = "ns") -> str:
    """Return an ISO 8601 time in UTC for machines and messages, cut to a unit.

    Examples
    --------
    >>> stamp_text(1_398_938_400_123_456_789)
    '2014-05-01T10:00:00.123456789Z'
    >>> stamp_text(1_398_938_400_123_456_789, "s")
    '2014-05-01T10:00:00Z'
    """
    return time_text(ts_ns, unit).replace(" ", "T") + "Z"
