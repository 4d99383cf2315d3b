"""`pyramiding` in a strategy: its number, its place in the JSON, what it cannot stand beside."""

from __future__ import annotations

import pytest

from aiopt.errors import SpecError
from aiopt.report.strategy_rules import rules
from aiopt.strategy.spec import StrategySpec, spec_from_mapping
from aiopt.strategy.spec_pyramiding import MOST_ENTRIES, entries_of

PIPS = {"unit": "pips", "value": 10}


def spec_of(**fields: object) -> StrategySpec:
    return spec_from_mapping({"name": "adds", "entry_long": "close > open", **fields}, where="test")


@pytest.mark.parametrize("fields", [{"pyramiding": 1}, {"pyramiding": None}])
def test_one_entry_is_no_setting(fields) -> None:
    assert spec_of(**fields).spec_hash == spec_of().spec_hash
    assert "pyramiding" not in spec_of(**fields).to_json()
    assert entries_of(spec_of(**fields)) == 1


def test_it_is_kept_in_json_and_yaml() -> None:
    spec = spec_of(pyramiding=3)
    assert StrategySpec.from_json(spec.to_json()) == spec
    assert spec.spec_hash != spec_of(pyramiding=2).spec_hash
    assert "pyramiding: 3" in spec.to_yaml()
    assert entries_of(spec_of(pyramiding=MOST_ENTRIES)) == 10


def test_a_report_says_it() -> None:
    facts = {fact.name: fact.value for fact in rules({"entry_long": "close > open", "pyramiding": 3})}
    assert facts["Entries"] == "up to 3 of one side open at once, each with its own stop and target"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pyramiding": 0}, "pyramiding: it must be a whole number from 1 to 10, but got 0"),
        ({"pyramiding": 11}, "but got 11. Choose one, or leave it out for 1"),
        ({"pyramiding": 2.5}, r"Expected `int \| null`, got `float` - at `\$.pyramiding`"),
        ({"pyramiding": True}, r"got `bool` - at `\$.pyramiding`"),
        ({"pyramiding": "n", "params": {"n": 2}}, r"got `str` - at `\$.pyramiding`"),
        (
            {"pyramiding": 2, "trailing_stop": {"distance": PIPS}},
            "pyramiding: it cannot stand beside trailing_stop: .* Give a stop_loss instead",
        ),
        ({"pyramiding": 2, "break_even": {"after": PIPS}}, "it cannot stand beside break_even"),
        (
            {"pyramiding": 2, "time_stop": {"bars": 3}},
            "it cannot stand beside time_stop: .* Give exit conditions instead",
        ),
        (
            {"pyramiding": 2, "targets": [{"share": 50, **PIPS}]},
            "it cannot stand beside targets: .* Give a take_profit instead",
        ),
        (
            {"pyramiding": 2, "limits": {"pause_bars": 2}},
            "it cannot stand beside limits: .* Give a session instead, or remove pyramiding",
        ),
    ],
)
def test_bad_input_is_named(fields, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(**fields)


def test_one_entry_stands_beside_everything() -> None:
    assert (
        spec_of(pyramiding=1, limits={"pause_bars": 2}).spec_hash
        == spec_of(limits={"pause_bars": 2}).spec_hash
    )
