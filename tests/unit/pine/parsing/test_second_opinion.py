"""pynescript, another parser, reads the corpus as ours does: as many statements, and no fault.

It spends 10 s of CPU on its first script and about 6 s on every construct that is new to it, so the normal
tests give it one script as either version.  ``AIOPT_SECOND_OPINION=1`` gives it the whole corpus, valid and
broken.
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

DISAGREEMENTS: dict[str, str] = {}
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
    agree = opinion(VALID[name]) == len(parsed.tree.statements)
    assert agree == (name not in DISAGREEMENTS)


@pytest.mark.skipif(not WHOLE, reason="AIOPT_SECOND_OPINION=1 gives pynescript the whole corpus")
@pytest.mark.parametrize("name", BROKEN)
def test_what_we_cannot_read_it_cannot_either(name: str) -> None:
    """Only faults of the grammar: it knows no names and no types."""
    if parse_script(BROKEN[name].read_bytes().decode("utf-8")).errors:
        assert (opinion(BROKEN[name]) is None) == (name not in DISAGREEMENTS)
