"""A ranked sweep over generated bars, made once, by the screen alone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import TrialRow
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.points import Strategy, judged_by, plan_context, plan_points
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialContext
from aiopt.testing.bars import random_walk_bar_set

SPACES = {name: FAMILIES[name] for name in ("rsi_reversion", "stochastic_sma")}
SETTINGS = RobustnessConfig(draws=4, neighbours=6)


@dataclass(frozen=True)
class Ranked:
    """A ranking and what it was made from."""

    ranking: Ranking
    bars: dict[str, BarSet]
    context: TrialContext
    rows: list[TrialRow]


@pytest.fixture(scope="session")
def ranked() -> Ranked:
    bars = {"15m": random_walk_bar_set(6000, seed=3, timeframe="15m")}
    config = SweepConfig(
        timeframes=("15m",),
        trials=12,
        walk_forward=WalkForwardConfig(train_segments=2, folds=3),
        ranking=RankingConfig(top=2, min_train_trades=3, min_oos_trades=10),
    )
    context = plan_context(bars, config)
    screen = TrialScreen(bars["15m"], config.backtest)
    points = plan_points([Strategy(space.spec, space) for space in SPACES.values()], config)
    rows = [screen.row(point, context) for point in points]
    ranking = rank_trials(rows, context.plan, judged_by(bars, config))
    assert len(ranking.entries) == 2
    return Ranked(ranking, bars, context, rows)
