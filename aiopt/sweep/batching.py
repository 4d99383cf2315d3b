"""How many points a worker is given at once: as many as take a few seconds, by what it measured so far.

Owns these sizes.  Results do not depend on them; only how long workers wait for each other does, and how
much a worker that dies has to repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

LONGEST_S = 4.0
"""Of a batch: bounds what a killed worker repeats, and how long nothing is known of a worker."""

SHORTEST_S = 0.5
"""Handing out a batch takes some hundredths of a second."""


class Batch(NamedTuple):
    """Points from `start` to before `stop`, all of one series."""

    start: int
    stop: int


class BatchPlan:
    """Cuts points, in the order in which they are to run, into batches while they run.

    Parameters
    ----------
    series : sequence of str
        The series of each point; equal ones follow each other.
    workers : int
        Batches that run at once.
    first : int
        Points of a batch while nothing was measured.
    largest : int
        Points of a batch at most.
    """

    def __init__(self, series: Sequence[str], workers: int, *, first: int, largest: int) -> None:
        self._series = series
        self._workers = max(1, workers)
        self._first = first
        self._largest = largest
        self._next = 0
        self._seconds: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"BatchPlan({self._next:,} of {len(self._series):,} points handed out)"

    def follows(self, other: BatchPlan) -> None:
        """Take over how long points took in a plan before this one."""
        self._seconds = {**other._seconds, **self._seconds}

    def has_more(self) -> bool:
        """Tell whether there are points that were not handed out."""
        return self._next < len(self._series)

    def next(self) -> Batch | None:
        """Return the next batch, or None when every point was handed out."""
        start = self._next
        if start >= len(self._series):
            return None
        series = self._series[start]
        stop = start + self._size(series)
        # Points of one series alone: a worker that changes it loads other bars.
        end = next((i for i in range(start, min(stop, len(self._series))) if self._series[i] != series), stop)
        self._next = min(end, len(self._series))
        return Batch(start, self._next)

    def measured(self, batch: Batch, seconds: float) -> None:
        """Take how long a batch ran; the next ones of its series are cut by it."""
        self._seconds[self._series[batch.start]] = seconds / (batch.stop - batch.start)

    def _size(self, series: str) -> int:
        # Towards the end ever smaller ones, so that all workers end at about the same time.
        fair = math.ceil((len(self._series) - self._next) / (2 * self._workers))
        if not self._seconds:
            return min(self._first, self._largest, fair)
        each = max(self._seconds.get(series, max(self._seconds.values())), 1e-9)
        size = max(SHORTEST_S / each, min(LONGEST_S / each, fair))
        return max(1, min(int(size), self._largest))


__all__ = ["LONGEST_S", "SHORTEST_S", "Batch", "BatchPlan"]
