"""Samplers that learn against Sobol at equal trials: the best in-sample, and what that did out of sample.

Every sampler gets the same number of points for every train window of a walk-forward: four folds and the
refit.  Sobol's are the same points on each window, a sampler that learns searches each window anew, told
figures of that window alone.  Per family two means are given: of the best in-sample Sharpe ratio over the
five windows, and of the Sharpe ratio that these points had on the test segment that follows, over the four
folds.  The first says how well a sampler searches; only the second could be earned, luck not yet allowed for.

The bars are a generated walk without an edge, or a folder of bars named by `AIOPT_BENCH_SEARCH_BARS`.
`AIOPT_BENCH_SEARCH_TRIALS` sets the points per window.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aiopt.backtest.pricing import add_spread
from aiopt.bars.files import load_bar_set
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.market.instrument import instrument
from aiopt.ranking.groups import Group, make_groups
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.measures import measure_group
from aiopt.ranking.selection import best_first, in_sample_scores
from aiopt.search.settings import LEARNING
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.local import SweepOutcome, run_sweep_locally
from aiopt.sweep.planning import plan_sweep
from aiopt.sweep.points import Strategy, judged_by, plan_context
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialPoint
from aiopt.testing.bars import random_walk_bars
from benchmarks._harness import Figure

TRIALS = int(os.environ.get("AIOPT_BENCH_SEARCH_TRIALS", "96"))
SAMPLERS = ("sobol", *LEARNING)
BARS = 26_000
SEED = 11


def run() -> list[Figure]:
    """Measure and return the figures."""
    bars = _bars()
    figures = [
        Figure(name="bars", value=len(bars), unit="bars"),
        Figure(name="trials_per_window", value=TRIALS, unit="trials"),
    ]
    for sampler in SAMPLERS:
        figures += _figures(sampler, bars)
    return figures


def _bars() -> BarSet:
    given = os.environ.get("AIOPT_BENCH_SEARCH_BARS")
    if given:
        return load_bar_set(Path(given))
    bid = random_walk_bars(BARS, timeframe="5m", seed=SEED)
    return add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)


def _figures(sampler: str, bars: BarSet) -> list[Figure]:
    label = bars.timeframe.label
    config = SweepConfig(timeframes=(label,), trials=TRIALS, sampler=sampler, seed=SEED)
    sets = {label: bars}
    context = plan_context(sets, config)
    board = Leaderboard(None, judged_by(sets, config), context.plan)
    planned = plan_sweep([Strategy(space.spec, space) for space in FAMILIES.values()], config, context.plan)
    screening = [0.0]

    def screen(points: Sequence[TrialPoint]) -> SweepOutcome:
        started = time.process_time()
        outcome = run_sweep_locally(points, sets, context, board)
        screening.append(time.process_time() - started)
        return outcome

    started = time.process_time()
    points, _ = planned.run(board, screen, keep=lambda found: None)
    proposing = time.process_time() - started - sum(screening)
    figures = []
    inside, outside = [], []
    for group in make_groups(board.rows()):
        best, tested = _best(group, context.plan, config.ranking.min_train_trades)
        inside.append(best)
        outside.append(tested)
        name = f"{group.family}_{sampler}"
        figures.append(Figure(name=f"{name}_best_in_sample", value=best, unit="Sharpe"))
        figures.append(Figure(name=f"{name}_out_of_sample", value=tested, unit="Sharpe"))
    return [
        *figures,
        Figure(name=f"mean_{sampler}_best_in_sample", value=float(np.mean(inside)), unit="Sharpe"),
        Figure(name=f"mean_{sampler}_out_of_sample", value=float(np.mean(outside)), unit="Sharpe"),
        Figure(name=f"{sampler}_proposing", value=1e3 * proposing / len(points), unit="ms/trial"),
    ]


def _best(group: Group, plan: WalkForwardPlan, min_trades: int) -> tuple[float, float]:
    """Return the mean of the best in-sample ratio over all windows, and of what the choices did next."""
    inside, outside, own = [], [], measure_group(group, plan)
    for number, train in enumerate([*(fold.train for fold in plan.folds), plan.refit]):
        scores = in_sample_scores(own, plan, train, min_trades=min_trades)
        scores[~group.may_choose(number)] = np.nan
        best = best_first(scores)[0]
        inside.append(float(scores[best]))
        if number < len(plan.folds):
            tested = in_sample_scores(own, plan, plan.folds[number].test, min_trades=1)
            # No trade in the segment earned nothing.
            outside.append(float(np.nan_to_num(tested[best])))
    return float(np.mean(inside)), float(np.mean(outside))
