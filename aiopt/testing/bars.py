"""Generated bars: deterministic, on the tick grid, with the corner cases that real months have few of.

Owns a cheap random walk of bars for tests; for generated *ticks* see `aiopt.market`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.files import write_bars
from aiopt.bars.schema import BarArrays, BarMeta, BarSet
from aiopt.errors import ConfigError
from aiopt.market.instrument import instrument
from aiopt.timeframe import parse_timeframe
from aiopt.utc import DAY_NS, HOUR_NS

MONDAY_NS = 1_514_764_800_000_000_000
"""Monday, 1 January 2018, 00:00 UTC."""

_TICKS_PER_UNIT = 100_000
_FRIDAY_CLOSE_HOUR = 22  # UTC; the market opens again on Sunday at the same hour


def random_walk_bars(
    n_bars: int, *, seed: int, timeframe: str = "1m", gap_share: float = 0.01, flat_share: float = 0.02
) -> BarArrays:
    """Return EUR/USD-like bars of a random walk.

    Volatility drifts, so that trends, quiet stretches and outbreaks occur; some bars open away from the last
    close by several ranges, some have no range at all; weekends are left out.

    Parameters
    ----------
    n_bars : int
        Number of bars, positive.
    seed : int
        Same seed, same bars.
    timeframe : str
        Bar length.
    gap_share, flat_share : float
        Shares of bars that open with a large gap, and that have open = high = low = close.

    Raises
    ------
    ConfigError
        If `n_bars` is not positive.
    """
    if n_bars < 1:
        msg = f"`n_bars > 0` must hold, but got n_bars={n_bars}. Ask for at least one bar."
        raise ConfigError(msg)
    rng = np.random.default_rng(seed)
    log_range = np.clip(np.cumsum(rng.normal(0.0, 0.03, n_bars)), -1.0, 1.0)
    scale = 9.0 * np.exp(log_range)
    flat = rng.random(n_bars) < flat_share
    body = np.where(flat, 0, np.rint(rng.normal(0.0, 1.0, n_bars) * scale)).astype(np.int64)
    upper = np.where(flat, 0, np.rint(rng.exponential(0.5, n_bars) * scale)).astype(np.int64)
    lower = np.where(flat, 0, np.rint(rng.exponential(0.5, n_bars) * scale)).astype(np.int64)
    small = rng.integers(-1, 2, n_bars)
    large = np.rint(rng.normal(0.0, 6.0, n_bars) * scale).astype(np.int64)
    gap = np.where(rng.random(n_bars) < gap_share, large, small)

    # Far from zero whatever the walk does: prices are folded into a band of 0.4 around 1.2.
    moves = gap + body
    close = 120_000 + _fold(np.cumsum(moves), 20_000)
    opened = close - body
    high = np.maximum(opened, close) + upper
    low = np.minimum(opened, close) - lower
    prices = [_price(values) for values in (opened, high, low, close)]
    ts_open_ns = _trading_times(n_bars, parse_timeframe(timeframe).ns)
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (ts_open_ns, *prices))).hexdigest()
    return BarArrays(
        instrument="EURUSD",
        timeframe=parse_timeframe(timeframe),
        price="bid",
        ts_open_ns=ts_open_ns,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=rng.integers(1, 500, n_bars).astype(np.float64),
        data_hash=digest,
        synthetic=True,
    )


def write_bar_file(bars: BarArrays, path: Path) -> None:
    """Write generated bars as a bar file, with one tick per bar.

    Parameters
    ----------
    bars : BarArrays
        What to write.
    path : Path
        Name of the Parquet file.
    """
    names = ("ts_open_ns", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(bars, name) for name in names})
    meta = BarMeta(
        instrument=bars.instrument,
        timeframe=bars.timeframe.label,
        price=bars.price,
        data_hash=bars.data_hash,
        synthetic=bars.synthetic,
    )
    write_bars(path, frame.with_columns(ticks=pl.lit(1, pl.Int64)), meta)


def random_walk_bar_set(n_bars: int, *, seed: int, timeframe: str = "5m") -> BarSet:
    """Return bid bars of `random_walk_bars` with ask bars above them by a spread that varies from bar to bar.

    Parameters
    ----------
    n_bars, seed, timeframe
        As `random_walk_bars`.
    """
    bid = random_walk_bars(n_bars, seed=seed, timeframe=timeframe)
    rng = np.random.default_rng(seed + 1)
    spread = rng.integers(3, 20, n_bars) / _TICKS_PER_UNIT
    sides = {name: np.round(getattr(bid, name) + spread, 5) for name in ("open", "high", "low", "close")}
    return BarSet(
        instrument=instrument(bid.instrument),
        timeframe=bid.timeframe,
        bid=bid,
        ask=replace(bid, price="ask", **sides),
        single_price=False,
        data_hash=bid.data_hash,
    )


def _fold(walk: NDArray[np.int64], half_width: int) -> NDArray[np.int64]:
    """Reflect a walk at plus and minus `half_width`."""
    period = 4 * half_width
    phase = (walk + half_width) % period
    return np.where(phase <= 2 * half_width, phase, period - phase) - half_width


def _price(ticks: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.round(ticks / _TICKS_PER_UNIT, 5)


def _trading_times(n_bars: int, step_ns: int) -> NDArray[np.int64]:
    """Return opening times from `MONDAY_NS` on, without weekends."""
    week_ns = 7 * DAY_NS
    weeks = 2 + n_bars * step_ns // (4 * DAY_NS)
    times = MONDAY_NS + step_ns * np.arange(weeks * week_ns // step_ns, dtype=np.int64)
    within_week = (times - MONDAY_NS) % week_ns
    closes = 4 * DAY_NS + _FRIDAY_CLOSE_HOUR * HOUR_NS
    opens = 6 * DAY_NS + _FRIDAY_CLOSE_HOUR * HOUR_NS
    return times[(within_week < closes) | (within_week >= opens)][:n_bars]
