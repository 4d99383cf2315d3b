"""The seam between the pipeline and where its work is done: `StageEngine`, and `LocalStages` in this process.

Owns what a stage asks of an engine.  Knows no run folder but the paths it is given, and no Ray: the engine
that spreads the work over a cluster is `cluster.pipeline.RayStages`.  Both give the same files, byte for
byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from aiopt.bars.building.build import BarBuild, build
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.files import MIB
from aiopt.optimize.entries import EntryOutput, EntryTask, run_entry
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow
from aiopt.robustness.shares import Share
from aiopt.sweep.board import Board
from aiopt.sweep.local import SweepOutcome, check_points, run_points, run_sweep_locally
from aiopt.sweep.progress import SweepProgress
from aiopt.sweep.trial import TrialContext, TrialPoint

Result = TypeVar("Result")

Amount = Callable[[float, float], None]
"""Called with what is done of a stage and all of it."""

Tell = Callable[[str], None]
"""Called with how far something is, in words."""

TELL_EVERY_S = 2.0


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

    def open_board(
        self,
        run_id: str,
        journal: Path,
        config: RankingConfig,
        plan: WalkForwardPlan,
        tell: Tell = lambda text: None,
    ) -> Board:
        """Open the leaderboard of a run; rows of its journal are taken over."""
        ...

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
        """Run every point the board has no row of, and ask for a generation when those before have rows.

        Nothing in `scratch_dir` is needed afterwards.
        """
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

    def run_shares(
        self, shares: Sequence[Share[Result]], bars: Mapping[str, BarSet], progress: Amount
    ) -> list[Result]:
        """Run shares of stress, each on the bars of its series; what each gives, in the order of `shares`."""
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
        self,
        run_id: str,
        journal: Path,
        config: RankingConfig,
        plan: WalkForwardPlan,
        tell: Tell = lambda text: None,
    ) -> Leaderboard:
        """Open the leaderboard of a run."""
        due = time.monotonic() + TELL_EVERY_S

        def read(done: float, total: float) -> None:
            nonlocal due
            if (now := time.monotonic()) >= due:
                due = now + TELL_EVERY_S
                tell(f"{100 * done / total:.0f}% of {total / MIB:,.0f} MiB")

        return Leaderboard(journal, config, plan, read)

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
        """Run every point the board has no row of."""
        points: list[TrialPoint] = []
        outcome: SweepOutcome | None = None
        for generation in generations:
            points += generation
            outcome = run_sweep_locally(points, bars, context, board, report=report)
        if outcome is None:
            check_points(points)
        assert outcome is not None  # else there is no point, which was refused
        return outcome

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

    def run_shares(
        self, shares: Sequence[Share[Result]], bars: Mapping[str, BarSet], progress: Amount
    ) -> list[Result]:
        """Run shares and return what each gives."""
        total, done, found = sum(share.paths for share in shares), 0, []
        for share in shares:
            found.append(share.run(bars[share.series]))
            done += share.paths
            progress(done, total)
        return found

    def metrics(self, run_id: str) -> Metrics:
        """Return a place that keeps no figure: what is worth knowing is in the log."""
        return _Unkept()


class _Unkept:
    def set(self, name: str, value: float) -> None:
        """Drop the figure."""
