"""Generated ticks for sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.ticks.sample import generate_ticks


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of few ticks."""
    out = tmp_path_factory.mktemp("live") / "EURUSD"
    generate_ticks(out, seed=7, start="2024-03-05", days=2, ticks_per_day=8_000)
    return out
