"""The sweep: Ray Tune over the points of several search spaces, markets and timeframes.

Owns how trials reach workers, come back and are retried.  Knows nothing of engines or scores: a trial is
`aiopt.sweep.trial_runner`'s, a result is a row handed to the ranking actor.

All points are sampled before the sweep starts, so what is tried depends on the seed alone, never on the
number of workers or the order in which they finish.  One Tune trial runs a *batch* of points on one worker,
which keeps its engine or its screen warm over all batches it gets.  Rows go to the ranking actor as they
finish, one by one or, screened, some at once: a killed worker loses at most these, and Tune runs its batch
again (the actor ignores rows it has).
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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

from aiopt import errors
from aiopt.bars.schema import BarSet
from aiopt.errors import AioptError, ClusterError
from aiopt.screen.failures import BeyondScreenError
from aiopt.sweep.local import SweepOutcome, check_points
from aiopt.sweep.progress import Pace, SweepProgress
from aiopt.sweep.trial import TrialContext, TrialPoint, failed_row
from aiopt.sweep.trial_runner import TrialRunner, open_runner
from cluster.resources import STAGES, stage_options, sweep_workers

BATCHES_PER_WORKER = 16
"""Enough that the last batches end at about the same time on all workers."""

MAX_BATCH = 16
"""Bounds what a killed worker has to repeat, and how long a worker reports nothing to Tune."""

MAX_SCREENED_BATCH = 2048
"""The same for screened trials, of which a worker runs a thousand a second."""

MAX_FAILURES = 2
"""How often Tune starts a batch again whose worker died."""

ROWS_PER_CALL = 64
"""Screened rows handed to the ranking actor at once."""

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


def plan_batches(points: Sequence[TrialPoint], workers: int, largest: int = MAX_BATCH) -> list[list[int]]:
    """Cut points into batches of one series of bars each.

    Parameters
    ----------
    points : sequence of TrialPoint
        In the order in which they are to be started.
    workers : int
        Trials that run at once.
    largest : int
        Points of a batch at most.

    Returns
    -------
    list of list of int
        Indices into `points`; every index exactly once.  Batches of one series follow each other, because a
        worker that changes it loads other bars.
    """
    size = min(largest, max(1, -(-len(points) // (max(1, workers) * BATCHES_PER_WORKER))))
    order: dict[str, list[int]] = {}
    for index, point in enumerate(points):
        order.setdefault(point.series, []).append(index)
    return [
        indices[start : start + size] for indices in order.values() for start in range(0, len(indices), size)
    ]


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
        points: list[TrialPoint],
        batches: list[list[int]],
        bars: dict[str, Any],
        context: TrialContext,
        ranking: Any,
    ) -> None:
        """Keep references; bars are fetched when a batch first needs them."""
        self._points = points
        self._batches = batches
        self._bar_references = bars
        self._context = context
        self._ranking = ranking
        self._runner: TrialRunner | None = None
        self._series = ""
        self._batch = int(config["batch"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next batch in the same process."""
        self._batch = int(new_config["batch"])
        return True

    def step(self) -> dict[str, Any]:
        """Run one batch and hand each row to the ranking actor as it is finished."""
        acknowledged, rows = [], []
        for index in self._batches[self._batch]:
            point = self._points[index]
            try:
                rows.append(self._warm_runner(point).row(point, self._context))
            except BeyondScreenError as error:
                return {"done": True, "fatal": ("ConfigError", str(error))}
            # Screened rows come by the thousand: a call for each would cost more than the trial.
            if not self._context.screen or len(rows) == ROWS_PER_CALL:
                acknowledged.append(self._ranking.add_many.remote(rows))
                rows = []
        if rows:
            acknowledged.append(self._ranking.add_many.remote(rows))
        try:
            # The batch is finished when its rows are in the journal, not before.
            ray.get(acknowledged)
        except AioptError as error:
            # A journal that cannot be written (full disk) fails every further batch too: do not retry.
            cause = error.cause if isinstance(error, RayTaskError) else error
            return {"done": True, "fatal": (type(cause).__name__, str(cause))}
        trials = len(self._batches[self._batch])
        return {"done": True, "trials": trials, "node": ray.get_runtime_context().get_node_id()}

    def cleanup(self) -> None:
        """Close what runs trials."""
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
    by_node: Counter[str] = Counter()
    # A second round, one point per batch, tells the point that kills its worker from its neighbours.
    for batch_workers in (workers, len(points)):
        remaining = left()
        if not remaining:
            break
        by_node += _run_tune(
            remaining,
            plan_batches(remaining, batch_workers, MAX_SCREENED_BATCH if context.screen else MAX_BATCH),
            references,
            context,
            ranking,
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
    batches: list[list[int]],
    bars: dict[str, Any],
    context: TrialContext,
    ranking: Any,
    scratch_dir: Path,
    poll: Callable[[], None],
) -> Counter[str]:
    """Run batches to their end and return the number of points per node."""
    trainable = tune.with_parameters(
        SweepTrainable, points=points, batches=batches, bars=bars, context=context, ranking=ranking
    )
    callback = _ProgressCallback(poll)
    # The name under which the workers appear in the dashboard.
    trainable.__qualname__ = SweepTrainable.__name__
    tuner = Tuner(
        trainable,
        param_space={"batch": tune.grid_search(list(range(len(batches))))},
        tune_config=TuneConfig(
            reuse_actors=True, trial_name_creator=lambda trial: f"batch-{trial.config['batch']}"
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
