"""pynescript, another parser, reads the corpus as ours does: as many statements, and no fault.

It spends 10 s of CPU on its first script and about 6 s on every construct that is new to it, so the normal
tests give it one script as either version.  ``AIOPT_SECOND_OPINION=1`` gives it the whole corpus, valid and
broken (some 5 minutes).  What its grammar, of version 5, does not know is listed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiopt.pine.parsing.parser import parse_script

pytestmark = pytest.mark.slow

CORPUS = Path(__file__).parents[1] / "corpus"
WHOLE = bool(os.environ.get("AIOPT_SECOND_OPINION"))
SAMPLE = ("imp_library_v5", "imp_library_v6")

VALID = {
    path.stem: path for path in sorted((CORPUS / "valid").glob("*.pine")) if WHOLE or path.stem in SAMPLE
}
BROKEN = {path.stem: path for path in sorted((CORPUS / "broken").glob("*.pine")) if WHOLE}

UNREAD = {
    "ind_multiline_string_v6": "strings of several lines, in three quotes, are not in its grammar",
    "ind_varip_field_v5": "fields that are varip are not in its grammar",
    "ind_varip_field_v6": "fields that are varip are not in its grammar",
    "lib_const_v6": "constants of a library are exported since version 6",
    "odd_bom_v6": "it takes a byte order mark for a character of the script",
}
"""Valid scripts that pynescript cannot read, and why."""

LEAST_READ = 364
"""Valid scripts of the corpus that it reads."""

DISAGREEMENTS = {
    "syntax_operator": "after an operator it goes on in the next line, whatever the indentation",
}
"""Name of a script → why pynescript reads it otherwise."""


def opinion(path: Path) -> int | None:
    """Return how many statements pynescript finds at the top level, None where it reads none."""
    from pynescript import ast
    from pynescript.ast.error import SyntaxError as PynescriptError  # its own class of that name

    try:
        return len(ast.parse(path.read_bytes().decode("utf-8")).body)
    except PynescriptError:
        return None


@pytest.mark.parametrize("name", VALID)
def test_a_valid_script_is_read_alike(name: str) -> None:
    parsed = parse_script(VALID[name].read_bytes().decode("utf-8"))
    assert not parsed.errors
    theirs = opinion(VALID[name])
    if name in UNREAD:
        assert theirs is None, "it reads this now: take the script off the list"
    else:
        assert (theirs == len(parsed.tree.statements)) == (name not in DISAGREEMENTS)


def test_what_it_cannot_read_is_little_and_in_the_corpus() -> None:
    names = {path.stem for path in (CORPUS / "valid").glob("*.pine")}
    assert names >= UNREAD.keys()
    assert len(names) - len(UNREAD) >= LEAST_READ


@pytest.mark.skipif(not WHOLE, reason="AIOPT_SECOND_OPINION=1 gives pynescript the whole corpus")
@pytest.mark.parametrize("name", BROKEN)
def test_what_we_cannot_read_it_cannot_either(name: str) -> None:
    """Only faults of the grammar: it knows no names and no types."""
    if parse_script(BROKEN[name].read_bytes().decode("utf-8")).errors:
        assert (opinion(BROKEN[name]) is None) == (name not in DISAGREEMENTS)
