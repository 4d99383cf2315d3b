"""Sessions that share indicators; that they trade as the engine does, tests/engine/test_screen.py holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.errors import ConfigError
from aiopt.screen.session import ScreenSession
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bar_set


def test_a_session_like_another_gives_its_own_results() -> None:
    bars = random_walk_bar_set(2000, seed=3)
    first = ScreenSession(bars, BacktestConfig())
    wider = replace(bars, ask=replace(bars.ask, high=bars.ask.high + 1e-4, close=bars.ask.close + 1e-4))
    dearer = BacktestConfig(commission_per_million=70.0, slippage_ticks=2)
    for space in FAMILIES.values():
        first.screen(space.spec)
        shared = ScreenSession(wider, dearer, like=first).screen(space.spec)
        alone = ScreenSession(wider, dearer).screen(space.spec)
        assert len(shared.trades) > 0
        np.testing.assert_array_equal(shared.trades, alone.trades)
        np.testing.assert_array_equal(shared.floats, alone.floats)


def test_a_session_is_not_like_one_over_other_bids() -> None:
    bars, other = random_walk_bar_set(500, seed=3), random_walk_bar_set(500, seed=4)
    with pytest.raises(ConfigError, match=r"only over the very same bids.*Leave `like` out"):
        ScreenSession(other, BacktestConfig(), like=ScreenSession(bars, BacktestConfig()))
