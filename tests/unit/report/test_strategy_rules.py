"""Rules in words."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.report.strategy_rules import rules
from aiopt.strategy.families import FAMILIES


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_rule_of_a_ready_family_is_told(family):
    spec = FAMILIES[family].spec
    told = {fact.name: fact.value for fact in rules(msgspec.to_builtins(spec))}
    assert told["Enter long"] == spec.entry_long
    assert told["Enter short"] == spec.entry_short
    assert {f"Indicator {name}" for name in spec.indicators} <= set(told)
    assert "Stop loss" in told
    assert told["Position size"] == "10,000 units"
    assert ("Entries only" in told) == (spec.session is not None)


def test_distances_name_the_parameter_and_its_value():
    spec = {
        "params": {"wide": 2.5},
        "entry_long": "close > open",
        "stop_loss": {"unit": "pips", "value": "wide"},
        "take_profit": {"unit": "atr", "value": 3, "indicator": "atr"},
        "size": {"kind": "risk", "risk_pct": 0.5},
    }
    told = {fact.name: fact.value for fact in rules(spec)}
    assert told["Stop loss"] == "2.5 (wide) pips from the close of the signal bar"
    assert told["Take profit"] == "3 × atr from the close of the signal bar"
    assert told["Position size"] == "0.5% of the initial balance at risk up to the stop"


def test_an_unknown_spec_has_no_rules():
    assert rules({}) == []
