"""The sweep: Ray Tune over the points of several search spaces, markets and timeframes.

Owns how trials reach workers, come back and are retried.  Knows nothing of engines or scores: a trial is
`aiopt.sweep.trial_runner`'s, a result is a row handed to the ranking actor.

Points come in generations, all of a sampler that does not learn in one. The next is asked for when every
point before it has a row, in Tune's own loop, and workers stay warm meanwhile; what is tried depends on the
seed alone, never on the number of workers or the order in which they finish. A Tune trial is one worker: it
takes *batches* of points (`aiopt.sweep.batch_queue`) and keeps its engine or its screen warm over all it
gets; how many points are a batch follows from what the batches before it took (`aiopt.sweep.batching`).
Rows go to the ranking actor as they finish, those of half a second at once: a killed worker loses at most
these, and its batch goes back into the queue; who takes it runs what has no row yet.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    Stopper,
    TuneConfig,
    Tuner,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aiopt import errors
from aiopt.bars.schema import BarSet
from aiopt.errors import AioptError, ClusterError
from aiopt.files import GIB
from aiopt.ranking.packed_row import PackedRow
from aiopt.screen.failures import BeyondScreenError
from aiopt.sweep.batch_queue import WAIT, Work
from aiopt.sweep.batching import BatchPlan
from aiopt.sweep.local import ROWS_AT_ONCE, SweepOutcome, check_points
from aiopt.sweep.ordering import by_indicators, by_series
from aiopt.sweep.patient_queue import PatientQueue
from aiopt.sweep.progress import Pace, SweepProgress
from aiopt.sweep.trial import TrialContext, TrialPoint, failed_row
from aiopt.sweep.trial_runner import TrialRunner, open_runner
from cluster.resources import stage_options, worker_memory_bytes
from cluster.sweep_feed import Deal, Workers, worker_count
from cluster.trial_watch import TrialWatch

FIRST_BATCH, FIRST_SCREENED_BATCH = 2, 64
"""Points of the first batches, before any was measured."""

MAX_BATCH = 4096
"""Points of a batch at most; most end earlier, see `aiopt.sweep.batching.LONGEST_S`."""

MAX_FAILURES = 2
"""How often Tune starts a batch again whose worker died."""

HAND_OVER_S = 0.5
"""Rows wait no longer for others to be handed over with: a call costs as much for one as for some."""

STEP_S = 12.0
"""So long a worker takes batches before Tune hears of it, for which it would wait.  A sweep that must end
waits for its workers."""

PROGRESS_EVERY_S = 5.0

WAIT_S = 5.0
"""So long a worker waits for a batch before Tune hears of it."""

_QUIET = {
    # No CSV, JSON and TensorBoard files per trial: rows go to the leaderboard's journal.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune's own experiment snapshots are not what resumes a run; hourly is as good as never.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # With a searcher Tune starts one worker after the other; `Workers` asks for no more than there is room.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # The older output engine is the one that `verbose=0` silences.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}


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
        bars: dict[str, Any],
        context: TrialContext,
        ranking: Any,
        queue: Any,
    ) -> None:
        """Keep references; points and bars are fetched when a batch needs them."""
        self._bar_references = bars
        self._context = context
        self._ranking = ranking
        self._queue = queue
        self._runner: TrialRunner | None = None
        self._series = ""
        self._set_aside = False
        limits = context.limits
        if limits.memory_gib is None:
            limits = msgspec.structs.replace(limits, memory_gib=worker_memory_bytes() / GIB)
        self._watch = TrialWatch(limits, self._give_up)

    def step(self) -> dict[str, Any]:
        """Run batches for a while, or until there are none."""
        began = time.monotonic()
        while (ended := self._run_batch()) is None:
            if time.monotonic() - began >= STEP_S:
                return {"done": False}
        return ended

    def _run_batch(self) -> dict[str, Any] | None:
        """Run the next batch and hand the rows to the ranking actor; say what ends or interrupts the work."""
        work: Work = ray.get(self._queue.work_soon.remote(self.trial_id, WAIT_S))
        if work.batch is None:
            return {"done": True}
        if work.batch == WAIT:
            return {"done": False}
        points = _points_of(work)
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
        seconds, node = time.monotonic() - began, ray.get_runtime_context().get_node_id()
        ray.get(self._queue.finished.remote(self.trial_id, points=len(points), seconds=seconds, node=node))
        return None

    def _rows(self, points: list[TrialPoint]) -> Iterator[list[PackedRow]]:
        """Yield rows as they finish: screened ones come by the thousand, so some at once."""
        rows: list[PackedRow] = []
        handed_over = time.monotonic()
        for point in points:
            runner = self._warm_runner(point)
            with self._watch.over(point):
                rows.append(runner.packed(point, self._context))
            if not (self._set_aside or self._context.screen):
                # What is there now stays: an engine's objects and Tune's are many, and Python's collector
                # would look through all of them again and again.
                gc.collect()
                gc.freeze()
                self._set_aside = True
            if len(rows) == ROWS_AT_ONCE or time.monotonic() - handed_over >= HAND_OVER_S:
                yield rows
                rows, handed_over = [], time.monotonic()
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
                gc.unfreeze()
                self._set_aside = False
                self._runner.close()
            bars: BarSet = ray.get(self._bar_references[point.series])
            backtest = self._context.terms(point.instrument).backtest
            self._runner = open_runner(bars, backtest, screen=self._context.screen)
            self._series = point.series
        return self._runner


def _points_of(work: Work) -> list[TrialPoint]:
    """Return the points of a batch."""
    assert work.batch is not None
    found = [point for parcel in ray.get(list(work.parcels)) for point in parcel]
    return found[work.batch.start - work.offset : work.batch.stop - work.offset]


class _AllHaveRows(Stopper):
    """Ends Tune once every point has a row: a worker that still waits for room to start has nothing to do."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single worker."""
        return False

    def stop_all(self) -> bool:
        """Tell whether nothing is left and nothing will come."""
        return self._workers.ended


class _ProgressCallback(Callback):
    """Reports from Tune's event loop, and ends it when a worker reports what no retry can mend."""

    def __init__(self, poll: Callable[[], None], workers: Workers) -> None:
        self._poll = poll
        self._workers = workers
        self._due = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out who hears of progress: Tune pickles its settings into a file that nothing reads.

        A listener may be what no pickle takes, such as `print` after Ray Data put its own in its place.
        """
        return {**self.__dict__, "_poll": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> _ProgressCallback:
        """Return itself, as `Workers` does."""
        return self

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
            self._workers.failure = getattr(errors, kind, ClusterError)(message)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Give a dead worker's batch to another: it may take long until there is room to start it again."""
        self._workers.died(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the sweep where not a worker died but its code raised outside a trial: no retry mends it."""
        error = trial.get_pickled_error()
        if isinstance(error, RayTaskError):
            self._workers.failure = ClusterError(f"A batch of trials failed: {error}")


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
    bars, context, ranking, scratch_dir, report
        As for `run_generations`, and its errors.

    Raises
    ------
    SearchSpaceError
        If there is no point at all.
    """
    check_points(points)
    return run_generations(
        [points], bars, context, ranking, scratch_dir=scratch_dir, report=report, total=len(points)
    )


# reason: what runs, on what, where the rows go and who hears of it
def run_generations(
    generations: Iterable[Sequence[TrialPoint]],
    bars: Mapping[str, BarSet],
    context: TrialContext,
    ranking: Any,
    *,
    scratch_dir: Path,
    report: Callable[[SweepProgress], None],
    total: int = 0,
) -> SweepOutcome:
    """Run the points of one generation after the other, those that have no row, on workers that stay warm.

    Parameters
    ----------
    generations : iterable of sequence of TrialPoint
        The next is asked for when all points before have rows.
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
    total : int
        Points of all generations, for the progress.

    Raises
    ------
    ClusterError
        If no node can run a single trial.
    AioptError
        As `generations` raises it.
    """
    os.environ.update(_QUIET)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    pace = Pace(total, len(ray.get(ranking.trial_ids.remote())))

    def progress() -> SweepProgress:
        return pace.progress(ray.get(ranking.progress.remote()))

    workers = worker_count()
    deals = _deals(generations, context, ranking, workers)
    by_node: Counter[str] = Counter()
    # Where every point has a row already no worker is started.
    first = next(deals, None)
    if first is not None:
        # Beside the driver, with which it ends: a queue on another node would be lost with that node.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        queue = ray.remote(num_cpus=0, scheduling_strategy=here)(PatientQueue).remote(
            BatchPlan([], workers, first=1, largest=1),
            max_failures=MAX_FAILURES,
            max_idle_deaths=MAX_FAILURES + 2 * workers,
        )
        references = {label: ray.put(bar_set) for label, bar_set in bars.items()}
        try:
            by_node = _run_tune(
                Workers(queue, itertools.chain([first], deals)),
                {"bars": references, "context": context, "ranking": ranking, "queue": queue},
                scratch_dir,
                lambda: report(progress()),
            )
        finally:
            # Tune keeps what it gave to workers, handles too, as long as the driver lives.
            ray.kill(queue)
    final = progress()
    report(final)
    return SweepOutcome(progress=final, trials_by_node=dict(by_node))


def _deals(
    generations: Iterable[Sequence[TrialPoint]], context: TrialContext, ranking: Any, workers: int
) -> Iterator[Deal]:
    """Yield what is to run, round by round, and record at the end of a generation what killed its workers."""
    first = FIRST_SCREENED_BATCH if context.screen else FIRST_BATCH
    for points in generations:
        # A second round, one point per batch, tells the point that kills its worker from its neighbours.
        for largest in (MAX_BATCH, 1):
            left = _without_row(points, ranking)
            if not left:
                break
            order = by_indicators(left) if context.screen else by_series(left)
            left = [left[index] for index in order]
            plan = BatchPlan([point.series for point in left], workers, first=first, largest=largest)
            yield Deal(left, plan)
        else:
            died = f"the worker process died {MAX_FAILURES + 1} times running this trial"
            lost = [failed_row(point, context, died) for point in _without_row(points, ranking)]
            ray.get([ranking.add.remote(row) for row in lost])


def _without_row(points: Sequence[TrialPoint], ranking: Any) -> list[TrialPoint]:
    wanted = set(ray.get(ranking.without_result.remote([point.trial_id for point in points])))
    return [point for point in points if point.trial_id in wanted]


def _run_tune(
    workers: Workers, shared: Mapping[str, Any], scratch_dir: Path, poll: Callable[[], None]
) -> Counter[str]:
    """Run all deals to their end and return the number of points per node."""
    trainable = tune.with_parameters(SweepTrainable, **shared)
    callback = _ProgressCallback(poll, workers)
    # The name under which the workers appear in the dashboard.
    trainable.__qualname__ = SweepTrainable.__name__
    tuner = Tuner(
        trainable,
        tune_config=TuneConfig(
            search_alg=workers,
            num_samples=-1,
            trial_name_creator=lambda trial: f"worker-{trial.trial_id}",
        ),
        run_config=RunConfig(
            name="sweep",
            stop=_AllHaveRows(workers),
            storage_path=str(scratch_dir),
            verbose=0,
            callbacks=[callback],
            checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        tuner.fit()
    except Exception:
        # Tune wraps what is raised inside its loop in a traceback as text.
        if workers.failure is None:
            raise
        raise workers.failure from None
    return Counter(ray.get(shared["queue"].points_by_node.remote()))
