"""Times in UTC: their units in nanoseconds and how they are written.

Owns the constants and the one way a time is shown.  Knows nothing of ticks, bars or calendars.
"""

from __future__ import annotations

import numpy as np

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS


def day_text(day: int) -> str:
    """Return ``"2014-05-01"`` for a number of days since the epoch."""
    return str(np.datetime64(day, "D"))


def hour_text(hour: int) -> str:
    """Return ``"2014-05-01T13"`` for a number of hours since the epoch."""
    return str(np.datetime64(hour, "h"))


def hour_number(text: str) -> int:
    """Return the hours since the epoch of a text `hour_text` made."""
    return int(np.datetime64(text, "h").astype(np.int64))


def stamp_text(ts_ns: int) -> str:
    """Return an ISO 8601 time in UTC with nanoseconds."""
    return f"{np.datetime64(ts_ns, 'ns')}Z"
