"""What gives Ray Tune its workers, and the queue of a sweep its points.

Owns how many workers there are, by what the cluster has now, and when the next points are asked for.  Knows
nothing of what a worker does with a point.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import ray
from ray.tune.search import Searcher

from aiopt.errors import ClusterError
from aiopt.sweep.batching import BatchPlan
from aiopt.sweep.trial import TrialPoint
from cluster.resources import STAGES, sweep_workers

LOOK_EVERY_S = 2.0
"""How often it is looked for nodes that came or went."""

DONE_S = 60.0
"""So long the queue may wait before it says that batches are still running."""

POINTS_PER_OBJECT = 512
"""Points that travel to a worker together."""


class Deal(NamedTuple):
    """Points in the order in which they are to run, and how they are cut into batches."""

    points: list[TrialPoint]
    plan: BatchPlan


class Workers(Searcher):
    """Gives Tune as many workers as the cluster can run now, and the queue one deal after the other.

    Parameters
    ----------
    queue : actor handle
        A `PatientQueue`.
    deals : iterator of Deal
        The next is asked for when every batch of those before has run or was given up.
    """

    def __init__(self, queue: Any, deals: Iterator[Deal]) -> None:
        super().__init__()
        self._queue = queue
        self._deals = deals
        self._alive: set[str] = set()
        self._wanted = 0
        self._dealt = False
        self._asked: Any = None
        self._more = True
        self._ended = False
        self._due = 0.0
        self.failure: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a further worker, None while there are enough, or that no more are needed."""
        if self.failure is not None:
            # What a callback raises Tune takes for the failure of one trial, and starts that again.
            raise self.failure
        if not self._ended and (not self._dealt or self._is_done()):
            self._deal()
        now = time.monotonic()
        if now >= self._due:
            # A node may have come or gone.
            self._due = now + LOOK_EVERY_S
            self._wanted = worker_count()
            self._more = ray.get(self._queue.has_more.remote())
        if not self._more:
            # A worker that dies now brings its batch back, and somebody has to take it.
            return None if self._alive or not self._ended else Searcher.FINISHED
        if len(self._alive) >= self._wanted:
            return None
        self._alive.add(trial_id)
        return {}

    @property
    def ended(self) -> bool:
        """Whether every point of every deal has run or was given up."""
        return self._ended

    def died(self, trial_id: str) -> None:
        """Take that a worker died and will be started again: others can have its batch meanwhile."""
        ray.get(self._queue.lost.remote(trial_id))
        self._due = 0.0

    def _is_done(self) -> bool:
        """Tell whether the queue wants points.

        Tune asks ten times a second: what is asked is one question that the queue answers when it is so.
        """
        if self._asked is None:
            self._asked = self._queue.done_soon.remote(DONE_S)
        if not ray.wait([self._asked], timeout=0)[0]:
            return False
        asked, self._asked = self._asked, None
        return bool(ray.get(asked))

    def _deal(self) -> None:
        """Fill the queue again, or end it."""
        self._dealt = True
        try:
            deal = next(self._deals, None)
        except Exception as error:
            self.failure = error
            raise
        if deal is None:
            self._ended = True
            ray.get(self._queue.end.remote())
        else:
            parcels = [
                ray.put(deal.points[start : start + POINTS_PER_OBJECT])
                for start in range(0, len(deal.points), POINTS_PER_OBJECT)
            ]
            ray.get(self._queue.refill.remote(deal.plan, parcels, POINTS_PER_OBJECT))
        self._due = 0.0

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take that a worker ended or died for good."""
        self._alive.discard(trial_id)
        if error:
            ray.get(self._queue.lost.remote(trial_id))
        self._due = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what gives the points: Tune copies searchers into its snapshots, which nothing reads."""
        return {**self.__dict__, "_deals": None, "_asked": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Workers:
        """Return itself: Tune runs on a copy of its settings, and the points can be given once."""
        return self

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Keep nothing: a sweep continues from the rows in its journal."""

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Have nothing to restore."""


def worker_count() -> int:
    """Return how many workers the nodes alive can run at once.

    Raises
    ------
    ClusterError
        If none can run a single one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    workers = sweep_workers(nodes)
    if workers == 0:
        share = STAGES["trial"]
        msg = (
            f"A trial needs {share.num_cpus:g} CPU and {share.memory_bytes >> 20} MiB of memory on one "
            f"node, and no node has them. Give the cluster more (`aiopt cluster up --num-cpus … "
            f"--memory-gib …`)."
        )
        raise ClusterError(msg)
    return workers
