"""Combinatorial purged cross-validation of a group of trials: choices of every split, figures of every path.

Owns choosing on train groups and joining tested groups.  Knows no file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.moments import moments_of_path, moments_over
from aiopt.paths.paths_file import LanePaths
from aiopt.paths.settings import Combination, segment_stretch
from aiopt.paths.tables import GroupTable

Competing = tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]
"""Per split and per fold the places in a table of the trials that may be chosen."""

_Step = tuple[int, tuple[int, ...]]
"""A trial, and the pieces over which it is followed."""


def eligible_scores(
    table: GroupTable,
    combination: Combination,
    pieces: Sequence[int],
    segments: Sequence[int],
    min_trades: int,
) -> FloatArray:
    """Return the Sharpe ratio per period of every trial over some pieces; NaN where it may not be chosen.

    Parameters
    ----------
    table : GroupTable
        Trials that compete.
    combination : Combination
        Of the plan the table was made by.
    pieces : sequence of int
        What is trained on.
    segments : sequence of int
        Segments whose trades count.
    min_trades : int
        Trades a trial needs in them.
    """
    scores = moments_over(combination.cuts, table.sums, pieces).sharpe
    scores[table.trades[:, list(segments)].sum(axis=1) < min_trades] = np.nan
    return scores


def best_trials(scores: FloatArray, count: int) -> list[int]:
    """Return the best trials that have a score, at most `count`; ties keep their order, by trial id."""
    known = int(np.isfinite(scores).sum())
    return np.argsort(-scores, kind="stable")[: min(count, known)].tolist()


def combined_lanes(  # reason: what competes, where it is cut, and the rules of the choice
    table: GroupTable,
    plan: WalkForwardPlan,
    combination: Combination,
    *,
    lanes: int,
    min_trades: int,
    competing: Competing | None = None,
) -> tuple[list[LanePaths], str]:
    """Return every lane's paths, or why there are none.

    Parameters
    ----------
    table : GroupTable
        Trials that compete.
    plan : WalkForwardPlan
        Of the run.
    combination : Combination
        Its cross-validation.
    lanes : int
        Candidates per group, as in the ranking.
    min_trades : int
        Trades a trial needs in the train groups of a split, and in a train window.
    competing : tuple of two lists, optional
        Places in the table of the trials that each split, and each fold, may choose; by default all.
    """
    in_splits, in_folds = (None, None) if competing is None else competing
    if not combination.splits:
        return [], "the plan has too few segments"
    chosen = []
    for number, split in enumerate(combination.splits):
        pieces = [p for a, b in split.train for p in combination.cuts.pieces(a, b)]
        segments = [
            segment
            for group, stretch in zip(split.train_groups, split.train, strict=True)
            for segment in combination.segments[group]
            if _overlap(segment_stretch(plan, segment), stretch)
        ]
        scores = eligible_scores(table, combination, pieces, segments, min_trades)
        best = best_trials(_among(scores, None if in_splits is None else in_splits[number]), lanes)
        if not best:
            names = ", ".join(str(group + 1) for group in split.test)
            return (
                [],
                f"no trial has {min_trades} trades (`min_train_trades`) where groups {names} are tested",
            )
        chosen.append(best)
    walked = walked_choices(table, plan, combination, lanes=lanes, min_trades=min_trades, competing=in_folds)
    count = min(len(best) for best in chosen)
    return [
        _lane(j, [best[j] for best in chosen], walked, table, plan, combination) for j in range(count)
    ], ""


def walked_choices(  # reason: as `combined_lanes`
    table: GroupTable,
    plan: WalkForwardPlan,
    combination: Combination,
    *,
    lanes: int,
    min_trades: int,
    competing: Sequence[Sequence[int]] | None = None,
) -> list[list[int]]:
    """Return what the folds of the run choose, best first; arguments as of `combined_lanes`."""
    found = []
    for number, fold in enumerate(plan.folds):
        pieces = _pieces_of(plan, combination, fold.train)
        scores = eligible_scores(table, combination, pieces, fold.train, min_trades)
        found.append(best_trials(_among(scores, None if competing is None else competing[number]), lanes))
    return found


def _among(scores: FloatArray, places: Sequence[int] | None) -> FloatArray:
    """Return the scores of some trials, NaN for all others."""
    if places is None:
        return scores
    found = np.full_like(scores, np.nan)
    chosen = list(places)
    found[chosen] = scores[chosen]
    return found


def _lane(
    lane: int,
    chosen: Sequence[int],
    walked: Sequence[Sequence[int]],
    table: GroupTable,
    plan: WalkForwardPlan,
    combination: Combination,
) -> LanePaths:
    cuts, annual = combination.cuts, math.sqrt(plan.periods_per_year)
    whole = [cuts.pieces(*stretch) for stretch in combination.groups]
    tested = set(_pieces_of(plan, combination, plan.test))
    paths = [
        [(chosen[split], whole[group]) for group, split in enumerate(path)] for path in combination.paths
    ]
    sums = [moments_of_path(cuts, table.sums, path) for path in paths]
    ratios = np.array([float(one.sharpe) for one in sums]) * annual
    on_test = [
        _ratio(table, combination, [(i, tuple(p for p in own if p in tested)) for i, own in path], annual)
        for path in paths
    ]
    own = math.nan
    if all(len(best) > lane for best in walked):
        steps: list[_Step] = [
            (best[lane], tuple(_pieces_of(plan, combination, fold.test)))
            for best, fold in zip(walked, plan.folds, strict=True)
        ]
        own = _ratio(table, combination, steps, annual)
    profits = [float(one.sums[0]) for one in sums]
    finite = ratios[np.isfinite(ratios)]
    low, median, high = np.percentile(finite, [5, 50, 95]) if finite.size else (math.nan,) * 3
    most, times = min(Counter(chosen).items(), key=lambda one: (-one[1], one[0]))
    return LanePaths(
        lane=lane + 1,
        sharpe=[_known(value) for value in ratios],
        net_pnl=profits,
        sharpe_on_test=[_known(value) for value in on_test],
        walk_forward_sharpe=_known(own),
        low=_known(low),
        median=_known(median),
        high=_known(high),
        share_negative=float(np.mean(np.array(profits) < 0)),
        walk_forward_percentile=_percentile(own, np.array(on_test)),
        trials_chosen=len(set(chosen)),
        most_chosen=table.trial_ids[most],
        most_chosen_share=times / len(chosen),
    )


def _ratio(table: GroupTable, combination: Combination, steps: Sequence[_Step], annual: float) -> float:
    return float(moments_of_path(combination.cuts, table.sums, steps).sharpe) * annual


def _pieces_of(plan: WalkForwardPlan, combination: Combination, segments: Sequence[int]) -> list[int]:
    stretches = (segment_stretch(plan, segment) for segment in segments)
    return [piece for stretch in stretches for piece in combination.cuts.pieces(*stretch)]


def _overlap(first: tuple[int, int], second: tuple[int, int]) -> bool:
    return max(first[0], second[0]) < min(first[1], second[1])


def _percentile(own: float, paths: npt.NDArray[np.float64]) -> float | None:
    known = paths[np.isfinite(paths)]
    if math.isnan(own) or not known.size:
        return None
    # Equal but for the order of summation.
    equal = np.isclose(known, own, rtol=1e-9, atol=1e-12)
    return float(np.mean((known < own) & ~equal) + np.mean(equal) / 2)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
