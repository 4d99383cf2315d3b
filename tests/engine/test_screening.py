"""A screened trial's row is the engine's, byte for byte."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.swap import SwapConfig, SwapPoints
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import SearchSpace
from aiopt.sweep.points import Strategy, plan_context, plan_points
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import run_trial
from aiopt.testing.bars import random_walk_bar_set

SWAP = SwapConfig(points={"EURUSD": SwapPoints(long=-0.9, short=0.3)})


def adding(space: SearchSpace, entries: int) -> Strategy:
    """Return a family that holds several entries at once."""
    spec = msgspec.structs.replace(space.spec, name=f"{space.spec.name}_adds", pyramiding=entries)
    return Strategy(spec, msgspec.structs.replace(space, spec=spec))


@pytest.mark.parametrize(
    "backtest",
    [BacktestConfig(), BacktestConfig(initial_balance=300.0, leverage=50.0, swap=SWAP, slippage_ticks=1)],
    ids=["usual", "poor"],
)
def test_rows_of_a_sweep(backtest: BacktestConfig) -> None:
    bars = {"1h": random_walk_bar_set(4000, seed=5, timeframe="1h")}
    config = SweepConfig(timeframes=("1h",), trials=4, backtest=backtest)
    context = plan_context(bars, config)
    strategies = [Strategy(space.spec, space) for space in FAMILIES.values()]
    strategies += [adding(FAMILIES["rsi_reversion"], 4), adding(FAMILIES["ema_cross_atr"], 2)]
    points = plan_points(strategies, config)
    screen = TrialScreen(bars["1h"], backtest)
    with BacktestSession(bars["1h"], backtest) as session:
        for point in points:
            judged, screened = run_trial(session, point, context), screen.row(point, context)
            assert sum(judged.segment_trades) > 0
            assert msgspec.json.encode(screened) == msgspec.json.encode(judged), point.trial_id
