"""Bootstrap, shuffles and cost stress."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import MetricInputError
from aiopt.evaluation.bootstrap import (
    bootstrap_returns,
    shuffled_drawdowns,
)
from aiopt.evaluation.metrics import max_drawdown_amount, sharpe_ratio
from aiopt.evaluation.stress import break_even_extra_spread_pips, stressed_profit


def test_same_seed_same_interval() -> None:
    returns = np.random.default_rng(1).normal(0.1, 1, 300)
    one, two, other = (bootstrap_returns(returns, periods_per_year=252, seed=s) for s in (4, 4, 5))
    assert one == two
    assert one != other
    assert one.sharpe.low < sharpe_ratio(returns, periods_per_year=252) < one.sharpe.high
    assert one.mean.low < returns.mean() < one.mean.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for i in range(120):
        shocks = rng.normal(size=201)
        returns = shocks[1:] + 0.5 * shocks[:-1]  # dependent in time, true mean 0
        result = bootstrap_returns(returns, periods_per_year=1, seed=i, n_resamples=300, block_length=8)
        covered += result.mean.low <= 0 <= result.mean.high
    assert 0.86 <= covered / 120 <= 1.0


def test_p_values_are_small_for_an_edge_and_spread_without() -> None:
    rng = np.random.default_rng(8)
    noise = [
        bootstrap_returns(rng.normal(size=150), periods_per_year=1, seed=i, n_resamples=200).p_value
        for i in range(120)
    ]
    assert np.mean(np.array(noise) < 0.05) < 0.12
    assert 0.4 < np.mean(noise) < 0.6
    edge = bootstrap_returns(rng.normal(0.5, 1, 150), periods_per_year=1, seed=1)
    assert edge.p_value == pytest.approx(1 / 1001)
    assert edge.sharpe.low > 0


@pytest.mark.parametrize("returns", [[], [1.0], [2.0, 2.0, 2.0]])
def test_no_variance_has_no_interval(returns: list[float]) -> None:
    result = bootstrap_returns(returns, periods_per_year=1, seed=0)
    assert all(map(math.isnan, (result.sharpe.low, result.sharpe.high, result.mean.low, result.p_value)))


def test_a_single_trade_has_no_sharpe_interval() -> None:
    returns = np.zeros(50)
    returns[10] = 1.0  # a third of the resamples miss it
    result = bootstrap_returns(returns, periods_per_year=1, seed=0)
    assert math.isnan(result.sharpe.low)
    assert math.isnan(result.mean.high)  # one resample in three has no error to divide by


def test_shuffled_drawdowns_agree_with_all_orders() -> None:
    pnl = [5.0, -3.0, 2.5, -4.0, 1.0, -1.5]
    every = [max_drawdown_amount(order) for order in itertools.permutations(pnl)]
    got = shuffled_drawdowns(pnl, seed=0, n_shuffles=4000)
    assert got.worst == max(every)
    assert got.median == pytest.approx(np.median(every), abs=0.51)
    assert got.p95 == pytest.approx(np.percentile(every, 95), abs=0.51)
    own = max_drawdown_amount(pnl)
    assert got.share_deeper == pytest.approx(np.mean([x > own for x in every]), abs=0.03)
    assert got == shuffled_drawdowns(pnl, seed=0, n_shuffles=4000)


def test_order_does_not_matter_without_losses() -> None:
    got = shuffled_drawdowns([1.0, 2.0], seed=0)
    assert (got.median, got.worst, got.share_deeper) == (0.0, 0.0, 0.0)
    assert math.isnan(shuffled_drawdowns([], seed=0).median)


@given(st.floats(-1e5, 1e5), st.floats(1, 1e7), st.floats(0, 5), st.floats(1, 3), st.floats(0, 1e4))
def test_stress_takes_what_it_says(
    pnl: float, units: float, pips: float, factor: float, commission: float
) -> None:
    got = stressed_profit(
        pnl,
        units=units,
        commission=commission,
        extra_spread_pips=pips,
        commission_factor=factor,
        pip_size=0.0001,
    )
    assert got <= pnl
    assert pnl - got == pytest.approx(pips * 0.0001 * units + (factor - 1) * commission, abs=1e-6)
    spread = break_even_extra_spread_pips(pnl, units=units, pip_size=0.0001)
    if spread >= 0:
        left = stressed_profit(
            pnl, units=units, commission=0, extra_spread_pips=spread, commission_factor=1, pip_size=0.0001
        )
        assert left == pytest.approx(0, abs=1e-6)


def test_one_pip_on_a_mini_lot_is_a_dollar() -> None:
    got = stressed_profit(
        10.0, units=10_000, commission=0, extra_spread_pips=1, commission_factor=1, pip_size=0.0001
    )
    assert got == pytest.approx(9.0)
    assert math.isnan(break_even_extra_spread_pips(0.0, units=0, pip_size=0.0001))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_returns([1.0, 2.0], periods_per_year=1, seed=0, n_resamples=9), "n_resamples"),
        (lambda: bootstrap_returns([1.0, 2.0], periods_per_year=1, seed=-1), "seed >= 0"),
        (lambda: bootstrap_returns([1.0, 2.0], periods_per_year=1, seed=0, block_length=0.5), "block_length"),
        (lambda: shuffled_drawdowns([math.nan], seed=0), "finite"),
        (lambda: break_even_extra_spread_pips(1.0, units=-1, pip_size=1), "units"),
    ],
)
def test_bad_input_names_the_rule(call: object, message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        call()  # type: ignore[operator]
