"""Which bars and readings go with positions; on real sessions: tests/engine/live/test_session_feedback.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiopt.cli import session_positions
from aiopt.errors import InputError
from aiopt.testing.bars import random_walk_bar_set
from aiopt.timeframe import parse_timeframe

BARS = random_walk_bar_set(50, seed=4)
KEY = ("EURUSD", "5m")


def record(*readings: str) -> Any:
    return SimpleNamespace(
        config=SimpleNamespace(strategies=[SimpleNamespace(frame=parse_timeframe("5m"))]),
        bars_of=lambda frame: BARS,
        readings=[SimpleNamespace(reading=one) for one in readings],
    )


def test_sessions_bring_their_own_bars_and_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_positions, "_records", lambda sources: [record("one", "two")])
    assert session_positions.bars_for([Path("a")], None, [KEY]) == {KEY: BARS}
    assert session_positions.readings_for([Path("a")], None) == ["one", "two"]


def test_bars_of_several_sessions_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_positions, "_records", lambda sources: [record(), record()])
    with pytest.raises(InputError, match="Several sessions have bars of EURUSD-5m"):
        session_positions.bars_for([Path("a"), Path("b")], None, [KEY])
    assert session_positions.readings_for([Path("a")], None) is None
