"""The combination: what it may know when it weighs, what it adds up to, and what each entry adds."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.portfolio.combining import (
    METHODS,
    EntryPaths,
    combine,
    correlations,
    daily,
    entry_paths,
    leave_one_out,
    wanted_trials,
)
from aiopt.portfolio.portfolio_file import EQUAL_RISK, EQUAL_WEIGHT
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import TrialRow
from aiopt.testing.sweeps import PLAN, noise_sweep
from aiopt.utc import DAY_NS, HOUR_NS

CONFIG = RankingConfig(stress=StressConfig(pip_size=1e-4), bootstrap_resamples=100, top=3)


@pytest.fixture(scope="module")
def ranked() -> tuple[Ranking, dict[str, TrialRow]]:
    rows = noise_sweep(1)
    return rank_trials(rows, PLAN, CONFIG), {row.trial_id: row for row in rows}


@pytest.fixture(scope="module")
def paths(ranked: tuple[Ranking, dict[str, TrialRow]]) -> EntryPaths:
    return entry_paths(*ranked)


def test_the_paths_are_those_of_the_ranking(
    ranked: tuple[Ranking, dict[str, TrialRow]], paths: EntryPaths
) -> None:
    ranking, rows = ranked
    assert len(ranking.entries) == 3
    for place, entry in enumerate(ranking.entries):
        assert paths.out_of_sample[:, place].tolist() == entry.out_of_sample_pnl
    few = {trial_id: rows[trial_id] for trial_id in wanted_trials(ranking)}
    assert len(few) < len(rows)
    again = entry_paths(ranking, few)
    assert all(np.array_equal(a, b) for a, b in zip(again.train, paths.train, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_a_combination_adds_up(paths: EntryPaths, method: str) -> None:
    found = combine(paths, method, PLAN, CONFIG)
    assert [sum(one) for one in found.weights] == pytest.approx([1.0] * 4)
    parts = [part @ np.array(one) for part, one in zip(paths.test, found.weights, strict=True)]
    assert found.pnl == pytest.approx(np.concatenate(parts).tolist())
    assert found.figures.net_pnl == pytest.approx(sum(found.fold_pnl)) == pytest.approx(sum(found.pnl))
    assert sum(found.risk_shares) == pytest.approx(1.0)
    assert 0 < found.diversification < 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_no_fold_weighs_by_its_test_segment_or_a_later_one(fold: int, seed: int) -> None:
    rows = noise_sweep(1)
    ranking = rank_trials(rows, PLAN, CONFIG)
    rng = np.random.default_rng(seed)
    start = PLAN.periods_of(PLAN.folds[fold].test)[0]
    changed = {}
    for row in rows:
        pnl = np.array(row.pnl)
        pnl[start:] = rng.normal(0, rng.uniform(0.1, 9), pnl.size - start)
        holdout = rng.normal(0, 9, len(row.holdout_pnl)).tolist()
        changed[row.trial_id] = msgspec.structs.replace(row, pnl=pnl.tolist(), holdout_pnl=holdout)
    before = combine(entry_paths(ranking, {row.trial_id: row for row in rows}), EQUAL_RISK, PLAN, CONFIG)
    after = combine(entry_paths(ranking, changed), EQUAL_RISK, PLAN, CONFIG)
    assert after.weights[: fold + 1] == before.weights[: fold + 1]
    assert after.last_weights != before.last_weights


def test_the_holdout_is_not_read(ranked: tuple[Ranking, dict[str, TrialRow]], paths: EntryPaths) -> None:
    ranking, rows = ranked
    blind = {name: msgspec.structs.replace(row, holdout_pnl=[]) for name, row in rows.items()}
    found = combine(entry_paths(ranking, blind), EQUAL_RISK, PLAN, CONFIG)
    assert found == combine(paths, EQUAL_RISK, PLAN, CONFIG)


def test_what_an_entry_adds_is_the_whole_less_the_others(paths: EntryPaths) -> None:
    whole = combine(paths, EQUAL_RISK, PLAN, CONFIG)
    found = leave_one_out(paths, whole, PLAN, CONFIG)
    assert [one.name for one in found] == list(paths.names)
    for place, one in enumerate(found):
        others = combine(paths.without(place), EQUAL_RISK, PLAN, CONFIG)
        assert one.figures == others.figures
        assert one.sharpe_added == pytest.approx(whole.figures.sharpe - others.figures.sharpe)
        assert one.pnl_added == pytest.approx(whole.figures.net_pnl - others.figures.net_pnl)
        assert one.pnl_added_low < one.pnl_added < one.pnl_added_high


def test_an_entry_that_earns_where_others_lose_is_seen_to_add(paths: EntryPaths) -> None:
    rng = np.random.default_rng(4)

    def with_edge(part: np.ndarray) -> np.ndarray:
        return np.column_stack([part[:, :2], rng.normal(3.0, 1.0, len(part))])

    made = EntryPaths(
        ("a", "b", "edge"),
        tuple(with_edge(part) for part in paths.train),
        tuple(with_edge(part) for part in paths.test),
    )
    found = leave_one_out(made, combine(made, EQUAL_RISK, PLAN, CONFIG), PLAN, CONFIG)
    assert found[2].pnl_added_low > 0
    assert found[2].sharpe_added > max(found[0].sharpe_added, found[1].sharpe_added, 0)
    for one in found[:2]:
        assert one.pnl_added_low < 0


def test_one_that_never_trades_takes_no_capital(paths: EntryPaths) -> None:
    def idle(part: np.ndarray) -> np.ndarray:
        return np.column_stack([part[:, :2], np.zeros(len(part))])

    made = EntryPaths(("a", "b", "idle"), tuple(map(idle, paths.train)), tuple(map(idle, paths.test)))
    two = made.without(2)
    for method in METHODS:
        assert combine(made, method, PLAN, CONFIG).pnl == pytest.approx(
            combine(two, method, PLAN, CONFIG).pnl
        )
    assert combine(made, EQUAL_WEIGHT, PLAN, CONFIG).risk_shares[2] == 0


def test_correlations() -> None:
    one = np.random.default_rng(1).normal(size=100)
    found = correlations(np.column_stack([one, -2 * one, np.zeros(100)]))
    assert found[0][:2] == pytest.approx([1.0, -1.0])
    assert found[2] == [None, None, None]
    assert correlations(np.empty((0, 2))) == [[None, None], [None, None]]


def test_days_are_summed() -> None:
    hours = [DAY_NS - HOUR_NS, DAY_NS, DAY_NS + HOUR_NS, 3 * DAY_NS]
    assert daily(np.array([[1.0], [2.0], [4.0], [8.0]]), hours).tolist() == [[1.0], [6.0], [8.0]]
