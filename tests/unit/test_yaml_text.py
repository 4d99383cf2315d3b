"""One reading of YAML: numbers, times, keys that occur twice, choices that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiopt.config import decode, environment_overrides, read_mapping
from aiopt.errors import ConfigError
from aiopt.strategy.spec_yaml import dump_yaml
from aiopt.yaml_text import load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("0", 0),
        ("-7", -7),
        ("1_000", 1000),
        ("0x10", 16),
        ("20:00", "20:00"),
        ("1:30:00", "1:30:00"),
        ("2018-01-02", "2018-01-02"),
        ("2018-01-02 03:04:05", "2018-01-02 03:04:05"),
        ("0.10", 0.1),
        ("1e", "1e"),
        ("e5", "e5"),
        ("'1e-5'", "1e-5"),
        ("true", True),
        ("~", None),
        ("-.inf", float("-inf")),
    ],
)
def test_a_scalar_has_one_reading(text: str, value: object) -> None:
    found = load_yaml(text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", ["010", "units: 007", "-012", "[1, 0_9]"])
def test_a_leading_zero_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"must not begin with 0, but got -?0(.|\n)*line 1"):
        load_yaml(text)


def test_a_key_that_occurs_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("trials: 5\nbacktest:\n  leverage: 30\n  slippage_ticks: 1\n  leverage: 100\n")
    with pytest.raises(ConfigError, match=r"run.yaml.*'leverage' occurs twice, in lines 3 and 5"):
        read_mapping(path)
    path.with_suffix(".json").write_text('{"seed": 1, "seed": 2}')
    with pytest.raises(ConfigError, match="'seed' occurs twice, in lines 1 and 1"):
        read_mapping(path.with_suffix(".json"))


def test_anchors_and_merge_keys_still_work() -> None:
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nmore: {1: x, '1': y}"
    assert load_yaml(text) == {
        "base": {"a": 1, "b": 2},
        "other": {"a": 1, "b": 3},
        "more": {1: "x", "1": "y"},
    }


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab1e-5+.:0_", max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text("abe1", min_size=1), children, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_json_reads_as_json(value: object) -> None:
    assert load_yaml(json.dumps(value)) == value


@given(st.dictionaries(st.text("abc", min_size=1), PLAIN, max_size=4))
def test_what_is_dumped_for_people_reads_back(data: dict[str, object]) -> None:
    assert load_yaml(dump_yaml(data)) == data


class Sized(msgspec.Struct, frozen=True, tag_field="kind", tag="fixed"):
    units: int = 1


class Risked(msgspec.Struct, frozen=True, tag_field="kind", tag="risk"):
    percent: float = 1.0


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mode: Literal["research", "parity"] = "research"
    maybe: Literal["bid", "ask"] | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    backtest: Choice = Choice()
    size: Sized | Risked = Sized()
    several: list[Choice] = []
    named: dict[str, Choice] = {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"backtest": {"mode": "reserch"}}, "one of research, parity. Did you mean 'research'"),
        ({"backtest": {"maybe": "mid"}}, "one of bid, ask"),
        ({"size": {"kind": "half"}}, "one of fixed, risk"),
        ({"several": [{}, {"mode": "x"}]}, "one of research, parity"),
        ({"named": {"a": {"mode": "x"}}}, "one of research, parity"),
    ],
)
def test_a_wrong_choice_lists_the_choices(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode(data, Settings, where="file")


def test_an_environment_variable_that_is_no_yaml_is_named() -> None:
    with pytest.raises(ConfigError, match="AIOPT_X__A holds no YAML value: '010'"):
        environment_overrides("AIOPT_X", {"AIOPT_X__A": "010"})
    assert environment_overrides("AIOPT_X", {"AIOPT_X__A": "1e-5"}) == {"a": 1e-5}
