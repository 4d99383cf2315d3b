"""Which reading is known at which bar: the as-of join that a gate of a backtest uses.

Owns the rule: a reading counts from the moment it would have been answered, not from its window's close.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aiopt.analyst.scans.reading_rows import WindowReading
from aiopt.bars.schema import BarArrays
from aiopt.errors import DataError, MetricInputError

NONE = -1
"""No reading is known."""


def readings_at(
    bars: BarArrays,
    readings: Sequence[WindowReading],
    *,
    at: Literal["open", "close"] = "open",
    latency_s: float | None = None,
    max_age_s: float | None = None,
) -> NDArray[np.int64]:
    """Return, for each bar, the reading that is known then.

    A scan asks long after its windows closed.  Each reading therefore counts from its window's close plus the
    seconds it took to answer, and only before the moment asked about: a window that closes as a bar opens is
    not yet read then.

    Parameters
    ----------
    bars : BarArrays
        Of the readings' instrument; the timeframe may be another.
    readings : sequence of WindowReading
        In any order.  Those without a reading are passed over.
    at : {"open", "close"}
        The moment of each bar at which something is decided.
    latency_s : float, optional
        Seconds every answer takes, instead of those it took in the scan.
    max_age_s : float, optional
        A reading whose window closed longer ago is not used.

    Returns
    -------
    ndarray of shape (n_bars,), int64
        Index into `readings`; -1 where none is known.

    Raises
    ------
    DataError
        If a reading is of another instrument.
    MetricInputError
        If a number is negative.
    """
    for name, value in (("latency_s", latency_s), ("max_age_s", max_age_s)):
        if value is not None and not value >= 0:
            raise MetricInputError(f"`{name} >= 0` must hold, but got {name}={value}. Give seconds.")
    other = next((one.instrument for one in readings if one.instrument != bars.instrument), None)
    if other is not None:
        msg = f"Readings must be of the bars' instrument {bars.instrument}, but one is of {other}. "
        raise DataError(f"{msg}Give the readings of these bars.")
    index = np.array([i for i, one in enumerate(readings) if not one.failure], dtype=np.int64)
    ends = np.array([readings[i].ts_end_ns for i in index], dtype=np.int64)
    if latency_s is None:
        known = np.array([readings[i].available_ns for i in index], dtype=np.int64)
    else:
        known = ends + round(latency_s * 1e9)
    # A late answer about an earlier window does not replace what is known of a later one.
    order = np.lexsort((ends, known))
    index, ends, known = index[order], ends[order], known[order]
    best = np.empty(index.size, np.int64)
    for place in range(index.size):
        best[place] = place if place == 0 or ends[place] >= ends[best[place - 1]] else best[place - 1]
    moments = bars.ts_open_ns + (bars.timeframe.ns if at == "close" else 0)
    places = np.searchsorted(known, moments, side="left") - 1
    found = np.full(len(bars), NONE, np.int64)
    there = places >= 0
    chosen = best[places[there]]
    found[there] = index[chosen]
    if max_age_s is not None:
        old = np.zeros(len(bars), np.bool_)
        old[there] = moments[there] - ends[chosen] > round(max_age_s * 1e9)
        found[old] = NONE
    return found
