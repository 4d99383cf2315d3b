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


def test_per_cent_is_told():
    spec = {
        "stop_loss": {"unit": "percent", "value": 0.5},
        "trailing_stop": {"distance": {"unit": "percent", "value": 1}},
    }
    told = {fact.name: fact.value for fact in rules(spec)}
    assert told["Stop loss"] == "0.5% from the close of the signal bar"
    assert told["Trailing stop"] == "1% of the signal's close from the best price since the entry"


def test_where_a_level_is_laid_from_is_told():
    spec = {
        "stop_loss": {"unit": "percent", "value": 0.5, "origin": "entry"},
        "take_profit": {"unit": "percent", "value": 2, "origin": "position"},
    }
    told = {fact.name: fact.value for fact in rules(spec)}
    assert told["Stop loss"] == "0.5% of the signal's close from the entry's price"
    assert told["Take profit"] == "2% from the entry's price, acting from the close of the entry bar on"


def test_entry_limits_are_told():
    limits = {"pause_bars": "rest", "trades_per_day": 3, "daily_loss": {"percent": 2.5, "money": None}}
    told = {fact.name: fact.value for fact in rules({"params": {"rest": 5}, "limits": limits})}
    assert told["Re-entry pause"] == "none before the close 5 (rest) bars after an exit's bar"
    assert told["Entries per day"] == "at most 3 a trading day (17:00 New York)"
    assert told["Daily loss stop"].startswith("no entry once a trading day's closed trades have lost 2.5% of")
    money = {fact.name: fact.value for fact in rules({"limits": {"daily_loss": {"money": 80}}})}
    assert "lost 80 of the account's currency" in money["Daily loss stop"]
    assert "Re-entry pause" not in money


def test_an_unknown_spec_has_no_rules():
    assert rules({}) == []
