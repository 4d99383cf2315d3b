"""What a sweep could find, against simulated strategies with a known edge."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiopt.errors import MetricInputError
from aiopt.evaluation.deflated import cautious_sharpe_probability, expected_maximum_sharpe
from aiopt.evaluation.metrics import kurtosis, sharpe_ratio, skewness
from aiopt.evaluation.multiple_testing import NO_EARLIER, EarlierTests, compare_paths
from aiopt.evaluation.power import detectable_by_comparison, detectable_sharpe, power_lines

HOURS = 8766.0


@pytest.mark.parametrize(("years", "trials"), [(0.5, 1), (1.0, 200), (5.0, 50_000)])
def test_a_strategy_of_that_strength_passes_four_times_in_five(years: float, trials: int) -> None:
    n = int(years * 1000)
    least = detectable_sharpe(n_periods=n, periods_per_year=1000.0, n_trials=trials)
    draw = np.random.default_rng(trials)
    benchmark = expected_maximum_sharpe(1 / (n - 1), trials)
    passed = 0
    rounds = 600
    for _ in range(rounds):
        returns = draw.normal(least / math.sqrt(1000.0), 1.0, n)
        probability = cautious_sharpe_probability(
            sharpe_ratio(returns, periods_per_year=1),
            n_periods=n,
            skewness=skewness(returns),
            kurtosis=kurtosis(returns),
            benchmark=benchmark,
        )
        passed += probability >= 0.95
    assert passed / rounds == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(("years", "paths"), [(1.0, 1), (2.0, 20)])
def test_an_edge_of_that_strength_passes_the_comparison_four_times_in_five(years: float, paths: int) -> None:
    n = int(years * 250)
    least = detectable_by_comparison(n_periods=n, periods_per_year=250.0, n_paths=paths)
    draw = np.random.default_rng(paths)
    passed = 0
    rounds = 250
    for i in range(rounds):
        profits = draw.normal(0.0, 1.0, (n, paths))
        profits[:, 0] += least / math.sqrt(250.0)
        found = compare_paths(profits, seed=i, n_resamples=200, block_length=1.0)
        passed += found.p_values[0] <= 0.05
    assert passed / rounds == pytest.approx(0.8, abs=0.08)


def test_longer_spans_and_fewer_trials_find_less() -> None:
    def least(years: float, trials: int) -> float:
        return detectable_sharpe(n_periods=int(years * HOURS), periods_per_year=HOURS, n_trials=trials)

    assert least(4.0, 100) == pytest.approx(least(1.0, 100) / 2, rel=1e-3)
    assert least(1.0, 10) < least(1.0, 1000)


def test_comparing_fewer_asks_less_than_counting_every_trial() -> None:
    def least(paths: int) -> float:
        return detectable_by_comparison(n_periods=int(4 * HOURS), periods_per_year=HOURS, n_paths=paths)

    strict = detectable_sharpe(n_periods=int(4 * HOURS), periods_per_year=HOURS, n_trials=1500)
    assert least(1) == pytest.approx((1.6449 + 0.8416) / 2, abs=1e-3)
    assert least(1) < least(5) < least(50) < strict


@pytest.mark.parametrize(
    "before", [EarlierTests(), EarlierTests(families=4), EarlierTests(families=1, singles=30)]
)
def test_statement_and_judgement_ask_for_the_same_after_earlier_tests(before: EarlierTests) -> None:
    """What the test of real paths asks of the best one, less what the power adds, is what was stated."""
    n, paths = 1000, 10
    asked = []
    for seed in range(8):
        profits = np.random.default_rng(seed).normal(0.0, 1.0, (n, paths))
        found = compare_paths(profits, seed=seed, n_resamples=2000, block_length=1.0, earlier=before)
        asked.append(found.critical_t)
    stated = detectable_by_comparison(
        n_periods=n, periods_per_year=float(n), n_paths=paths, power=0.5, earlier=before
    )
    assert stated == pytest.approx(np.mean(asked), rel=0.06)


def test_an_earlier_family_counts_as_many_paths_and_a_backtest_one() -> None:
    def least(paths: int, before: EarlierTests) -> float:
        return detectable_by_comparison(n_periods=500, periods_per_year=250.0, n_paths=paths, earlier=before)

    assert least(10, EarlierTests(families=4)) == least(50, EarlierTests())
    assert least(10, EarlierTests(singles=40)) == least(50, EarlierTests())
    assert (
        least(10, EarlierTests()) < least(10, EarlierTests(singles=1)) < least(10, EarlierTests(families=1))
    )


def lines(n_periods: int, *, deflated: bool = False, earlier: EarlierTests = NO_EARLIER) -> list[str]:
    return power_lines(
        n_periods=n_periods,
        periods_per_year=HOURS,
        n_trials=1500,
        n_paths=50,
        confidence=0.95,
        deflated=deflated,
        earlier=earlier,
    )


def test_earlier_tests_are_named_in_the_statement() -> None:
    said = lines(5000, earlier=EarlierTests(families=2, singles=3))
    assert said[0].startswith("50 candidates and 103 of earlier tests compared, 0.57 years out of sample")


def test_a_month_is_warned_of_and_twenty_years_are_not() -> None:
    assert lines(366)[0].startswith(
        "50 candidates compared, 0.042 years out of sample: a true Sharpe ratio of"
    )
    assert "the deflated Sharpe ratio, beside it, would ask for" in lines(366)[1]
    assert "longer span, or fewer families, timeframes or lanes" in lines(366)[2]
    assert len(lines(int(20 * HOURS))) == 2
    assert lines(1) == []


def test_the_stricter_rule_is_stated_where_it_decides() -> None:
    strict, plain = lines(5000, deflated=True), lines(5000)
    assert strict[0].startswith("1,500 trials counted, 0.57 years out of sample")
    assert "the test of 50 candidates, beside it, asks for" in strict[1]
    assert "fewer points" in strict[2]

    def asked(text: str) -> float:
        return float(text.split("true Sharpe ratio of ")[1].split()[0])

    assert asked(strict[0]) > asked(plain[0])


@pytest.mark.parametrize(
    "wrong",
    [{"n_periods": 1}, {"periods_per_year": 0.0}, {"n_trials": 0}, {"confidence": 1.0}, {"power": 0.0}],
)
def test_arguments_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(MetricInputError, match=r"must hold|>="):
        detectable_sharpe(**{"n_periods": 100, "periods_per_year": 100.0, "n_trials": 2} | wrong)  # type: ignore[arg-type]


def test_at_least_one_path_is_compared() -> None:
    with pytest.raises(MetricInputError, match="n_paths >= 1"):
        detectable_by_comparison(n_periods=100, periods_per_year=100.0, n_paths=0)
