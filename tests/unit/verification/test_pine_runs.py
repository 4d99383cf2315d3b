"""Limits of the Pine engine that are no limits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from aiopt.errors import ConfigError
from aiopt.verification.engine_folder import PineEngine
from aiopt.verification.pine_runs import PineRunner


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf, 1e9])
def test_a_time_limit_that_never_ends_a_script_is_refused(limit: float) -> None:
    engine = PineEngine("PineTS", Path("engine.js"), Path("node"), "22.0.0")
    with pytest.raises(ConfigError, match="A script's time limit must lie above 0 and not above 604,800 s"):
        PineRunner(engine, time_limit_s=limit)
