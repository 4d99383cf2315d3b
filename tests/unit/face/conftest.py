"""Generated ticks and bars of two days, once for all tests of the face."""

from __future__ import annotations

import pytest

import aiopt as ao


@pytest.fixture(scope="session")
def ticks() -> ao.Ticks:
    return ao.sample_ticks(days=2, ticks_per_day=8_000)


@pytest.fixture(scope="session")
def bars(ticks: ao.Ticks) -> ao.Bars:
    return ao.build_bars(ticks, "5m")
