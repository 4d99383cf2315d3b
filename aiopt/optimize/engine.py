"""The seam between the pipeline and where its work is done: `StageEngine`, and `LocalStages` in this process.

Owns what a stage asks of an engine.  Knows no run folder but the paths it is given, and no Ray: the engine
that spreads the work over a cluster is `cluster.pipeline.RayStages`.  Both give the same files, byte for
byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from aiopt.bars.building.build import BarBuild, build
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.optimize.entries import EntryOutput, EntryTask, run_entry
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow
from aiopt.sweep.board import Board
from aiopt.sweep.local import SweepOutcome, run_points, run_sweep_locally
from aiopt.sweep.progress import SweepProgress
from aiopt.sweep.trial import TrialContext, TrialPoint

Amount = Callable[[float, float], None]
"""Called with what is done of a stage and all of it."""


def untold(done: float, total: float) -> None:
    """Tell nobody how far a stage is."""


class Metrics(Protocol):
    """Where the figures of a running run go."""

    def set(self, name: str, value: float) -> None:
        """Set one figure, e.g. ``aiopt_trials_per_second``."""
        ...


class StageEngine(Protocol):
    """Where the work of a run is done."""

    def build_bars(self, store: Path, folder: Path, request: BarRequest, progress: Amount) -> BarBuild:
        """Build the bars of a tick store."""
        ...

    def open_board(self, run_id: str, journal: Path, config: RankingConfig, plan: WalkForwardPlan) -> Board:
        """Open the leaderboard of a run; rows of its journal are taken over."""
        ...

    def sweep(
        self,
        points: Sequence[TrialPoint],
        bars: Mapping[str, BarSet],
        context: TrialContext,
        board: Board,
        *,
        scratch_dir: Path,
        report: Callable[[SweepProgress], None],
    ) -> SweepOutcome:
        """Run every point the board has no row of; nothing in `scratch_dir` is needed afterwards."""
        ...

    def run_trials(
        self,
        points: Sequence[TrialPoint],
        bars: Mapping[str, BarSet],
        context: TrialContext,
        progress: Amount = untold,
    ) -> list[TrialRow]:
        """Run some points and return their rows, in any order."""
        ...

    def run_entries(
        self, tasks: Sequence[EntryTask], bars: Mapping[str, BarSet], progress: Amount
    ) -> list[EntryOutput]:
        """Run entries and return what each gives, in the order of `tasks`."""
        ...

    def metrics(self, run_id: str) -> Metrics:
        """Return where the figures of a run go."""
        ...


class LocalStages:
    """A `StageEngine` in this process, one thing after the other; it needs no cluster."""

    def build_bars(self, store: Path, folder: Path, request: BarRequest, progress: Amount) -> BarBuild:
        """Build the bars of a tick store."""
        return build(store, folder, request, progress=progress)

    def open_board(
        self, run_id: str, journal: Path, config: RankingConfig, plan: WalkForwardPlan
    ) -> Leaderboard:
        """Open the leaderboard of a run."""
        return Leaderboard(journal, config, plan)

    def sweep(
        self,
        points: Sequence[TrialPoint],
        bars: Mapping[str, BarSet],
        context: TrialContext,
        board: Board,
        *,
        scratch_dir: Path,
        report: Callable[[SweepProgress], None],
    ) -> SweepOutcome:
        """Run every point the board has no row of."""
        return run_sweep_locally(points, bars, context, board, report=report)

    def run_trials(
        self,
        points: Sequence[TrialPoint],
        bars: Mapping[str, BarSet],
        context: TrialContext,
        progress: Amount = untold,
    ) -> list[TrialRow]:
        """Run some points and return their rows."""
        found = []
        for row in run_points(points, bars, context):
            found.append(row)
            progress(len(found), len(points))
        return found

    def run_entries(
        self, tasks: Sequence[EntryTask], bars: Mapping[str, BarSet], progress: Amount
    ) -> list[EntryOutput]:
        """Run entries and return what each gives."""
        found = []
        for task in tasks:
            found.append(run_entry(task, bars[task.series]))
            progress(len(found), len(tasks))
        return found

    def metrics(self, run_id: str) -> Metrics:
        """Return a place that keeps no figure: what is worth knowing is in the log."""
        return _Unkept()


class _Unkept:
    def set(self, name: str, value: float) -> None:
        """Drop the figure."""
