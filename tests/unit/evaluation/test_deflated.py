"""Probabilistic and deflated Sharpe ratio against the paper and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import MetricInputError
from aiopt.evaluation import deflated

# Bailey and López de Prado (2014), section "A numerical example".
EXAMPLE = {"n_periods": 1250, "skewness": -3.0, "kurtosis": 10.0}
SHARPE = 2.5 / math.sqrt(250)
VARIANCE = 0.5 / 250


def test_the_worked_example_of_the_paper() -> None:
    assert deflated.expected_maximum_sharpe(VARIANCE, 100) == pytest.approx(0.1132, abs=5e-5)
    got = deflated.deflated_sharpe_ratio(SHARPE, **EXAMPLE, sharpe_variance=VARIANCE, n_trials=100)
    assert got == pytest.approx(0.9004, abs=5e-5)


def test_the_paper_accepts_the_example_after_fewer_trials() -> None:
    # The paper: with N = 46 the same strategy would have passed at 95%.
    def dsr(n: int) -> float:
        return deflated.deflated_sharpe_ratio(SHARPE, **EXAMPLE, sharpe_variance=VARIANCE, n_trials=n)

    assert dsr(46) == pytest.approx(0.95, abs=2e-3)
    assert dsr(46) > dsr(47) > dsr(1000)


def test_a_normal_series_gets_the_plain_test() -> None:
    got = deflated.probabilistic_sharpe_ratio(0.0, n_periods=100, skewness=0.0, kurtosis=3.0)
    assert got == pytest.approx(0.5)
    got = deflated.probabilistic_sharpe_ratio(0.1, n_periods=401, skewness=0.0, kurtosis=1.0)
    assert got == pytest.approx(0.97725, abs=1e-5)  # z = 0.1 * 20


@given(st.floats(0.01, 0.3), st.floats(-2, 2), st.floats(0, 20))
def test_the_minimum_track_record_reaches_its_confidence(sharpe: float, skew: float, excess: float) -> None:
    kurt = skew**2 + 1 + excess
    n = deflated.minimum_track_record_length(sharpe, skewness=skew, kurtosis=kurt, confidence=0.95)
    if math.isnan(n) or n < 2:
        return
    got = deflated.probabilistic_sharpe_ratio(sharpe, n_periods=math.ceil(n), skewness=skew, kurtosis=kurt)
    assert got >= 0.95 - 1e-9
    if math.floor(n) >= 2:
        less = deflated.probabilistic_sharpe_ratio(
            sharpe, n_periods=math.floor(n), skewness=skew, kurtosis=kurt
        )
        assert less <= 0.95 + 1e-9


def test_the_cautious_probability_is_right_where_the_published_one_is_not() -> None:
    rng = np.random.default_rng(1)
    returns = rng.standard_t(4, (12_000, 240)) * (rng.random((12_000, 240)) < 0.5)
    spread = returns.std(axis=1)
    centred = (returns - returns.mean(axis=1, keepdims=True)) / spread[:, None]
    figures = zip(
        returns.mean(axis=1) / returns.std(axis=1, ddof=1),
        (centred**3).mean(axis=1),
        (centred**4).mean(axis=1),
        strict=True,
    )
    cautious, published = 0, 0
    for sharpe, skew, kurt in figures:
        moments = {"n_periods": 240, "skewness": float(skew), "kurtosis": float(kurt)}
        cautious += deflated.cautious_sharpe_probability(float(sharpe), **moments) > 0.995
        published += deflated.probabilistic_sharpe_ratio(float(sharpe), **moments) > 0.995
    assert cautious / 12_000 == pytest.approx(0.005, abs=0.0015)
    assert published > 1.5 * cautious


@given(st.floats(-0.5, 0.5), st.floats(-2, 2), st.floats(0, 9), st.floats(0, 0.5))
def test_the_cautious_probability_is_never_above_the_published(
    sharpe: float, skew: float, excess: float, benchmark: float
) -> None:
    call = {"n_periods": 90, "skewness": skew, "kurtosis": skew**2 + 1 + excess, "benchmark": benchmark}
    published = deflated.probabilistic_sharpe_ratio(sharpe, **call)  # type: ignore[arg-type]
    cautious = deflated.cautious_sharpe_probability(sharpe, **call)  # type: ignore[arg-type]
    assert math.isnan(published) or 0 <= cautious <= published


def test_no_record_is_long_enough_without_an_edge() -> None:
    assert math.isnan(deflated.minimum_track_record_length(0.0, skewness=0, kurtosis=3, confidence=0.95))


@pytest.mark.parametrize("n", [2, 10, 400])
def test_the_expected_maximum_is_that_of_simulated_trials(n: int) -> None:
    rng = np.random.default_rng(n)
    best = rng.normal(scale=0.1, size=(20_000, n)).max(axis=1).mean()
    # The paper's formula is asymptotic: good from ten trials on, above the truth for two.
    assert deflated.expected_maximum_sharpe(0.01, n) == pytest.approx(best, rel=0.03 if n > 2 else 0.3)
    assert deflated.expected_maximum_sharpe(0.01, 1) == 0.0


def test_more_trials_and_more_variance_deflate_more() -> None:
    grid = [deflated.expected_maximum_sharpe(v, n) for n in (1, 2, 5, 50, 10**6) for v in (0.01, 0.04)]
    low, high = grid[::2], grid[1::2]
    assert low == sorted(low)
    assert high == pytest.approx([2 * x for x in low])


def test_false_discoveries_are_rare_on_noise() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(300):
        trials = rng.normal(size=(250, 50))
        ratios = trials.mean(axis=0) / trials.std(axis=0, ddof=1)
        found += (
            deflated.deflated_sharpe_ratio(
                float(ratios.max()),
                n_periods=250,
                skewness=0.0,
                kurtosis=3.0,
                sharpe_variance=float(ratios.var(ddof=1)),
                n_trials=50,
            )
            >= 0.95
        )
    assert found <= 15


@pytest.mark.parametrize("name", ["sharpe", "skewness", "kurtosis"])
def test_nan_stays_nan(name: str) -> None:
    call = {"sharpe": 0.1, "skewness": 0.0, "kurtosis": 3.0, "n_periods": 50} | {name: math.nan}
    assert math.isnan(deflated.probabilistic_sharpe_ratio(**call))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: deflated.expected_maximum_sharpe(-1.0, 5), "sharpe_variance"),
        (lambda: deflated.expected_maximum_sharpe(1.0, 0), "n_trials >= 1"),
        (
            lambda: deflated.probabilistic_sharpe_ratio(0.1, n_periods=1, skewness=0, kurtosis=3),
            "n_periods >= 2",
        ),
        (
            lambda: deflated.minimum_track_record_length(0.1, skewness=0, kurtosis=3, confidence=1.0),
            "confidence",
        ),
        (
            lambda: deflated.probabilistic_sharpe_ratio(1.0, n_periods=9, skewness=2.0, kurtosis=0.0),
            "not the excess",
        ),
    ],
)
def test_bad_input_names_the_rule(call: object, message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        call()  # type: ignore[operator]
