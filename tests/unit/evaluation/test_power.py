"""What a sweep could find, against simulated strategies with a known edge."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiopt.errors import MetricInputError
from aiopt.evaluation.deflated import cautious_sharpe_probability, expected_maximum_sharpe
from aiopt.evaluation.metrics import kurtosis, sharpe_ratio, skewness
from aiopt.evaluation.power import detectable_sharpe, power_lines

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


def test_longer_spans_and_fewer_trials_find_less() -> None:
    def least(years: float, trials: int) -> float:
        return detectable_sharpe(n_periods=int(years * HOURS), periods_per_year=HOURS, n_trials=trials)

    assert least(4.0, 100) == pytest.approx(least(1.0, 100) / 2, rel=1e-3)
    assert least(1.0, 10) < least(1.0, 1000)


def test_a_month_is_warned_of_and_twenty_years_are_not() -> None:
    def lines(n_periods: int) -> list[str]:
        return power_lines(n_periods=n_periods, periods_per_year=HOURS, n_trials=1500, confidence=0.95)

    assert lines(366)[0].startswith("1,500 trials and 0.042 years out of sample: a true Sharpe ratio of 2")
    assert "longer span" in lines(366)[1]
    assert len(lines(int(20 * HOURS))) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"n_periods": 1}, {"periods_per_year": 0.0}, {"n_trials": 0}, {"confidence": 1.0}, {"power": 0.0}],
)
def test_arguments_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(MetricInputError, match=r"must hold|>="):
        detectable_sharpe(**{"n_periods": 100, "periods_per_year": 100.0, "n_trials": 2} | wrong)  # type: ignore[arg-type]
