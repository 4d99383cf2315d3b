"""New York wall-clock times to UTC, for files stamped so.  Owns what happens in the hours clocks change."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aiopt.market.calendar import NEW_YORK
from aiopt.market.ticks import HOUR_NS


def new_york_to_utc(local_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn wall-clock stamps into UTC.

    An hour that occurs twice (autumn, 01:00 to 02:00) is read as its first occurrence, one that never occurs
    (spring) as if the clock had not changed: both fall on a Sunday morning, when the market is closed.

    Parameters
    ----------
    local_ns : ndarray of int64, shape (n,)
        Nanoseconds since 1970-01-01 00:00 of the wall clock.

    Returns
    -------
    ndarray of int64, shape (n,)
        UTC nanoseconds.
    """
    hours, inverse = np.unique(local_ns // HOUR_NS, return_inverse=True)
    offsets = np.array([_offset_ns(hour) for hour in hours.tolist()], dtype=np.int64)
    return np.asarray(local_ns - offsets[inverse])


@lru_cache(maxsize=65_536)
def _offset_ns(hour: int) -> int:
    wall = dt.datetime(1970, 1, 1) + dt.timedelta(hours=hour)
    offset = wall.replace(tzinfo=NEW_YORK, fold=0).utcoffset()
    return int((offset or dt.timedelta()).total_seconds()) * 1_000_000_000
