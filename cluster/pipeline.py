"""The pipeline's engine on Ray: each stage's work as tasks and actors of the connected cluster.

Owns which Ray call does the work of which stage; what a stage does is in `aiopt.optimize`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import ray
from ray.exceptions import RayTaskError

from aiopt.bars.building.build import BarBuild, build
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import BarSet
from aiopt.errors import AioptError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.optimize.engine import Amount, Metrics, Tell, untold
from aiopt.optimize.entries import EntryOutput, EntryTask, run_entry
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow
from aiopt.robustness.shares import Share
from aiopt.sweep.board import Board
from aiopt.sweep.local import SweepOutcome, run_points
from aiopt.sweep.progress import SweepProgress
from aiopt.sweep.trial import TrialContext, TrialPoint
from cluster.bars import RayEngine
from cluster.metrics import RunMetrics
from cluster.ranking import RemoteBoard
from cluster.resources import stage_options
from cluster.sweep import run_generations

Result = TypeVar("Result")

POINTS_PER_TASK = 8
"""Of trials that are run again: enough to pay for loading the bars, few enough to share them out."""


class RayStages:
    """A `aiopt.optimize.engine.StageEngine` on the connected cluster."""

    def build_bars(self, store: Path, folder: Path, request: BarRequest, progress: Amount) -> BarBuild:
        """Build the bars of a tick store, one read task per shard."""
        return build(store, folder, request, engine=RayEngine(), progress=progress)

    def open_board(
        self,
        run_id: str,
        journal: Path,
        config: RankingConfig,
        plan: WalkForwardPlan,
        tell: Tell = lambda text: None,
    ) -> RemoteBoard:
        """Start the ranking actor of a run."""
        return RemoteBoard.start(run_id, journal, config, plan, tell)

    def sweep(
        self,
        generations: Iterable[Sequence[TrialPoint]],
        bars: Mapping[str, BarSet],
        context: TrialContext,
        board: Board,
        *,
        scratch_dir: Path,
        report: Callable[[SweepProgress], None],
    ) -> SweepOutcome:
        """Run every point the board has no row of, through Ray Tune."""
        if not isinstance(board, RemoteBoard):
            raise TypeError(f"The workers need an actor to hand rows to, but got {type(board).__name__}.")
        return run_generations(
            generations, bars, context, board.actor, scratch_dir=scratch_dir, report=report
        )

    def run_trials(
        self,
        points: Sequence[TrialPoint],
        bars: Mapping[str, BarSet],
        context: TrialContext,
        progress: Amount = untold,
    ) -> list[TrialRow]:
        """Run some points, a few of one series of bars per task."""
        run = ray.remote(**stage_options("trial"))(_rows_of)
        by_series: dict[str, list[TrialPoint]] = {}
        for point in points:
            by_series.setdefault(point.series, []).append(point)
        references = {series: ray.put(bars[series]) for series in by_series}
        tasks = [
            run.remote(series, references[series], found[start : start + POINTS_PER_TASK], context)
            for series, found in by_series.items()
            for start in range(0, len(found), POINTS_PER_TASK)
        ]
        pending, done = list(tasks), 0
        while pending:
            finished, pending = ray.wait(pending, num_returns=len(pending), timeout=1.0)
            done += sum(len(ray.get(task)) for task in finished)
            progress(done, len(points))
        return [row for rows in ray.get(tasks) for row in rows]

    def run_entries(
        self, tasks: Sequence[EntryTask], bars: Mapping[str, BarSet], progress: Amount
    ) -> list[EntryOutput]:
        """Run entries, one task each."""
        run = ray.remote(**stage_options("trial"))(run_entry)
        references = {series: ray.put(bars[series]) for series in {task.series for task in tasks}}
        running = [
            run.options(name=f"entry:{task.name}").remote(task, references[task.series]) for task in tasks
        ]
        pending = list(running)
        while pending:
            _, pending = ray.wait(pending, num_returns=len(pending), timeout=1.0)
            progress(len(running) - len(pending), len(running))
        return ray.get(running)

    def run_shares(
        self, shares: Sequence[Share[Result]], bars: Mapping[str, BarSet], progress: Amount
    ) -> list[Result]:
        """Run shares of stress, one task each."""
        run = ray.remote(**stage_options("stress"))(_share)
        references = {series: ray.put(bars[series]) for series in {share.series for share in shares}}
        running = [run.options(name="stress").remote(share, references[share.series]) for share in shares]
        sizes = dict(zip(running, (share.paths for share in shares), strict=True))
        pending, done, total = list(running), 0, sum(sizes.values())
        try:
            while pending:
                finished, pending = ray.wait(pending, num_returns=len(pending), timeout=1.0)
                ray.get(finished)  # a difference stops the run now, not after the others
                done += sum(sizes[task] for task in finished)
                progress(done, total)
            return ray.get(running)
        except RayTaskError as error:
            for task in pending:
                ray.cancel(task, force=True)
            if isinstance(error.cause, AioptError):
                raise error.cause from None
            raise

    def metrics(self, run_id: str) -> Metrics:
        """Return the gauges of a run."""
        return RunMetrics(run_id)


def _share(share: Share[Result], bars: BarSet) -> Result:
    return share.run(bars)


def _rows_of(series: str, bars: BarSet, points: list[TrialPoint], context: TrialContext) -> list[TrialRow]:
    return list(run_points(points, {series: bars}, context))
