"""`readings` in a strategy: what it may say, its place in the JSON, what a sweep varies, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from aiopt.analyst.analysis import BIASES
from aiopt.bars.reading_log import FIGURES
from aiopt.errors import SearchSpaceError, SpecError
from aiopt.report.strategy_rules import rules
from aiopt.strategy.dimensions import Choice, FloatRange, IntRange
from aiopt.strategy.reading_gate import gate_plan
from aiopt.strategy.space import SearchSpace, load_search_space
from aiopt.strategy.spec import StrategySpec, load_spec, spec_from_mapping
from aiopt.strategy.spec_readings import Figure, ReadBias

LONG = {"bias": ["long"]}
GATE = {"without": "refuse", "max_age_bars": 12, "long": LONG}
SIZE = {"low": 0.5, "high": 0.9, "least": 0.5, "most": 1.5}


def spec_of(**fields: object) -> StrategySpec:
    return spec_from_mapping({"name": "gated", "entry_long": "close > open", **fields}, where="test")


def gated(**fields: object) -> StrategySpec:
    return spec_of(readings=GATE | fields)


def test_a_strategy_that_asks_for_none_keeps_its_hash() -> None:
    """The hash is that of a version that knew no readings."""
    plain = spec_of()
    assert plain.spec_hash == "15d158177ad3c8cffa0a68c3a181a5d9925383d81e301401383200af2a1d800a"
    assert spec_of(readings=None).spec_hash == plain.spec_hash
    assert "readings" not in plain.to_json()
    assert plain.without_readings() is plain


def test_it_is_kept_in_json_and_yaml(tmp_path: Path) -> None:
    spec = gated(min_confidence=0.6, confidence="calibrated", size=SIZE)
    assert StrategySpec.from_json(spec.to_json()) == spec
    path = tmp_path / "gated.yaml"
    path.write_text(spec.to_yaml())
    assert load_spec(path).spec_hash == spec.spec_hash
    assert spec.spec_hash not in {spec_of().spec_hash, gated().spec_hash}


def test_the_order_of_names_is_no_difference() -> None:
    one = gated(long={"bias": ["neutral", "long"], "patterns": ["hammer", "doji"]})
    other = gated(long={"bias": ["long", "neutral"], "patterns": ["doji", "hammer", "doji"]})
    assert one.spec_hash == other.spec_hash


def test_its_words_are_those_of_readings() -> None:
    assert set(get_args(ReadBias)) == set(BIASES)
    assert get_args(Figure) == FIGURES


def test_without_readings_what_only_they_named_is_gone() -> None:
    params = {"age": 9, "least": 0.6, "n": 3}
    gate = GATE | {"max_age_bars": "age", "min_confidence": "least"}
    spec = spec_of(params=params, entry_long="rising(close, n)", readings=gate)
    assert spec.without_readings() == spec_of(params={"n": 3}, entry_long="rising(close, n)")
    shared = gate | {"max_age_bars": "n", "min_confidence": 0.5}
    spec = spec_of(params={"n": 3}, entry_long="rising(close, n)", readings=shared)
    assert spec.without_readings().params == {"n": 3}


def test_a_sweep_varies_its_numbers(tmp_path: Path) -> None:
    params = {"age": 9, "least": 0.6, "within": 5, "most": 1.5}
    gate = {
        "without": "allow",
        "max_age_bars": "age",
        "min_confidence": "least",
        "long": {"patterns": ["hammer"], "within_bars": "within"},
        "size": SIZE | {"most": "most"},
    }
    spec = spec_of(params=params, readings=gate)
    dimensions = {
        "age": IntRange(low=1, high=48),
        "least": FloatRange(low=0.3, high=0.9, step=0.1),
        "within": Choice(values=(3, 20)),
        "most": FloatRange(low=1.0, high=3.0),
    }
    space = SearchSpace(spec, dimensions)
    plans = [gate_plan(one) for one in space.specs(30, 1)]
    assert len({plan.max_age_bars for plan in plans}) > 10
    assert len({plan.min_confidence for plan in plans}) > 4
    assert {plan.within_bars for plan in plans} == {(3, 0), (20, 0)}
    assert all(1.0 <= plan.size.most <= 3.0 for plan in plans)
    path = tmp_path / "gated.yaml"
    path.write_text(space.to_yaml())
    assert load_search_space(path).specs(30, 1) == space.specs(30, 1)
    with pytest.raises(SearchSpaceError, match=r"dimension least reaches 1.2, .* must lie in \[0, 1\]"):
        SearchSpace(spec, {"least": FloatRange(low=0.3, high=1.2)})


def test_a_report_says_it() -> None:
    gate = {
        "without": "refuse",
        "max_age_bars": "age",
        "min_confidence": 0.6,
        "confidence": "calibrated",
        "long": {"bias": ["long"], "no_patterns": ["double_top"], "within_bars": 5},
        "size": SIZE,
    }
    plain = {"entry_long": "close > open", "params": {"age": 12}, "readings": gate}
    facts = {fact.name: fact.value for fact in rules(plain)}
    said = "bias long, without double top in the last 5 bars, calibrated at least 0.6"
    assert facts["Readings for a long"] == said
    assert facts["Readings for a short"] == "calibrated at least 0.6"
    assert facts["Size by reading"] == "× 0.5 at a confidence of 0.5 to × 1.5 at 0.9"
    assert facts["Without a reading"] == (
        "no entry is taken where no reading is known or its chart ended over 12 (age) bars ago"
    )


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ({"max_age_bars": 12, "long": LONG}, "missing required field `without`"),
        ({"without": "refuse", "long": LONG}, "missing required field `max_age_bars`"),
        ({"without": "guess", "max_age_bars": 12, "long": LONG}, "Invalid enum value 'guess'"),
        (GATE | {"bais": 1}, "bais"),
        (
            {"without": "allow", "max_age_bars": 12},
            "it asks for nothing. Give long, short, min_confidence or",
        ),
        (GATE | {"long": {}}, "a side must say what has to hold, but says nothing. Give bias"),
        (GATE | {"long": {"bias": ["bullish"]}}, "Invalid enum value 'bullish'"),
        (GATE | {"long": {"patterns": ["hamer"]}}, "'hamer' is no kind of pattern. Did you mean 'hammer'"),
        (
            GATE | {"long": {"patterns": ["doji"], "no_patterns": ["doji"]}},
            "doji stands in patterns and in no_patterns",
        ),
        (GATE | {"long": LONG | {"within_bars": 3}}, "within_bars needs patterns to count"),
        (GATE | {"short": {"bias": ["short"]}}, "readings.short: there is no entry_short that it could hold"),
        (GATE | {"max_age_bars": 0}, "max_age_bars: it must be a whole number from 1 to 100000, but got 0"),
        (GATE | {"max_age_bars": "age"}, "names the parameter 'age', which does not exist"),
        (GATE | {"min_confidence": 1.5}, r"readings.min_confidence: it must lie in \[0, 1\], but got 1.5"),
        (GATE | {"confidence": "stated"}, "is that of min_confidence, which is missing"),
        (GATE | {"size": SIZE | {"least": 0}}, "size.least: it must be above 0 and at most 10, but got 0"),
        (GATE | {"size": SIZE | {"most": 11}}, "size.most: it must be above 0 and at most 10, but got 11"),
        (GATE | {"size": SIZE | {"low": 0.9}}, "`low < high` must hold, but got low=0.9, high=0.9"),
        (GATE | {"size": SIZE | {"by": "luck"}}, "Invalid enum value 'luck'"),
        (GATE | {"size": {"low": 0.5}}, "missing required field `high`"),
    ],
)
def test_bad_input_is_named(readings, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(readings=readings)


def test_a_value_a_parameter_takes_later_is_checked_too() -> None:
    spec = spec_of(params={"age": 9}, readings=GATE | {"max_age_bars": "age"})
    with pytest.raises(
        SpecError, match="max_age_bars: it must be a whole number from 1 to 100000, but got 0"
    ):
        spec.with_params({"age": 0})
