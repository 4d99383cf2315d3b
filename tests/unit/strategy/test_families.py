"""The ready families keep what the documentation says of them."""

from __future__ import annotations

import pytest

from aiopt.errors import SpecError
from aiopt.strategy.families import FAMILIES, family
from aiopt.strategy.signals import compute_signals
from tests.unit.strategy.condition_trees import make_bars


def test_the_five_families():
    assert list(FAMILIES) == [
        "rsi_reversion",
        "macd_adx_trend",
        "bollinger_breakout",
        "ema_cross_atr",
        "stochastic_sma",
    ]
    assert all(space.spec.name == space.spec.family == name for name, space in FAMILIES.items())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_complete(name):
    spec = FAMILIES[name].spec
    assert spec.entry_long is not None
    assert spec.entry_short is not None
    assert spec.stop_loss is not None
    assert spec.take_profit is not None
    assert len(spec.description) > 40
    assert set(FAMILIES[name].dimensions) <= set(spec.params)


def test_sessions_and_pips_are_used():
    assert sum(space.spec.session is not None for space in FAMILIES.values()) >= 2
    assert {space.spec.stop_loss.unit for space in FAMILIES.values()} == {"atr", "pips"}


@pytest.mark.parametrize("name", FAMILIES)
def test_defaults_are_a_point_of_the_space(name):
    space = FAMILIES[name]
    defaults = {key: space.spec.params[key] for key in space.dimensions}
    assert space.contains(defaults)
    for key, dimension in space.dimensions.items():
        assert defaults[key] in [dimension.at(i) for i in range(dimension.count)]


@pytest.mark.parametrize("name", FAMILIES)
def test_stops_are_wider_than_the_spread(name):
    space = FAMILIES[name]
    key = space.spec.stop_loss.value
    assert space.dimensions[key].low >= (8.0 if space.spec.stop_loss.unit == "pips" else 3.0)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", range(4))
def test_both_sides_trade(name, seed):
    bars = make_bars(3000, seed=seed, flat=0.02)
    account = {"tick_size": 1e-5, "pip_size": 1e-4, "initial_balance": 1e5}
    signals = compute_signals(FAMILIES[name].spec, bars, **account)
    assert signals.entry_long.sum() >= 5
    assert signals.entry_short.sum() >= 5
    taken = signals.entry_long
    assert (signals.stop_long < bars.close)[taken].all()
    assert (signals.target_long > bars.close)[taken].all()


def test_unknown_family():
    assert family("rsi_reversion") is FAMILIES["rsi_reversion"]
    with pytest.raises(SpecError, match=r"'rsi_reversal' is neither .* Did you mean 'rsi_reversion'\?"):
        family("rsi_reversal")
