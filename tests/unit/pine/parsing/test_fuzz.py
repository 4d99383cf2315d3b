"""Whatever the text, the parser answers with a tree and faults: no traceback, no hang.

``AIOPT_FUZZ_EXAMPLES=1000000`` runs as many examples of each kind instead of a few hundred.
"""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.pine.parsing.nodes import MAX_HEIGHT, Script
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.parsing.unparse import unparse
from aiopt.pine.parsing.walk import difference, height
from tests.unit.pine.parsing.made_scripts import mutants, soups, trees

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a large tree that failed
EXAMPLES = int(os.environ.get("AIOPT_FUZZ_EXAMPLES", "150"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def check(text: str) -> None:
    begun = time.process_time()
    parsed = parse_script(text)
    assert time.process_time() - begun < 2
    assert height(parsed.tree) <= MAX_HEIGHT + 1
    lines = text.count("\n") + text.count("\r") + 1
    for error in parsed.errors:
        assert 1 <= error.line <= lines
        assert error.column >= 1
        assert error.message.endswith((".", "?"))
    if not parsed.errors:
        again = parse_script(unparse(parsed.tree))
        assert not again.errors
        assert difference(parsed.tree, again.tree) is None


@FUZZ
@given(mutants())
def test_scripts_after_accidents(text: str) -> None:
    check(text)


@FUZZ
@given(soups)
def test_soups_of_tokens(text: str) -> None:
    check(text)


@FUZZ
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text(text: str) -> None:
    check(text)


@FUZZ
@given(trees)
def test_any_tree_comes_back_from_its_text(tree: Script) -> None:
    text = unparse(tree)
    parsed = parse_script(text)
    assert not parsed.errors, (text, [str(error) for error in parsed.errors])
    found = difference(tree, parsed.tree)
    assert found is None, (text, found)
