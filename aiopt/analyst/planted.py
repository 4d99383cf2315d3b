"""Generated bars with a pattern planted in them: the truth by which readers of charts are judged.

Owns the shapes.  They are drawn from paths and by hand, without the detectors of `aiopt.patterns`, so that
scoring the rule-based reader on them is not circular.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.errors import ConfigError, did_you_mean
from aiopt.timeframe import parse_timeframe

FloatArray = NDArray[np.float64]
Bias = Literal["long", "short", "neutral"]

_MONDAY_NS = 1_514_764_800_000_000_000
"""Monday, 2018-01-01: where generated bars begin."""

N_BARS = 120

_LEAD = 0.06
"""Noise of the quiet bars before a shape, in heights of the shape."""

# Turning points as (bars from the one before, level in heights); the first is where the quiet bars are.
_PATHS: dict[str, tuple[tuple[int, float], ...]] = {
    "double_bottom": ((0, 1.0), (20, 0.0), (11, 0.5), (11, 0.0), (12, 0.68)),
    "inverse_head_and_shoulders": (
        (0, 1.1),
        (14, 0.35),
        (9, 0.7),
        (11, 0.0),
        (11, 0.7),
        (9, 0.35),
        (11, 0.86),
    ),
    "ascending_triangle": (
        (0, 0.3),
        (9, 1.0),
        (11, 0.1),
        (11, 1.0),
        (9, 0.42),
        (8, 1.0),
        (6, 0.72),
        (4, 0.9),
    ),
    "rising_channel": ((0, 0.0), (8, 0.55), (7, 0.2), (9, 0.95), (7, 0.6), (9, 1.35), (7, 1.0), (7, 1.5)),
    "breakout_up": ((0, 0.0), (30, 0.0), (3, 0.55)),
    "hammer": ((0, 0.8), (22, 0.0)),
    "bullish_engulfing": ((0, 0.8), (22, 0.0)),
    "rectangle": ((0, 0.5), (8, 1.0), (9, 0.0), (9, 1.0), (9, 0.0), (9, 1.0), (9, 0.0), (5, 0.5)),
}
_BEARISH = {
    "double_top": "double_bottom",
    "head_and_shoulders": "inverse_head_and_shoulders",
    "descending_triangle": "ascending_triangle",
    "falling_channel": "rising_channel",
    "breakout_down": "breakout_up",
    "shooting_star": "hammer",
    "bearish_engulfing": "bullish_engulfing",
}

LONG_KINDS = tuple(kind for kind in _PATHS if kind != "rectangle")
SHORT_KINDS = tuple(_BEARISH)
NEUTRAL_KINDS = ("rectangle", "none")
PLANTED_KINDS = (*LONG_KINDS, *SHORT_KINDS, *NEUTRAL_KINDS)
"""Every kind that can be planted; ``"none"`` is noise round one price."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlantedCase:
    """Bars and what was planted.

    Attributes
    ----------
    bars : BarArrays
        `N_BARS` five-minute bars, synthetic.
    kind : str
        One of `PLANTED_KINDS`, or of another generator's kinds.
    bias : {"long", "short", "neutral"}
        Side the pattern stands for.
    first_bar, last_bar : int
        Where it is; ``0, 0`` for ``"none"``.
    generator : str
        A key of `aiopt.analyst.generators.GENERATORS`.
    trend, volatility : str or None
        The hidden state at the end, of a process; None where nothing but the shape is known.
    """

    bars: BarArrays
    kind: str
    bias: Bias
    first_bar: int
    last_bar: int
    generator: str = "templates"
    trend: str | None = None
    volatility: str | None = None


def planted_case(kind: str, *, seed: int, noise: float = 1.0) -> PlantedCase:
    """Return bars with one pattern.

    Parameters
    ----------
    kind : str
        One of `PLANTED_KINDS`.
    seed : int
        Same seed, same bars.
    noise : float
        How much the bars stray from the pattern's lines: 0 none, 1 usual, 2 hard to see.

    Raises
    ------
    ConfigError
        If the kind is unknown or `noise` is negative.
    """
    if kind not in PLANTED_KINDS:
        msg = f"The kind must be one that can be planted, but got {kind!r}."
        raise ConfigError(msg + did_you_mean(kind, PLANTED_KINDS))
    if not 0 <= noise <= 10:
        raise ConfigError(f"`0 <= noise <= 10` must hold, but got noise={noise}.")
    rng = np.random.default_rng([seed, PLANTED_KINDS.index(kind)])
    upright = _BEARISH.get(kind, kind)
    rows, first, last = _shape(upright, rng, noise)
    # A rectangle has no side, so it is drawn both ways round.
    if kind in _BEARISH or (kind == "rectangle" and rng.random() < 0.5):
        rows = -rows[:, [0, 2, 1, 3]]
    bias: Bias = "long" if kind in LONG_KINDS else "short" if kind in SHORT_KINDS else "neutral"
    height = rng.uniform(0.002, 0.006)
    middle = rng.uniform(1.05, 1.25)
    bars = bars_of_rows(middle + height * (rows - rows.mean()))
    return PlantedCase(bars=bars, kind=kind, bias=bias, first_bar=first, last_bar=last)


def planted_cases(n: int, *, seed: int, noise: float = 1.0) -> list[PlantedCase]:
    """Return `n` cases, as many long as short as neutral ones (but for the remainder), kinds taking turns."""
    groups = (LONG_KINDS, SHORT_KINDS, NEUTRAL_KINDS)
    return [
        planted_case(groups[i % 3][i // 3 % len(groups[i % 3])], seed=seed * 1_000_003 + i, noise=noise)
        for i in range(n)
    ]


def mirrored_bars(bars: BarArrays) -> BarArrays:
    """Return the bars upside down round the middle of their range."""
    top = round(float(bars.low.min() + bars.high.max()), 5)
    rows = np.column_stack([top - bars.open, top - bars.low, top - bars.high, top - bars.close])
    return with_rows(bars, rows)


def shuffled_bars(bars: BarArrays, *, seed: int) -> BarArrays:
    """Return the same bars in random order, joined end to end: the same ranges, no pattern."""
    order = np.random.default_rng(seed).permutation(len(bars))
    before = np.concatenate((bars.open[:1], bars.close[:-1]))
    changes = (bars.close - before)[order]
    close = bars.open[0] + np.cumsum(changes)
    shift = (close - bars.close[order])[:, None]
    rows = np.column_stack([bars.open, bars.high, bars.low, bars.close])[order] + shift
    return with_rows(bars, rows)


def blank_bars(*, seed: int) -> BarArrays:
    """Return bars that do nothing: one price, one tick of range."""
    price = np.random.default_rng(seed).uniform(1.05, 1.25)
    rows = np.full((N_BARS, 4), round(price, 5))
    rows[:, 1] += 1e-5
    return bars_of_rows(rows)


def _shape(kind: str, rng: np.random.Generator, noise: float) -> tuple[FloatArray, int, int]:
    """Return rows of open, high, low, close in heights, and the bars of the shape."""
    if kind == "none":
        level = np.zeros(N_BARS)
        for i in range(1, N_BARS):  # pulled back to one price: no trend, no swing of any size
            level[i] = 0.75 * level[i - 1] + 0.06 * rng.normal()
        return _candles(level, rng, 0.05), 0, 0
    bars = [max(1, round(step * rng.uniform(0.85, 1.2))) for step, _ in _PATHS[kind][1:]]
    # A few bars after the shape, so that it does not always end at the edge.
    after = 0 if kind in ("hammer", "bullish_engulfing") else int(rng.integers(0, 4))
    extra = 2 if kind == "bullish_engulfing" else 1 if kind == "hammer" else 0
    first = N_BARS - after - extra - sum(bars) - 1
    levels = [level + 0.03 * noise * rng.normal() for _, level in _PATHS[kind]]
    stops = np.concatenate(([first], first + np.cumsum(bars)))
    path = np.interp(np.arange(N_BARS - extra), stops, levels)
    quiet = np.arange(N_BARS - extra) < first
    path += np.where(quiet, _LEAD, 0.025 * noise) * rng.normal(size=path.size)
    rows = _candles(path, rng, 0.03 * max(noise, 0.3))
    last = N_BARS - 1 - after
    if not extra:
        return rows, first, last
    close = rows[-1, 3]
    if kind == "hammer":
        tail = 0.22 + 0.05 * rng.random()
        last_rows = [(close, close + 0.035, close - tail, close + 0.03)]
    else:
        down = 0.04 + 0.02 * rng.random()
        low = close - down
        up = close + 0.06 + 0.03 * rng.random()
        last_rows = [
            (close, close + 0.01, low - 0.01, low),
            (low - 0.005, up + 0.01, low - 0.02, up),
        ]
    return np.vstack([rows, np.array(last_rows)]), N_BARS - extra, N_BARS - 1


def _candles(path: FloatArray, rng: np.random.Generator, wick: float) -> FloatArray:
    opened = np.concatenate((path[:1], path[:-1]))
    high = np.maximum(opened, path) + wick * rng.exponential(size=path.size)
    low = np.minimum(opened, path) - wick * rng.exponential(size=path.size)
    return np.column_stack([opened, high, low, path])


def with_rows(bars: BarArrays, rows: FloatArray) -> BarArrays:
    """Return bars at the same times with other prices, to the tick."""
    opened, high, low, close = (np.ascontiguousarray(column) for column in np.round(rows, 5).T)
    digest = hashlib.sha256(np.round(rows, 5).tobytes()).hexdigest()
    return replace(bars, open=opened, high=high, low=low, close=close, data_hash=digest)


def bars_of_rows(rows: FloatArray) -> BarArrays:
    """Return generated five-minute bars of rows of open, high, low, close, rounded to the tick."""
    # To the tick; rounding keeps the order of the four prices of a bar.
    opened, high, low, close = np.round(rows, 5).T
    timeframe = parse_timeframe("5m")
    return BarArrays(
        instrument="EURUSD",
        timeframe=timeframe,
        price="bid",
        ts_open_ns=_MONDAY_NS + timeframe.ns * np.arange(len(rows), dtype=np.int64),
        open=np.ascontiguousarray(opened),
        high=np.ascontiguousarray(high),
        low=np.ascontiguousarray(low),
        close=np.ascontiguousarray(close),
        volume=np.zeros(len(rows)),
        data_hash=hashlib.sha256(np.round(rows, 5).tobytes()).hexdigest(),
        synthetic=True,
    )
