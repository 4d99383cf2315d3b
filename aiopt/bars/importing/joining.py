"""Bars of several files or sources as one series: in order of time, each once, and their identity.

Owns what counts as the same bar.  Knows nothing of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from aiopt.bars.schema import OHLC


@dataclass(frozen=True)
class JoinedBars:
    """Bars of several frames.

    Attributes
    ----------
    frame : polars.DataFrame
        In order of time, each once; the columns of the frames, and ``part``, the number of its frame.
    repeated : int
        Bars left out because an equal one is there.
    clash : tuple of two dicts or None
        The first two bars of one time and other prices, if there are such; then `frame` is not to be used.
    """

    frame: pl.DataFrame
    repeated: int
    clash: tuple[dict[str, float | int], dict[str, float | int]] | None


def join_bars(frames: Sequence[pl.DataFrame]) -> JoinedBars:
    """Put bars together in order of time; of bars of one time the first frame's counts.

    Parameters
    ----------
    frames : non-empty sequence of polars.DataFrame
        With ``ts_open_ns`` and `OHLC` among their columns, which are the same.
    """
    numbered = [frame.with_columns(pl.lit(number).alias("part")) for number, frame in enumerate(frames)]
    joined = pl.concat(numbered).sort("ts_open_ns", maintain_order=True)
    same_time = joined["ts_open_ns"].to_numpy()[1:] == joined["ts_open_ns"].to_numpy()[:-1]
    same = np.logical_and.reduce(
        [joined[name].to_numpy()[1:] == joined[name].to_numpy()[:-1] for name in OHLC]
    )
    other = np.flatnonzero(same_time & ~same) + 1
    clash = None
    if other.size:
        clash = (joined.row(int(other[0]) - 1, named=True), joined.row(int(other[0]), named=True))
    first = np.ones(joined.height, dtype=np.bool_)
    first[1:] = ~same_time
    return JoinedBars(joined.filter(pl.Series(first)), int(np.count_nonzero(same_time)), clash)


def prices_text(bar: Mapping[str, float | int]) -> str:
    """Return ``"open=1.1, high=…"`` of a bar, for a message."""
    return ", ".join(f"{name}={bar[name]!r}" for name in OHLC)


def hash_sides(symbol: str, timeframe: str, sides: Mapping[str, pl.DataFrame]) -> str:
    """Return the hex SHA-256 over times, prices and volumes of all sides: the identity of the bars."""
    digest = hashlib.sha256(f"{symbol} {timeframe}".encode())
    for side, frame in sides.items():
        digest.update(side.encode())
        for name in ("ts_open_ns", *OHLC, "volume"):
            digest.update(np.ascontiguousarray(frame[name].to_numpy()).data)
    return digest.hexdigest()
