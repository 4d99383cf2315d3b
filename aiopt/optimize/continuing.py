"""Continuing a run with other software: allowed where it gives the same results.

Owns the proof: trials that the run has finished are run again and must give the same rows, bit for bit.
Which versions count is in `aiopt.optimize.versions`; where the trials run is the engine's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiopt.errors import InputError, RunExistsError
from aiopt.ranking.trials import TrialRow
from aiopt.sweep.board import Board
from aiopt.sweep.trial import TrialPoint


def prove_harmless(
    points: Sequence[TrialPoint],
    board: Board,
    changes: Sequence[str],
    run: Callable[[Sequence[TrialPoint]], Sequence[TrialRow]],
) -> str:
    """Run the first and the last finished trial of every group again and hold them against their rows.

    Parameters
    ----------
    points : sequence of TrialPoint
        All points of the run.
    board : Board
        With the rows of the run.
    changes : sequence of str
        From `changed_versions`.
    run : callable
        Runs points on bars built by the software that runs now.

    Returns
    -------
    str
        What was shown, for `state.json`.

    Raises
    ------
    RunExistsError
        If a trial gives another row: the run must be finished by the software it was begun with.
    """
    finished = set(board.trial_ids())
    groups: dict[tuple[str, str], list[TrialPoint]] = {}
    for point in points:
        if point.trial_id in finished:
            groups.setdefault((point.family, point.series), []).append(point)
    again = [found[i] for found in groups.values() for i in sorted({0, len(found) - 1})]
    if not again:
        return "no trial had finished"
    rows = run(again)
    try:
        # The leaderboard takes a row it has, and refuses another result of the same trial.
        board.add_many(rows)
    except InputError as error:
        msg = (
            f"A run must be continued by software that gives the same results, but this run was begun with "
            f"other versions ({'; '.join(changes)}) and they differ: {error} "
            "Finish it with the versions in its state.json, or start anew with --force or another --run-id."
        )
        raise RunExistsError(msg) from error
    return f"{len(again):,} of {len(finished):,} finished trials run again, all rows equal"
