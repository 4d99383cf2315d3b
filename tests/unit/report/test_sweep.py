"""The overview of all trials."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from aiopt.evaluation.folds import HOUR_NS, WalkForwardConfig, WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking.trials import TrialRow
from aiopt.report.sweep import expected_best, rank_correlation, sharpe_rows, sweep_overview, trial_arrays
from aiopt.runs import RunFileError

PLAN = WalkForwardPlan(
    config=WalkForwardConfig(train_segments=1, folds=2, holdout_segments=1),
    boundaries_ns=tuple(24 * HOUR_NS * day for day in (0, 1, 2, 3, 4)),
)


def row(name: str, pnl: list[float] | None, group: str = "rsi@5m") -> TrialRow:
    family, timeframe = group.split("@")
    common = {
        "trial_id": name,
        "group": group,
        "family": family,
        "timeframe": timeframe,
        "params_json": json.dumps({"length": len(name)}),
        "spec_json": "{}",
        "spec_hash": "",
        "config_hash": "",
        "data_hash": "",
        "seed": 1,
    }
    if pnl is None:
        return TrialRow(**common, status="failed", error="BacktestError: no")
    return TrialRow(**common, status="ok", pnl=pnl)


@pytest.fixture
def rows() -> list[TrialRow]:
    random = np.random.default_rng(2)
    made = [row(f"t{index}", random.normal(index - 2, 3.0, 72).tolist()) for index in range(6)]
    return [*made, row("failed", None), row("other", random.normal(0, 1, 72).tolist(), "macd@1m")]


def test_sharpe_of_rows_is_that_of_evaluation(rows):
    trials = trial_arrays(rows, PLAN.development_periods)
    ratios = sharpe_rows(trials.pnl, PLAN.periods_per_year)
    for one, ratio in zip(rows, ratios, strict=True):
        if one.ok:
            assert ratio == pytest.approx(sharpe_ratio(one.pnl, periods_per_year=PLAN.periods_per_year))
        else:
            assert math.isnan(ratio)


def test_rows_without_variance_have_no_sharpe():
    assert np.isnan(sharpe_rows(np.ones((2, 5)), 1.0)).all()
    assert np.isnan(sharpe_rows(np.ones((2, 1)), 1.0)).all()


def test_overview_counts_every_trial_once(rows):
    sweep = sweep_overview(
        trial_arrays(rows, PLAN.development_periods), plan=PLAN, pbo={"rsi@5m": 0.4}, ranks={"t5": 1}
    )
    assert (sweep.trials, sweep.failed) == (8, 1)
    assert [(group.name, group.trials, group.failed, group.pbo) for group in sweep.groups] == [
        ("macd@1m", 1, 0, None),
        ("rsi@5m", 7, 1, 0.4),
    ]
    assert [(failure.trial_id, failure.reason) for failure in sweep.failures] == [
        ("failed", "BacktestError: no")
    ]
    assert len(sweep.points) == len(sweep.sharpe) == 7
    assert {point.trial_id: point.rank for point in sweep.points if point.rank} == {"t5": 1}
    assert sweep.best_sharpe == max(sweep.sharpe)


def test_in_and_out_of_sample_are_the_train_and_test_windows(rows):
    sweep = sweep_overview(trial_arrays(rows, PLAN.development_periods), plan=PLAN, pbo={}, ranks={})
    point = next(point for point in sweep.points if point.trial_id == "t3")
    pnl = rows[3].pnl
    year = PLAN.periods_per_year
    inside = [sharpe_ratio(pnl[a:b], periods_per_year=year) for a, b in ((0, 24), (24, 48))]
    outside = [sharpe_ratio(pnl[a:b], periods_per_year=year) for a, b in ((24, 48), (48, 72))]
    assert point.in_sample == pytest.approx(np.mean(inside))
    assert point.out_of_sample == pytest.approx(np.mean(outside))


def test_expected_best_grows_with_the_number_of_trials():
    ratios = np.array([-1.0, 0.0, 1.0, 2.0])
    few, many = expected_best(ratios, 10, 8766.0), expected_best(ratios, 1000, 8766.0)
    assert 0 < few < many
    assert expected_best(ratios[:1], 10, 8766.0) is None


def test_rank_correlation_needs_three_pairs_that_vary():
    ascending = np.array([1.0, 2.0, 3.0, math.nan])
    assert rank_correlation(ascending, np.array([10.0, 20.0, 90.0, 1.0])) == pytest.approx(1.0)
    assert rank_correlation(ascending, np.ones(4)) is None
    assert rank_correlation(ascending[:2], ascending[:2]) is None


def test_a_trial_on_another_grid_is_refused(rows):
    with pytest.raises(RunFileError, match=r"t0 has 72\. Repeat the run"):
        trial_arrays(rows, 71)


def test_parameters_that_are_not_json_are_refused():
    broken = TrialRow(
        **{**{name: getattr(row("x", None), name) for name in TrialRow.__struct_fields__}, "params_json": "{"}
    )
    with pytest.raises(RunFileError, match="those of x are not"):
        trial_arrays([broken], 3)
