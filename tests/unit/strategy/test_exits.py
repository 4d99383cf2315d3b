"""The bars on which a clock strikes, and distances resolved."""

from __future__ import annotations

import datetime as dt

import numpy as np

from aiopt.strategy.exits import Away, Clock, ExitPlan, exit_plan, next_strikes
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import spec_from_mapping

MINUTE_NS = 60_000_000_000


def opens(*texts: str) -> np.ndarray:
    return np.array([int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp()) * 10**9 for text in texts])


def struck(clock: Clock, times: np.ndarray, minutes: int = 15) -> list[int]:
    strikes = next_strikes(clock, times, minutes * MINUTE_NS)
    return [bar for bar in range(times.size) if strikes[bar] == bar]


def test_strikes_at_the_close_that_reaches_the_time() -> None:
    times = opens("2024-01-03T20:30", "2024-01-03T20:45", "2024-01-03T21:00", "2024-01-04T20:45")
    clock = Clock(16 * 60, "America/New_York")
    assert struck(clock, times) == [1, 3]
    assert next_strikes(clock, times, 15 * MINUTE_NS).tolist() == [1, 1, 3, 3]
    # Daylight saving: 16:00 in New York is 20:00 UTC in July.
    assert struck(clock, opens("2024-07-03T19:30", "2024-07-03T19:45", "2024-07-03T20:45")) == [1]


def test_strikes_late_where_bars_are_missing() -> None:
    clock = Clock(23 * 60 + 55, "UTC")
    assert struck(clock, opens("2024-01-03T23:00", "2024-01-04T00:30", "2024-01-04T00:45")) == [1]
    assert struck(Clock(60, "UTC"), opens("2024-01-03T00:00", "2024-01-03T03:00", "2024-01-03T03:15")) == [1]
    assert struck(Clock(60, "UTC"), opens("2024-01-03T03:00", "2024-01-03T03:15")) == []


def test_without_a_clock_it_never_strikes() -> None:
    assert next_strikes(None, opens("2024-01-03T03:00", "2024-01-03T03:15"), MINUTE_NS).tolist() == [2, 2]


def test_distances_are_resolved() -> None:
    assert exit_plan(FAMILIES["ema_cross_atr"].spec, pip_size=0.0001, tick_size=0.00001) is None
    spec = spec_from_mapping(
        {
            "name": "s",
            "params": {"age": 4},
            "indicators": {"a": {"kind": "atr", "args": {"length": 14}}},
            "entry_long": "close > open",
            "trailing_stop": {"distance": {"unit": "atr", "value": 2, "indicator": "a"}},
            "time_stop": {"bars": "age"},
        },
        where="test",
    )
    plan = exit_plan(spec, pip_size=0.0001, tick_size=0.00001)
    assert plan == ExitPlan(trail=Away(2.0, "a"), time_bars=4)
    assert plan.trail.at({"a": 0.0007}.__getitem__) == 0.0014
    assert plan.moves
