"""Heikin-Ashi bars, made of a chart's own.  NaN policy: a bar with a NaN is passed over."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.definition import IndicatorDef
from aiopt.indicators.windows import NAN, FloatArray, finite

HEIKIN_ASHI = ("ha_open", "ha_high", "ha_low", "ha_close")
"""Series an indicator may read, in the order of `HeikinAshiBar`."""


class HeikinAshiBar(NamedTuple):
    """The four outputs, arrays or single values, in price units."""

    open: FloatArray | float
    high: FloatArray | float
    low: FloatArray | float
    close: FloatArray | float


def heikin_ashi(
    open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike
) -> HeikinAshiBar:
    """Return Heikin-Ashi bars.

    The close is the mean of the four prices, the open the middle of the body before (of the bar's own body
    on the first), high and low take both in.

    Parameters
    ----------
    open, high, low, close : array_like of shape (n_bars,)
        Price units.
    """
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    opens, highs, lows, closes = finite(open), finite(high), finite(low), finite(close)
    middle = (opens + highs + lows + closes) / 4.0
    start = kernels.heikin_ashi_open(opens, closes, middle)
    top = np.maximum(np.maximum(highs, start), middle)
    bottom = np.minimum(np.minimum(lows, start), middle)
    return HeikinAshiBar(start, top, bottom, middle)


class HeikinAshi:
    """Streaming twin of `heikin_ashi`."""

    def __init__(self) -> None:
        self._open = self._close = NAN

    def update(self, open: float, high: float, low: float, close: float) -> HeikinAshiBar:
        """Add one bar; return its Heikin-Ashi bar."""
        middle = (open + high + low + close) / 4.0
        if not math.isfinite(middle):
            return HeikinAshiBar(NAN, NAN, NAN, NAN)
        first = math.isnan(self._open)
        start = (open + close) / 2.0 if first else (self._open + self._close) / 2.0
        self._open, self._close = start, middle
        return HeikinAshiBar(start, max(high, start, middle), min(low, start, middle), middle)


CANDLE_KINDS = (
    IndicatorDef(
        kind="heikin_ashi",
        title="Heikin-Ashi bars",
        args={},
        inputs=("open", "high", "low", "close"),
        outputs=("open", "high", "low", "close"),
        function=heikin_ashi,
        streaming=HeikinAshi,
        warmup=lambda a: 0,
    ),
)
