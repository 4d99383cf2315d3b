"""Entry limits as fields of a strategy, and resolved."""

from __future__ import annotations

import math

import msgspec
import pytest
import yaml

from aiopt.errors import SpecError
from aiopt.strategy.dimensions import IntRange
from aiopt.strategy.entry_limits import LimitPlan, limit_plan
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import StrategySpec, spec_from_mapping
from aiopt.testing.random_specs import random_spec


def spec_of(**fields: object) -> StrategySpec:
    return spec_from_mapping({"name": "s", "entry_long": "close > open", **fields}, where="test")


def test_a_strategy_without_limits_keeps_its_hash() -> None:
    spec = FAMILIES["ema_cross_atr"].spec
    assert spec.spec_hash == "cfd021362828008fe7284d6d533ff317581d08b49da339cf60f809ab78d2283c"
    assert "limits" not in msgspec.to_builtins(spec)
    assert spec_of(limits=None).spec_hash == spec_of().spec_hash
    assert spec_of(limits={"pause_bars": 3}).spec_hash != spec_of().spec_hash
    assert limit_plan(spec) is None


def test_files_hold_all_that_a_spec_says() -> None:
    for seed in range(12):
        spec = random_spec(seed, limits=True)
        assert StrategySpec.from_json(spec.to_json()) == spec
        assert spec_from_mapping(yaml.safe_load(spec.to_yaml()), where="test") == spec
        assert "null" not in spec.to_yaml()


def test_parameters_of_limits_are_swept() -> None:
    spec = spec_of(
        params={"rest": 4, "most": 3, "loss": 2.0},
        limits={"pause_bars": "rest", "trades_per_day": "most", "daily_loss": {"percent": "loss"}},
    )
    assert limit_plan(spec) == LimitPlan(4, 3, 2.0, 0.0)
    changed = spec.with_params({"rest": 8.0, "most": 1, "loss": 1})
    assert limit_plan(changed) == LimitPlan(8, 1, 1.0, 0.0)
    with pytest.raises(SpecError, match=r"limits.pause_bars: it must be a whole number from 1 .* but got 0"):
        spec.with_params({"rest": 0})
    with pytest.raises(SpecError, match=r"limits.daily_loss.percent: it must be above 0 and at most 100"):
        spec.with_params({"loss": 101})
    space = SearchSpace(spec, {"rest": IntRange(low=1, high=9)}, ())
    assert {point["rest"] for point in space.sample(50, seed=1, method="random")} >= {1, 5, 9}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "limits: it names no limit. Give pause_bars, trades_per_day or daily_loss"),
        ({"pause_bars": 0}, r"limits.pause_bars: it must be a whole number from 1 to 100000, but got 0"),
        ({"pause_bars": -3}, r"limits.pause_bars: .* but got -3"),
        ({"pause_bars": 2.5}, "pause_bars"),
        ({"pause_bars": True}, "pause_bars"),
        ({"pause_bars": "rest"}, "names the parameter 'rest', which does not exist"),
        ({"trades_per_day": 0}, r"limits.trades_per_day: it must be a whole number from 1 to 10000"),
        ({"daily_loss": {}}, "daily_loss: it must have either percent or money, but got neither"),
        ({"daily_loss": {"percent": 1, "money": 5}}, "either percent or money, but got both"),
        ({"daily_loss": {"percent": 0}}, r"limits.daily_loss.percent: it must be above 0 .* but got 0"),
        ({"daily_loss": {"money": -5}}, r"limits.daily_loss.money: it must be above 0 .* but got -5"),
        ({"daily_loss": {"money": math.nan}}, r"limits.daily_loss.money: .* must be finite, but got nan"),
        ({"daily_loss": {"money": math.inf}}, r"limits.daily_loss.money: .* must be finite, but got inf"),
        ({"daily_loss": {"money": 5, "flatten": True}}, "flatten"),
        ({"pause": 3}, "pause"),
    ],
)
def test_what_makes_no_sense_is_refused(limits: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(limits=limits)


def test_an_unused_parameter_beside_limits_is_refused() -> None:
    with pytest.raises(SpecError, match="parameter: rest is never used"):
        spec_of(params={"rest": 3}, limits={"pause_bars": 3})
    with pytest.raises(SpecError, match=r"limits.pause_bars: it must be a whole number .* but got 3.0"):
        spec_of(params={"rest": 3.0}, limits={"pause_bars": "rest"})


@pytest.mark.parametrize(
    ("plan", "lost", "reached"),
    [
        (LimitPlan(loss_money=100.0), 99.99, False),
        (LimitPlan(loss_money=100.0), 100.0, True),
        (LimitPlan(loss_money=100.0), 99.9999999, True),  # a sum of floats that should be 100
        (LimitPlan(loss_money=100.0), -500.0, False),
        (LimitPlan(loss_percent=1.0), 499.0, False),
        (LimitPlan(loss_percent=1.0), 500.0, True),
        (LimitPlan(pause_bars=3), 1e9, False),
    ],
)
def test_when_a_day_has_lost_too_much(plan: LimitPlan, lost: float, reached: bool) -> None:
    assert plan.loses_too_much(lost, 50_000.0) is reached


def test_a_day_that_begins_with_nothing_ends_at_the_first_loss() -> None:
    plan = LimitPlan(loss_percent=1.0)
    assert not plan.loses_too_much(0.0, -20.0)
    assert plan.loses_too_much(0.01, -20.0)
