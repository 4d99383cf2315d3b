"""The sweep: Ray Tune over the points of several search spaces, markets and timeframes.

Owns how trials reach workers, come back and are retried.  Knows nothing of engines or scores: a trial is
`aiopt.sweep.trial_runner`'s, a result is a row handed to the ranking actor.

All points are sampled before the sweep starts, so what is tried depends on the seed alone, never on the
number of workers or the order in which they finish.  One Tune trial runs a *batch* of points on one worker,
which keeps its engine or its screen warm over all batches it gets; how many points are a batch follows from
what the batches before it took (`aiopt.sweep.batching`).  Rows go to the ranking actor as they finish, one by
one or, screened, some at once: a killed worker loses at most these, and Tune starts its batch again, which
then runs what has no row yet.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray import tune
from ray.exceptions import RayTaskError
from ray.tune import (
    Callback,
    CheckpointConfig,
    FailureConfig,
    PlacementGroupFactory,
    RunConfig,
    TuneConfig,
    TuneError,
    Tuner,
)
from ray.tune.search import Searcher

from aiopt import errors
from aiopt.bars.schema import BarSet
from aiopt.errors import AioptError, ClusterError
from aiopt.files import GIB
from aiopt.ranking.packed_row import PackedRow
from aiopt.screen.failures import BeyondScreenError
from aiopt.sweep.batching import Batch, BatchPlan
from aiopt.sweep.local import ROWS_AT_ONCE, SweepOutcome, check_points
from aiopt.sweep.ordering import by_indicators, by_series
from aiopt.sweep.progress import Pace, SweepProgress
from aiopt.sweep.trial import TrialContext, TrialPoint, failed_row
from aiopt.sweep.trial_runner import TrialRunner, open_runner
from cluster.resources import STAGES, stage_options, sweep_workers, worker_memory_bytes
from cluster.trial_watch import TrialWatch

FIRST_BATCH, FIRST_SCREENED_BATCH = 2, 64
"""Points of the first batches, before any was measured."""

MAX_BATCH = 4096
"""Points of a batch at most; most end earlier, see `aiopt.sweep.batching.LONGEST_S`."""

POINTS_PER_OBJECT = 512
"""Points that travel to a worker together."""

MAX_FAILURES = 2
"""How often Tune starts a batch again whose worker died."""

PROGRESS_EVERY_S = 5.0

_QUIET = {
    # No CSV, JSON and TensorBoard files per trial: rows go to the leaderboard's journal.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune's own experiment snapshots are not what resumes a run; hourly is as good as never.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # The older output engine is the one that `verbose=0` silences.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}


class _Batches(Searcher):
    """Gives Tune the batches, each when a worker can take it."""

    def __init__(self, plan: BatchPlan) -> None:
        super().__init__()
        self._plan = plan
        self._given: dict[str, Batch] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Return the next batch, or that there is none."""
        batch = self._plan.next()
        if batch is None:
            return Searcher.FINISHED
        self._given[trial_id] = batch
        return {"batch": list(batch)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take how long a batch ran."""
        if result and result.get("trials"):
            batch = self._given[trial_id]
            self._plan.measured(Batch(batch.start, batch.start + result["trials"]), result["seconds"])

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Keep nothing: a sweep continues from the rows in its journal."""

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Have nothing to restore."""


class SweepTrainable(tune.Trainable):
    """One worker of the sweep: a warm engine that runs batches of points."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """Take one row of the resource table."""
        options = stage_options("trial")
        return PlacementGroupFactory([{"CPU": options["num_cpus"], "memory": options["memory"]}])

    def setup(
        self,
        config: dict[str, Any],
        *,
        points: list[Any],
        bars: dict[str, Any],
        context: TrialContext,
        ranking: Any,
    ) -> None:
        """Keep references; points and bars are fetched when a batch needs them."""
        self._points = points
        self._bar_references = bars
        self._context = context
        self._ranking = ranking
        self._runner: TrialRunner | None = None
        self._series = ""
        self._batch = Batch(*config["batch"])
        limits = context.limits
        if limits.memory_gib is None:
            limits = msgspec.structs.replace(limits, memory_gib=worker_memory_bytes() / GIB)
        self._watch = TrialWatch(limits, self._give_up)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next batch in the same process."""
        self._batch = Batch(*new_config["batch"])
        return True

    def step(self) -> dict[str, Any]:
        """Run one batch and hand the rows to the ranking actor as they are finished."""
        points = self._points_of(self._batch)
        wanted = set(ray.get(self._ranking.without_result.remote([point.trial_id for point in points])))
        points = [point for point in points if point.trial_id in wanted]
        acknowledged: list[Any] = []
        began = time.monotonic()
        try:
            for rows in self._rows(points):
                acknowledged.append(self._ranking.add_packed.remote(rows))
            # The batch is finished when its rows are in the journal, not before.
            ray.get(acknowledged)
        except BeyondScreenError as error:
            return {"done": True, "fatal": ("ConfigError", str(error))}
        except AioptError as error:
            # A journal that cannot be written (full disk) fails every further batch too: do not retry.
            cause = error.cause if isinstance(error, RayTaskError) else error
            return {"done": True, "fatal": (type(cause).__name__, str(cause))}
        node = ray.get_runtime_context().get_node_id()
        return {"done": True, "trials": len(points), "seconds": time.monotonic() - began, "node": node}

    def _points_of(self, batch: Batch) -> list[TrialPoint]:
        """Return the points of a batch."""
        first, last = batch.start // POINTS_PER_OBJECT, (batch.stop - 1) // POINTS_PER_OBJECT
        found = [point for chunk in ray.get(self._points[first : last + 1]) for point in chunk]
        offset = first * POINTS_PER_OBJECT
        return found[batch.start - offset : batch.stop - offset]

    def _rows(self, points: list[TrialPoint]) -> Iterator[list[PackedRow]]:
        """Yield rows as they finish: screened ones come by the thousand, so some at once."""
        at_once = ROWS_AT_ONCE if self._context.screen else 1
        rows: list[PackedRow] = []
        for point in points:
            runner = self._warm_runner(point)
            with self._watch.over(point):
                rows.append(runner.packed(point, self._context))
            if len(rows) == at_once:
                yield rows
                rows = []
        if rows:
            yield rows

    def _give_up(self, point: TrialPoint, reason: str) -> None:
        ray.get(self._ranking.add.remote(failed_row(point, self._context, reason)))

    def cleanup(self) -> None:
        """Close what runs trials."""
        self._watch.close()
        if self._runner is not None:
            self._runner.close()

    def _warm_runner(self, point: TrialPoint) -> TrialRunner:
        if self._runner is None or self._series != point.series:
            if self._runner is not None:
                self._runner.close()
            bars: BarSet = ray.get(self._bar_references[point.series])
            backtest = self._context.terms(point.instrument).backtest
            self._runner = open_runner(bars, backtest, screen=self._context.screen)
            self._series = point.series
        return self._runner


class _ProgressCallback(Callback):
    """Reports from Tune's event loop, and ends it when a worker reports what no retry can mend."""

    def __init__(self, poll: Callable[[], None]) -> None:
        self._poll = poll
        self._due = 0.0
        self.fatal: AioptError | None = None

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Poll when it is time."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + PROGRESS_EVERY_S
            self._poll()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """End the sweep when a worker reports what no retry can mend."""
        if "fatal" in result:
            kind, message = result["fatal"]
            self.fatal = getattr(errors, kind, ClusterError)(message)
            raise self.fatal


def run_sweep(
    points: Sequence[TrialPoint],
    bars: Mapping[str, BarSet],
    context: TrialContext,
    ranking: Any,
    *,
    scratch_dir: Path,
    report: Callable[[SweepProgress], None],
) -> SweepOutcome:
    """Run every point the ranking actor has no row of, and wait for all.

    Parameters
    ----------
    points : sequence of TrialPoint
        All points of the run, finished ones too.
    bars : mapping of str to BarSet
        Per series, see `aiopt.series.series_name`.
    context : TrialContext
        What all trials share.
    ranking : actor handle
        A `RankingActor`.
    scratch_dir : Path
        Folder for Tune's bookkeeping; nothing in it is needed afterwards.
    report : callable
        Called with the progress every few seconds and once at the end.

    Raises
    ------
    SearchSpaceError
        If there is no point at all.
    ClusterError
        If no node can run a single trial.
    """
    check_points(points)
    os.environ.update(_QUIET)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    known = set(ray.get(ranking.trial_ids.remote()))
    pace = Pace(len(points), len(known))
    references = {label: ray.put(bar_set) for label, bar_set in bars.items()}

    def progress() -> SweepProgress:
        return pace.progress(ray.get(ranking.progress.remote()))

    def left() -> list[TrialPoint]:
        finished = set(ray.get(ranking.trial_ids.remote()))
        return [point for point in points if point.trial_id not in finished]

    workers = _worker_count()
    first = FIRST_SCREENED_BATCH if context.screen else FIRST_BATCH
    by_node: Counter[str] = Counter()
    # A second round, one point per batch, tells the point that kills its worker from its neighbours.
    for largest in (MAX_BATCH, 1):
        remaining = left()
        if not remaining:
            break
        order = by_indicators(remaining) if context.screen else by_series(remaining)
        remaining = [remaining[index] for index in order]
        plan = BatchPlan([point.series for point in remaining], workers, first=first, largest=largest)
        by_node += _run_tune(
            remaining,
            plan,
            {"bars": references, "context": context, "ranking": ranking},
            scratch_dir,
            lambda: report(progress()),
        )
    lost = [
        failed_row(point, context, f"the worker process died {MAX_FAILURES + 1} times running this trial")
        for point in left()
    ]
    ray.get([ranking.add.remote(row) for row in lost])
    final = progress()
    report(final)
    return SweepOutcome(progress=final, trials_by_node=dict(by_node))


def _run_tune(
    points: list[TrialPoint],
    plan: BatchPlan,
    shared: Mapping[str, Any],
    scratch_dir: Path,
    poll: Callable[[], None],
) -> Counter[str]:
    """Run batches to their end and return the number of points per node."""
    starts = range(0, len(points), POINTS_PER_OBJECT)
    chunks = [ray.put(points[start : start + POINTS_PER_OBJECT]) for start in starts]
    trainable = tune.with_parameters(SweepTrainable, points=chunks, **shared)
    callback = _ProgressCallback(poll)
    # The name under which the workers appear in the dashboard.
    trainable.__qualname__ = SweepTrainable.__name__
    tuner = Tuner(
        trainable,
        tune_config=TuneConfig(
            search_alg=_Batches(plan),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: f"batch-{trial.config['batch'][0]}",
        ),
        run_config=RunConfig(
            name="sweep",
            storage_path=str(scratch_dir),
            verbose=0,
            callbacks=[callback],
            checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        results = tuner.fit()
    except TuneError:
        # Tune wraps what a callback raises in a traceback as text.
        if callback.fatal is None:
            raise
        raise callback.fatal from None
    defects = [error for error in results.errors if isinstance(error, RayTaskError)]
    if defects:
        # Not a worker that died but an exception outside the trials: no retry mends it.
        raise ClusterError(f"A batch of trials failed: {defects[0]}") from defects[0]
    finished = [result.metrics for result in results if result.error is None and result.metrics]
    by_node: Counter[str] = Counter()
    for metrics in finished:
        by_node[metrics["node"]] += metrics["trials"]
    return by_node


def _worker_count() -> int:
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
