"""Bars whose turns meet the same prices again and again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aiopt.bars.schema import BarArrays
from aiopt.testing.bars import random_walk_bars

TICK = 1e-5


def swinging_bars(n_bars: int, *, seed: int) -> BarArrays:
    """Return bars that swing between few levels, ticks apart: tops, troughs and necklines are often equal."""
    rng = np.random.default_rng(seed)
    levels = rng.choice([0, 0, -3, -14], n_bars // 8)
    levels[::2] = rng.choice([40, 40, 43, 54], levels[::2].size)
    levels[rng.integers(0, levels.size, 12)] += rng.choice([-60, 60], 12)
    path = np.interp(np.arange(n_bars), np.arange(levels.size) * 8, levels)
    close = 110_000 + np.rint(path).astype(int) + rng.integers(-2, 3, n_bars)
    opened = np.append(close[0], close[:-1]) + rng.integers(-1, 2, n_bars)
    up, down = rng.integers(0, 4, (2, n_bars))
    ticks = {
        "open": opened,
        "high": np.maximum(opened, close) + up,
        "low": np.minimum(opened, close) - down,
        "close": close,
    }
    prices = {name: np.round(values * TICK, 5) for name, values in ticks.items()}
    return replace(random_walk_bars(n_bars, seed=seed), **prices)
