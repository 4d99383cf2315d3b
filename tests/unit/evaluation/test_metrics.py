"""Figures against brute force and hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import MetricInputError
from aiopt.evaluation import metrics

amounts = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3))
series = st.lists(amounts, max_size=40)
equities = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=40)


def deepest_fall(equity: list[float]) -> float:
    return min((equity[j] - equity[i]) / equity[i] for i in range(len(equity)) for j in range(i, len(equity)))


@given(equities)
def test_drawdown_equals_brute_force(equity: list[float]) -> None:
    assert metrics.max_drawdown(equity) == pytest.approx(deepest_fall(equity), abs=1e-12)
    assert -1 < metrics.max_drawdown(equity) <= 0


def test_the_starting_balance_is_a_peak() -> None:
    assert metrics.max_drawdown([100.0, 90.0, 95.0]) == pytest.approx(-0.1)
    assert metrics.drawdown_series([100.0, 90.0, 110.0]).tolist() == pytest.approx([0.0, -0.1, 0.0])


@given(series)
def test_drawdown_amount_equals_brute_force(pnl: list[float]) -> None:
    path = [math.fsum(pnl[:i]) for i in range(len(pnl) + 1)]
    expected = max(path[i] - path[j] for i in range(len(path)) for j in range(i, len(path)))
    assert metrics.max_drawdown_amount(pnl) == pytest.approx(expected, abs=1e-6)


@given(series.filter(lambda xs: len(xs) >= 2 and max(xs) - min(xs) > 1e-3), st.floats(0.5, 1e5))
def test_sharpe_equals_its_definition(returns: list[float], periods: float) -> None:
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((x - mean) ** 2 for x in returns) / (len(returns) - 1)
    expected = mean / math.sqrt(variance) * math.sqrt(periods)
    assert metrics.sharpe_ratio(returns, periods_per_year=periods) == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )


@given(st.integers(0, 12), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_many_series_at_once_equal_one_by_one(periods: int, rows: int, seed: int) -> None:
    values = np.random.default_rng(seed).choice([0.0, 0.1, -1.5, 2.0], size=(rows, periods))
    expected = [metrics.sharpe_ratio(row, periods_per_year=7) for row in values]
    got = metrics.sharpe_ratios(values, periods_per_year=7).tolist()
    assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_sharpe_of_a_known_series() -> None:
    # mean 0.01, sample variance ((0.01)^2 + 0 + (0.01)^2) / 2
    assert metrics.sharpe_ratio([0.0, 0.01, 0.02], periods_per_year=252) == pytest.approx(math.sqrt(252))


@given(series, st.floats(0.1, 100))
def test_ratios_do_not_depend_on_the_unit(returns: list[float], unit: float) -> None:
    for ratio in (metrics.sharpe_ratio, metrics.sortino_ratio):
        one = ratio(returns, periods_per_year=1)
        other = ratio([x * unit for x in returns], periods_per_year=1)
        assert other == pytest.approx(one, rel=1e-6, abs=1e-9, nan_ok=True)


def test_sortino_counts_all_periods_in_the_shortfall() -> None:
    # mean 0.25, shortfall sqrt(1/4)
    assert metrics.sortino_ratio([1.0, -1.0, 1.0, 0.0], periods_per_year=1) == pytest.approx(0.5)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.3])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_no_variance_has_no_sharpe_and_no_moments(constant: float, n: int) -> None:
    returns = [constant] * n
    assert math.isnan(metrics.sharpe_ratio(returns, periods_per_year=252))
    assert math.isnan(metrics.skewness(returns))
    assert math.isnan(metrics.kurtosis(returns))


def test_moments_of_a_coin() -> None:
    assert metrics.skewness([1.0, -1.0, 1.0, -1.0]) == pytest.approx(0.0)
    assert metrics.kurtosis([1.0, -1.0, 1.0, -1.0]) == pytest.approx(1.0)
    assert metrics.skewness([0.0, 0.0, 0.0, 1.0]) == pytest.approx(2 / math.sqrt(3))


def test_kurtosis_of_a_normal_sample_is_three() -> None:
    assert metrics.kurtosis(np.random.default_rng(1).normal(size=200_000)) == pytest.approx(3.0, abs=0.05)


@given(series)
def test_trade_figures_equal_brute_force(pnl: list[float]) -> None:
    wins, losses = [x for x in pnl if x > 0], [x for x in pnl if x < 0]
    if losses:
        assert metrics.profit_factor(pnl) == pytest.approx(math.fsum(wins) / -math.fsum(losses))
    else:
        assert math.isnan(metrics.profit_factor(pnl))
    if pnl:
        assert metrics.win_rate(pnl) == len(wins) / len(pnl)
        assert metrics.expectancy(pnl) == pytest.approx(math.fsum(pnl) / len(pnl), abs=1e-6)
    else:
        assert math.isnan(metrics.win_rate(pnl))
        assert math.isnan(metrics.expectancy(pnl))
    longest = max((len(run) for run in "".join("L" if x < 0 else " " for x in pnl).split()), default=0)
    assert metrics.longest_losing_streak(pnl) == longest


def test_payoff_and_recovery() -> None:
    assert metrics.payoff_ratio([3.0, -1.0, 5.0, -3.0]) == pytest.approx(2.0)
    assert math.isnan(metrics.payoff_ratio([1.0]))
    assert metrics.recovery_factor([5.0, -2.0, 3.0]) == pytest.approx(3.0)
    assert math.isnan(metrics.recovery_factor([1.0, 2.0]))


def test_growth_and_calmar() -> None:
    assert metrics.cagr([100.0, 121.0], years=2) == pytest.approx(0.1)
    assert metrics.calmar_ratio([100.0, 50.0, 200.0], years=1) == pytest.approx(2.0)
    assert math.isnan(metrics.calmar_ratio([100.0, 200.0], years=1))
    assert math.isnan(metrics.cagr([1.0, 1e6], years=1e-6))


def test_time_under_water_and_in_the_market() -> None:
    assert metrics.longest_drawdown([5.0, 4.0, 4.5, 6.0, 5.9]) == 2
    assert metrics.longest_drawdown([1.0, 2.0]) == 0
    assert metrics.exposure([0, 1, -1, 0]) == 0.5
    assert math.isnan(metrics.exposure([]))


def test_volatility_and_simple_returns() -> None:
    assert metrics.simple_returns([100.0, 110.0, 99.0]).tolist() == pytest.approx([0.1, -0.1])
    assert metrics.annual_volatility([0.0, 2.0], periods_per_year=4) == pytest.approx(2 * math.sqrt(2))
    assert math.isnan(metrics.annual_volatility([1.0], periods_per_year=4))


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [1.0, -2.0], [1.0, math.nan], [[1.0]]])
def test_bad_equity_is_refused(bad: object) -> None:
    with pytest.raises(MetricInputError, match="equity"):
        metrics.max_drawdown(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.sharpe_ratio([1.0, math.inf], periods_per_year=1), "element 1 is inf"),
        (lambda: metrics.sharpe_ratio([1.0, 2.0], periods_per_year=0), "periods_per_year > 0"),
        (lambda: metrics.sharpe_ratio(["x"], periods_per_year=1), "array of numbers"),
        (lambda: metrics.profit_factor([[1.0]]), "one dimension"),
        (lambda: metrics.cagr([1.0], years=0), "years > 0"),
    ],
)
def test_bad_input_names_the_rule(call: object, message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        call()  # type: ignore[operator]
