"""Who runs which batch of a sweep: handed out, handed out again after a death, given up after several.

Owns the batches that are out and the points per node.  Knows no worker but by its name, and no cluster.

Where more plans may follow, a worker for which nothing is left is told to wait, and so stays warm.

A worker takes one batch after the other for as long as there are any.  It could as well be started anew for
each, and a scheduler would do that: but then a worker that is still starting, which takes seconds, has its
batch taken by one that just finished another, and never gets to run.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiopt.sweep.batching import Batch, BatchPlan

WAIT = Batch(0, 0)
"""Handed out where nothing is left now and a plan may follow."""


class Work(NamedTuple):
    """A batch with what travels with it: the parcels that hold its points.

    Attributes
    ----------
    batch : Batch or None
        Nothing is left where it is None, and nothing will come.
    parcels : sequence
        Those the batch reaches into.
    offset : int
        Number of the first point of the first of them.
    """

    batch: Batch | None
    parcels: Sequence[Any] = ()
    offset: int = 0


class BatchQueue:
    """The batches of a plan, each for one worker at a time.

    Parameters
    ----------
    plan : BatchPlan
        Cuts the batches.
    max_failures : int
        How often a batch is handed out again whose worker died.
    max_idle_deaths : int
        So many workers may die one after the other without one finished batch between them.
    """

    def __init__(self, plan: BatchPlan, *, max_failures: int, max_idle_deaths: int) -> None:
        self._plan = plan
        self._max_failures = max_failures
        self._max_idle_deaths = max_idle_deaths
        self._held: dict[str, Batch] = {}
        self._again: deque[Batch] = deque()
        self._failures: Counter[Batch] = Counter()
        self._deaths = 0
        self._by_node: Counter[str] = Counter()
        self._parcels: Sequence[Any] = ()
        self._parcel_size = 1
        self._open = False

    def __repr__(self) -> str:
        return f"BatchQueue({self._plan!r}, {len(self._held)} running, {len(self._again)} to run again)"

    def refill(self, plan: BatchPlan, parcels: Sequence[Any], parcel_size: int) -> None:
        """Take the next plan, whose points are in `parcels` of `parcel_size` each; others may follow it.

        What killed workers before is forgotten, what was measured is not.
        """
        plan.follows(self._plan)
        self._plan, self._parcels, self._parcel_size = plan, parcels, parcel_size
        self._again.clear()
        self._failures.clear()
        self._deaths = 0
        self._open = True

    def end(self) -> None:
        """Take that no plan follows: workers for which nothing is left may go."""
        self._open = False

    def is_done(self) -> bool:
        """Tell whether nobody runs a batch and nobody would get one."""
        return not self._held and not self.has_more()

    def work(self, worker: str) -> Work:
        """Return the next batch for a worker with its points, `WAIT`, or that nothing is left; see `take`."""
        batch = self.take(worker)
        if batch is None:
            return Work(WAIT if self._open else None)
        first, last = batch.start // self._parcel_size, (batch.stop - 1) // self._parcel_size
        return Work(batch, self._parcels[first : last + 1], first * self._parcel_size)

    def take(self, worker: str) -> Batch | None:
        """Return the next batch for a worker, or None when nothing is left for it.

        A worker that asks while it holds a batch died and was started again: it gets that batch once more.
        """
        if worker in self._held:
            self.lost(worker)
        if self._hopeless:
            return None
        batch = self._again.popleft() if self._again else self._plan.next()
        if batch is not None:
            self._held[worker] = batch
        return batch

    def finished(self, worker: str, *, points: int, seconds: float, node: str) -> None:
        """Take that a worker ran its batch, or those `points` of it that had no result, in `seconds`."""
        batch = self._held.pop(worker, None)
        if batch is None:
            # Its death was known before these, its last words: the batch is with another, who finds the rows.
            return
        self._deaths = 0
        self._by_node[node] += points
        if points:
            self._plan.measured(Batch(batch.start, batch.start + points), seconds)

    def lost(self, worker: str) -> None:
        """Take that a worker died; its batch is run again, unless it has cost too many already."""
        self._deaths += 1
        batch = self._held.pop(worker, None)
        if batch is None:
            return
        self._failures[batch] += 1
        if self._failures[batch] <= self._max_failures:
            self._again.appendleft(batch)

    def has_more(self) -> bool:
        """Tell whether a further worker would get a batch."""
        return not self._hopeless and (bool(self._again) or self._plan.has_more())

    def points_by_node(self) -> dict[str, int]:
        """Return how many points each node ran."""
        return dict(self._by_node)

    @property
    def _hopeless(self) -> bool:
        return self._deaths > self._max_idle_deaths


__all__ = ["WAIT", "BatchQueue", "Work"]
