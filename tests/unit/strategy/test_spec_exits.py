"""Trailing, break-even and time stops as fields of a strategy."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from aiopt.errors import SpecError
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec, TimeStop, spec_from_mapping
from aiopt.testing.random_specs import random_spec

ATR = {"indicators": {"a": {"kind": "atr", "args": {"length": 14}}}}
FIVE_PIPS = {"unit": "pips", "value": 5}


def spec_of(**fields: object) -> StrategySpec:
    return spec_from_mapping({"name": "s", "entry_long": "close > open", **fields}, where="test")


def test_a_strategy_without_them_keeps_its_hash() -> None:
    spec = FAMILIES["ema_cross_atr"].spec
    assert spec.spec_hash == "cfd021362828008fe7284d6d533ff317581d08b49da339cf60f809ab78d2283c"
    assert not {"trailing_stop", "break_even", "time_stop"} & msgspec.to_builtins(spec).keys()
    assert spec_of(trailing_stop=None, time_stop=None) == spec_of()
    assert spec_of(trailing_stop=None).spec_hash == spec_of().spec_hash
    assert spec_of(time_stop={"bars": 3}).spec_hash != spec_of().spec_hash


def test_files_hold_all_that_a_spec_says() -> None:
    for seed in range(12):
        spec = random_spec(seed, exits=True)
        assert StrategySpec.from_json(spec.to_json()) == spec
        assert spec_from_mapping(yaml.safe_load(spec.to_yaml()), where="test") == spec
        assert "null" not in spec.to_yaml()


def test_parameters_in_exits_are_swept() -> None:
    spec = spec_of(
        params={"trail": 7.0, "age": 4, "plus": 0.5},
        trailing_stop={"distance": {"unit": "pips", "value": "trail"}},
        break_even={"after": FIVE_PIPS, "plus_pips": "plus"},
        time_stop={"bars": "age"},
    )
    assert spec.with_params({"trail": 9, "age": 8.0, "plus": 1}).params == {
        "trail": 9.0,
        "age": 8,
        "plus": 1.0,
    }
    with pytest.raises(SpecError, match=r"time_stop.bars: it must be a whole number from 1 .* but got 0"):
        spec.with_params({"age": 0})
    with pytest.raises(SpecError, match=r"`plus_pips < after` must hold, but got 5.0 and 5"):
        spec.with_params({"plus": 5})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trailing_stop": {}}, "distance"),
        (
            {"trailing_stop": {"distance": {"unit": "pips", "value": 0}}},
            r"trailing_stop.distance: `0 < value",
        ),
        (
            {"trailing_stop": {"distance": {"unit": "atr", "value": 2, "indicator": "a"}}},
            r"trailing_stop.distance: unit atr must name an ATR indicator, but got 'a'",
        ),
        (
            {"trailing_stop": {"distance": FIVE_PIPS, "after": {"unit": "pips", "value": "far"}}},
            r"trailing_stop.after: value names the parameter 'far', which does not exist",
        ),
        (
            {"break_even": {"after": FIVE_PIPS, "plus_pips": -1}},
            r"`0 <= plus_pips <= 1e6` must hold, but got -1",
        ),
        (
            {"break_even": {"after": FIVE_PIPS, "plus_pips": 6}},
            r"`plus_pips < after` must hold, but got 6 and 5",
        ),
        ({"time_stop": {}}, "neither bars nor a time. Give bars or at"),
        (
            {"time_stop": {"bars": 0}},
            r"time_stop.bars: it must be a whole number from 1 to 100000, but got 0",
        ),
        ({"time_stop": {"bars": "age"}}, "names the parameter 'age', which does not exist"),
        ({"time_stop": {"at": "16.00"}}, r"at must be a time HH:MM .* but got '16.00'"),
        ({"time_stop": {"at": "25:00"}}, r"at must be a time HH:MM .* but got '25:00'"),
        (
            {"time_stop": {"at": "16:00", "timezone": "New York"}},
            "time_stop: there is no timezone 'New York'",
        ),
        ({"time_stop": {"bars": 3, "timezone": "UTC"}}, "says nothing without a time. Give at, or remove it"),
        ({**ATR, "time_stop": {"bars": 3}}, "indicator: a is never used. Remove it"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(**fields)


def test_zone_of_a_clock() -> None:
    assert TimeStop(at="16:00").zone == "UTC"
    assert TimeStop(at="16:05", timezone="Europe/London").at_minute == 965
    assert TimeStop(bars=4).at_minute is None
