"""Moving averages with Pine's seeding: SMA, EMA, RMA.  Owns their recursions; knows nothing of strategies.

NaN policy of the whole package (it is what the Pine engine of the tests does):

* a *window* (SMA, Bollinger Bands, Stochastic) that holds a NaN gives NaN;
* a *recursion* (EMA, RMA, RSI, MACD, ATR, DMI) gives NaN on a bar with a NaN input and passes over that bar:
  its state stays as it was, and the seed is the mean of the first `length` values that are numbers.

An infinity counts as NaN.  Every function returns as many bars as it was given.
"""

from __future__ import annotations

import math

import numpy.typing as npt

from aiopt.indicators.windows import NAN, FloatArray, WindowSum, finite, window_sum


def sma(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return the simple moving average.

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
    return window_sum(finite(source), length) / length


class Sma:
    """Streaming twin of `sma`."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._sum = WindowSum(length)

    def update(self, source: float) -> float:
        """Add one bar; return its average."""
        return self._sum.update(source if math.isfinite(source) else NAN) / self._length


def ema(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return the exponential moving average, ``alpha = 2 / (length + 1)``, seeded by the SMA.

    It is Pine's ``ta.ema``.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: passed over.
    length : int
        Bars, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        First value at index ``length - 1`` (of the values that are numbers).
    """
    return recursive_average(source, length, 2.0 / (length + 1))


def rma(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return Wilder's moving average, ``alpha = 1 / length``, seeded by the SMA (Pine's ``ta.rma``).

    Parameters and result as in `ema`.
    """
    return recursive_average(source, length, 1.0 / length)


def recursive_average(source: npt.ArrayLike, length: int, alpha: float) -> FloatArray:
    """Return ``y[t] = alpha * x[t] + (1 - alpha) * y[t-1]`` from ``y[length-1] = mean(x[:length])`` on.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        NaNs are passed over: NaN in the result there, the recursion continues after them.
    length : int
        Values that make the seed.
    alpha : float
        Weight of the newest value, in (0, 1].
    """
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    return kernels.recursion(finite(source), length, alpha)


class RecursiveAverage:
    """Streaming twin of `recursive_average`."""

    def __init__(self, length: int, alpha: float) -> None:
        self._length = length
        self._alpha = alpha
        self._keep = 1.0 - alpha
        self._seen = 0
        self._sum = 0.0
        self._value = NAN

    def update(self, source: float) -> float:
        """Add one bar; return its average."""
        if not math.isfinite(source):
            return NAN
        if self._seen >= self._length:
            self._value = self._alpha * source + self._keep * self._value
            return self._value
        self._seen += 1
        self._sum = source if self._seen == 1 else self._sum + source
        if self._seen == self._length:
            self._value = self._sum / self._length
        return self._value


class Ema(RecursiveAverage):
    """Streaming twin of `ema`."""

    def __init__(self, length: int) -> None:
        super().__init__(length, 2.0 / (length + 1))


class Rma(RecursiveAverage):
    """Streaming twin of `rma`."""

    def __init__(self, length: int) -> None:
        super().__init__(length, 1.0 / length)
