"""The overview of all trials."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest

from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking.trials import TrialRow
from aiopt.report.sweep import sharpe_rows, sweep_overview, trial_arrays
from aiopt.runs import RunFileError
from aiopt.utc import HOUR_NS

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
    trials = trial_arrays(rows, PLAN)
    for one, ratio in zip(rows, trials.inside, strict=True):
        if one.ok:
            assert ratio == pytest.approx(sharpe_ratio(one.pnl, periods_per_year=PLAN.periods_per_year))
        else:
            assert math.isnan(ratio)


def test_rows_without_variance_have_no_sharpe():
    assert np.isnan(sharpe_rows(np.ones((2, 5)), 1.0)).all()
    assert np.isnan(sharpe_rows(np.ones((2, 1)), 1.0)).all()


def test_overview_counts_every_trial_once(rows):
    sweep = sweep_overview(trial_arrays(rows, PLAN), plan=PLAN, statistics=None)
    assert (sweep.trials, sweep.failed) == (8, 1)
    assert [(group.name, group.trials, group.failed) for group in sweep.groups] == [
        ("macd@1m", 1, 0),
        ("rsi@5m", 7, 1),
    ]
    assert [(failure.trial_id, failure.reason) for failure in sweep.failures] == [
        ("failed", "BacktestError: no")
    ]
    assert len(sweep.sharpe) == 7
    assert len(sweep.points) == sweep.points_total == 7 * 2
    assert sweep.best_sharpe == max(sweep.sharpe)
    assert sweep.expected_maximum_sharpe is None


def test_a_point_is_one_fold_train_window_against_its_test_segment(rows):
    sweep = sweep_overview(trial_arrays(rows, PLAN), plan=PLAN, statistics=None)
    found = {(point.trial_id, point.fold): point for point in sweep.points}
    pnl, year = rows[3].pnl, PLAN.periods_per_year
    for fold, edge in ((1, 24), (2, 48)):
        point = found["t3", fold]
        assert point.in_sample == pytest.approx(sharpe_ratio(pnl[edge - 24 : edge], periods_per_year=year))
        assert point.out_of_sample == pytest.approx(
            sharpe_ratio(pnl[edge : edge + 24], periods_per_year=year)
        )


def test_out_of_sample_is_all_test_segments_together(rows):
    sweep = sweep_overview(trial_arrays(rows, PLAN), plan=PLAN, statistics=None)
    wanted = [sharpe_ratio(row.pnl[24:], periods_per_year=PLAN.periods_per_year) for row in rows if row.ok]
    assert sweep.sharpe == pytest.approx(wanted)


def test_points_beyond_the_most_are_thinned_evenly(rows, monkeypatch):
    monkeypatch.setattr("aiopt.report.sweep.MOST_POINTS", 5)
    sweep = sweep_overview(trial_arrays(rows, PLAN), plan=PLAN, statistics=None)
    assert sweep.points_total == 14
    assert len(sweep.points) == 5


def test_a_trial_on_another_grid_is_refused(rows):
    with pytest.raises(RunFileError, match=r"t0 has 72 periods.*Repeat the run"):
        trial_arrays(
            rows,
            msgspec.structs.replace(
                PLAN, boundaries_ns=(*PLAN.boundaries_ns[:3], 71 * HOUR_NS, PLAN.stop_ns)
            ),
        )


def test_parameters_that_are_not_json_are_refused():
    broken = TrialRow(
        **{**{name: getattr(row("x", None), name) for name in TrialRow.__struct_fields__}, "params_json": "{"}
    )
    with pytest.raises(RunFileError, match="parameters of trial x are not JSON"):
        trial_arrays([broken], PLAN)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_figures_do_not_depend_on_how_many_rows_are_read_at_a_time(rows, at_once, monkeypatch):
    whole = trial_arrays(rows, PLAN)
    monkeypatch.setattr("aiopt.report.sweep._ROWS_AT_ONCE", at_once)
    told: list[int] = []
    parts = trial_arrays(iter(rows), PLAN, progress=told.append)
    assert told[-1] == len(rows)
    assert (parts.rows, parts.params) == (whole.rows, whole.params)
    for name in ("inside", "outside", "before", "after", "net", "drawdown", "units"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), nan_ok=True, rel=1e-12), name
    refit = np.array(rows[2].pnl)[PLAN.periods_of(PLAN.refit)]
    assert parts.net[2] == pytest.approx(refit.sum())
    path = np.concatenate([[0.0], refit.cumsum()])
    assert parts.drawdown[2] == pytest.approx((np.maximum.accumulate(path) - path).max())
