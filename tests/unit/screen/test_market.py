"""What the screen cannot treat exactly it refuses, with what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.errors import ConfigError, DataError
from aiopt.screen.failures import BeyondScreenError
from aiopt.screen.session import ScreenSession
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bar_set

BARS = random_walk_bar_set(300, seed=1)


def test_an_account_too_large_for_exact_sums() -> None:
    with pytest.raises(BeyondScreenError, match="at most 1,000,000,000, not 2,000,000,000"):
        ScreenSession(BARS, BacktestConfig(initial_balance=2e9))


def test_a_price_off_the_grid() -> None:
    bid = replace(BARS.bid, close=np.where(np.arange(300) == 7, 1.2345678, BARS.bid.close))
    with pytest.raises(BeyondScreenError, match=r"close of the bid bar 7 is 1\.2345678"):
        ScreenSession(replace(BARS, bid=bid), BacktestConfig())


def test_a_stop_slippage_half_way_between_two_steps() -> None:
    with pytest.raises(BeyondScreenError, match=r"stop slippage of 2\.5 price steps"):
        ScreenSession(BARS, BacktestConfig(stop_slippage_ticks=0.25))


def test_a_spec_that_reads_more_series_than_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiopt.screen.columns.MOST_ROWS", 2)
    with pytest.raises(BeyondScreenError, match=r"holds 2 series of 300 bars, but this strategy may read"):
        ScreenSession(BARS, BacktestConfig()).screen(FAMILIES["macd_adx_trend"].spec)


def test_what_the_engine_refuses_is_refused_with_the_same_words() -> None:
    one = replace(BARS, ask=BARS.bid, single_price=True)
    with pytest.raises(ConfigError, match="Research mode needs bid and ask bars"):
        ScreenSession(one, BacktestConfig())
    filled = replace(BARS, bid=replace(BARS.bid, interpolated=True))
    with pytest.raises(DataError, match="filled with prices from the future"):
        ScreenSession(filled, BacktestConfig())
