"""Weighted averages in Pine's conventions: WMA, Hull, by volume, and the end of a fitted line.

NaN policy: windows, see `aiopt.indicators.averages`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Sma, sma
from aiopt.indicators.definition import SOURCE, IndicatorDef, length_arg
from aiopt.indicators.windows import (
    NAN,
    FloatArray,
    WindowSum,
    WindowWeightedSum,
    finite,
    window_sum,
    window_weighted_sum,
)

ZERO = 1e-10
"""A divisor no larger than this counts as zero, as in Pine's comparisons: the result is NaN."""


def wma(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return the weighted moving average, weights 1 (oldest) to `length` (newest): Pine's ``ta.wma``.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: a window that holds one gives NaN.
    length : int
        Bars, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        First value at index ``length - 1``.
    """
    return window_weighted_sum(finite(source), length) / _weights(length)


def _weights(length: int) -> float:
    return length * (length + 1) / 2


class Wma:
    """Streaming twin of `wma`."""

    def __init__(self, length: int) -> None:
        self._weights = _weights(length)
        self._sum = WindowWeightedSum(length)

    def update(self, source: float) -> float:
        """Add one bar; return its average."""
        return self._sum.update(source if math.isfinite(source) else NAN) / self._weights


def hma(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return Hull's average: ``wma(2 * wma(x, length // 2) - wma(x, length), floor(sqrt(length)))``.

    It is Pine's ``ta.hma``.  Parameters as in `wma`, `length` at least 2; first value at index
    ``length + floor(sqrt(length)) - 2``.
    """
    return wma(2.0 * wma(source, length // 2) - wma(source, length), math.isqrt(length))


class Hma:
    """Streaming twin of `hma`."""

    def __init__(self, length: int) -> None:
        self._half = Wma(length // 2)
        self._whole = Wma(length)
        self._smooth = Wma(math.isqrt(length))

    def update(self, source: float) -> float:
        """Add one bar; return its average."""
        return self._smooth.update(2.0 * self._half.update(source) - self._whole.update(source))


def linreg(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return the last point of the line fitted by least squares: ``ta.linreg(source, length, 0)``.

    It equals ``3 wma - 2 sma``.  Parameters as in `wma`, `length` at least 2.
    """
    return 3.0 * wma(source, length) - 2.0 * sma(source, length)


class Linreg:
    """Streaming twin of `linreg`."""

    def __init__(self, length: int) -> None:
        self._weighted = Wma(length)
        self._plain = Sma(length)

    def update(self, source: float) -> float:
        """Add one bar; return the end of its line."""
        return 3.0 * self._weighted.update(source) - 2.0 * self._plain.update(source)


def vwma(source: npt.ArrayLike, volume: npt.ArrayLike, length: int) -> FloatArray:
    """Return the average weighted by volume: Pine's ``ta.vwma``.

    Parameters
    ----------
    source, volume : array_like of shape (n_bars,)
        Price and volume; a window without volume gives NaN.
    length : int
        Bars, at least 1.
    """
    volumes = finite(volume)
    mean = window_sum(volumes, length) / length
    traded = window_sum(finite(source) * volumes, length) / length
    none = np.abs(mean) <= ZERO
    return np.where(none, NAN, traded / np.where(none, 1.0, mean))


class Vwma:
    """Streaming twin of `vwma`."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._volume = WindowSum(length)
        self._traded = WindowSum(length)

    def update(self, source: float, volume: float) -> float:
        """Add one bar; return its average."""
        source = source if math.isfinite(source) else NAN
        volume = volume if math.isfinite(volume) else NAN
        mean = self._volume.update(volume) / self._length
        traded = self._traded.update(source * volume) / self._length
        return NAN if abs(mean) <= ZERO else traded / mean


WEIGHTED_KINDS = (
    IndicatorDef(
        kind="wma",
        title="Weighted moving average",
        args={"length": length_arg(20)},
        inputs=SOURCE,
        outputs=("value",),
        function=wma,
        streaming=Wma,
        warmup=lambda a: int(a["length"]) - 1,
    ),
    IndicatorDef(
        kind="hma",
        title="Hull moving average",
        args={"length": length_arg(20, 2)},
        inputs=SOURCE,
        outputs=("value",),
        function=hma,
        streaming=Hma,
        warmup=lambda a: int(a["length"]) + math.isqrt(int(a["length"])) - 2,
    ),
    IndicatorDef(
        kind="linreg",
        title="Linear regression, its last point",
        args={"length": length_arg(20, 2)},
        inputs=SOURCE,
        outputs=("value",),
        function=linreg,
        streaming=Linreg,
        warmup=lambda a: int(a["length"]) - 1,
    ),
    IndicatorDef(
        kind="vwma",
        title="Volume weighted moving average",
        args={"length": length_arg(20)},
        inputs=("source", "volume"),
        outputs=("value",),
        function=vwma,
        streaming=Vwma,
        warmup=lambda a: int(a["length"]) - 1,
    ),
)
