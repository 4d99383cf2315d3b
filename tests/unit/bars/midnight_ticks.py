"""Ticks round midnights, where days, partitions and bars meet."""

from __future__ import annotations

import numpy as np
import polars as pl

from aiopt.timeframe import Timeframe, parse_timeframe

T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC


def timeframes(*labels: str) -> tuple[Timeframe, ...]:
    return tuple(parse_timeframe(label) for label in labels)


def ticks_around_midnights(rows: int, seed: int) -> pl.DataFrame:
    """Ticks of three days, dense round the midnights, with equal stamps and hours without any."""
    random = np.random.default_rng(seed)
    near = random.integers(-600_000, 600_000, rows // 2) + random.choice([1, 2], rows // 2) * 86_400_000
    anywhere = random.integers(0, 3 * 86_400_000, rows - rows // 2)
    ts = np.sort(np.concatenate((near, anywhere)) // 50 * 50) * 1_000_000 + T0
    bid = (110_000 + np.cumsum(random.integers(-3, 4, rows))) / 1e5
    ask = np.round(bid + random.integers(0, 20, rows) / 1e5, 5)
    sizes = random.integers(0, 30, (2, rows)) * 10_000.0
    return pl.DataFrame(
        {"ts_event_ns": ts, "bid": bid, "ask": ask, "bid_size": sizes[0], "ask_size": sizes[1]}
    )
