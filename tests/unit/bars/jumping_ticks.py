"""Ticks that jump over many bricks, share stamps and have sizes of zero."""

from __future__ import annotations

import numpy as np

from aiopt.market.sessions import parse_session

T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC

WINDOW = parse_session("08:00-16:00", "Europe/London")


def some_ticks(rows: int, seed: int, step: int = 4) -> dict[str, np.ndarray]:
    """Ticks over three days: equal stamps, jumps over many bricks, sizes of zero."""
    random = np.random.default_rng(seed)
    ts = np.sort(random.integers(0, 3 * 86_400_000, rows) // 500 * 500) * 1_000_000 + T0
    moves = random.integers(-step, step + 1, rows)
    moves[random.random(rows) < 0.03] *= 15
    points = 110_000 + np.cumsum(moves)
    spread = random.integers(0, 12, rows)
    sizes = random.integers(0, 30, (2, rows)) * 10_000.0
    return {
        "ts_event_ns": ts,
        "bid": points / 1e5,
        "ask": (points + spread) / 1e5,
        "bid_size": sizes[0],
        "ask_size": sizes[1],
    }
