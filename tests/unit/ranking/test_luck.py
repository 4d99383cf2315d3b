"""The test of all candidates against luck inside a ranking: what takes part, and what the verdict asks."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan
from aiopt.ranking.earlier import Earlier, EarlierTrials
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.ranking.ranking_file import NO_EVIDENCE, SURVIVES
from aiopt.ranking.verdict import luck_line
from aiopt.testing.sweeps import PLAN, failed, noise_sweep, trial
from aiopt.utc import HOUR_NS

PIP = StressConfig(pip_size=1e-4)
FAST = RankingConfig(stress=PIP, bootstrap_resamples=100)
SWEEP = [*noise_sweep(1), failed(99)]


def test_a_modest_edge_passes_by_comparison_and_not_if_every_trial_counts() -> None:
    rng = np.random.default_rng(11)
    n = PLAN.development_periods + PLAN.holdout_periods
    edge = trial(50, rng.normal(0.25, 1, n), group="beta@5m")
    failures = [failed(1000 + i, group="beta@5m") for i in range(20_000)]
    rows = [*noise_sweep(2, trials=4), edge, *failures]
    strict = msgspec.structs.replace(FAST, evidence="deflated")
    compared, counted = (rank_trials(rows, PLAN, config).entries[0] for config in (FAST, strict))
    assert compared.trial_id == counted.trial_id == edge.trial_id
    assert compared.verdict == SURVIVES
    assert counted.verdict == "weak"
    assert [check.name for check in counted.checks if not check.passed] == ["beyond luck"]
    assert compared.evidence == counted.evidence
    assert {check.name: check.value for check in counted.checks}["beyond luck"] == (
        counted.evidence.deflated_sharpe
    )


def test_every_lane_is_compared_and_has_its_p_value() -> None:
    rows = [
        msgspec.structs.replace(row, segment_trades=[20, 20, 20, 7, 7, 7, 7])
        if row.family == "alpha"
        else row
        for row in SWEEP
    ]
    ranking = rank_trials(rows, PLAN, FAST)
    luck = ranking.statistics.luck
    assert luck is not None
    assert (luck.candidates, luck.thin, luck.flat, luck.tests) == (10, 5, 0, 1)
    assert (luck.unit, luck.units, luck.resamples, luck.seed) == ("2h", 120, 100, 0)
    assert luck.critical_t is not None
    assert luck.needed_sharpe == pytest.approx(luck.critical_t / math.sqrt(240 / PLAN.periods_per_year))
    known = {f"{e.group}#{e.lane}": e.evidence.p_value_family_wise for e in ranking.entries}
    known |= {r.name: r.p_value_family_wise for r in ranking.rejected}
    assert {name for name, value in known.items() if value is None} == {
        "alpha@5m",
        *(f"alpha@1m#{i}" for i in range(1, 6)),
    }
    assert len(known) == 11
    best = min(value for value in known.values() if value is not None)
    # One test for all is no kinder than the best of the tests for each.
    assert luck.reality_check_p_value is not None
    assert abs(luck.reality_check_p_value - best) < 0.3


def test_what_was_compared_does_not_depend_on_thresholds_out_of_sample() -> None:
    loose = RankingConfig(
        stress=PIP, bootstrap_resamples=100, top=20, max_correlation=1.0, min_param_distance=0.0
    )
    one, other = rank_trials(SWEEP, PLAN, FAST), rank_trials(SWEEP, PLAN, loose)
    assert one.statistics.luck == other.statistics.luck
    values = {(e.group, e.lane): e.evidence.p_value_family_wise for e in other.entries}
    for entry in one.entries:
        assert values[entry.group, entry.lane] == entry.evidence.p_value_family_wise


def test_earlier_runs_on_the_data_are_tests_too() -> None:
    rng = np.random.default_rng(11)
    n = PLAN.development_periods + PLAN.holdout_periods
    rows = [*noise_sweep(2), trial(50, rng.normal(0.3, 1, n), group="beta@5m")]
    earlier = Earlier(trials=EarlierTrials(trials=40, runs=3, sweeps=1, backtests=0))
    alone, fifth = rank_trials(rows, PLAN, FAST), rank_trials(rows, PLAN, FAST, earlier)
    before, after = (r.entries[0].evidence.p_value_family_wise for r in (alone, fifth))
    assert fifth.statistics.luck is not None
    assert alone.statistics.luck is not None
    assert (fifth.statistics.luck.tests, fifth.statistics.luck.resamples) == (5, 160)
    assert before is not None
    assert after is not None
    assert after > before
    assert fifth.statistics.luck.critical_t > alone.statistics.luck.critical_t  # type: ignore[operator]


def test_an_earlier_backtest_is_a_test_of_one_path() -> None:
    rng = np.random.default_rng(11)
    n = PLAN.development_periods + PLAN.holdout_periods
    rows = [*noise_sweep(2), trial(50, rng.normal(0.1, 1, n), group="beta@5m")]
    runs, backtests = (
        Earlier(trials=EarlierTrials(trials=4, runs=count, sweeps=0, backtests=4 - count)) for count in (4, 0)
    )
    after_runs, after_backtests = (rank_trials(rows, PLAN, FAST, earlier) for earlier in (runs, backtests))
    luck = after_backtests.statistics.luck
    assert luck is not None
    assert (luck.tests, luck.backtests, luck.resamples) == (1, 4, 160)
    many, few = (r.entries[0].evidence.p_value_family_wise for r in (after_runs, after_backtests))
    assert many is not None
    assert few is not None
    assert few < many


def test_without_an_answer_nothing_is_beyond_luck() -> None:
    plan = WalkForwardPlan(
        config=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=0),
        boundaries_ns=tuple(i * 9 * HOUR_NS for i in range(5)),
    )
    rng = np.random.default_rng(0)
    row = trial(1, rng.normal(5, 1, 36), group="alpha@1m", plan=plan)
    ranking = rank_trials([row], plan, FAST)
    entry = ranking.entries[0]
    assert entry.evidence.p_value_family_wise is None
    assert {check.name: check.passed for check in entry.checks}["beyond luck"] is False
    assert entry.verdict == NO_EVIDENCE
    assert ranking.statistics.luck is not None
    assert "in 18 periods only, and 20 are needed" in ranking.statistics.luck.note


def test_the_line_names_the_best_p_value_or_why_there_is_none() -> None:
    ranking = rank_trials(SWEEP, PLAN, FAST)
    values = [entry.evidence.p_value_family_wise for entry in ranking.entries]
    values += [rejection.p_value_family_wise for rejection in ranking.rejected]
    best = min(value for value in values if value is not None)
    line = luck_line(ranking)
    assert line.startswith(
        f"Luck: the best of 10 candidates has a max-T p-value of {best:.3f} (Reality Check "
    )
    assert line.endswith("; 0.05 and less is evidence.")
    thin = [msgspec.structs.replace(row, segment_trades=[20, 20, 20, 7, 7, 7, 7]) for row in noise_sweep(3)]
    told = luck_line(rank_trials(thin, PLAN, FAST))
    assert told == "Luck: not tested, no candidate has 30 trades out of sample (`min_oos_trades`)."
    assert luck_line(rank_trials([], PLAN, FAST)).startswith("Luck: not tested")


def test_too_few_resamples_for_the_confidence_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"bootstrap_resamples \+ 1\) \* \(1 - confidence\) >= 1"):
        RankingConfig(bootstrap_resamples=100, confidence=0.995)
    assert "evidence" not in RankingConfig().document()
    assert RankingConfig(evidence="deflated").document()["evidence"] == "deflated"
