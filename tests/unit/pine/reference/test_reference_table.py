"""The table of built-ins is whole: every entry can be read, names its source, and knows its versions."""

from __future__ import annotations

import json

import pytest

from aiopt.pine.reference.table import FILE, VERSIONS, builtins
from aiopt.pine.reference.types import QUALIFIERS, VARIABLES, Type, parse_signature, parse_type

DOCUMENT = json.loads(FILE.read_text("utf-8"))

BASES = {
    "int",
    "float",
    "bool",
    "string",
    "color",
    "void",
    "any",
    "tuple",
    "array",
    "map",
    "matrix",
    "options",
}
CONSTANT_TYPES = {
    *("plot", "hline", "plot_style", "plot_line_style", "hline_style", "plot_display", "plot_simple_display"),
    *("scale_type", "sort_order", "strategy_direction", "text_format", "barmerge_gaps", "barmerge_lookahead"),
    *("backadjustment", "settlement"),
}


def bases(type_: Type) -> set[str]:
    return {*type_.base.split("|"), *(base for arg in type_.args for base in bases(arg))}


def entries(section: str) -> list[tuple[str, dict[str, object]]]:
    return list(DOCUMENT[section].items())


@pytest.mark.parametrize("section", ["functions", "variables", "types", "old_names"])
def test_every_entry_names_known_sources(section: str) -> None:
    for name, entry in entries(section):
        assert entry["sources"], name
        assert set(str(entry["sources"])) <= set(DOCUMENT["sources"]), name


@pytest.mark.parametrize("section", ["functions", "variables", "types"])
def test_every_entry_says_since_when(section: str) -> None:
    for name, entry in entries(section):
        assert entry["since"] in VERSIONS, name


def test_every_type_is_known() -> None:
    known = BASES | CONSTANT_TYPES | VARIABLES | set(DOCUMENT["types"])
    for name, entry in entries("functions"):
        for text in entry["signatures"]:  # type: ignore[attr-defined]
            signature = parse_signature(text)
            for type_ in (*(parameter.type for parameter in signature.parameters), signature.returns):
                assert bases(type_) <= known, (name, text)
                assert type_.qualifier in {*QUALIFIERS, "weakest"}, (name, text)
    for name, entry in entries("variables"):
        assert bases(parse_type(str(entry["type"]))) <= known, name


@pytest.mark.parametrize("version", VERSIONS)
def test_signatures_of_a_version_are_in_order(version: int) -> None:
    table = builtins(version)
    for name in table.names:
        function = table.function(name)
        for signature in function.signatures if function else ():
            names = [parameter.name for parameter in signature.parameters]
            assert len(set(names)) == len(names), name
            assert not any(parameter.repeats for parameter in signature.parameters[:-1]), name
            needed = [parameter.required for parameter in signature.parameters]
            assert needed == sorted(needed, reverse=True) or name == "strategy.close", (name, signature)


def test_a_parameter_exists_in_its_versions_only() -> None:
    names = {
        version: {p.name for p in builtins(version).function("strategy.entry").signatures[0].parameters}  # type: ignore[union-attr]
        for version in VERSIONS
    }
    assert names[5] - names[6] == {"when"}


def test_a_name_of_version_6_is_not_in_version_5() -> None:
    assert builtins(6).variable("bid") == Type("float", "series")
    assert builtins(5).variable("bid") is None
    assert builtins(5).since("bid") == 6
    assert builtins(5).since("nonsense") is None


def test_old_names_have_successors_that_exist() -> None:
    table = builtins(6)
    for name, entry in entries("old_names"):
        successor = str(entry["successor"])
        known = table.function(successor) or table.variable(successor) or entry.get("form")
        assert known, (name, successor)
    study = table.old_name("study")
    assert study is not None
    assert study.successor == "indicator"
    assert study.parameters["resolution"] == "timeframe"
    assert builtins(5).old_name("when") is None, "version 5 still has it"


def test_namespaces_that_are_complete_exist() -> None:
    assert builtins(6).complete_namespaces <= builtins(6).namespaces
    assert "strategy.risk" in builtins(6).namespaces


@pytest.mark.parametrize(
    "text", ["(a: series) -> void", "(a: series int -> void", "(a) -> int", "(a: int) -> int 5", "a%"]
)
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="signature"):
        parse_signature(text)


def test_types_are_written_as_scripts_write_them() -> None:
    assert parse_type("array<chart.point>").bare == "array<chart.point>"
    assert str(parse_type("weakest simple float")) == "weakest float"
    assert parse_type("[series float, series float]").bare == "[float, float]"
    assert parse_type("series int|string").bare == "int or string"
