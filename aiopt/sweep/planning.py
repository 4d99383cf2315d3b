"""One seam over sweeps whose points are known beforehand and sweeps whose sampler learns.

Owns that choice.  Whoever runs a sweep hands a runner to it, and need not know which of the two it is.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.search.record import RunSearches
from aiopt.strategy.space import Point
from aiopt.sweep.board import Board
from aiopt.sweep.learning import Keep, LearningSweep, RunPoints
from aiopt.sweep.points import Strategy, plan_points
from aiopt.sweep.progress import SweepProgress
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialPoint


class PlannedSweep(Protocol):
    """What is to be tried."""

    @property
    def trials(self) -> int:
        """How many trials there may be at most."""
        ...

    def first_points(self) -> list[TrialPoint]:
        """Return the points that depend on no result."""
        ...

    @property
    def points(self) -> list[TrialPoint]:
        """All points known so far."""
        ...

    def generations(
        self, board: Board, *, keep: Keep, recorded: RunSearches | None = None
    ) -> Iterator[list[TrialPoint]]:
        """Yield the points that may run together, see `LearningSweep.generations`."""
        ...

    def run(
        self, board: Board, run: RunPoints, *, keep: Keep, recorded: RunSearches | None = None
    ) -> tuple[list[TrialPoint], Counter[str]]:
        """Run all points and return them, with how many were run per node; see `LearningSweep.run`."""
        ...


class FixedSweep:
    """A sweep whose points depend on no result.

    Parameters
    ----------
    points : sequence of TrialPoint
        All of them, from `plan_points`.
    """

    def __init__(self, points: Sequence[TrialPoint]) -> None:
        self._points = list(points)

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return len(self._points)

    def first_points(self) -> list[TrialPoint]:
        """Return all points."""
        return self._points

    @property
    def points(self) -> list[TrialPoint]:
        """All points."""
        return self._points

    def generations(
        self, board: Board, *, keep: Keep, recorded: RunSearches | None = None
    ) -> Iterator[list[TrialPoint]]:
        """Yield all points at once; there is nothing to keep."""
        yield self._points

    def run(
        self, board: Board, run: RunPoints, *, keep: Keep, recorded: RunSearches | None = None
    ) -> tuple[list[TrialPoint], Counter[str]]:
        """Run all points at once; there is nothing to keep."""
        outcome = run(self._points)
        return self._points, Counter(outcome.trials_by_node)


def plan_sweep(
    strategies: Sequence[Strategy],
    config: SweepConfig,
    plan: WalkForwardPlan,
    instruments: Sequence[str] = (),
    first: Mapping[str, Sequence[Point]] | None = None,
) -> PlannedSweep:
    """Return the sweep of settings; arguments as in `plan_points` and `LearningSweep`.

    Raises
    ------
    SearchSpaceError
        If a space has no valid point, or the sampler cannot treat it.
    """
    if not config.learns:
        return FixedSweep(plan_points(strategies, config, instruments))
    for strategy in strategies:
        strategy.check(config)
    return LearningSweep(strategies, config, plan, instruments, first)


def out_of(total: int, report: Callable[[SweepProgress], None]) -> Callable[[SweepProgress], None]:
    """Return `report` for progress of a part of a sweep: out of all its trials, not of those known so far."""
    return lambda progress: report(dataclasses.replace(progress, total=max(total, progress.done)))
