"""The independent Pine engine, for every test that runs emitted scripts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pine():
    """PineTS, installed at its first use; its module is loaded from a file, as the tests are no package."""
    path = Path(__file__).parents[1] / "pine_engine" / "engine.py"
    spec = importlib.util.spec_from_file_location("aiopt_tests_pine_engine", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while it is being executed
    spec.loader.exec_module(module)
    return module.pine_engine()
