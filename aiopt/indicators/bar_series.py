"""The series of bars that indicators read, by name.  Knows only that bars have columns."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aiopt.indicators.heikin_ashi import HEIKIN_ASHI, heikin_ashi
from aiopt.indicators.windows import FloatArray

PRICE_SOURCES = ("open", "high", "low", "close", "hl2", "hlc3", "ohlc4", *HEIKIN_ASHI)
"""Series in units of price."""

SOURCES = (*PRICE_SOURCES, "volume")
"""Series an indicator with a `source` may read."""

TIME = "time"
"""Input of kinds that read when bars open: UTC nanoseconds, whole numbers."""


class Columns(Protocol):
    """Columns of bars, each of shape (n_bars,)."""

    @property
    def ts_open_ns(self) -> NDArray[np.int64]:
        """When the bars open, UTC."""

    @property
    def open(self) -> FloatArray:
        """Opening prices."""

    @property
    def high(self) -> FloatArray:
        """Highest prices."""

    @property
    def low(self) -> FloatArray:
        """Lowest prices."""

    @property
    def close(self) -> FloatArray:
        """Closing prices."""

    @property
    def volume(self) -> FloatArray:
        """Volumes."""


def bar_series(bars: Columns, name: str) -> NDArray[Any]:
    """Return one of `SOURCES`, or `TIME`, over bars, shape (n_bars,)."""
    match name:
        case "hl2":
            return (bars.high + bars.low) / 2.0
        case "hlc3":
            return (bars.high + bars.low + bars.close) / 3.0
        case "ohlc4":
            return (bars.open + bars.high + bars.low + bars.close) / 4.0
        case "time":
            return bars.ts_open_ns
    if name in HEIKIN_ASHI:
        lines = heikin_ashi(bars.open, bars.high, bars.low, bars.close)
        return np.asarray(lines[HEIKIN_ASHI.index(name)])
    values: FloatArray = getattr(bars, name)
    return values
