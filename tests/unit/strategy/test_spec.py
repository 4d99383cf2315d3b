"""StrategySpec: rules, canonical form, hash, files."""

from __future__ import annotations

import json
import keyword
import pickle
import string

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.errors import SpecError
from aiopt.indicators import INDICATORS
from aiopt.strategy.conditions import RESERVED
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import (
    FixedSize,
    IndicatorSpec,
    PriceDistance,
    RiskSize,
    SessionFilter,
    StrategySpec,
    load_spec,
    spec_from_mapping,
)

YAML = """
name: rsi_reversion
description: Test strategy.
params: {rsi_length: 14, oversold: 30.0, overbought: 70.0, atr_length: 14, stop_atr: 2.0, target_atr: 3.0}
indicators:
  rsi: {kind: rsi, source: close, args: {length: rsi_length}}
  atr: {kind: atr, args: {length: atr_length}}
entry_long: "crossover(rsi,oversold)"
entry_short: "crossunder(rsi, overbought)"
exit_long: "rsi > 50"
exit_short: "rsi < 50"
stop_loss: {unit: atr, value: stop_atr, indicator: atr}
take_profit: {unit: atr, value: target_atr, indicator: atr}
session: {start: "07:00", end: "20:00", timezone: UTC, weekdays: [1,2,3,4,5]}
size: {kind: fixed, units: 10000}
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(YAML)
    return load_spec(path)


def minimal(**changes):
    fields = {"name": "s", "entry_long": "close > open"}
    return StrategySpec(**{**fields, **changes})


def with_macd(**changes):
    indicators = {"macd": IndicatorSpec(kind="macd", args={"fast": 3, "slow": 6, "signal": 3})}
    return minimal(**{"indicators": indicators, "entry_long": "macd.macd > macd.signal", **changes})


# --- reading and writing ----------------------------------------------------------------------------------


def test_loads_yaml(spec):
    assert spec.family == "rsi_reversion"
    assert spec.entry_long == "crossover(rsi, oversold)"
    assert type(spec.params["rsi_length"]) is int
    assert type(spec.params["oversold"]) is float
    assert spec.resolved_args("rsi") == {"length": 14}
    assert spec.session == SessionFilter(start="07:00", end="20:00")
    assert spec.size == FixedSize(units=10_000)
    assert spec.warmup_bars == 14


def test_loads_json(spec, tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(spec.to_json())
    assert load_spec(path) == spec


@pytest.mark.parametrize("name", FAMILIES)
def test_yaml_round_trip(name, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(FAMILIES[name].spec.to_yaml())
    assert load_spec(path) == FAMILIES[name].spec


def test_golden_hash(spec):
    """Run folders and scripts name this hash: the canonical JSON must not change unnoticed."""
    assert spec.to_json() == (
        '{"description":"Test strategy.","entry_long":"crossover(rsi, oversold)",'
        '"entry_short":"crossunder(rsi, overbought)","exit_long":"rsi > 50","exit_short":"rsi < 50",'
        '"family":"rsi_reversion","indicators":{"atr":{"args":{"length":"atr_length"},"kind":"atr",'
        '"source":"close"},"rsi":{"args":{"length":"rsi_length"},"kind":"rsi","source":"close"}},'
        '"name":"rsi_reversion","params":{"atr_length":14,"overbought":70.0,"oversold":30.0,"rsi_length":14,'
        '"stop_atr":2.0,"target_atr":3.0},"session":{"end":"20:00","start":"07:00","timezone":"UTC",'
        '"weekdays":[1,2,3,4,5]},"size":{"kind":"fixed","units":10000},"stop_loss":{"indicator":"atr",'
        '"unit":"atr","value":"stop_atr"},"take_profit":{"indicator":"atr","unit":"atr","value":"target_atr"}}'
    )
    assert spec.spec_hash == "a52c10f4b59240957df14ec8e63642fd84b23984957302e1f6f530f9a2e410f0"


def test_hash_ignores_the_order_and_the_spelling(spec):
    data = json.loads(spec.to_json())
    shuffled = {key: data[key] for key in reversed(data)}
    shuffled["params"] = dict(reversed(data["params"].items()))
    shuffled["entry_long"] = "( crossover(rsi , oversold) )"
    twin = spec_from_mapping(shuffled, where="twin")
    assert twin.spec_hash == spec.spec_hash
    assert twin == spec
    assert len({twin, spec}) == 1


def test_hash_tells_int_from_float_and_any_change(spec):
    changed = [
        spec.with_params({"rsi_length": 15}),
        msgspec.structs.replace(spec, exit_long="rsi > 50.0"),
        msgspec.structs.replace(spec, session=None),
        msgspec.structs.replace(spec, name="other"),
        msgspec.structs.replace(spec, params={**spec.params, "stop_atr": 2}),
    ]
    assert len({spec.spec_hash, *(other.spec_hash for other in changed)}) == 1 + len(changed)
    assert all(other != spec for other in changed)
    assert spec != "rsi_reversion"


def test_pickles(spec):
    _ = spec.trees, spec.spec_hash  # cached values must not be in the way
    twin = pickle.loads(pickle.dumps(spec))
    assert twin == spec
    assert twin.spec_hash == spec.spec_hash
    assert twin.trees == spec.trees


def test_is_frozen(spec):
    with pytest.raises(AttributeError, match="immutable"):
        spec.name = "other"


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: name not in RESERVED and not keyword.iskeyword(name)
)
finite = st.floats(0.001, 1000.0)


@st.composite
def specs(draw):
    """Valid specs of many shapes."""
    identifiers = draw(st.lists(names, min_size=3, max_size=6, unique=True))
    length, level, stop, *indicator_names = identifiers
    indicators, conditions = {}, []
    for name in indicator_names:
        definition = INDICATORS[draw(st.sampled_from(sorted(INDICATORS)))]
        args = {
            key: "UTC"
            if arg.type is str
            else length
            if arg.type is int
            else draw(finite.filter(lambda x: x <= 100))
            for key, arg in definition.args.items()
        }
        args |= {key: "Europe/London" for key, arg in definition.args.items() if arg.type is str}
        indicators[name] = IndicatorSpec(kind=definition.kind, args=args)
        reference = (
            name if len(definition.outputs) == 1 else f"{name}.{draw(st.sampled_from(definition.outputs))}"
        )
        conditions.append(f"{reference} {draw(st.sampled_from(['<', '>', '<=']))} {level}")
    conditions.append(f"rising(close,{length})")
    conditions.append(f"close>{level}")
    joined = draw(st.sampled_from([" and ", " or "])).join(conditions)
    size = draw(
        st.one_of(
            st.builds(FixedSize, units=st.integers(1, 10**6)),
            st.builds(RiskSize, risk_pct=st.floats(0.01, 5.0), step=st.integers(1, 10**4)),
        )
    )
    clock = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]:02}:{t[1]:02}")
    session = None
    if draw(st.booleans()):
        start, end = draw(st.lists(clock, min_size=2, max_size=2, unique=True))
        session = SessionFilter(
            start=start,
            end=end,
            timezone=draw(st.sampled_from(["UTC", "Europe/London", "America/New_York", "Asia/Tokyo"])),
            weekdays=tuple(draw(st.lists(st.integers(1, 7), min_size=1))),
        )
    return StrategySpec(
        name=draw(names),
        description=draw(st.text(alphabet=string.printable + "äöü€", max_size=40)),
        params={
            length: draw(st.integers(2, 400)),
            level: draw(st.one_of(st.integers(-100, 100), finite)),
            stop: draw(finite),
        },
        indicators=indicators,
        entry_long=joined if draw(st.booleans()) else None,
        entry_short=joined,
        exit_short=draw(st.sampled_from([None, "close[3]<low"])),
        stop_loss=PriceDistance(unit="pips", value=stop),
        session=session,
        size=size,
    )


@settings(max_examples=200, deadline=None)
@given(spec=specs())
def test_json_round_trip(spec):
    twin = StrategySpec.from_json(spec.to_json())
    assert twin == spec
    assert twin.to_json() == spec.to_json()
    assert twin.spec_hash == spec.spec_hash
    assert {name: type(value) for name, value in twin.params.items()} == {
        name: type(value) for name, value in spec.params.items()
    }


@settings(max_examples=60, deadline=None)
@given(spec=specs())
def test_yaml_round_trip_of_any_spec(spec, tmp_path_factory):
    path = tmp_path_factory.mktemp("specs") / "spec.yaml"
    path.write_text(spec.to_yaml(), encoding="utf-8")
    assert load_spec(path) == spec


# --- parameters -------------------------------------------------------------------------------------------


def test_with_params_keeps_types(spec):
    changed = spec.with_params({"rsi_length": 7.0, "oversold": 20, "stop_atr": np.float64(1.5)})
    assert changed.params["rsi_length"] == 7
    assert type(changed.params["rsi_length"]) is int
    assert type(changed.params["oversold"]) is float
    assert type(changed.params["stop_atr"]) is float
    assert spec.params["rsi_length"] == 14
    assert spec.with_params({"rsi_length": np.int64(14)}) == spec


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rsi_lenght": 7}, "there is no parameter 'rsi_lenght'. Did you mean 'rsi_length'"),
        ({"rsi_length": 7.5}, "parameter rsi_length must be a whole number, but got 7.5"),
        ({"rsi_length": float("inf")}, "must be a whole number, but got inf"),
        ({"rsi_length": "7"}, "must be a number, but got '7'"),
        ({"rsi_length": True}, "must be a number, but got True"),
        ({"rsi_length": 0}, r"`1 <= length <= 5000` must hold, but got length=0"),
        ({"oversold": float("nan")}, "parameter oversold: the value must be finite, but got nan"),
        ({"stop_atr": -1.0}, r"stop_loss: `0 < value <= 1e6` must hold, but got -1.0"),
    ],
)
def test_with_params_refuses(spec, params, message):
    with pytest.raises(SpecError, match=message):
        spec.with_params(params)


# --- rules ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "1st"}, "A strategy's name must be a letter, then at most 63"),
        ({"name": "a" * 65}, "A strategy's name must be a letter, then at most 63"),
        ({"family": "a b"}, "A strategy's family must be a letter"),
        ({"entry_long": None}, "there is no entry"),
        ({"exit_short": "close > open"}, "there is no entry_short to leave"),
        ({"entry_long": "close > foo"}, "entry_long: unknown name 'foo'. Known: close"),
        ({"entry_long": "clse > 1"}, "unknown name 'clse'. Did you mean 'close'"),
        ({"entry_long": "rsi.value > 1"}, "unknown indicator 'rsi' in rsi.value. There is none"),
        ({"entry_long": "crosover(close, open)"}, "Did you mean 'crossover'"),
        ({"params": {"unused": 1}}, "parameter: unused is never used. Remove it"),
        ({"params": {"close": 1}}, "a parameter's name must not be a word of the condition language"),
        ({"params": {"and": 1}}, "a parameter's name must not be a word of the condition language"),
        ({"params": {"a-b": 1}}, "a parameter's name must be a letter"),
        ({"params": {f"p{i}": i for i in range(33)}}, "params: there are 33, and 32 are allowed"),
        (
            {"params": {"n": 2.0}, "entry_long": "rising(close, n)"},
            "rising needs a whole number of bars from 1 to 500, but 'n' is 2.0",
        ),
        (
            {"params": {"n": 501}, "entry_long": "rising(close, n)"},
            "rising needs a whole number of bars from 1 to 500, but 'n' is 501",
        ),
        ({"entry_long": "rising(close, n)"}, "but 'n' is no parameter. Use a whole-number parameter"),
        (
            {"params": {"n": 2}, "entry_long": "close > n[1]"},
            r"the parameter 'n' has no history. Remove the \[n\]",
        ),
        (
            {"indicators": {"x": IndicatorSpec(kind="sma", args={"length": 3})}},
            "indicator: x is never used",
        ),
        (
            {"indicators": {"x": IndicatorSpec(kind="smaa", args={"length": 3})}},
            "indicator x: There is no indicator of kind 'smaa'. .* Did you mean 'sma'",
        ),
        (
            {"indicators": {"x": IndicatorSpec(kind="sma", args={"len": 3})}},
            "indicator x: sma has no argument 'len'",
        ),
        (
            {"indicators": {"x": IndicatorSpec(kind="sma", args={"length": "n"})}},
            "indicator x: length names the parameter 'n', which does not exist. Add it to params",
        ),
        (
            {"indicators": {"x": IndicatorSpec(kind="sma", args={"length": 2.5})}},
            "length must be a whole number of bars, but got 2.5",
        ),
        (
            {"indicators": {"x": IndicatorSpec(kind="sma", source="clos", args={"length": 2})}},
            "source must be a price series or volume, but got 'clos'. Did you mean 'close'",
        ),
        (
            {"indicators": {"x": IndicatorSpec(kind="atr", source="high", args={"length": 2})}},
            "atr reads high, low, close, not 'high'. Remove source",
        ),
        (
            {
                "params": {"x": 1},
                "indicators": {"x": IndicatorSpec(kind="sma", args={"length": 2})},
            },
            "indicator x: a parameter has the same name",
        ),
        (
            {"stop_loss": PriceDistance(unit="pips", value=0)},
            r"stop_loss: `0 < value <= 1e6` must hold, but got 0",
        ),
        (
            {"stop_loss": PriceDistance(unit="pips", value="stop")},
            "stop_loss: value names the parameter 'stop', which does not exist",
        ),
        (
            {"take_profit": PriceDistance(unit="percent", value=5, indicator="atr")},
            "take_profit: unit percent needs no indicator",
        ),
        (
            {"stop_loss": PriceDistance(unit="percent", value=100)},
            "stop_loss: `value < 100` must hold of per cent, but got 100",
        ),
        (
            {"take_profit": PriceDistance(unit="pips", value=5, indicator="atr")},
            "take_profit: unit pips needs no indicator",
        ),
        (
            {"stop_loss": PriceDistance(unit="atr", value=2.0)},
            "stop_loss: unit atr must name an ATR indicator, but got None. Use an indicator of kind atr",
        ),
        (
            {
                "indicators": {"x": IndicatorSpec(kind="sma", args={"length": 2})},
                "stop_loss": PriceDistance(unit="atr", value=2.0, indicator="x"),
            },
            "unit atr must name an ATR indicator, but got 'x'",
        ),
        ({"size": RiskSize(risk_pct=1.0)}, "size: risk is measured up to the stop_loss"),
    ],
)
def test_rules(changes, message):
    with pytest.raises(SpecError, match=message):
        minimal(**changes)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("macd > 0", "the indicator 'macd' has several outputs. Choose one of macd.macd, macd.signal"),
        ("macd.sginal > 0", "'macd' has no output 'sginal'. Did you mean 'signal'"),
        ("mcd.signal > 0", "unknown indicator 'mcd' in mcd.signal. Did you mean 'macd'"),
    ],
)
def test_outputs_must_exist(condition, message):
    with pytest.raises(SpecError, match=message):
        with_macd(entry_long=condition)


def test_a_single_output_has_no_dot():
    indicators = {"avg": IndicatorSpec(kind="sma", args={"length": 3})}
    with pytest.raises(SpecError, match=r"the indicator 'avg' has one output. Write avg"):
        minimal(indicators=indicators, entry_long="avg.value > 1")


def test_output_names():
    assert with_macd().output_names() == {"macd": ("macd.macd", "macd.signal", "macd.histogram")}
    assert with_macd().warmup_bars == 7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": "7:00"}, "start must be a time HH:MM from 00:00 to 23:59, but got '7:00'"),
        ({"end": "24:00"}, "end must be a time HH:MM"),
        ({"end": "07:00"}, "start and end are both 07:00"),
        ({"weekdays": ()}, r"weekdays must be some of 1 \(Monday\) to 7, but got \[\]"),
        ({"weekdays": (0,)}, r"weekdays must be some of 1 \(Monday\) to 7, but got \[0\]"),
        (
            {"timezone": "Europe/Londn"},
            "no timezone 'Europe/Londn'. Use an IANA name. Did you mean 'Europe/London'",
        ),
        ({"timezone": "../../etc/passwd"}, "there is no timezone"),
        ({"timezone": ""}, "there is no timezone"),
    ],
)
def test_session_rules(fields, message):
    with pytest.raises(SpecError, match=message):
        SessionFilter(**{"start": "07:00", "end": "20:00", **fields})


def test_weekdays_are_canonical():
    assert SessionFilter(start="07:00", end="08:00", weekdays=(5, 1, 5)).weekdays == (1, 5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FixedSize(units=0), r"`1 <= units <= 1e9` must hold, but got units=0"),
        (lambda: RiskSize(risk_pct=0.0), r"`0 < risk_pct <= 100` must hold, but got risk_pct=0.0"),
        (lambda: RiskSize(risk_pct=1.0, step=0), r"`1 <= step <= 1e7` must hold, but got step=0"),
    ],
)
def test_size_rules(build, message):
    with pytest.raises(SpecError, match=message):
        build()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing required field `name`"),
        ("- a", "must hold keys and values"),
        ("name: [", "valid YAML"),
        ("{name: s, entry_lnog: 'close > 1'}", "Unknown key 'entry_lnog'.*Did you mean 'entry_long'"),
        ("{name: s, entry_long: 'close > 1', params: {a: true}}", "Expected `int | float`, got `bool`"),
        ("{name: s, entry_long: 'close > 1', params: {a: '1'}}", "Expected `int | float`, got `str`"),
        (
            "{name: s, entry_long: 'close > 1', size: {kind: half}}",
            "Invalid value 'half'.*Choose one of fixed, risk",
        ),
        (
            "{name: s, entry_long: 'close > 1', session: {start: 2000, end: 21:00}}",
            "Expected `str`, got `int` - at `\\$.session.start`",
        ),
        (
            "{name: s, entry_long: 'close > 1', stop_loss: {unit: points, value: 1}}",
            "Invalid enum value 'points'.*Choose one of atr, pips, percent",
        ),
        (
            "{name: s, entry_long: 'close > 1', indicators: {x: {kind: rsi, length: 3}}}",
            "Unknown key 'length'",
        ),
    ],
)
def test_bad_files_name_the_file_and_the_key(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(SpecError, match=r"There is no file .*nothing\.yaml\. Check the path"):
        load_spec(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("text", ["{", "[]", '"x"', b"\xff"])
def test_bad_json(text):
    with pytest.raises(SpecError, match=r"valid strategy in JSON|Expected `object`"):
        StrategySpec.from_json(text)


def test_equal_by_content_is_not_unequal() -> None:
    """Dicts are in it, and msgspec would answer `!=` by itself."""
    one, same, other = (IndicatorSpec(kind="sma", args={"length": length}) for length in (3, 3, 4))
    assert one == same
    assert not one != same  # noqa: SIM202
    assert one != other
    assert one != "sma"
