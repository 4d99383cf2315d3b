"""The examples in the docstrings of the face are run; those that need the engine are in tests/engine."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    *("aiopt", "aiopt.face.analyst", "aiopt.face.bars", "aiopt.face.charts", "aiopt.face.indicators"),
    *("aiopt.face.pine", "aiopt.face.strategies", "aiopt.face.tables", "aiopt.face.ticks"),
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        getattr(module, public)  # names come at their first use, and doctest must not see the module grow
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
