"""The walk-forward matrix: other lengths of train window and test, over the same rows.

Owns which walk-forwards fit a plan's segments and what each earns.  A cell never trains on its test; it keeps
the plan's purge and embargo.  Knows no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from aiopt.evaluation.deflated import cautious_sharpe_probability, expected_maximum_sharpe
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.moments import moments_of_path
from aiopt.paths.combined import best_trials, eligible_scores
from aiopt.paths.paths_file import Cell
from aiopt.paths.settings import Combination
from aiopt.paths.tables import GroupTable

TRAIN_LENGTHS = range(1, 13)
"""Train windows tried, in segments, as far as the plan has them."""

TEST_LENGTHS = (1, 2)
"""Tests tried, in segments."""


@dataclass(frozen=True)
class Shape:
    """A walk-forward that fits the plan.

    Attributes
    ----------
    train, test : int
        Lengths in blocks.
    anchored : bool
        Whether every train window starts with the first block.
    steps : tuple of ((int, int), (int, int))
        Blocks trained on and tested, half-open.
    """

    train: int
    test: int
    anchored: bool
    steps: tuple[tuple[tuple[int, int], tuple[int, int]], ...]


def shapes_of(blocks: int, gap: int) -> Iterator[Shape]:
    """Yield the walk-forwards over some development blocks, `gap` blocks left out before every test."""
    for train in TRAIN_LENGTHS:
        if train + gap >= blocks:
            return
        for test in TEST_LENGTHS:
            starts = range(train + gap, blocks, test)
            for anchored in (False, True):
                steps = tuple(
                    ((0 if anchored else at - gap - train, at - gap), (at, min(at + test, blocks)))
                    for at in starts
                )
                # Of a single step both are the same.
                if anchored and len(steps) == 1:
                    continue
                yield Shape(train, test, anchored, steps)


def matrix_cells(
    table: GroupTable,
    plan: WalkForwardPlan,
    combination: Combination,
    *,
    min_trades: int,
    trials_counted: int,
) -> list[Cell]:
    """Return the cells in which every window has an eligible trial.

    Parameters
    ----------
    table : GroupTable
        Trials that compete.
    plan : WalkForwardPlan
        Of the run.
    combination : Combination
        Gives the pieces.
    min_trades : int
        Trades a trial needs in a train window.
    trials_counted : int
        All trials made on the data.
    """
    config = plan.config
    blocks = config.blocks - config.holdout_segments
    found = []
    for shape in shapes_of(blocks, config.purge_segments):
        steps, trades = [], 0
        for (first, stop), test in shape.steps:
            pieces, segments = combination.window(first, stop, purged=True)
            best = best_trials(eligible_scores(table, combination, pieces, segments, min_trades), 1)
            if not best:
                break
            tested, counted = combination.window(*test, purged=False)
            steps.append((best[0], tested))
            trades += int(table.trades[best[0], list(counted)].sum())
        else:
            found.append(_cell(shape, steps, trades, table, plan, combination, trials_counted))
    return found


# reason: one private call of the loop above; a record of its arguments would only rename them
def _cell(
    shape: Shape,
    steps: list[tuple[int, tuple[int, ...]]],
    trades: int,
    table: GroupTable,
    plan: WalkForwardPlan,
    combination: Combination,
    trials_counted: int,
) -> Cell:
    path = moments_of_path(combination.cuts, table.sums, steps)
    sharpe, (skewness, kurtosis) = float(path.sharpe), path.shape
    deflated = single = math.nan
    if math.isfinite(sharpe):
        luck = expected_maximum_sharpe(1 / (path.n - 1), max(1, trials_counted))
        deflated, single = (
            cautious_sharpe_probability(
                sharpe, n_periods=path.n, skewness=skewness, kurtosis=kurtosis, benchmark=benchmark
            )
            for benchmark in (luck, 0.0)
        )
    annual = sharpe * math.sqrt(plan.periods_per_year)
    return Cell(
        train=shape.train,
        test=shape.test,
        anchored=shape.anchored,
        folds=len(shape.steps),
        sharpe=annual if math.isfinite(annual) else None,
        net_pnl=float(path.sums[0]),
        trades=trades,
        deflated_sharpe=deflated if math.isfinite(deflated) else None,
        p_value=1 - single if math.isfinite(single) else None,
    )
