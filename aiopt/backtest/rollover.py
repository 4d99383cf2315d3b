"""When a position is carried over to the next value date: 17:00 New York, right through clock changes.

Owns the times and how many nights of interest each of them counts.  Knows no rates and no positions.

A currency trade settles two business days on, so each business day at 17:00 New York an open position is
carried one value date further.  Over one of them, Wednesday's for most pairs, the value date jumps the
week-end, and three nights are due; Saturday and Sunday have none.  Bank holidays are not known here: brokers
move those nights to other days of the same or the next week, so a week keeps its seven.  An instrument that
trades through the week-end has one night each day.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aiopt.market.calendar import NEW_YORK
from aiopt.utc import DAY_NS

TripleDay = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "none"]

TRIPLE_DAYS: tuple[TripleDay, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "none")

_HOUR = 17
_FRIDAY = 4
_EPOCH = dt.date(1970, 1, 1)


def rollovers(
    start_ns: int, stop_ns: int, *, triple_day: TripleDay, always_open: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rollovers of a span and the nights each counts.

    Parameters
    ----------
    start_ns, stop_ns : int
        UTC; rollovers with ``start_ns <= t <= stop_ns``.
    triple_day : str
        Weekday whose rollover counts three nights; ``"none"``: each counts one.
    always_open : bool
        One night on every day of the week, `triple_day` or not.

    Returns
    -------
    ts_ns, nights : ndarray of shape (n,), int64
        Strictly increasing UTC times, and 1 or 3.
    """
    first, last = start_ns // DAY_NS - 1, stop_ns // DAY_NS + 1
    found = []
    for day in range(first, last + 1):
        weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
        if not always_open and weekday > _FRIDAY:
            continue
        ts_ns = rollover_ns(day)
        if start_ns <= ts_ns <= stop_ns:
            triple = not always_open and TRIPLE_DAYS[weekday] == triple_day
            found.append((ts_ns, 3 if triple else 1))
    table = np.array(found, dtype=np.int64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])


@lru_cache(maxsize=16_384)
def rollover_ns(day: int) -> int:
    """Return the rollover of a New York date, given as days since the epoch, in UTC nanoseconds."""
    # 17:00 exists exactly once on every day: clocks change at 02:00.
    local = dt.datetime.combine(_EPOCH + dt.timedelta(days=day), dt.time(_HOUR), tzinfo=NEW_YORK)
    return int(local.timestamp()) * 1_000_000_000
