"""Weights: what equal risk means, and what happens where it cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import MetricInputError
from aiopt.portfolio.weights import (
    SHRINKAGE,
    equal_risk_weights,
    equal_weights,
    inverse_volatility_weights,
    risk_shares,
    shrunk_correlation,
)


def profits(seed: int, n: int, periods: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(periods, n)) @ rng.normal(size=(n, n))
    return mixed * rng.uniform(0.1, 50.0, n)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_equal_risk_means_equal_contributions(seed: int, n: int) -> None:
    made = profits(seed, n)
    weights = equal_risk_weights(made)
    deviation = made.std(axis=0, ddof=1)
    covariance = shrunk_correlation(made) * np.outer(deviation, deviation)
    shares = risk_shares(weights, covariance)
    assert (weights > 0).all()
    assert math.isclose(weights.sum(), 1.0)
    assert shares == pytest.approx(np.full(n, 1 / n), abs=1e-6)


def test_without_correlation_equal_risk_is_inverse_volatility() -> None:
    made = np.kron(np.eye(3) * [1.0, 2.0, 5.0], np.array([[1.0], [-1.0]]))
    wanted = np.array([1.0, 1 / 2, 1 / 5]) / (1 + 1 / 2 + 1 / 5)
    assert inverse_volatility_weights(made) == pytest.approx(wanted)
    assert equal_risk_weights(made) == pytest.approx(wanted)


def test_of_two_the_correlation_does_not_matter() -> None:
    made = profits(3, 2)
    assert equal_risk_weights(made) == pytest.approx(inverse_volatility_weights(made))


def test_the_one_that_moves_apart_gets_more() -> None:
    rng = np.random.default_rng(5)
    market, apart = rng.normal(size=500), rng.normal(size=500)
    made = np.column_stack([market, market + 0.1 * rng.normal(size=500), apart])
    weights = equal_risk_weights(made)
    assert weights[2] > 1.3 * weights[0]
    assert inverse_volatility_weights(made)[2] == pytest.approx(1 / 3, abs=0.03)


def test_exact_opposites_have_weights() -> None:
    one = np.random.default_rng(1).normal(size=300)
    assert equal_risk_weights(np.column_stack([one, -one])) == pytest.approx([0.5, 0.5])
    assert 0 < SHRINKAGE < 0.05


@pytest.mark.parametrize("weigh", [equal_weights, inverse_volatility_weights, equal_risk_weights])
def test_one_that_does_not_vary_gets_nothing(weigh: object) -> None:
    assert callable(weigh)
    made = profits(2, 3)
    made[:, 1] = 0.1
    weights = weigh(made)
    assert weights[1] == 0
    assert weights.sum() == pytest.approx(1)
    assert weigh(np.zeros((50, 4))) == pytest.approx(np.full(4, 0.25))
    assert weigh(made[:1]) == pytest.approx(np.full(3, 1 / 3))


def test_profits_that_are_not_finite_are_refused() -> None:
    made = profits(2, 2)
    made[3, 0] = np.nan
    with pytest.raises(MetricInputError, match="must be finite"):
        equal_risk_weights(made)


def test_a_sum_that_does_not_vary_has_no_risk_to_share() -> None:
    assert risk_shares(np.ones(2), np.zeros((2, 2))) is None
