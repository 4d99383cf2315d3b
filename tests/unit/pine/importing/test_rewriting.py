"""Scripts of ours give back the spec they were made from, whatever can be said; or say what was changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiopt.cli.pine import command
from aiopt.indicators.registry import INDICATORS
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.form import ScriptCosts, ScriptForm
from aiopt.pine.importing.importing import Imported, import_script
from aiopt.pine.made_from import MadeFrom, made_from_lines, read_made_from, without_made_from
from aiopt.pine.provenance import Provenance
from aiopt.strategy.dimensions import FloatRange, IntRange
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import IndicatorSpec, StrategySpec, spec_from_mapping
from aiopt.testing.random_specs import random_spec
from aiopt.verification.engine_folder import FOLDER_VARIABLE

EURUSD = instrument("EURUSD")
SPEC = spec_from_mapping(
    {
        "name": "mine",
        "params": {"length": 9, "stop": 1.5, "pause": 3},
        "indicators": {
            "average": {"kind": "ema", "args": {"length": "length"}},
            "a": {"kind": "atr", "args": {"length": 7}},
        },
        "entry_long": "crossover(close, average)",
        "exit_long": "close < average",
        "stop_loss": {"unit": "atr", "value": "stop", "indicator": "a"},
        "size": {"kind": "risk", "risk_pct": 0.5},
        "limits": {"pause_bars": "pause"},
    },
    where="test",
)


def script_of(spec: StrategySpec, version: int = 6, form: ScriptForm | None = None) -> str:
    return emit(spec, provenance=Provenance(), instrument=EURUSD, version=version, form=form)


def read(text: str) -> Imported:
    return import_script(text, instrument=EURUSD)


def whole_language(seed: int) -> StrategySpec:
    adds = seed % 8 == 4
    return random_spec(
        seed,
        exits=not adds and seed % 2 == 1,
        limits=not adds and seed % 5 < 2,
        targets=not adds and seed % 3 > 0,
        higher=seed % 4 == 0,
        levels=seed % 11 < 6,
        adds=adds,
        wide=seed % 3 < 2,
    )


@pytest.mark.parametrize("seed", range(40))
def test_whatever_can_be_said_comes_back_with_its_hash(seed: int) -> None:
    spec = whole_language(seed)
    kind = "indicator" if seed % 10 == 9 else "strategy"
    form = ScriptForm(kind=kind, plots=seed % 3 == 0, alerts=seed % 4 < 2)
    found = read(script_of(spec, 5 + seed % 2, form))
    assert found.spec is not None
    assert found.spec.spec_hash == spec.spec_hash == found.stated_hash
    assert found.is_rewritten
    assert not found.refusals
    assert not found.notes


def test_those_specs_are_the_whole_language() -> None:
    specs = [whole_language(seed) for seed in range(40)]
    for name in ("trailing_stop", "break_even", "time_stop", "targets", "limits", "take_profit", "session"):
        assert sum(bool(getattr(spec, name)) for spec in specs) >= 3, name
    assert sum(spec.pyramiding not in (None, 1) and isinstance(spec.pyramiding, int) for spec in specs) >= 3
    assert len({one.kind for spec in specs for one in spec.indicators.values()}) > 30


@pytest.mark.parametrize("kind", sorted(INDICATORS))
def test_every_kind_comes_back(kind: str) -> None:
    outputs = INDICATORS[kind].outputs
    value = "x" if len(outputs) == 1 else f"x.{outputs[-1]}"
    args = INDICATORS[kind].defaults()
    if kind == "session_range":
        args |= {"start": "07:00", "end": "08:00"}
    spec = StrategySpec(
        name="mine",
        indicators={"x": IndicatorSpec(kind=kind, args=args)},
        entry_long=f"{value} > 1.5 and close > open",
    )
    found = read(script_of(spec))
    assert found.spec == spec
    assert found.is_rewritten


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_comes_back_with_what_was_swept(name: str) -> None:
    space = FAMILIES[name]
    found = read(script_of(space.spec, form=ScriptForm(ranges=space.dimensions)))
    assert found.spec == space.spec
    assert found.dimensions == space.dimensions
    assert not read(script_of(space.spec)).dimensions


def test_inputs_set_otherwise_are_parameters_set_otherwise() -> None:
    text = script_of(SPEC, form=ScriptForm(ranges={"length": IntRange(low=5, high=12)}))
    changed = text.replace('input.int(9, "length"', 'input.int(11, "length"').replace(
        'input.float(1.5, "stop"', 'input.float(2.25, "stop"'
    )
    changed = changed.replace('input.float(30.0, "account leverage"', 'input.float(10, "account leverage"')
    found = read(changed)
    assert found.is_rewritten
    assert found.spec is not None
    assert found.spec.params == {"length": 11, "stop": 2.25, "pause": 3}
    assert found.stated_hash == SPEC.spec_hash != found.spec.spec_hash
    assert found.dimensions == {"length": IntRange(low=5, high=12)}


def test_costs_and_capital_are_the_scripts() -> None:
    costs = ScriptCosts(commission_pct=0.002, slippage_ticks=3)
    fixed = FAMILIES["rsi_reversion"].spec
    text = script_of(fixed, form=ScriptForm(costs=costs))
    found = read(
        text.replace("slippage=3", "slippage=7").replace("initial_capital=100000.0", "initial_capital=5000")
    )
    assert found.is_rewritten
    assert (found.commission_pct, found.slippage_ticks, found.initial_balance) == (0.002, 7, 5000)


def test_comments_blank_lines_and_line_breaks_do_not_matter() -> None:
    text = script_of(SPEC)
    other = text.replace("\n// Signals", "\n\n// what I think of it\n// Signals").replace("\n", "\r\n")
    assert read(other).is_rewritten


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ta.crossover", "ta.crossunder"),
        ("ta.ema(close,", "ta.ema(open,"),
        ("strategy.position_size <= 0", "strategy.position_size < 0"),
        ('1.5, "stop"', '-1.5, "stop"'),
        ("* 0.5 / 100.0", "* 0.7 / 100.0"),
        ("\nif enterLong", "\nplot(close + 1)\nif enterLong"),
        ("pauseInput", "pauseInput + 1"),
        ("process_orders_on_close=false", "process_orders_on_close=true"),
    ],
)
def test_a_changed_script_is_not_taken_for_its_spec(old: str, new: str) -> None:
    text = script_of(SPEC)
    if old == "ta.crossover":
        old, new = "close > averageValue", "close < averageValue"
    assert old in text
    changed = text.replace(old, new, 1) if old != "pauseInput" else _last(text, old, new)
    found = read(changed)
    assert not found.is_rewritten
    assert found.spec is None or found.spec.spec_hash != SPEC.spec_hash


def _last(text: str, old: str, new: str) -> str:
    code, mark, rest = text.partition("\n// Made from")
    head, _, tail = code.rpartition(old)
    return head + new + tail + mark + rest


def test_what_changed_is_said_with_its_line() -> None:
    spec = FAMILIES["rsi_reversion"].spec
    text = script_of(spec)
    line = next(number for number, one in enumerate(text.splitlines(), 1) if one.startswith("bool ready"))
    found = read(text.replace("bool ready = not na(", "bool ready = close > 1 and not na(", 1))
    assert [note.line for note in found.notes if "changed since" in note.text] == [line]


@pytest.mark.parametrize(
    "stated",
    [
        '{"spec":',
        "[]",
        '{"spec":{},"symbol":"EURUSD","initial_balance":1.0,"leverage":1.0}',
        '{"spec":{"name":"x","entry_long":"close >"},"symbol":"EURUSD","initial_balance":1.0,"leverage":1.0}',
        '{"spec":{"name":"x","entry_long":"close > open"},"symbol":"X","initial_balance":-1,"leverage":1.0}',
        "[" * 5000,
        "\\udcff",
    ],
)
def test_a_comment_that_states_nonsense_is_a_comment(stated: str) -> None:
    code = without_made_from(script_of(FAMILIES["rsi_reversion"].spec))
    found = read(f"{code}\n//| {stated}\n")
    assert not found.is_rewritten
    assert found.spec is not None
    assert found.spec.spec_hash == FAMILIES["rsi_reversion"].spec.spec_hash


def test_a_script_that_states_another_spec_is_not_believed() -> None:
    code = without_made_from(script_of(FAMILIES["rsi_reversion"].spec))
    other = script_of(FAMILIES["ema_cross_atr"].spec)
    found = read(code + other[other.index("// Made from") :])
    assert not found.is_rewritten
    assert found.spec is not None
    assert found.spec.family == "rsi_reversion"


def test_the_comments_survive_editors() -> None:
    """No line begins or ends with a space, none is an instruction to the compiler, all is ASCII."""
    description = "Größe   \u2028 @version=5 //@version=4 " + " " * 300 + "end"
    made = MadeFrom(
        spec={"name": "x", "description": description, "entry_long": "close   >   open"},
        symbol="EURUSD",
        initial_balance=1.0,
        leverage=30.0,
    )
    lines = made_from_lines(made)
    assert read_made_from("\n".join(lines)) == made
    assert read_made_from("\r\n".join(line.rstrip() for line in lines)) == made
    for line in lines[2:]:
        assert line.isascii()
        assert "@" not in line
        assert re.fullmatch(r"//\| \S(.*\S)?", line), line
        assert len(line) <= 120


def test_the_command_writes_it_without_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    path, out = tmp_path / "mine.pine", tmp_path / "mine.yaml"
    jpy = instrument("USDJPY")
    ranges = {"stop": FloatRange(low=1.0, high=2.0)}
    text = emit(SPEC, provenance=Provenance(), instrument=jpy, form=ScriptForm(ranges=ranges))
    path.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(command, ["import", str(path), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["proved"]
    assert document["rewritten"]
    assert document["spec_hash"] == SPEC.spec_hash
    assert "writes this very script" in out.read_text(encoding="utf-8")
    shown = CliRunner().invoke(command, ["import", str(path)])
    assert shown.exit_code == 0
    assert "PROVED: aiopt writes this very script" in shown.output
