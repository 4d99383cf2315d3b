"""Targets of parts: what a spec may say, and how an entry is cut."""

from __future__ import annotations

import math

import msgspec
import pytest

from aiopt.errors import SpecError
from aiopt.report.strategy_rules import rules
from aiopt.strategy.exits import exit_plan
from aiopt.strategy.spec import StrategySpec, spec_from_mapping


def pips(value, **further):
    return {"unit": "pips", "value": value, **further}


def spec_of(**fields) -> StrategySpec:
    return spec_from_mapping({"name": "some", "entry_long": "close > open", **fields}, where="test")


def test_without_targets_nothing_is_written() -> None:
    spec = spec_of()
    assert "targets" not in msgspec.to_builtins(spec)
    assert spec_of(targets=None).spec_hash == spec.spec_hash
    assert exit_plan(spec, pip_size=1e-4, tick_size=1e-5) is None


def test_it_reads_back_what_it_writes() -> None:
    spec = spec_of(params={"half": 50.0}, targets=[pips(5, share="half"), pips(9, share=20)])
    assert StrategySpec.from_json(spec.to_json()) == spec
    assert "{share: half, unit: pips, value: 5}" in spec.to_yaml()
    assert spec.with_params({"half": 40}).spec_hash != spec.spec_hash


def test_the_report_tells_them() -> None:
    facts = {
        fact.name: fact.value for fact in rules(msgspec.to_builtins(spec_of(targets=[pips(5, share=50)])))
    }
    assert facts["Target 1"] == "50% of the entry, 5 pips from the close of the signal bar"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": []}, "targets: the list is empty. Give one to four"),
        ({"targets": [pips(1 + k, share=1) for k in range(5)]}, "there are 5, and 4 are allowed"),
        ({"targets": [pips(5, share=0)]}, r"targets.1.share: `0 < share <= 100` must hold, but got 0"),
        ({"targets": [pips(5, share=math.nan)]}, r"targets.1.share: .* but got nan"),
        ({"targets": [pips(math.nan, share=5)]}, r"targets.1.value: a number must be finite, but got nan"),
        (
            {"targets": [pips(5, share=60), pips(6, share=41)]},
            "targets: the shares must sum up to at most 100 per cent, but got 101",
        ),
        ({"targets": [pips(5, share=60), pips(5, share=4)]}, r"targets.2: it must lie beyond targets.1"),
        (
            {"targets": [pips(5, share=60)], "take_profit": pips(4)},
            r"take_profit: it must lie beyond targets.1, but got 4 pips after 5",
        ),
        (
            {"targets": [pips(5, share=100)], "take_profit": pips(9)},
            "take_profit: the shares of targets sum up to 100 per cent, so nothing is left",
        ),
        ({"targets": [pips(5, share="much")]}, "names the parameter 'much', which does not exist"),
        ({"targets": [{"share": 5, "unit": "atr", "value": 2}]}, r"targets.1: unit atr must name an ATR"),
        ({"targets": [{"share": 5, "unit": "R", "value": 2}]}, "Invalid enum value 'R'"),
        ({"targets": [pips(5, share=5, plus=1)]}, "plus"),
    ],
)
def test_bad_input_is_named(fields, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(**fields)


@pytest.mark.parametrize(
    ("shares", "units", "parts"),
    [
        ((50, 33.3), 1000.0, [500.0, 333.0, 167.0]),
        ((50, 50), 7.0, [3.0, 4.0, 0.0]),
        ((50, 33.3), 1.0, [0.0, 0.0, 1.0]),
        ((33.3, 33.3, 33.4), 10_000.0, [3330.0, 3330.0, 3340.0, 0.0]),
    ],
)
def test_an_entry_is_cut_into_whole_units(shares, units: float, parts: list[float]) -> None:
    targets = [pips(number + 1, share=share) for number, share in enumerate(shares)]
    plan = exit_plan(spec_of(targets=targets), pip_size=1e-4, tick_size=1e-5)
    assert plan is not None
    assert plan.targets is not None
    assert plan.targets.split(units) == parts


def test_a_size_by_risk_is_cut_into_its_steps() -> None:
    spec = spec_of(
        stop_loss=pips(9), size={"kind": "risk", "risk_pct": 1.0, "step": 1000}, targets=[pips(5, share=30)]
    )
    plan = exit_plan(spec, pip_size=1e-4, tick_size=1e-5)
    assert plan is not None
    assert plan.targets is not None
    assert plan.targets.split(7000.0) == [2000.0, 5000.0]
