"""Ticks of a day with spreads of many widths."""

from __future__ import annotations

import numpy as np

T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC, a Thursday


def some_ticks(rows: int, seed: int, hours: int = 6) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    ts = np.sort(random.integers(0, hours * 3_600_000, rows) // 50 * 50) * 1_000_000 + T0
    points = 110_000 + np.cumsum(random.integers(-3, 4, rows))
    sizes = random.integers(0, 30, (2, rows)) * 10_000.0
    return {
        "ts_event_ns": ts,
        "bid": points / 1e5,
        "ask": (points + random.integers(0, 20, rows)) / 1e5,
        "bid_size": sizes[0],
        "ask_size": sizes[1],
    }
