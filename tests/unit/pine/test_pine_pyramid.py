"""Scripts that add entries: an id, a stop and a target for each, and nothing of it where there is one."""

from __future__ import annotations

import pytest

from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.form import ScriptForm
from aiopt.pine.provenance import Provenance
from aiopt.strategy.spec import StrategySpec, spec_from_mapping

EURUSD = instrument("EURUSD")
LEVELS = {"stop_loss": {"unit": "pips", "value": 10}, "take_profit": {"unit": "pips", "value": 20}}
BOTH = {"entry_short": "close < open", "exit_long": "close < low[1]"}
RISK = {"size": {"kind": "risk", "risk_pct": 1.0}}


def script(version: int = 6, form: ScriptForm | None = None, **fields: object) -> str:
    spec: StrategySpec = spec_from_mapping(
        {"name": "adds", "entry_long": "close > open", **fields}, where="test"
    )
    return emit(spec, provenance=Provenance(), instrument=EURUSD, version=version, form=form)


def test_one_entry_at_a_time_is_written_as_ever() -> None:
    text = script(**LEVELS, pyramiding=1)
    assert text == script(**LEVELS)
    assert "pyramiding=0" in text
    assert "close_entries_rule" not in text
    assert 'strategy.entry("Long", strategy.long' in text


@pytest.mark.parametrize("version", [5, 6])
def test_each_entry_has_an_exit_of_its_own(version: int) -> None:
    text = " ".join(script(version, **LEVELS, **BOTH, pyramiding=3).split())
    assert "pyramiding=3" in text
    assert 'close_entries_rule="ANY"' in text
    for side in ("Long", "Short"):
        for place in (1, 2, 3):
            assert f'strategy.entry("{side} {place}", strategy.{side.lower()}, qty=10000' in text
            wanted = f'strategy.exit("{side} exit {place}", from_entry="{side} {place}", '
            assert f"{wanted}stop={side.lower()}Stop{place}" in text
        assert f'"{side} 4"' not in text
    assert "strategy.opentrades < 3 and not exitLongSignal" in text
    assert '"entry":"Long 2","reason":"stop","quantity":' in text


@pytest.mark.parametrize("form", [None, ScriptForm(alerts=False, plots=False), ScriptForm(kind="indicator")])
@pytest.mark.parametrize("fields", [{}, LEVELS, {**LEVELS, **RISK}, BOTH, {**LEVELS, **BOTH, **RISK}])
def test_every_form_keeps_the_rules_of_scripts(form: ScriptForm | None, fields: dict) -> None:
    """`emit` checks what it writes."""
    text = script(form=form, **fields, pyramiding=10)
    if form is not None and form.kind == "indicator":
        assert "strategy.position_size" not in text
        assert "strategy.entry" not in text
    else:
        assert 'strategy.entry("Long 10"' in text
        assert ("strategy.exit(" in text) is bool(fields.get("stop_loss"))


def test_a_size_by_risk_is_cut_to_what_is_left() -> None:
    text = " ".join(script(**LEVELS, **BOTH, **RISK, pyramiding=2).split())
    assert "float orderUnits = math.min(entryUnits, carriedUnits - besideUnits)" in text
    assert 'else if strategy.position_size < 0 strategy.close_all(comment="Reverse"' in text
    assert "besideUnits" not in script(**LEVELS, **RISK)
