"""Continuing a run with other software: allowed where it gives the same results.

Owns the proof: trials that the run has finished are run again on the cluster and must give the same rows, bit
for bit.  Which versions count is in `aiopt.optimize.versions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.errors import InputError, RunExistsError
from aiopt.ranking.trials import TrialRow
from aiopt.sweep.trial import TrialContext, TrialPoint, run_trial
from cluster.resources import stage_options


def prove_harmless(
    points: Sequence[TrialPoint],
    bars: Mapping[str, BarSet],
    context: TrialContext,
    ranking: Any,
    changes: Sequence[str],
) -> str:
    """Run the first and the last finished trial of every group again and hold them against their rows.

    Parameters
    ----------
    points : sequence of TrialPoint
        All points of the run.
    bars : mapping of str to BarSet
        Per timeframe label; built by the software that runs now.
    context : TrialContext
        What all trials share.
    ranking : actor handle
        A `RankingActor` with the rows of the run.
    changes : sequence of str
        From `changed_versions`.

    Returns
    -------
    str
        What was shown, for `state.json`.

    Raises
    ------
    RunExistsError
        If a trial gives another row: the run must be finished by the software it was begun with.
    """
    finished = set(ray.get(ranking.trial_ids.remote()))
    groups: dict[tuple[str, str], list[TrialPoint]] = {}
    for point in points:
        if point.trial_id in finished:
            groups.setdefault((point.family, point.timeframe), []).append(point)
    again = [found[i] for found in groups.values() for i in sorted({0, len(found) - 1})]
    if not again:
        return "no trial had finished"
    run = ray.remote(**stage_options("trial"))(_run_again)
    references = {label: ray.put(bar_set) for label, bar_set in bars.items()}
    by_timeframe: dict[str, list[TrialPoint]] = {}
    for point in again:
        by_timeframe.setdefault(point.timeframe, []).append(point)
    tasks = [run.remote(references[label], found, context) for label, found in by_timeframe.items()]
    try:
        for rows in ray.get(tasks):
            # The leaderboard takes a row it has, and refuses another result of the same trial.
            ray.get([ranking.add.remote(row) for row in rows])
    except InputError as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        msg = (
            f"A run must be continued by software that gives the same results, but this run was begun with "
            f"other versions ({'; '.join(changes)}) and they differ: {cause} "
            "Finish it with the versions in its state.json, or start anew with --force or another --run-id."
        )
        raise RunExistsError(msg) from error
    return f"{len(again)} of {len(finished)} finished trials run again, all rows equal"


def _run_again(bars: BarSet, points: list[TrialPoint], context: TrialContext) -> list[TrialRow]:
    with BacktestSession(bars, context.backtest) as session:
        return [run_trial(session, point, context) for point in points]
