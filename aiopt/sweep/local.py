"""The sweep in this process: one point after the other, with what runs trials kept warm per series of bars.

Owns that loop.  A point's row is the same wherever it is run (`aiopt.sweep.trial_runner`), so this gives
the rows that `cluster.sweep` gives on a cluster, by hash; it only takes longer.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing

from aiopt.bars.schema import BarSet
from aiopt.errors import SearchSpaceError
from aiopt.ranking.packed_row import PackedRow
from aiopt.ranking.trials import TrialRow
from aiopt.sweep.board import Board
from aiopt.sweep.ordering import by_indicators
from aiopt.sweep.progress import Pace, SweepProgress
from aiopt.sweep.trial import TrialContext, TrialPoint
from aiopt.sweep.trial_runner import TrialRunner, open_runner

PROGRESS_EVERY_S = 5.0

ROWS_AT_ONCE = 64
"""Screened rows handed to the leaderboard at once: a call for each would cost as much as the trial."""


@dataclasses.dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes
    ----------
    progress : SweepProgress
        At its end.
    trials_by_node : dict of str to int
        Points run in this call per node of a cluster; empty where they ran in this process.
    """

    progress: SweepProgress
    trials_by_node: dict[str, int]


def run_sweep_locally(
    points: Sequence[TrialPoint],
    bars: Mapping[str, BarSet],
    context: TrialContext,
    board: Board,
    *,
    report: Callable[[SweepProgress], None] = lambda progress: None,
) -> SweepOutcome:
    """Run every point that the board has no row of, in this process.

    Parameters
    ----------
    points : sequence of TrialPoint
        All points of the sweep, finished ones too; from `plan_points`.
    bars : mapping of str to BarSet
        Per series, see `aiopt.series.series_name`.
    context : TrialContext
        What all trials share; from `plan_context`.
    board : Board
        A `Leaderboard`: takes each row as it is finished.  With a journal an interrupted sweep continues.
    report : callable, optional
        Called with the progress every few seconds and once at the end.

    Raises
    ------
    SearchSpaceError
        If there is no point at all.
    StorageError
        If the journal cannot be written.
    """
    check_points(points)
    known = set(board.trial_ids())
    pace = Pace(len(points), len(known))
    due = time.monotonic() + PROGRESS_EVERY_S
    left = [point for point in points if point.trial_id not in known]
    for rows in _run_packed(left, bars, context):
        board.add_packed(rows)
        if time.monotonic() >= due:
            due = time.monotonic() + PROGRESS_EVERY_S
            report(pace.progress(board.progress()))
    final = pace.progress(board.progress())
    report(final)
    return SweepOutcome(progress=final, trials_by_node={})


def check_points(points: Sequence[TrialPoint]) -> None:
    """Raise `SearchSpaceError` where a sweep has no point at all."""
    if not points:
        raise SearchSpaceError("A sweep must have at least one trial, but got none. Raise `trials`.")


def run_points(
    points: Iterable[TrialPoint], bars: Mapping[str, BarSet], context: TrialContext
) -> Iterator[TrialRow]:
    """Yield the row of each point, those of one series after the other.

    Parameters
    ----------
    points : iterable of TrialPoint
        What to try.
    bars : mapping of str to BarSet
        Per series, see `aiopt.series.series_name`.
    context : TrialContext
        What all trials share.
    """
    for runner, point in _with_runners(points, bars, context):
        yield runner.row(point, context)


def _run_packed(
    points: Sequence[TrialPoint], bars: Mapping[str, BarSet], context: TrialContext
) -> Iterator[list[PackedRow]]:
    """Yield the rows of points, packed, some at once where they come by the thousand."""
    ordered = [points[index] for index in by_indicators(points)] if context.screen else points
    at_once = ROWS_AT_ONCE if context.screen else 1
    rows: list[PackedRow] = []
    for runner, point in _with_runners(ordered, bars, context):
        rows.append(runner.packed(point, context))
        if len(rows) == at_once:
            yield rows
            rows = []
    if rows:
        yield rows


def _with_runners(
    points: Iterable[TrialPoint], bars: Mapping[str, BarSet], context: TrialContext
) -> Iterator[tuple[TrialRunner, TrialPoint]]:
    """Yield each point with what runs it, those of one series after the other."""
    by_series: dict[str, list[TrialPoint]] = {}
    for point in points:
        by_series.setdefault(point.series, []).append(point)
    for series, found in by_series.items():
        terms = context.terms(found[0].instrument)
        with closing(open_runner(bars[series], terms.backtest, screen=context.screen)) as runner:
            for point in found:
                yield runner, point
