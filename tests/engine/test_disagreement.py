"""Where screen and engine part is told by the first bar, with both views."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.backtest.results import TrialResult
from aiopt.bars.schema import BarSet
from aiopt.errors import BacktestError
from aiopt.evaluation.folds import WalkForwardConfig, plan_walk_forward
from aiopt.market.instrument import instrument
from aiopt.screen.session import ScreenSession
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.disagreement import first_difference
from aiopt.sweep.trial import TrialContext, TrialPoint
from aiopt.testing.bars import random_walk_bars

pytestmark = pytest.mark.slow

SPEC = FAMILIES["rsi_reversion"].spec


@pytest.fixture(scope="module")
def bars() -> BarSet:
    bid = random_walk_bars(1_500, seed=2, timeframe="5m")
    return add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)


def told(bars: BarSet, patch: pytest.MonkeyPatch, change: Callable[[TrialResult], TrialResult]) -> str:
    """Return what is said when the screen's results are changed before anybody sees them."""
    right = ScreenSession.run
    patch.setattr(
        ScreenSession, "run", lambda self, *given, **options: change(right(self, *given, **options))
    )
    walk = plan_walk_forward(WalkForwardConfig(train_segments=2, folds=2), bars.bid.ts_open_ns)
    context = TrialContext(
        backtest=BacktestConfig(), plan=walk, seed=1, data_hash=bars.data_hash, screen=True
    )
    point = TrialPoint(trial_id="a@5m-0", family="a", timeframe="5m", params={}, spec=SPEC)
    return first_difference(point, bars, context)


def moved(result: TrialResult, number: int, **changes: float) -> TrialResult:
    trades = list(result.trades)
    trades[number] = msgspec.structs.replace(trades[number], **changes)
    return dataclasses.replace(result, trades=trades)


def test_an_exit_that_differs(bars: BarSet, monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(bars, monkeypatch, lambda found: moved(found, 1, exit_price=9.0))
    assert text.startswith("They part on bar ")
    assert ", in trade 2. Engine: " in text
    assert "at 9.000000 (" in text.partition("Screen: ")[2]


def test_an_entry_that_differs_names_the_earlier_bar(bars: BarSet, monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(bars, monkeypatch, lambda found: moved(found, 0, entry_bar=3))
    assert text.startswith("They part on bar 3 (")


def test_a_trade_too_few(bars: BarSet, monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(bars, monkeypatch, lambda found: dataclasses.replace(found, trades=found.trades[:-1]))
    assert text.endswith("Screen: no such trade.")


def test_equity_alone(bars: BarSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: TrialResult) -> TrialResult:
        equity = found.equity.copy()
        equity[500] += 0.01
        return dataclasses.replace(found, equity=equity)

    assert told(bars, monkeypatch, change).startswith("They part on bar 499 (")


def test_nothing_differs_here(bars: BarSet, monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(bars, monkeypatch, lambda found: found)
    assert text.startswith("Run once more here, both agree")


def test_a_run_that_fails_is_said(bars: BarSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(found: TrialResult) -> TrialResult:
        raise BacktestError("no memory for it")

    text = told(bars, monkeypatch, fail)
    assert text.endswith("run once more, BacktestError: no memory for it")
