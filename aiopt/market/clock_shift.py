"""Weeks whose stamps are whole hours off, seen at their edges against New York's calendar.

Owns the comparison of each week's first and last tick with the opening and closing of the FX week.  Knows
nothing of treatments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.market.calendar import fx_weeks
from aiopt.market.ticks import HOUR_NS

MOST_HOURS = 14
"""Shifts looked for: no two clocks on earth are further apart from New York's trading week."""

_SLACK_NS = 2 * 60 * 1_000_000_000
_QUIET_NS = 20 * 60 * 1_000_000_000
_HALF_WEEKEND_NS = 24 * HOUR_NS


@dataclass
class WeekEdges:
    """First and last tick of a week, and where the first was read."""

    first_ns: int
    last_ns: int
    file: int
    row: int


@dataclass(frozen=True)
class Shift:
    """A week that is off.

    Attributes
    ----------
    open_ns, close_ns : int
        The FX week, UTC nanoseconds.
    start_ns, stop_ns : int
        Stamps in between, as the source has them, belong to the week: from the middle of one week-end to the
        middle of the next.
    hours : int
        Whole hours the stamps are late (early if negative).
    edges : WeekEdges
        What was seen.
    """

    open_ns: int
    close_ns: int
    start_ns: int
    stop_ns: int
    hours: int
    edges: WeekEdges


class WeekWatch:
    """Remember the first and the last tick of every week."""

    def __init__(self) -> None:
        self._weeks: dict[int, WeekEdges] = {}

    def see(self, ts_ns: NDArray[np.int64], file: NDArray[np.int32], row: NDArray[np.int64]) -> None:
        """Take note of ticks in any order."""
        if not ts_ns.size:
            return
        low, high = int(ts_ns.min()), int(ts_ns.max())
        opens, _ = fx_weeks(low - _HALF_WEEKEND_NS, high + _HALF_WEEKEND_NS)
        starts = opens - _HALF_WEEKEND_NS
        first, last = (int(np.searchsorted(starts, edge, side="right")) - 1 for edge in (low, high))
        for number in range(first, last + 1):
            if first == last:
                self._note(int(opens[number]), ts_ns, file, row)
                continue
            part = np.flatnonzero((ts_ns >= starts[number]) & (ts_ns < starts[number + 1]))
            if part.size:
                self._note(int(opens[number]), ts_ns[part], file[part], row[part])

    def shifts(self) -> list[Shift]:
        """Return the weeks that open and close the same number of whole hours, not zero, beside the FX week.

        With F and L the first and last tick of the week, O and C its opening and closing, the shift is k
        hours if ``-2 min <= F - O - k h <= 20 min`` and ``-20 min <= L - C - k h <= 2 min``: both edges have
        to agree, so a week of which the source has a part, or that a holiday cuts short, is not judged.
        """
        found = []
        for open_ns, edges in sorted(self._weeks.items()):
            opens, closes = fx_weeks(open_ns, open_ns)
            number = int(np.searchsorted(opens, open_ns))
            close_ns = int(closes[number])
            hours = round((edges.first_ns - open_ns) / HOUR_NS)
            late = edges.first_ns - open_ns - hours * HOUR_NS
            early = edges.last_ns - close_ns - hours * HOUR_NS
            at_edges = -_SLACK_NS <= late <= _QUIET_NS and -_QUIET_NS <= early <= _SLACK_NS
            if hours and abs(hours) <= MOST_HOURS and at_edges:
                start, stop = (int(opens[number + step]) - _HALF_WEEKEND_NS for step in (0, 1))
                found.append(Shift(open_ns, close_ns, start, stop, hours, edges))
        return found

    def _note(
        self, week: int, stamps: NDArray[np.int64], file: NDArray[np.int32], row: NDArray[np.int64]
    ) -> None:
        first, last = int(stamps.min()), int(stamps.max())
        known = self._weeks.get(week)
        if known is not None and known.first_ns <= first:
            known.last_ns = max(known.last_ns, last)
            return
        at = int(np.argmin(stamps))
        if known is None:
            self._weeks[week] = WeekEdges(first, last, int(file[at]), int(row[at]))
            return
        known.first_ns, known.file, known.row = first, int(file[at]), int(row[at])
        known.last_ns = max(known.last_ns, last)
