"""No valid script of the corpus is refused, and every broken one is, for its own fault alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aiopt.pine.checking.check import check_script
from aiopt.pine.checking.rules import RULES

CORPUS = Path(__file__).parents[1] / "corpus"
VALID = sorted((CORPUS / "valid").glob("*.pine"))
BROKEN = sorted((CORPUS / "broken").glob("*.pine"))
EXPECTED = re.compile(r"// expected: (?P<rule>.+), line (?P<line>\d+)\n")


def test_there_are_enough_scripts() -> None:
    assert len(VALID) >= 200
    assert len(BROKEN) >= 150


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_script_has_no_error_and_no_unknown_name(path: Path) -> None:
    found = check_script(path.read_text("utf-8")).diagnostics
    assert [str(one) for one in found if one.severity != "warning"] == []


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_script_is_refused_for_its_own_fault_alone(path: Path) -> None:
    text = path.read_text("utf-8")
    expected = EXPECTED.match(text)
    assert expected is not None, "the first line says the rule and the line that are expected"
    found = check_script(text).errors
    assert [(one.rule, one.line) for one in found] == [(expected["rule"], int(expected["line"]))], [
        str(one) for one in found
    ]


def test_every_rule_of_an_error_has_a_broken_script() -> None:
    covered = {match["rule"] for path in BROKEN if (match := EXPECTED.match(path.read_text("utf-8")))}
    # The number of plots takes a long script; `test_check_rules.py` builds it.
    wanted = {rule.name for rule in RULES.values() if rule.severity == "error" and not rule.generated_only}
    assert wanted - covered <= {"plots", "name", "declaration"}


@pytest.mark.parametrize("path", BROKEN[:: len(BROKEN) // 20], ids=lambda path: path.stem)
def test_a_broken_script_without_its_fault_is_valid_enough_to_be_read(path: Path) -> None:
    """The fault is the line's: without it nothing but what follows from the gap is wrong."""
    text = path.read_text("utf-8")
    expected = EXPECTED.match(text)
    assert expected is not None
    found = check_script(text).errors
    assert all(one.line == int(expected["line"]) for one in found)
