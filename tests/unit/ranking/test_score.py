"""The score's components and the settings."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import ConfigError
from aiopt.ranking.ranking_config import RankingConfig, ScoreWeights, StressConfig
from aiopt.ranking.score import (
    ScoredPath,
    components,
    drawdown_component,
    formula,
    profit_factor_component,
    stress_component,
    total,
)

money = st.floats(0, 1e6)


@given(
    st.floats(0, 1),
    money,
    money,
    st.floats(-1e6, 1e6),
    money,
    st.lists(st.floats(-9, 9), min_size=1),
    st.data(),
)
def test_every_component_and_the_score_lie_between_0_and_1(
    dsr: float, profit: float, loss: float, net: float, fall: float, folds: list[float], data: st.DataObject
) -> None:
    stressed = data.draw(st.floats(-1e7, net))
    path = ScoredPath(
        gross_profit=profit,
        gross_loss=loss,
        net_pnl=net,
        max_drawdown_amount=fall,
        fold_pnl=folds,
        stressed_pnl=stressed,
    )
    parts = components(path, deflated_sharpe=dsr, config=RankingConfig())
    assert all(0 <= part.value <= 1 for part in parts)
    assert sum(part.weight for part in parts) == pytest.approx(1)
    assert 0 <= total(parts) <= 1 + 1e-12


@pytest.mark.parametrize(
    ("profit", "loss", "value"), [(1, 1, 0), (2, 1, 1), (1, 2, 0), (5, 0, 1), (0, 0, 0), (1.5, 1, 0.6)]
)
def test_profit_factor(profit: float, loss: float, value: float) -> None:
    assert profit_factor_component(profit, loss) == pytest.approx(value)


@pytest.mark.parametrize(
    ("net", "fall", "value"), [(1, 1, 0.5), (3, 1, 0.75), (2, 0, 1), (0, 5, 0), (-2, 3, 0)]
)
def test_drawdown(net: float, fall: float, value: float) -> None:
    assert drawdown_component(net, fall) == pytest.approx(value)


@pytest.mark.parametrize(("net", "stressed", "value"), [(10, 4, 0.4), (10, -4, 0), (-1, -2, 0), (0, 0, 0)])
def test_stress(net: float, stressed: float, value: float) -> None:
    assert stress_component(net, stressed) == pytest.approx(value)


def test_a_score_without_a_sharpe_ratio_is_no_score() -> None:
    path = ScoredPath(
        gross_profit=1, gross_loss=1, net_pnl=1, max_drawdown_amount=1, fold_pnl=[1], stressed_pnl=1
    )
    parts = components(path, deflated_sharpe=math.nan, config=RankingConfig())
    assert math.isnan(total(parts))


def test_the_formula_names_the_weights_in_use() -> None:
    text = formula(RankingConfig(weights=ScoreWeights(deflated_sharpe=0.4, cost_stress=0.15)))
    assert "all trials counted (40%)" in text
    assert "0.3 pips wider" in text
    assert "fewer than 30 trades" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RankingConfig(top=0), "`top >= 1` must hold, but got 0"),
        (lambda: RankingConfig(lanes=0), "lanes"),
        (lambda: RankingConfig(min_oos_trades=0), "min_oos_trades"),
        (lambda: RankingConfig(max_correlation=1.5), "max_correlation"),
        (lambda: RankingConfig(confidence=0.3), "confidence"),
        (lambda: RankingConfig(bootstrap_resamples=5), "bootstrap_resamples"),
        (lambda: RankingConfig(pbo_blocks=7), "pbo_blocks"),
        (lambda: RankingConfig(period="1x"), "timeframe"),
        (lambda: ScoreWeights(drawdown=-1), "weights.drawdown"),
        (lambda: ScoreWeights(drawdown=math.nan), "weights.drawdown"),
        (
            lambda: ScoreWeights(
                deflated_sharpe=0, profit_factor=0, drawdown=0, consistency=0, cost_stress=0
            ),
            "sum of weights",
        ),
        (lambda: StressConfig(commission_factor=0.5), "commission_factor"),
        (lambda: StressConfig(pip_size=0), "pip_size"),
    ],
)
def test_bad_settings_name_the_rule(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_periods() -> None:
    assert RankingConfig(period="4h").period_ns == 4 * 3600 * 10**9
