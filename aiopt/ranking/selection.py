"""Which trial each fold would have chosen, knowing its train window only.

Owns in-sample scores, lanes and the refit choice.  Where the sampler learned, a fold chooses among the trials
of its own search: the others were found with data that the fold had not seen yet.  Nothing in this module
looks at test segments; the holdout is not even in what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.groups import Group
from aiopt.ranking.measures import GroupMeasures


@dataclass(frozen=True)
class Lane:
    """A rule to choose by, followed through time: always the j-th best distinct trial.

    Attributes
    ----------
    number : int
        j, from 1.
    choices : tuple of int
        Row of the group per fold, chosen on the fold's train window.
    refit : int
        Row chosen on the last train window before the holdout: what is emitted.
    """

    number: int
    choices: tuple[int, ...]
    refit: int


def in_sample_scores(
    measures: GroupMeasures, plan: WalkForwardPlan, segments: tuple[int, ...], *, min_trades: int
) -> FloatArray:
    """Return the annualised Sharpe ratio of every trial on some segments.

    Parameters
    ----------
    measures : GroupMeasures
        Of the trials that compete.
    plan : WalkForwardPlan
        Where the segments lie.
    segments : tuple of int
        A train window.
    min_trades : int
        Trials with fewer trades on the window are not eligible.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        NaN for trials that are not eligible or whose profit does not vary.
    """
    scores = measures.windows[segments].sharpe(plan.periods_per_year)
    if scores.size:
        scores[measures.trades[:, list(segments)].sum(axis=1) < min_trades] = np.nan
    return scores


def best_first(scores: FloatArray) -> list[int]:
    """Return the indices of the scores that are not NaN, best first; ties keep their order (by trial id)."""
    order = np.argsort(-scores, kind="stable")
    return [int(i) for i in order if not np.isnan(scores[i])]


def choose_lanes(
    group: Group, measures: GroupMeasures, plan: WalkForwardPlan, *, lanes: int, min_trades: int
) -> tuple[list[Lane], str]:
    """Return the lanes of a group.

    Parameters
    ----------
    group : Group
        Trials that compete.
    measures : GroupMeasures
        Of all of them.
    plan : WalkForwardPlan
        Train windows.
    lanes : int
        Largest number of lanes.  There are fewer where a train window has fewer eligible trials.
    min_trades : int
        Trades a trial needs on a train window.

    Returns
    -------
    list of Lane, str
        If the list is empty, the string says why.
    """
    if not group.size:
        return [], f"all {group.tried} trials failed"
    windows = {f"fold {fold.index + 1}": fold.train for fold in plan.folds} | {"the refit": plan.refit}
    orders = {}
    for number, (name, train) in enumerate(windows.items()):
        scores = in_sample_scores(measures, plan, train, min_trades=min_trades)
        scores[~group.may_choose(number)] = np.nan
        orders[name] = best_first(scores)
    empty = [name for name, order in orders.items() if not order]
    if empty:
        return [], (
            f"no trial has {min_trades} trades (`min_train_trades`) and a varying profit in the train window "
            f"of {empty[0]}{_margin_note(group, windows[empty[0]])}"
        )
    *folds, refit = orders.values()
    count = min(lanes, *(len(order) for order in orders.values()))
    return [
        Lane(number=j + 1, choices=tuple(order[j] for order in folds), refit=refit[j]) for j in range(count)
    ], ""


def _margin_note(group: Group, segments: tuple[int, ...]) -> str:
    """Return how many trials margin or ruin kept from trading on some segments; empty if none."""
    refused, ruined = (
        sum(any(counts[segment] for segment in segments) for counts in found)
        for found in (
            [head.segment_refused for head in group.heads],
            [head.segment_ruined for head in group.heads],
        )
    )
    if not refused and not ruined:
        return ""
    return (
        f"; of {group.size} trials the margin refused entries to {refused} there and {ruined} lost their "
        "account: trade smaller, or raise `backtest.leverage` or `backtest.initial_balance`"
    )
