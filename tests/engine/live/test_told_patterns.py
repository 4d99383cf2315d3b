"""Patterns told by a session are those of its bars, each when the bar that completes it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiopt.bus.events import Pattern
from aiopt.live.session.completed_patterns import WINDOW
from aiopt.live.state.session_file import SessionFile
from aiopt.patterns import PATTERN_KINDS, Prices, find_patterns
from aiopt.strategy.families import FAMILIES
from tests.engine.live.bus_reading import events_told
from tests.engine.live.live_sessions import config_of, run, traded

WAY = {"bullish": "up", "bearish": "down", "neutral": "none"}


def test_patterns_are_told_once_complete_and_only_where_asked_for(store: Path, tmp_path: Path) -> None:
    specs = traded(tmp_path / "specs", {"A": FAMILIES["rsi_reversion"].spec})
    feed = {"start": "2024-03-05", "stop": "2024-03-07"}
    run(config_of(store, specs, feed=feed, patterns=True), tmp_path / "run")
    told = [one for one in events_told(tmp_path / "run")[1] if isinstance(one, Pattern)]
    with SessionFile(tmp_path / "run") as file:
        rows = list(file.bars("EURUSD-5m"))
    prices = np.array([row[1:5] for row in rows])
    expected = []
    for stop in range(30, len(rows) + 1):
        window = prices[max(0, stop - WINDOW) : stop]
        found = find_patterns(Prices(*(np.ascontiguousarray(window[:, side]) for side in range(4))))
        expected += [
            ("EURUSD-5m", rows[stop - 1].ts_open_ns, one.kind, WAY[PATTERN_KINDS[one.kind].direction])
            for one in found
            if one.confirmed_bar == len(window) - 1
        ]
    assert [(one.series, one.bar_ns, one.pattern, one.direction) for one in told] == expected
    assert len({one.pattern for one in told}) > 5
    assert all(one.ts_ns >= one.bar_ns + 300 * 10**9 for one in told), "told before the bar had ended"

    quiet = config_of(store, specs, feed=feed)
    run(quiet, tmp_path / "quiet")
    assert not [one for one in events_told(tmp_path / "quiet")[1] if isinstance(one, Pattern)]
