"""Max-T, Reality Check and SPA: against `arch`, on noise, and on an edge."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiopt.errors import MetricInputError
from aiopt.evaluation.block_bootstrap import mean_errors
from aiopt.evaluation.multiple_testing import EarlierTests, common_block_length, compare_paths, step_down

superior = pytest.importorskip("arch.bootstrap")


def skewed(rng: np.random.Generator, n: int, k: int, win: float = 0.25) -> np.ndarray:
    """Periods of which half have no trade; the others win `win` often or lose 1, and earn 0 on average."""
    wins = rng.random((n, k)) < 1 / (1 + win)
    return np.where(wins, win, -1.0) * (rng.random((n, k)) < 0.5)


@pytest.mark.parametrize("edge", [0.0, 0.1, 0.2])
def test_reality_check_and_spa_agree_with_arch(edge: float) -> None:
    rng = np.random.default_rng(3)
    paths = rng.normal(0, 1, (400, 6)) * np.array([1, 1, 2, 1, 0.5, 1]) - np.array([0, 0, 0, 0.4, 0, 0.02])
    paths[:, 1] += edge
    got = compare_paths(paths, seed=1, n_resamples=2000, block_length=4.0)
    benchmark = np.zeros(len(paths))
    # arch 8 does not divide by the standard errors; given paths that are, its statistic is Hansen's.
    scaled = paths / mean_errors(paths, block_length=4.0)
    spa = superior.SPA(benchmark, -scaled, block_size=4, reps=2000, seed=5)
    spa.compute()
    # Without recentring, the p-value is White's.
    check = superior.RealityCheck(benchmark, -paths, block_size=4, reps=2000, seed=5)
    check.compute()
    assert got.spa == pytest.approx(spa.pvalues["consistent"], abs=0.035)
    assert got.reality_check == pytest.approx(check.pvalues["upper"], abs=0.035)


def test_step_down_finds_what_archs_stepm_finds() -> None:
    rng = np.random.default_rng(4)
    paths = rng.normal(0, 1, (500, 8))
    paths[:, 2] += 0.35
    paths[:, 5] += 0.25
    got = compare_paths(paths, seed=1, block_length=3.0)
    stepm = superior.StepM(np.zeros(500), -paths, size=0.05, block_size=3, reps=1000, seed=2)
    stepm.compute()
    assert set(np.flatnonzero(got.p_values <= 0.05)) == set(stepm.superior_models) == {2, 5}


def test_step_down_equals_the_definition() -> None:
    rng = np.random.default_rng(5)
    observed, resampled = rng.normal(1, 1, 5), rng.normal(size=(200, 5))
    beside = rng.normal(size=(200, 2))
    expected, last = np.empty(5), 0.0
    left = sorted(range(5), key=lambda k: -observed[k])
    while left:
        largest = np.maximum(resampled[:, left].max(axis=1), beside.max(axis=1))
        last = max(last, (1 + (largest >= observed[left[0]]).sum()) / 201)
        expected[left.pop(0)] = last
    assert step_down(observed, resampled, beside=beside) == pytest.approx(expected)


@pytest.mark.parametrize("win", [0.25, 1.0, 4.0])
def test_noise_is_called_an_edge_in_one_sweep_of_twenty_at_most(win: float) -> None:
    rng = np.random.default_rng(int(win * 4))
    found = [
        np.nanmin(compare_paths(skewed(rng, 120, 12, win), seed=i, n_resamples=200).p_values) <= 0.05
        for i in range(200)
    ]
    # 5% of 200 are 10; 18 or more in less than one case of a hundred.
    assert sum(found) <= 17


def test_an_edge_is_found_among_paths_that_lose() -> None:
    rng = np.random.default_rng(6)
    paths = rng.normal(-0.3, 1, (250, 30))
    paths[:, 7] = rng.normal(0.35, 1, 250)
    got = compare_paths(paths, seed=0)
    assert np.flatnonzero(got.p_values <= 0.05).tolist() == [7]
    assert got.reality_check <= 0.05
    assert got.spa <= 0.05
    assert 2.0 < got.critical_t < got.t_statistics[7]


def test_copies_cost_nothing() -> None:
    rng = np.random.default_rng(7)
    one = rng.normal(0, 1, (300, 1))
    one += 0.12 - one.mean()
    alone = compare_paths(one, seed=0, block_length=1.0)
    copied = compare_paths(np.repeat(one, 40, axis=1), seed=0, block_length=1.0)
    strangers = compare_paths(np.hstack([one, rng.normal(0, 1, (300, 39))]), seed=0, block_length=1.0)
    assert copied.p_values == pytest.approx(alone.p_values[0])
    assert alone.p_values[0] < 0.05
    assert strangers.p_values[0] > 3 * alone.p_values[0]


def test_flat_paths_are_told_and_thin_ones_only_compared_with() -> None:
    rng = np.random.default_rng(8)
    paths = rng.normal(0, 1, (100, 4))
    paths[:, 1] = 0.0
    paths[:, 2] = 7.0
    paths[:, 3] = 0.0
    paths[[3, 50], 3] = 5.0
    got = compare_paths(paths, seed=0, tested=[True, True, True, False])
    assert np.isnan(got.t_statistics).tolist() == [False, True, True, False]
    assert got.p_values[1:3].tolist() == [1.0, 1.0]
    assert math.isnan(got.p_values[3])
    assert 0 < got.p_values[0] <= 1
    nothing = compare_paths(paths[:, 1:3], seed=0)
    assert math.isnan(nothing.spa)
    assert math.isnan(nothing.critical_t)


def test_too_few_periods_are_no_evidence() -> None:
    got = compare_paths(np.random.default_rng(9).normal(3, 1, (19, 2)), seed=0)
    assert np.isnan(got.p_values).all()
    assert math.isnan(got.reality_check)


def test_a_path_whose_losses_a_resample_can_miss_is_not_believed() -> None:
    # 59 small wins and one large loss: a third of the resamples win only, as the path itself nearly did.
    paths = np.full((60, 1), 1.0)
    paths[10] = -30.0
    got = compare_paths(paths, seed=0, block_length=1.0)
    assert got.p_values[0] > 0.3


def test_one_path_with_a_large_loss_does_not_set_the_bar_for_all() -> None:
    rng = np.random.default_rng(12)
    paths = rng.normal(0, 1, (300, 10))
    paths[:, 0] += 0.26 - paths[:, 0].mean()
    alone = compare_paths(paths, seed=0, block_length=1.0)
    # Many small wins and one loss that eats them: a third of its resamples have a t statistic near 10.
    wins = np.abs(rng.normal(0.2, 0.05, (300, 1)))
    wins[150] = -wins.sum()
    beside = compare_paths(np.hstack([paths, wins]), seed=0, block_length=1.0)
    assert alone.p_values[0] < 0.01
    assert beside.p_values[0] < 0.01
    assert beside.critical_t == pytest.approx(alone.critical_t, rel=0.1)
    assert beside.p_values[10] > 0.3


def test_same_seed_same_result() -> None:
    paths = np.random.default_rng(10).normal(0.1, 1, (80, 3))
    one, two, other = (compare_paths(paths, seed=s) for s in (1, 1, 2))
    assert one.p_values.tolist() == two.p_values.tolist()
    assert one.p_values.tolist() != other.p_values.tolist()
    assert one.block_length == common_block_length(paths)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_resamples": 50}, "n_resamples >= 100"),
        ({"block_length": 0.5}, "block_length >= 1"),
        ({"paths": [1.0, 2.0]}, "two dimensions"),
        ({"paths": [[1.0], [math.nan]]}, "finite"),
    ],
)
def test_bad_input_names_the_rule(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        compare_paths(**{"paths": np.ones((30, 2)) * np.arange(2), "seed": 0} | wrong)  # type: ignore[arg-type]


def test_earlier_tests_raise_the_bar_a_family_more_than_a_single_path() -> None:
    rng = np.random.default_rng(3)
    paths = rng.normal(0, 1, (250, 12)) + np.r_[0.13, np.zeros(11)]
    found = [
        compare_paths(paths, seed=0, n_resamples=4000, block_length=1.0, earlier=before)
        for before in (EarlierTests(), EarlierTests(singles=5), EarlierTests(families=5), EarlierTests(5, 5))
    ]
    p_values = [one.p_values[0] for one in found]
    assert p_values == sorted(p_values)
    assert len(set(p_values)) == 4
    assert p_values[2] == pytest.approx(1 - (1 - p_values[0]) ** 6)
    bars = [one.critical_t for one in found]
    assert bars == sorted(bars)
    assert bars[0] < bars[2]
    # Twelve paths before are one family of twelve, about.
    family, twelve = (
        compare_paths(paths, seed=0, n_resamples=4000, block_length=1.0, earlier=before).p_values[0]
        for before in (EarlierTests(families=1), EarlierTests(singles=12))
    )
    assert twelve == pytest.approx(family, rel=0.25)


def test_more_tests_than_the_resamples_can_tell_leave_no_bar() -> None:
    paths = np.random.default_rng(4).normal(0, 1, (100, 2))
    got = compare_paths(paths, seed=0, n_resamples=100, earlier=EarlierTests(singles=10**6))
    assert got.critical_t == math.inf
    assert (got.p_values > 0.99).all()
