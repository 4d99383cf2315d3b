"""The ranking: what it must not depend on, what it must find, and what it must not claim."""

from __future__ import annotations

import json
import math
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.config import canonical_json
from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.market.instrument import instrument
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig, ScoreWeights, StressConfig
from aiopt.ranking.ranking_file import NO_EVIDENCE, SURVIVES, Ranking
from aiopt.testing.sweeps import PLAN, failed, noise_sweep, trial, with_pnl
from aiopt.utc import HOUR_NS

PIP = StressConfig(pip_size=1e-4)
FAST = RankingConfig(stress=PIP, bootstrap_resamples=100)
SWEEP = [*noise_sweep(1), failed(99)]


def places(ranking: Ranking) -> list[tuple[str, float, str]]:
    return [(entry.name, entry.score, entry.trial_id) for entry in ranking.entries]


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(len(SWEEP))), st.lists(st.integers(0, len(SWEEP) - 1), max_size=5))
def test_neither_arrival_order_nor_repetition_changes_a_byte(order: list[int], again: list[int]) -> None:
    board = Leaderboard(None, FAST, PLAN)
    board.add_many(SWEEP[i] for i in order)
    assert board.add_many(SWEEP[i] for i in again) == 0
    assert canonical_json(board.ranking()) == canonical_json(rank_trials(SWEEP, PLAN, FAST))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_holdout_moves_no_place_and_no_score(seed: int) -> None:
    rng = np.random.default_rng(seed)
    changed = [
        msgspec.structs.replace(row, holdout_pnl=rng.normal(5.0, 1, PLAN.holdout_periods).tolist())
        if row.ok
        else row
        for row in SWEEP
    ]
    before, after = rank_trials(SWEEP, PLAN, FAST), rank_trials(changed, PLAN, FAST)
    assert places(before) == places(after)
    assert before.rejected == after.rejected
    assert before.statistics == after.statistics
    assert before.entries[0].holdout != after.entries[0].holdout


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_a_fold_never_sees_its_test_segment(fold: int, seed: int) -> None:
    periods = PLAN.periods_of(PLAN.folds[fold].test)
    rng = np.random.default_rng(seed)
    changed = []
    for row in SWEEP:
        if not row.ok:
            continue
        pnl = np.array(row.pnl)
        pnl[periods] = rng.normal(rng.normal(0, 3), 1, len(periods))
        changed.append(with_pnl(row, pnl.tolist()))
    config = RankingConfig(
        stress=PIP, bootstrap_resamples=100, top=20, max_correlation=1.0, min_param_distance=0.0
    )
    before = chosen_in(rank_trials(SWEEP, PLAN, config), fold)
    after = chosen_in(rank_trials(changed, PLAN, config), fold)
    assert before == after
    assert len(before) == 10


def chosen_in(ranking: Ranking, fold: int) -> dict[tuple[str, int], str]:
    return {(entry.group, entry.lane): entry.folds[fold].trial_id for entry in ranking.entries}


def test_lanes_follow_the_best_second_best_and_so_on() -> None:
    config = RankingConfig(
        stress=PIP, bootstrap_resamples=100, top=20, max_correlation=1.0, min_param_distance=0.0
    )
    ranking = rank_trials(SWEEP, PLAN, config)
    for k, fold in enumerate(PLAN.folds):
        window = PLAN.periods_of(fold.train)
        for group in ("alpha@1m", "beta@5m"):
            scores = {
                row.trial_id: sharpe_ratio(np.array(row.pnl)[window], periods_per_year=8766)
                for row in SWEEP
                if row.group == group and row.ok
            }
            expected = sorted(scores, key=lambda name: -scores[name])[:5]
            got = {entry.lane: entry.folds[k] for entry in ranking.entries if entry.group == group}
            assert [got[lane].trial_id for lane in range(1, 6)] == expected
            assert got[1].in_sample_sharpe == pytest.approx(max(scores.values()))


def test_the_path_is_made_of_the_test_segments_of_the_chosen_trials() -> None:
    rows = {row.trial_id: row for row in SWEEP}
    for entry in rank_trials(SWEEP, PLAN, FAST).entries:
        parts = [
            np.array(rows[step.trial_id].pnl)[PLAN.periods_of(fold.test)]
            for step, fold in zip(entry.folds, PLAN.folds, strict=True)
        ]
        assert entry.out_of_sample_pnl == np.concatenate(parts).tolist()
        assert entry.out_of_sample.net_pnl == pytest.approx(sum(map(math.fsum, parts)))
        assert [step.net_pnl for step in entry.folds] == pytest.approx([math.fsum(p) for p in parts])
        assert len(entry.out_of_sample_ts_ns) == len(entry.out_of_sample_pnl)
        assert entry.out_of_sample_ts_ns[0] == entry.folds[0].test_start_ns
        assert entry.holdout_ts_ns[0] == PLAN.holdout_start_ns
        assert entry.holdout_pnl == rows[entry.trial_id].holdout_pnl
        refit = np.array(rows[entry.trial_id].pnl)[PLAN.periods_of(PLAN.refit)]
        assert entry.in_sample.net_pnl == pytest.approx(refit.sum())
        assert entry.score == pytest.approx(sum(part.value * part.weight for part in entry.components))
        assert 0 <= entry.score <= 1


def test_noise_is_called_noise() -> None:
    claimed, weak = 0, 0
    for seed in range(40):
        ranking = rank_trials(noise_sweep(seed, trials=8), PLAN, FAST)
        assert ranking.entries
        verdicts = {entry.verdict for entry in ranking.entries}
        claimed += SURVIVES in verdicts
        weak += verdicts != {NO_EVIDENCE}
        if verdicts == {NO_EVIDENCE}:
            assert "nothing beats chance" in ranking.headline
    assert claimed <= 2
    assert weak <= 5  # 5% of 40 on average


def test_rank_correlation_equals_spearmans() -> None:
    from scipy.stats import spearmanr

    from aiopt.ranking.baseline import _spearman

    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 9, 40) * 0.5, rng.normal(size=40)
    second[::4] = first[::4]
    assert _spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert math.isnan(_spearman(np.ones(9), second[:9]))


def test_choosing_on_noise_repeats_nothing() -> None:
    results = [rank_trials(noise_sweep(seed, trials=20), PLAN, FAST).statistics for seed in range(12)]
    assert np.mean([s.rank_correlation for s in results]) == pytest.approx(0, abs=0.06)
    assert np.mean([s.pbo for s in results]) == pytest.approx(0.5, abs=0.15)
    assert np.mean([s.share_profitable for s in results]) == pytest.approx(0.5, abs=0.07)


def test_a_planted_edge_is_found_and_ranked_first() -> None:
    rng = np.random.default_rng(11)
    n = PLAN.development_periods + PLAN.holdout_periods
    edge = trial(50, rng.normal(0.5, 1, n), group="beta@5m")
    ranking = rank_trials([*noise_sweep(2), edge], PLAN, FAST)
    first = ranking.entries[0]
    assert {step.trial_id for step in first.folds} == {edge.trial_id}
    assert first.trial_id == edge.trial_id
    assert first.name == "01_beta_5m"
    assert first.spec == {"name": "beta", "number": 50}
    assert first.verdict == SURVIVES
    assert first.survives
    assert first.holdout is not None
    assert first.holdout.net_pnl > 0
    assert all(check.passed for check in first.checks)
    assert [entry.verdict for entry in ranking.entries[1:]].count(SURVIVES) == 0
    assert "1 of 5 entries pass every check: 01_beta_5m" in ranking.headline
    assert first.evidence.trials_counted == 25
    assert first.evidence.selection_percentile is not None
    assert first.evidence.selection_percentile > 0.95


def test_an_edge_that_dies_in_the_holdout_does_not_survive() -> None:
    rng = np.random.default_rng(11)
    n = PLAN.development_periods + PLAN.holdout_periods
    pnl = rng.normal(0.5, 1, n)
    pnl[PLAN.development_periods :] = rng.normal(-0.5, 1, PLAN.holdout_periods)
    ranking = rank_trials([*noise_sweep(2), trial(50, pnl, group="beta@5m")], PLAN, FAST)
    assert ranking.entries[0].trial_id == "beta@5m-00050"
    assert ranking.entries[0].verdict == "weak"
    assert [check.name for check in ranking.entries[0].checks if not check.passed] == ["holdout profit"]


def test_every_trial_counts_against_the_winner() -> None:
    rng = np.random.default_rng(11)
    n = PLAN.development_periods + PLAN.holdout_periods
    edge = trial(50, rng.normal(0.3, 1, n), group="beta@5m")
    few = rank_trials([*noise_sweep(2, trials=4), edge], PLAN, FAST).entries[0]
    failures = [failed(1000 + i, group="beta@5m") for i in range(2000)]
    many = rank_trials([*noise_sweep(2, trials=4), edge, *failures], PLAN, FAST).entries[0]
    assert few.trial_id == many.trial_id
    assert (few.evidence.trials_counted, many.evidence.trials_counted) == (9, 2009)
    assert few.evidence.deflated_sharpe is not None
    assert many.evidence.deflated_sharpe is not None
    assert many.evidence.deflated_sharpe < few.evidence.deflated_sharpe
    assert many.score < few.score


def test_too_few_trades_are_not_ranked_and_the_reason_is_given() -> None:
    rows = [
        msgspec.structs.replace(row, segment_trades=[20, 20, 20, 7, 7, 7, 7])
        for row in noise_sweep(3, groups=("alpha@1m",))
    ]
    ranking = rank_trials(rows, PLAN, FAST)
    assert ranking.entries == []
    assert len(ranking.rejected) == 5
    assert all(
        re.search(r"28 trades out of sample, and 30 are needed", r.reason) and r.trades == 28
        for r in ranking.rejected
    )
    assert "none could be ranked" in ranking.headline


def test_a_train_window_without_trades_gives_no_candidate() -> None:
    rows = [
        msgspec.structs.replace(row, segment_trades=[0, 3, 3, 3, 90, 90, 90])
        for row in noise_sweep(3, groups=("alpha@1m",))
    ]
    rejected = rank_trials(rows, PLAN, FAST).rejected
    assert [(r.name, r.lane) for r in rejected] == [("alpha@1m", None)]
    assert re.search(r"no trial has 10 trades .* train window of fold 1", rejected[0].reason)


def test_a_trial_with_too_few_train_trades_is_passed_over() -> None:
    rng = np.random.default_rng(4)
    n = PLAN.development_periods + PLAN.holdout_periods
    lucky = msgspec.structs.replace(trial(50, rng.normal(2, 1, n), group="alpha@1m"), segment_trades=[3] * 7)
    ranking = rank_trials([*noise_sweep(3, groups=("alpha@1m",)), lucky], PLAN, FAST)
    assert lucky.trial_id not in {s.trial_id for e in ranking.entries for s in e.folds}


def test_nothing_but_failures_gives_an_empty_ranking_with_reasons() -> None:
    ranking = rank_trials([failed(i) for i in range(3)], PLAN, FAST)
    assert ranking.entries == []
    assert [r.reason for r in ranking.rejected] == ["all 3 trials failed"]
    assert (ranking.statistics.trials, ranking.statistics.failed) == (3, 3)
    assert rank_trials([], PLAN, FAST).statistics.trials == 0


def test_profits_that_never_vary_never_win() -> None:
    n = PLAN.development_periods + PLAN.holdout_periods
    flat = [trial(i, np.zeros(n), group="alpha@1m") for i in range(3)]
    constant = [trial(i, np.full(n, 0.1), group="gamma@1m") for i in range(3)]
    ranking = rank_trials([*flat, *constant, *noise_sweep(1, groups=("beta@5m",))], PLAN, FAST)
    assert {entry.group for entry in ranking.entries} == {"beta@5m"}
    assert {r.name for r in ranking.rejected if r.lane is None} == {"alpha@1m", "gamma@1m"}


def test_copies_of_a_better_entry_do_not_fill_the_table() -> None:
    rng = np.random.default_rng(5)
    n = PLAN.development_periods + PLAN.holdout_periods
    base = rng.normal(0.4, 1, n)
    rows = [trial(i, base + rng.normal(0, 0.02, n), group="alpha@1m") for i in range(8)]
    ranking = rank_trials([*rows, *noise_sweep(6, groups=("beta@5m",))], PLAN, FAST)
    assert [entry.group for entry in ranking.entries].count("alpha@1m") == 1
    copies = [r for r in ranking.rejected if r.group == "alpha@1m"]
    assert len(copies) == 4
    assert all(re.search(r"correlate 0\.9\d\d|correlate 1\.000", r.reason) for r in copies)


def test_neighbouring_parameters_are_duplicates_too() -> None:
    rows = noise_sweep(7, groups=("alpha@1m",), trials=12)
    close = [
        msgspec.structs.replace(row, params_json=json.dumps({"length": i % 2, "far": 1000 * (i == 11)}))
        for i, row in enumerate(rows)
    ]
    config = RankingConfig(stress=PIP, bootstrap_resamples=100, min_param_distance=0.5)
    ranking = rank_trials(close, PLAN, config)
    emitted = [tuple(entry.params.values()) for entry in ranking.entries]
    assert len(emitted) == len(set(emitted))
    assert any("its parameters are within 0.000 of the range" in r.reason for r in ranking.rejected)


def test_the_same_spec_tried_twice_is_one_choice() -> None:
    rows = noise_sweep(8, groups=("alpha@1m",), trials=6)
    twice = [
        *rows,
        *(msgspec.structs.replace(row, trial_id=f"{row.trial_id}-again") for row in rows),
    ]
    config = RankingConfig(
        stress=PIP, bootstrap_resamples=100, lanes=10, max_correlation=1.0, min_param_distance=0.0
    )
    ranking = rank_trials(twice, PLAN, config)
    assert ranking.statistics.groups[0].candidates == 6
    for entry in ranking.entries:
        assert not entry.trial_id.endswith("again")


def test_ties_go_to_the_smaller_trial_id() -> None:
    row = noise_sweep(9, groups=("alpha@1m",), trials=1)[0]
    other = msgspec.structs.replace(
        row, group="beta@1m", family="beta", trial_id="beta@1m-00000", spec_hash="beta-0"
    )
    config = RankingConfig(stress=PIP, bootstrap_resamples=100, max_correlation=1.0)
    ranking = rank_trials([other, row], PLAN, config)
    assert [entry.group for entry in ranking.entries] == ["alpha@1m", "beta@1m"]
    assert ranking.entries[0].score == ranking.entries[1].score


def test_names_are_unique_and_safe_as_files() -> None:
    ranking = rank_trials(noise_sweep(10, groups=("a/b c@1m", "a/b c@5m")), PLAN, FAST)
    names = [entry.name for entry in ranking.entries]
    assert len(set(names)) == len(names) == 5
    assert all(re.fullmatch(r"0\d_a_b_c_[15]m", name) for name in names)
    assert [entry.rank for entry in ranking.entries] == [1, 2, 3, 4, 5]
    left = [r for r in ranking.rejected if "are emitted" in r.reason]
    assert {r.reason.split(",")[0] for r in left} == {f"ranks {i}" for i in range(6, 6 + len(left))}


def test_a_run_without_holdout_says_so() -> None:
    plan = WalkForwardPlan(
        config=WalkForwardConfig(train_segments=2, folds=3, holdout_segments=0),
        boundaries_ns=tuple(i * 60 * HOUR_NS for i in range(6)),
    )
    entry = rank_trials(noise_sweep(1, plan=plan), plan, FAST).entries[0]
    assert entry.holdout is None
    assert entry.holdout_pnl == []
    assert entry.checks[-1].passed is None
    assert entry.evidence.holdout_p_value is None


def test_a_single_strategy_without_a_search_is_ranked() -> None:
    ranking = rank_trials(noise_sweep(1, groups=("alpha@1m",), trials=1), PLAN, FAST)
    assert [entry.lane for entry in ranking.entries] == [1]
    entry = ranking.entries[0]
    assert entry.evidence.pbo is None
    assert entry.evidence.expected_maximum_sharpe == 0
    assert entry.evidence.deflated_sharpe == entry.evidence.probabilistic_sharpe


def test_higher_costs_are_taken_from_the_profit() -> None:
    entry = rank_trials(SWEEP, PLAN, FAST).entries[0]
    stress = {(s.extra_spread_pips, s.commission_factor): s.net_pnl for s in entry.stress}
    assert stress[0.0, 1.0] == pytest.approx(entry.out_of_sample.net_pnl)
    assert stress[1.0, 1.0] == pytest.approx(entry.out_of_sample.net_pnl - 0.0001 * entry.out_of_sample.units)
    expected = (
        entry.out_of_sample.net_pnl
        - 0.3 * 0.0001 * entry.out_of_sample.units
        - 0.5 * entry.out_of_sample.commission
    )
    assert stress[0.3, 1.5] == pytest.approx(expected)
    assert next(part for part in entry.components if part.name == "cost_stress").raw == stress[0.3, 1.5]


@pytest.mark.parametrize(("symbol", "pip"), [("GBPJPY", 0.01), ("XAUUSD", 0.01), ("BTCUSD", 1.0)])
def test_the_stress_takes_the_pip_of_the_instrument(symbol: str, pip: float) -> None:
    config = RankingConfig(bootstrap_resamples=100).with_pip(instrument(symbol).pip_size)
    one, other = rank_trials(SWEEP, PLAN, FAST).entries[0], rank_trials(SWEEP, PLAN, config).entries[0]
    assert config.stress.pip == pip
    for entry, size in ((one, 1e-4), (other, pip)):
        out = entry.out_of_sample
        assert entry.break_even_extra_spread_pips == pytest.approx(out.net_pnl / (out.units * size))
        wider = next(s for s in entry.stress if (s.extra_spread_pips, s.commission_factor) == (1.0, 1.0))
        assert wider.net_pnl == pytest.approx(out.net_pnl - size * out.units)


def test_nothing_is_ranked_without_a_pip_and_no_other_is_taken() -> None:
    with pytest.raises(
        ConfigError, match=r"`stress.pip_size` is not set, and ranking needs the instrument's pip"
    ):
        rank_trials([], PLAN, RankingConfig())
    with pytest.raises(ConfigError, match=r"must be the pip of the instrument, 0.01, but got 0.0001"):
        FAST.with_pip(instrument("GBPJPY").pip_size)
    assert FAST.with_pip(instrument("EURUSD").pip_size) == FAST


def test_weights_decide_and_are_shares() -> None:
    only = RankingConfig(
        stress=PIP,
        bootstrap_resamples=100,
        weights=ScoreWeights(deflated_sharpe=0, profit_factor=0, drawdown=0, consistency=3.0, cost_stress=0),
    )
    for entry in rank_trials(SWEEP, PLAN, only).entries:
        assert entry.score == sum(step.net_pnl > 0 for step in entry.folds) / 4


def test_the_ranking_survives_json_and_holds_no_nan() -> None:
    ranking = rank_trials(SWEEP, PLAN, FAST)
    text = canonical_json(ranking)
    assert msgspec.json.decode(text, type=Ranking) == ranking
    assert b"NaN" not in text
    assert b"Infinity" not in text


def test_the_seed_moves_intervals_and_no_place() -> None:
    other = RankingConfig(stress=PIP, bootstrap_resamples=100, seed=1)
    one, two = rank_trials(SWEEP, PLAN, FAST), rank_trials(SWEEP, PLAN, other)
    assert places(one) == places(two)
    assert one.entries[0].out_of_sample.sharpe_low != two.entries[0].out_of_sample.sharpe_low


MARKETS = RankingConfig(
    stress=StressConfig(pip_sizes={"EURUSD": 1e-4, "USDJPY": 1e-2}), bootstrap_resamples=100, top=10
)


def test_markets_stand_in_one_ranking_with_one_count_of_trials() -> None:
    rows = noise_sweep(3, groups=("alpha@EURUSD@1h", "alpha@USDJPY@1h"))
    found = rank_trials(rows, PLAN, MARKETS)
    assert found.statistics.trials == 24
    assert {group.instrument for group in found.statistics.groups} == {"EURUSD", "USDJPY"}
    assert {entry.evidence.trials_counted for entry in found.entries} == {24}
    first = found.entries[0]
    assert first.name == f"01_alpha_{first.instrument}_1h"
    assert first.group == f"alpha@{first.instrument}@1h"
    with pytest.raises(ConfigError, match=r"must name every market .* not USDJPY"):
        rank_trials(rows, PLAN, RankingConfig(stress=StressConfig(pip_sizes={"EURUSD": 1e-4})))
    with pytest.raises(ConfigError, match="pip_sizes"):
        rank_trials(rows, PLAN, FAST)


def test_a_score_has_no_unit_of_money() -> None:
    """Yen instead of dollars at a fixed rate change every profit and no score."""
    rows = noise_sweep(3, groups=("alpha@EURUSD@1h", "alpha@USDJPY@1h"))
    rate = 128.0  # a power of two, so that nothing is rounded
    money = [
        f"{span}_{name}"
        for span in ("segment", "holdout")
        for name in ("gross_profit", "gross_loss", "commission")
    ]
    in_yen = [
        msgspec.structs.replace(
            row,
            **{
                name: [rate * value for value in getattr(row, name)]
                for name in (*money, "pnl", "holdout_pnl")
            },
        )
        if row.instrument == "USDJPY"
        else row
        for row in rows
    ]
    stress = StressConfig(pip_sizes={"EURUSD": 1e-4, "USDJPY": 1e-2 * rate})
    before = rank_trials(rows, PLAN, MARKETS)
    after = rank_trials(in_yen, PLAN, msgspec.structs.replace(MARKETS, stress=stress))
    assert places(after) == places(before)
    assert after.statistics.median_pnl != before.statistics.median_pnl
