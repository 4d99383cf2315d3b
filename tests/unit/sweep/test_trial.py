"""From a backtest's result to a row: every trade in one segment, every profit in one period."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.money import to_amount
from aiopt.backtest.results import TrialResult, compute_metrics, equity_curve
from aiopt.errors import BacktestError, ConfigError
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan
from aiopt.optimize.configuration import OptimizeConfig, load_strategies
from aiopt.ranking.trials import check_row
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.points import plan_points
from aiopt.sweep.sweep_config import TrialLimits
from aiopt.sweep.trial import TrialContext, TrialPoint, result_row, run_trial
from aiopt.trades import Trade
from aiopt.utc import HOUR_NS

START = 470_000 * HOUR_NS
HALF = HOUR_NS // 2
SPEC = FAMILIES["rsi_reversion"].spec
POINT = TrialPoint(trial_id="f@30m-00000", family="f", timeframe="30m", params={"rsi_length": 14}, spec=SPEC)
PLAN = WalkForwardPlan(
    config=WalkForwardConfig(train_segments=1, folds=1, holdout_segments=1),
    boundaries_ns=(START, START + 2 * HOUR_NS, START + 4 * HOUR_NS, START + 6 * HOUR_NS),
)
CONTEXT = TrialContext(backtest=BacktestConfig(), plan=PLAN, seed=1, data_hash="d")
TIMES = START + np.arange(12, dtype=np.int64) * HALF
CLOSES = 1.1 + np.arange(12) * 0.0001


def trade(entry: int, exit_: int, pnl: float) -> Trade:
    return Trade(
        entry_bar=entry,
        exit_bar=exit_,
        entry_ts_ns=int(TIMES[entry]),
        exit_ts_ns=int(TIMES[exit_]),
        side="long",
        entry_price=float(CLOSES[entry]),
        exit_price=float(CLOSES[exit_]),
        size=1000.0,
        exit_reason="exit_signal",
        pnl=pnl,
        commission=0.5,
    )


def result(trades: list[Trade]) -> TrialResult:
    booked = [(trade.entry_bar, to_amount(-0.25)) for trade in trades]
    booked += [(trade.exit_bar, to_amount(trade.pnl + 0.25)) for trade in trades]
    equity = equity_curve(
        trades,
        [],
        initial_balance=100_000.0,
        bookings=booked,
        bid_close=CLOSES,
        ask_close=CLOSES,
    )
    return TrialResult(
        spec_hash=SPEC.spec_hash,
        config_hash="c",
        data_hash="d",
        seed=0,
        trades=trades,
        open_trade=None,
        equity=equity,
        metrics=compute_metrics(trades, equity, TIMES),
    )


def test_figures_fall_into_their_segments() -> None:
    trades = [trade(0, 1, 3.0), trade(2, 3, -2.0), trade(4, 7, 5.0), trade(8, 9, -1.0), trade(10, 11, 4.0)]
    trades[0] = msgspec.structs.replace(trades[0], nights=3)
    trades[2] = msgspec.structs.replace(trades[2], nights=1)
    row = result_row(result(trades), TIMES, POINT, CONTEXT)
    check_row(row, PLAN)
    assert (row.segment_trades, row.holdout_trades) == ([2, 1], [2])
    assert (row.segment_wins, row.holdout_wins) == ([1, 1], [1])
    assert (row.segment_nights, row.holdout_nights) == ([3, 1], [0])
    assert (row.segment_gross_profit, row.holdout_gross_profit) == ([3.0, 5.0], [4.0])
    assert (row.segment_gross_loss, row.holdout_gross_loss) == ([2.0, 0.0], [1.0])
    assert (row.segment_commission, row.holdout_commission) == ([1.0, 0.5], [1.0])
    assert row.segment_units == [2000.0, 1000.0]


def test_profit_of_the_periods_is_the_profit_of_the_trades() -> None:
    trades = [trade(0, 1, 3.0), trade(2, 3, -2.0), trade(4, 7, 5.0), trade(8, 11, 7.5)]
    row = result_row(result(trades), TIMES, POINT, CONTEXT)
    assert sum(row.pnl) == pytest.approx(6.0)
    assert row.pnl[:2] == [3.0, -2.0]
    assert sum(row.holdout_pnl) == pytest.approx(7.5)


def test_margin_and_ruin_are_counted_where_they_happened() -> None:
    found = dataclasses.replace(
        result([trade(0, 1, 3.0)]), refused_bars=(0, 3, 4), capped_bars=(5, 8, 9), ruined_bars=(7, 11)
    )
    row = result_row(found, TIMES, POINT, CONTEXT)
    check_row(row, PLAN)
    assert (row.segment_refused, row.holdout_refused) == ([2, 1], [0])
    assert (row.segment_capped, row.holdout_capped) == ([0, 1], [2])
    assert (row.segment_ruined, row.holdout_ruined) == ([0, 1], [1])


def test_no_trades_is_a_result() -> None:
    row = result_row(result([]), TIMES, POINT, CONTEXT)
    check_row(row, PLAN)
    assert row.ok
    assert row.segment_trades == [0, 0]
    assert row.pnl == [0.0] * 4


class _Failing:
    """A session whose run fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, spec: object, *, segments: Segments) -> NoReturn:
        raise self._error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BacktestError("no margin"), "BacktestError: no margin"),
        (ZeroDivisionError("defect"), "unexpected ZeroDivisionError: defect"),
    ],
)
def test_a_failure_is_a_row_with_its_reason(error: Exception, reason: str) -> None:
    row = run_trial(_Failing(error), POINT, CONTEXT)  # type: ignore[arg-type]
    check_row(row, PLAN)
    assert (row.status, row.error) == ("failed", reason)


def test_points_are_distinct_and_depend_on_the_configuration_alone() -> None:
    config = OptimizeConfig(trials=5, timeframes=("1m", "5m"))
    points = plan_points(load_strategies(config), config)
    assert len(points) == 5 * 2 * len(FAMILIES)
    assert len({point.trial_id for point in points}) == len(points)
    assert points == plan_points(load_strategies(config), config)
    first = {point.family for point in points[: len(FAMILIES)]}
    assert first == set(FAMILIES), "the groups take turns"
    more = plan_points(load_strategies(config), OptimizeConfig(trials=7, timeframes=("1m", "5m")))
    assert {p.trial_id: p.params for p in points}.items() <= {p.trial_id: p.params for p in more}.items()


def test_context_travels_between_processes() -> None:
    import pickle

    assert pickle.loads(pickle.dumps(CONTEXT)) == CONTEXT
    assert dataclasses.replace(CONTEXT, seed=2).segments.boundaries_ns == PLAN.boundaries_ns


@pytest.mark.parametrize(
    ("limits", "seconds", "memory", "reason"),
    [
        (TrialLimits(), 599.0, 2**40, ""),
        (TrialLimits(seconds=2.5), 2.6, 0, r"it ran longer than 2.5 s (`limits.seconds`)"),
        (TrialLimits(memory_gib=1.0), 1.0, 2**30, ""),
        (TrialLimits(memory_gib=1.0), 1.0, 2**30 + 1, "its worker needed more than 1.00 GiB of memory"),
    ],
)
def test_limits_say_what_was_exceeded(limits: TrialLimits, seconds: float, memory: int, reason: str) -> None:
    found = limits.excess(seconds, memory)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("wrong", [{"seconds": 0.0}, {"seconds": 1e6}, {"memory_gib": 0.0}])
def test_limits_that_allow_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must hold, but got"):
        TrialLimits(**wrong)
