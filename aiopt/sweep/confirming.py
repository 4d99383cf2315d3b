"""The screen proposes, the engine confirms: which trials are run again, and what a difference means.

Owns the choice of these trials and the comparison.  Where the engine runs is another's matter.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from aiopt.bars.schema import BarSet
from aiopt.errors import InputError
from aiopt.ranking.trials import TrialRow
from aiopt.screen.failures import ScreenMismatchError
from aiopt.sweep.board import Board, Reading
from aiopt.sweep.disagreement import first_difference
from aiopt.sweep.trial import TrialContext, TrialPoint

RANDOM_SHARE = 0.005
"""Of the trials that no fold chose: these are run in the engine too."""


def points_to_confirm(
    points: Sequence[TrialPoint], chosen: Sequence[str], *, seed: int, share: float = RANDOM_SHARE
) -> list[TrialPoint]:
    """Return the points whose trials the engine must confirm, in their order.

    Parameters
    ----------
    points : sequence of TrialPoint
        All points of a sweep.
    chosen : sequence of str
        Trials that a fold chose or that are emitted.
    seed : int
        Of the sweep; the same points are drawn in every call.
    share : float
        Of the other points, drawn at random; at least one where there is any.
    """
    wanted = set(chosen)
    others = [number for number, point in enumerate(points) if point.trial_id not in wanted]
    if others:
        count = max(1, round(share * len(others)))
        drawn = np.random.default_rng([seed, len(points)]).choice(others, size=count, replace=False)
        wanted.update(points[number].trial_id for number in drawn.tolist())
    return [point for point in points if point.trial_id in wanted]


def confirm(
    points: Sequence[TrialPoint],
    board: Board,
    context: TrialContext,
    run: Callable[[Sequence[TrialPoint], TrialContext], Sequence[TrialRow]],
    *,
    bars: Mapping[str, BarSet] | None = None,
    reading: Reading | None = None,
) -> int:
    """Run trials of a screened sweep in the engine and hold their rows against those of the screen.

    Parameters
    ----------
    points : sequence of TrialPoint
        All points of the sweep.
    board : Board
        With the rows of the screen.
    context : TrialContext
        Of the sweep; nothing is to confirm where it was not screened.
    run : callable
        Runs points.
    bars : mapping of str to BarSet, optional
        Per series: with them a difference is told by the bar on which it begins.
    reading : callable, optional
        Called with the trials read to find what was chosen, and their number.

    Returns
    -------
    int
        Rows that were compared; all of them are equal.

    Raises
    ------
    ScreenMismatchError
        If a row differs.  Nothing of the run may be believed.
    """
    if not context.screen:
        return 0
    again = points_to_confirm(points, board.chosen_trials(progress=reading), seed=context.seed)
    by_id = {point.trial_id: point for point in again}
    rows = run(again, dataclasses.replace(context, screen=False))
    for row in rows:
        try:
            # The leaderboard takes a row it has, and refuses another result of the same trial.
            board.add(row)
        except InputError as error:
            point = by_id[row.trial_id]
            parted = "" if bars is None else first_difference(point, bars[point.series], context)
            raise ScreenMismatchError(_mismatch(point, row, f"{error} {parted}".rstrip())) from error
    return len(rows)


def _mismatch(point: TrialPoint, row: TrialRow, difference: str) -> str:
    figures = {
        "trades": sum(row.segment_trades),
        "profit": round(float(np.sum(row.pnl)), 2),
        "error": row.error,
    }
    return (
        f"The screen and the engine disagree on trial {point.trial_id}, so the screen must not be trusted "
        f"and this run is not ranked. The engine finds {json.dumps(figures)}; {difference} "
        f"Run it again with `screen: off` (--no-screen), and report the strategy: {point.spec.to_json()}"
    )
