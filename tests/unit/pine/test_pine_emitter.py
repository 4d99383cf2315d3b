from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

from aiopt import __version__
from aiopt.errors import ConfigError, PineError
from aiopt.indicators.registry import INDICATORS
from aiopt.market.instrument import instrument
from aiopt.pine import emitter
from aiopt.pine.checking.check import check_generated
from aiopt.pine.checking.scopes import dotted
from aiopt.pine.emitter import emit, write_script
from aiopt.pine.form import ScriptCosts, ScriptForm
from aiopt.pine.indicators import KINDS, write_indicator
from aiopt.pine.made_from import without_made_from
from aiopt.pine.parsing.nodes import Call
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.parsing.walk import walk
from aiopt.pine.provenance import Provenance, Verification
from aiopt.pine.text import Names
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import IndicatorSpec, PriceDistance, RiskSize, StrategySpec, spec_from_mapping

EURUSD = instrument("EURUSD")
BARE = StrategySpec(name="bare", entry_long="close > open")


@cache
def script(family: str, version: int = 6) -> str:
    return emit(FAMILIES[family].spec, provenance=Provenance(), instrument=EURUSD, version=version)


def bare(provenance: Provenance | None = None, **changes) -> str:
    spec = StrategySpec(**{"name": "bare", "entry_long": "close > open", **changes})
    return emit(spec, provenance=provenance or Provenance(), instrument=EURUSD)


def joined(text: str) -> str:
    """Return a script with every statement on one line."""
    return re.sub(r"\n {6}(?: {4})*(?=\S)", " ", text)


def code_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("//")]


@pytest.mark.parametrize("version", [6, 5])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_keeps_the_rules(family: str, version: int) -> None:
    text = script(family, version)
    assert text.startswith(f"//@version={version}\n")
    assert check_generated(text) == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_versions_differ_in_the_first_line_only(family: str) -> None:
    assert script(family, 5).splitlines()[1:] == script(family, 6).splitlines()[1:]


def test_emitting_twice_gives_the_same_bytes() -> None:
    spec = FAMILIES["rsi_reversion"].spec
    assert emit(spec, provenance=Provenance(), instrument=EURUSD) == script("rsi_reversion")


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_parameters_survive_emitting_and_parsing(family: str) -> None:
    found = {}
    for node in walk(parse_script(script(family)).tree):
        if isinstance(node, Call) and (dotted(node.function) or "").startswith("input."):
            default, title = (argument.value for argument in node.arguments[:2])
            found[title.value] = default.value
    params = FAMILIES[family].spec.params
    assert found == params
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in params.items()
    }


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.skipif(
    not os.environ.get("AIOPT_SECOND_OPINION"), reason="AIOPT_SECOND_OPINION=1 gives pynescript every family"
)
def test_another_parser_reads_every_family_too() -> None:
    """A second opinion on all families in one test: 40 s of CPU, 16 of them for the first script."""
    from pynescript import ast

    for family in sorted(FAMILIES):
        mine = parse_script(script(family)).tree.statements
        assert len(ast.parse(script(family)).body) == len(mine), family


def test_every_indicator_kind_can_be_written() -> None:
    assert set(INDICATORS) == KINDS
    for kind, definition in INDICATORS.items():
        args = {name: str(arg.default) for name, arg in definition.args.items()}
        written = write_indicator(kind, identifier="my_id", source="close", args=args, names=Names())
        assert tuple(written.outputs) == definition.outputs
        text = "\n".join(written.lines)
        for variable in written.outputs.values():
            assert variable in text


def test_unknown_indicator_kind_is_refused() -> None:
    with pytest.raises(PineError, match="'astrology' cannot be written in Pine"):
        write_indicator("astrology", identifier="x", source="close", args={}, names=Names())


def test_two_indicators_of_one_kind_and_clashing_names_stay_apart() -> None:
    text = bare(
        params={"a_value": 5, "a": 7},
        indicators={
            "aB": IndicatorSpec(kind="dmi", args={"length": "a", "smoothing": "a_value"}),
            "a_b": IndicatorSpec(kind="dmi", args={"length": 9, "smoothing": 9}),
        },
        entry_long="aB.adx > a_b.adx",
    )
    assert "aBAdx > aBAdx2" in text


@pytest.mark.parametrize(
    "hostile",
    ['"); strategy.close_all()', "a\nstrategy.close_all()", "a\r\u2028b\x00//@version=5", "\\", "*/"],
)
def test_no_text_becomes_code(hostile: str) -> None:
    provenance = Provenance(
        run_id=hostile,
        data_hash=hostile,
        costs=hostile,
        timeframe=hostile,
        in_sample={hostile: 1.0},
        verification=Verification(engine=hostile, trades=1, data_hash=hostile),
    )
    hostile_lines, plain_lines = (
        [re.sub(r"[0-9a-f]{64}", "HASH", line) for line in code_lines(text)]
        for text in (bare(provenance, description=hostile), bare())
    )
    assert hostile_lines == plain_lines


def test_header_states_where_the_script_comes_from() -> None:
    text = bare(
        Provenance(
            run_id="run-7",
            rank=2,
            trials=300,
            data_hash="abc123",
            synthetic=True,
            timeframe="5m",
            first_ts_ns=1_514_764_800_000_000_000,
            last_ts_ns=1_514_851_140_000_000_000,
            costs="spread, 35 USD per million and side",
            rollover="3 of 12 trades were held over 17:00 New York, 5 nights",
            in_sample={"profit factor": 1.5, "trades": 12},
            out_of_sample={"profit factor": float("nan")},
            holdout={"net profit": None},
        )
    )
    header = " ".join(line.removeprefix("//").strip() for line in text.splitlines() if line.startswith("//"))
    for part in (
        f"aiopt {__version__}",
        "run: run-7, rank 2 of 300 trials",
        "abc123 SYNTHETIC ticks: generated, not traded",
        "EURUSD, 5m",
        "2018-01-01 00:00:00 to 2018-01-01 23:59:00 UTC",
        "costs: spread, 35 USD per million and side",
        "rollover: TradingView's emulator charges no swap, so none is in this chart's figures. In the "
        "backtest 3 of 12 trades were held over 17:00 New York, 5 nights.",
        "in sample: profit factor 1.5, trades 12",
        "out of sample: profit factor n/a",
        "holdout: net profit n/a",
        "NOT verified by a Pine engine",
        BARE.spec_hash,
    ):
        assert part in header, part


def test_header_of_real_data_does_not_say_synthetic() -> None:
    assert "SYNTHETIC" not in bare(Provenance(data_hash="abc"))


def test_header_says_what_was_verified() -> None:
    verification = Verification(engine="PineTS 0.9.34", trades=321, data_hash="feed")
    text = bare(Provenance(verification=verification))
    assert "NOT verified" not in text
    assert "321 closed trades equal the backtest's in PineTS 0.9.34" in text


def test_spec_without_indicators_stops_or_session_is_small() -> None:
    text = bare()
    assert "bool ready = true" in text
    for absent in ("strategy.exit", "strategy.cancel", "strategy.close", "session", "Short"):
        assert absent not in "\n".join(code_lines(text)), absent


def test_pips_are_those_of_the_instrument() -> None:
    spec = StrategySpec(
        name="bare", entry_long="close > open", stop_loss=PriceDistance(unit="pips", value=15)
    )
    text = emit(spec, provenance=Provenance(), instrument=EURUSD)
    assert "longStop := math.round_to_mintick(close - 15.0 * 0.0001)" in text
    text = emit(spec, provenance=Provenance(), instrument=instrument("USDJPY"))
    assert "longStop := math.round_to_mintick(close - 15.0 * 0.01)" in text


def test_risk_size_uses_the_initial_balance() -> None:
    spec = StrategySpec(
        name="bare",
        entry_long="close > open",
        stop_loss=PriceDistance(unit="pips", value=20),
        size=RiskSize(risk_pct=0.5),
    )
    text = emit(spec, provenance=Provenance(), instrument=EURUSD, initial_balance=50_000.0, leverage=20.0)
    sizes = "math.min(50000.0 * 0.5 / 100.0 / (20.0 * 0.0001), 1000000000.0) / 1000.0) * 1000.0"
    assert sizes in joined(text)
    assert "initial_capital=50000.0" in text
    assert 'leverageInput = input.float(20.0, "account leverage"' in text
    assert "math.floor(strategy.equity * leverageInput / close / 1000.0) * 1000.0" in text
    assert 'group="Account"' in text
    assert "qty=orderUnits" in text
    assert "entryUnits > 0.0 and close > open" in text


def test_input_limits_are_those_the_spec_enforces() -> None:
    text = joined(script("bollinger_breakout"))
    assert 'input.int(20, "length", minval=1, maxval=5000, step=1, ' in text
    assert 'input.float(2.0, "multiplier", minval=0.0, maxval=100.0, step=0.1, ' in text
    assert 'input.float(4.0, "stop_atr", minval=0.1, step=0.1, ' in text


def test_inputs_are_grouped_and_what_was_swept_limits_them() -> None:
    space = FAMILIES["rsi_reversion"]
    form = ScriptForm(ranges=space.dimensions)
    text = joined(emit(space.spec, provenance=Provenance(), instrument=EURUSD, form=form))
    assert (
        'int rsiLengthInput = input.int(14, "rsi_length", minval=5, maxval=30, step=1, '
        'tooltip="Length of rsi. The sweep tried 5 to 30 in steps of 1.", group="Indicators")'
    ) in text
    assert (
        'float oversoldInput = input.float(30.0, "oversold", minval=15.0, maxval=40.0, step=2.5, '
        'tooltip="Entry long. The sweep tried 15 to 40 in steps of 2.5.", group="Signals")'
    ) in text
    groups = re.findall(r'group="([^"]+)"', text)
    assert groups == sorted(groups, key=["Indicators", "Signals", "Stops and targets"].index)
    assert len(groups) == len(space.spec.params)


def test_a_range_that_the_value_lies_outside_of_sets_no_limits() -> None:
    space = FAMILIES["rsi_reversion"]
    spec = space.spec.with_params({"rsi_length": 50})
    form = ScriptForm(ranges=space.dimensions)
    text = joined(emit(spec, provenance=Provenance(), instrument=EURUSD, form=form))
    assert 'input.int(50, "rsi_length", minval=1, maxval=5000, step=1, ' in text
    assert "The sweep tried 5 to 30" in text


def test_every_alert_is_one_json_object_with_the_same_first_keys() -> None:
    spec = FAMILIES["rsi_reversion"].spec
    for kind in ("strategy", "indicator"):
        form = ScriptForm(kind=kind)
        text = joined(emit(spec, provenance=Provenance(), instrument=EURUSD, form=form))
        messages = [json.loads(said(found, text)) for found in re.findall(r"alertHead \+ .*?}'", text)]
        assert {(one["action"], one["side"], one.get("reason")) for one in messages} >= {
            ("entry", "long", None),
            ("entry", "short", None),
            ("exit", "long", "signal"),
            ("exit", "short", "signal"),
        }
        for one in messages:
            assert list(one)[:5] == ["strategy", "spec", "symbol", "timeframe", "time"]
            assert one["spec"] == spec.spec_hash
        reasons = {one.get("reason") for one in messages}
        assert ({"stop", "target"} <= reasons) == (kind == "strategy")


def test_the_alert_of_a_stop_that_moves_takes_its_reason_from_the_list_of_trades() -> None:
    pips = {"unit": "pips", "value": 20}
    moving = {"name": "moving", "entry_long": "close > open", "stop_loss": pips}
    moving |= {"trailing_stop": {"distance": pips}, "time_stop": {"bars": 3}}
    spec = spec_from_mapping(moving, where="test")
    text = joined(emit(spec, provenance=Provenance(), instrument=EURUSD))
    reason = """reason":"' + str.replace(str.lower(longReason), "-", "_") + '"}')"""
    assert text.count("comment_loss=longReason, alert_loss=alertHead + ") == text.count(reason) == 1
    assert '"reason":"time"' in text
    assert check_generated(text) == []


def said(expression: str, text: str) -> str:
    """Return what a sum of Pine strings gives, numbers as 1 and symbols as X."""
    head = re.search(r"string alertHead = (.+)", text)
    assert head is not None
    whole = expression.replace("alertHead", head[1], 1)
    parts = re.findall(r"'(?:[^'\\]|\\.)*'|str\.tostring\(|syminfo\.ticker|timeframe\.period", whole)
    return "".join(
        "1" if part.startswith("str.") else part[1:-1] if part.startswith("'") else "X" for part in parts
    )


def test_without_alerts_and_plots_nothing_of_them_is_left() -> None:
    spec = FAMILIES["rsi_reversion"].spec
    form = ScriptForm(alerts=False, plots=False)
    text = emit(spec, provenance=Provenance(), instrument=EURUSD, form=form)
    assert "alert" not in without_made_from(text)
    assert "plot" not in without_made_from(text)
    assert check_generated(text) == []


def test_an_indicator_holds_no_position() -> None:
    spec = FAMILIES["rsi_reversion"].spec
    text = emit(spec, provenance=Provenance(), instrument=EURUSD, form=ScriptForm(kind="indicator"))
    assert "strategy." not in "\n".join(code_lines(text))
    assert check_generated(text) == []


def test_costs_are_declared_as_chosen() -> None:
    costs = ScriptCosts(commission_pct=0.002, slippage_ticks=3)
    text = joined(emit(BARE, provenance=Provenance(), instrument=EURUSD, form=ScriptForm(costs=costs)))
    assert "commission_value=0.002, slippage=3" in text
    assert "Costs as declared here" in text


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"commission_pct": -0.1}, "commission_pct"),
        ({"commission_pct": float("nan")}, "commission_pct"),
        ({"slippage_ticks": -1}, "slippage_ticks"),
    ],
)
def test_senseless_costs_are_refused(costs: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ScriptCosts(**costs)


def test_equal_indicators_are_computed_once() -> None:
    spec = StrategySpec(
        name="twice",
        indicators={
            "fast": IndicatorSpec(kind="ema", args={"length": 9}),
            "same": IndicatorSpec(kind="ema", args={"length": 9}),
            "atr": IndicatorSpec(kind="atr", args={"length": 9}),
            "wide": IndicatorSpec(kind="atr", args={"length": 20}),
        },
        entry_long="crossover(close, fast) and crossover(close, same) and atr > wide",
    )
    text = emit(spec, provenance=Provenance(), instrument=EURUSD)
    assert text.count("ta.ema(close, 9)") == 1
    assert text.count("ta.tr(true)") == 1
    assert "fastValue" in text
    assert "sameValue" not in text


@pytest.mark.parametrize("version", [4, 7, 0])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(ConfigError, match=f"Pine version {version} is not supported"):
        emit(BARE, provenance=Provenance(), instrument=EURUSD, version=version)


@pytest.mark.parametrize("balance", [0.0, -1.0, float("nan")])
def test_a_balance_that_is_not_positive_is_refused(balance: float) -> None:
    with pytest.raises(ConfigError, match="initial_balance > 0"):
        emit(BARE, provenance=Provenance(), instrument=EURUSD, initial_balance=balance)


def test_write_script_writes_script_and_spec(tmp_path: Path) -> None:
    path = write_script(
        tmp_path / "pine", "1_bare-x", BARE, provenance=Provenance(), instrument=EURUSD, version=5
    )
    assert path == tmp_path / "pine" / "1_bare-x.pine"
    assert path.read_text() == emit(BARE, provenance=Provenance(), instrument=EURUSD, version=5)
    assert StrategySpec.from_json((tmp_path / "pine" / "1_bare-x.json").read_text()) == BARE
    assert sorted(file.name for file in path.parent.iterdir()) == ["1_bare-x.json", "1_bare-x.pine"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a b", "x" * 101, "a\n"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a script"):
        write_script(tmp_path, name, BARE, provenance=Provenance(), instrument=EURUSD)
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_breaks_a_rule_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "header_lines", lambda *args, **kwargs: ["ta.nonsense(close)"])
    with pytest.raises(PineError, match=r"(?s)bare: .*ta\.nonsense\(\)"):
        write_script(tmp_path, "bare", BARE, provenance=Provenance(), instrument=EURUSD)
    assert list(tmp_path.iterdir()) == []
