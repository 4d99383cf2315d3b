"""Every script of the corpus parses without a fault, and comes back the same from its own text."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from aiopt.pine.parsing import nodes
from aiopt.pine.parsing.nodes import Expression, Node, Statement
from aiopt.pine.parsing.parser import ParsedScript, parse_script
from aiopt.pine.parsing.unparse import unparse
from aiopt.pine.parsing.walk import difference, walk

VALID = sorted((Path(__file__).parents[1] / "corpus" / "valid").glob("*.pine"))


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


@pytest.fixture(scope="module")
def parsed() -> dict[str, ParsedScript]:
    return {path.stem: parse_script(read(path)) for path in VALID}


def test_no_valid_script_has_a_fault(parsed: dict[str, ParsedScript]) -> None:
    faults = {name: [str(error) for error in one.errors] for name, one in parsed.items() if one.errors}
    assert not faults
    assert len(parsed) >= 200


def test_the_version_is_that_of_the_name(parsed: dict[str, ParsedScript]) -> None:
    assert {name: one.version for name, one in parsed.items()} == {name: int(name[-1]) for name in parsed}


def test_the_corpus_holds_every_construct(parsed: dict[str, ParsedScript]) -> None:
    bases = {Node, Expression, Statement}
    every = {
        kind
        for _, kind in inspect.getmembers(nodes, inspect.isclass)
        if issubclass(kind, Node) and kind not in bases
    }
    assert every == {type(node) for one in parsed.values() for node in walk(one.tree)}


def test_a_tree_comes_back_from_its_own_text(parsed: dict[str, ParsedScript]) -> None:
    for name, one in parsed.items():
        text = unparse(one.tree)
        again = parse_script(text)
        assert not again.errors, (name, [str(error) for error in again.errors])
        assert difference(one.tree, again.tree) is None, name
        assert unparse(again.tree) == text, name


def test_every_node_says_where_it_stands(parsed: dict[str, ParsedScript]) -> None:
    for path in VALID:
        lines = read(path).removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        for node in walk(parsed[path.stem].tree):
            place = (path.name, type(node).__name__, node.line, node.column)
            assert (node.line, node.column) <= (node.end_line, node.end_column), place
            assert node.end_line <= len(lines), place
            assert node.end_column <= len(lines[node.end_line - 1]) + 1, place
            if isinstance(node, nodes.Name):
                assert lines[node.line - 1][node.column - 1 : node.end_column - 1] == node.name, place


def test_children_lie_inside_their_parents(parsed: dict[str, ParsedScript]) -> None:
    from aiopt.pine.parsing.walk import children

    for name, one in parsed.items():
        for node in walk(one.tree):
            for child in children(node):
                inside = (node.line, node.column) <= (child.line, child.column)
                inside &= (child.end_line, child.end_column) <= (node.end_line, node.end_column)
                assert inside, (name, type(node).__name__, node.line, type(child).__name__)
