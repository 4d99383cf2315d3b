"""Rules of bars: their sizes, and that a request holds one type."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.bars.request import BarRequest
from aiopt.bars.rules import BarRule, EventRule, parse_bar_rule, parse_bar_rules
from aiopt.errors import ConfigError


@pytest.mark.parametrize(
    ("type_", "sizes", "rule"),
    [
        ("ticks", "5", "tick"),
        ("tick", "2.5", "whole number"),
        ("tick", "0", "must be positive"),
        ("range", "-1", "plain number"),
        ("range", "", "need a size"),
        ("volume", "1e6", "plain number"),
    ],
)
def test_bad_rules_are_refused(type_: str, sizes: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        parse_bar_rules(type_, sizes)


def test_a_request_holds_one_type() -> None:
    with pytest.raises(ConfigError, match="one type"):
        BarRequest((EventRule("tick", 5), EventRule("range", 5)), ("bid",))
    with pytest.raises(ConfigError, match="at least one"):
        BarRequest((), ("bid",))


@pytest.mark.parametrize("label", ["1m", "4h", "1d", "tick-500", "volume-1000000", "range-2.5", "renko-5"])
def test_a_label_leads_back_to_its_rule(label: str) -> None:
    rule = parse_bar_rule(label)
    assert rule.label == label
    assert rule.type == (label.partition("-")[0] if "-" in label else "time")
    assert msgspec.json.decode(msgspec.json.encode(rule), type=BarRule) == rule
    assert parse_bar_rules(rule.type, label if rule.type == "time" else label.partition("-")[2]) == (rule,)


@pytest.mark.parametrize(
    ("label", "rule"),
    [("5", "number and one of s, m, h, d"), ("5m-2", "number and one"), ("pnf-3", "must be time or one of")],
)
def test_a_label_of_no_rule_is_refused(label: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        parse_bar_rule(label)


@pytest.mark.parametrize(
    ("type_", "carry"),
    [("tick", "amount"), ("volume", "amount"), ("range", "path"), ("renko", "path"), ("time", "nothing")],
)
def test_what_a_part_must_know_of_the_ticks_before(type_: str, carry: str) -> None:
    assert parse_bar_rules(type_, "1m" if type_ == "time" else "5")[0].carry == carry
