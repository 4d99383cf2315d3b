"""Bollinger Bands, true range and ATR in Pine's conventions.  NaN policy: see `aiopt.indicators.averages`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Rma, Sma, rma, sma
from aiopt.indicators.windows import NAN, FloatArray, finite


class Bands(NamedTuple):
    """The three outputs of Bollinger Bands, arrays or single values, in price units."""

    middle: FloatArray | float
    upper: FloatArray | float
    lower: FloatArray | float


def bollinger(source: npt.ArrayLike, length: int, multiplier: float) -> Bands:
    """Return Bollinger Bands: SMA plus and minus `multiplier` **population** standard deviations (``ta.bb``).

    The deviation is computed in two passes (mean first), so it does not cancel at prices far from zero.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: a window that holds one gives NaN.
    length : int
        Bars, at least 1.
    multiplier : float
        Standard deviations, at least 0.

    Returns
    -------
    Bands
        First values at index ``length - 1``.
    """
    parts = mean_and_deviation(source, length)
    middle, upper, lower = (np.empty(parts[0].size) for _ in range(3))
    bands_of(parts, (middle, upper, lower), multiplier)
    return Bands(middle, upper, lower)


def mean_and_deviation(source: npt.ArrayLike, length: int) -> tuple[FloatArray, FloatArray]:
    """Return the SMA and the population standard deviation of `bollinger`: all that depends on the length."""
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    values = finite(source)
    mean = sma(values, length)
    return mean, kernels.population_deviation(values, mean, length)


def bands_of(parts: Sequence[FloatArray], outputs: Sequence[FloatArray], multiplier: float) -> None:
    """Write middle, upper and lower band of `mean_and_deviation`.

    Parameters
    ----------
    parts : two ndarrays of shape (n_bars,)
        Mean and deviation.
    outputs : three ndarrays of shape (n_bars,)
        Written.
    multiplier : float
        Standard deviations.
    """
    from aiopt.indicators import kernels

    mean, deviation = parts
    middle, upper, lower = outputs
    kernels.bands(mean, deviation, float(multiplier), middle, upper, lower)


class Bollinger:
    """Streaming twin of `bollinger`."""

    def __init__(self, length: int, multiplier: float) -> None:
        self._multiplier = multiplier
        self._mean = Sma(length)
        self._window = deque[float](maxlen=length)

    def update(self, source: float) -> Bands:
        """Add one bar; return its three lines."""
        source = source if math.isfinite(source) else NAN
        window = self._window
        window.append(source)
        middle = self._mean.update(source)
        if math.isnan(middle):
            return Bands(NAN, NAN, NAN)
        squares = 0.0
        for value in window:
            deviation = value - middle
            squares += deviation * deviation
        width = self._multiplier * math.sqrt(squares / len(window))
        return Bands(middle, middle + width, middle - width)


def true_range(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, *, first: bool) -> FloatArray:
    """Return ``max(high - low, |high - close[1]|, |low - close[1]|)``.

    Parameters
    ----------
    high, low, close : array_like of shape (n_bars,)
        Price units.  A bar with a NaN in any of them is NaN and passed over: the bar after it looks back to
        the bar before it.
    first : bool
        What the first bar, which has no previous close, is: ``high - low`` (True, as in ATR) or NaN (False,
        as in DMI).
    """
    highs, lows, closes = finite(high), finite(low), finite(close)
    present = ~np.isnan(highs + lows + closes)
    if not present.all():
        result = np.full(highs.size, NAN)
        result[present] = true_range(highs[present], lows[present], closes[present], first=first)
        return result
    result = highs - lows
    if result.size:
        before = closes[:-1]
        np.maximum(result[1:], np.abs(highs[1:] - before), out=result[1:])
        np.maximum(result[1:], np.abs(lows[1:] - before), out=result[1:])
        if not first:
            result[0] = NAN
    return result


def atr(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, length: int) -> FloatArray:
    """Return the average true range: RMA of the true range, whose first bar is ``high - low`` (``ta.atr``).

    Parameters
    ----------
    high, low, close : array_like of shape (n_bars,)
        Price units.  A bar with a NaN is passed over.
    length : int
        Bars, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        Price units.  First value at index ``length - 1``.
    """
    return rma(true_range(high, low, close, first=True), length)


class Atr:
    """Streaming twin of `atr`."""

    def __init__(self, length: int) -> None:
        self._average = Rma(length)
        self._previous_close = NAN

    def update(self, high: float, low: float, close: float) -> float:
        """Add one bar; return its average true range."""
        if not math.isfinite(high + low + close):
            return NAN
        span = high - low
        before = self._previous_close
        self._previous_close = close
        if not math.isnan(before):
            span = max(span, abs(high - before), abs(low - before))
        return self._average.update(span)
