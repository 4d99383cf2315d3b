from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardConfig, plan_walk_forward
from aiopt.optimize.configuration import OptimizeConfig, load_strategies
from aiopt.optimize.warm_start import WarmStart, read_warm_start
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.search.settings import SearchConfig
from aiopt.testing.run_folder import RunModel, write_run_folder

DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "earlier"
    return write_run_folder(
        folder, RunModel(families=("rsi_reversion",), timeframes=("5m",), trials=14, days=21)
    )


def config(earlier: Path, *strategies: str) -> OptimizeConfig:
    return OptimizeConfig(
        timeframes=("5m",),
        strategies=strategies,
        sampler="tpe",
        search=SearchConfig(population=6, warm_start=str(earlier)),
        ranking=RankingConfig(min_train_trades=1),
    )


def test_the_best_points_of_each_group_are_taken_half_a_generation_at_most(earlier: Path) -> None:
    wanted = config(earlier, "rsi_reversion", "ema_cross_atr")
    strategies = load_strategies(wanted)
    found = read_warm_start(wanted, strategies)
    assert found.name == earlier.name
    assert list(found.points) == ["rsi_reversion@5m"]
    (points,) = found.points.values()
    space = strategies[0].space
    assert space is not None
    assert 0 < len(points) <= 3
    assert all(space.holds(point) for point in points)
    assert found.content == read_warm_start(wanted, strategies).content


def test_a_run_without_a_point_of_the_space_is_refused(earlier: Path) -> None:
    wanted = config(earlier, "ema_cross_atr")
    with pytest.raises(ConfigError, match="no trial that a search of this run could begin with: none of"):
        read_warm_start(wanted, load_strategies(wanted))


def test_points_that_have_seen_the_tests_are_refused() -> None:
    hours = np.arange(0, 10 * DAY_NS, DAY_NS // 24)
    plan = plan_walk_forward(WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1), hours)
    first = plan.boundaries_ns[min(plan.test)]
    WarmStart("before", first, {}).check_unseen(plan)
    with pytest.raises(ConfigError, match="the data of later must end before the first test segment"):
        WarmStart("later", first + 1, {}).check_unseen(plan)
