"""Prices and volume together: on-balance volume, money flow.  NaN policy: `aiopt.indicators.averages`.

The volume of foreign exchange is that of one feed: often the number of its quotes.  Knows no bars.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aiopt.indicators.definition import IndicatorDef, length_arg
from aiopt.indicators.weighted import ZERO
from aiopt.indicators.windows import NAN, FloatArray, WindowSum, finite, previous, window_sum


def obv(close: npt.ArrayLike, volume: npt.ArrayLike) -> FloatArray:
    """Return on-balance volume (Pine's ``ta.obv``): volume summed with the sign of the close's change.

    Parameters
    ----------
    close, volume : array_like of shape (n_bars,)
        A bar with a NaN is passed over; closes within 1e-10 are equal.

    Returns
    -------
    ndarray of shape (n_bars,)
        0 on the first bar.
    """
    closes, volumes = finite(close), finite(volume)
    present = ~np.isnan(closes + volumes)
    known, traded = closes[present], volumes[present]
    change = known - previous(known)
    result = np.full(closes.size, NAN)
    result[present] = np.cumsum(np.where(change > ZERO, traded, np.where(change < -ZERO, -traded, 0.0)))
    return result


class Obv:
    """Streaming twin of `obv`."""

    def __init__(self) -> None:
        self._before = NAN
        self._total = 0.0

    def update(self, close: float, volume: float) -> float:
        """Add one bar; return the sum so far."""
        if not math.isfinite(close + volume):
            return NAN
        change = close - self._before
        self._before = close
        self._total += volume if change > ZERO else -volume if change < -ZERO else 0.0
        return self._total


def mfi(source: npt.ArrayLike, volume: npt.ArrayLike, length: int) -> FloatArray:
    """Return the money flow index (Pine's ``ta.mfi``): an RSI of price times volume, in [0, 100].

    100 where nothing flowed out, NaN where nothing flowed at all.

    Parameters
    ----------
    source, volume : array_like of shape (n_bars,)
        A window that holds a NaN gives NaN; prices within 1e-10 are equal.
    length : int
        Changes, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        First value at index `length`.
    """
    values = finite(source)
    change = values - previous(values)
    flow = values * finite(volume)
    flow[np.isnan(change)] = NAN
    missing = np.isnan(flow)
    ups = window_sum(np.where(missing | (change > ZERO), flow, 0.0), length) / length
    downs = window_sum(np.where(missing | (change < -ZERO), flow, 0.0), length) / length
    dry = downs <= ZERO
    index = 100.0 - 100.0 / (1.0 + ups / np.where(dry, 1.0, downs))
    return np.where(dry, np.where(ups <= ZERO, NAN, 100.0), index)


class Mfi:
    """Streaming twin of `mfi`."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._ups, self._downs = WindowSum(length), WindowSum(length)
        self._before = NAN

    def update(self, source: float, volume: float) -> float:
        """Add one bar; return its index."""
        value = source if math.isfinite(source) else NAN
        change = value - self._before
        self._before = value
        flow = NAN if math.isnan(change) or not math.isfinite(volume) else value * volume
        missing = math.isnan(flow)
        ups = self._ups.update(flow if missing or change > ZERO else 0.0) / self._length
        downs = self._downs.update(flow if missing or change < -ZERO else 0.0) / self._length
        if downs <= ZERO:
            return NAN if ups <= ZERO else 100.0
        return 100.0 - 100.0 / (1.0 + ups / downs)


FLOW_KINDS = (
    IndicatorDef(
        kind="obv",
        title="On-balance volume",
        args={},
        inputs=("close", "volume"),
        outputs=("value",),
        function=obv,
        streaming=Obv,
        warmup=lambda a: 0,
    ),
    IndicatorDef(
        kind="mfi",
        title="Money flow index",
        args={"length": length_arg(14)},
        inputs=("source", "volume"),
        outputs=("value",),
        function=mfi,
        streaming=Mfi,
        warmup=lambda a: int(a["length"]),
    ),
)
