"""RSI, MACD and Stochastic in Pine's conventions.  NaN policy: see `aiopt.indicators.averages`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Ema, Rma, Sma, ema, sma
from aiopt.indicators.windows import (
    NAN,
    UNITS,
    FloatArray,
    WindowMax,
    WindowMin,
    finite,
    in_units,
    window_max,
    window_min,
)


def rsi(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return Wilder's relative strength index (Pine's ``ta.rsi``).

    ``100 - 100 / (1 + rma(gains) / rma(losses))``; 100 where there was no loss yet (also where there was no
    gain either, as in Pine), 0 where there was no gain.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: passed over.
    length : int
        Bars, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        In [0, 100].  First value at index `length`.
    """
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    return kernels.relative_strength(finite(source), length)


class Rsi:
    """Streaming twin of `rsi`."""

    def __init__(self, length: int) -> None:
        self._gain = Rma(length)
        self._loss = Rma(length)
        self._previous = NAN

    def update(self, source: float) -> float:
        """Add one bar; return its index."""
        if not math.isfinite(source):
            return NAN
        change = source - self._previous
        self._previous = source
        if math.isnan(change):
            return NAN
        gain = self._gain.update(change if change > 0 else 0.0)
        loss = self._loss.update(-change if change < 0 else 0.0)
        if loss == 0.0:
            return 100.0
        return 100.0 - 100.0 / (1.0 + gain / loss)


class MacdLines(NamedTuple):
    """The three outputs of MACD, arrays or single values, in price units."""

    macd: FloatArray | float
    signal: FloatArray | float
    histogram: FloatArray | float


def macd(source: npt.ArrayLike, fast: int, slow: int, signal: int) -> MacdLines:
    """Return moving average convergence/divergence (Pine's ``ta.macd``).

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: passed over.
    fast, slow, signal : int
        Lengths of the two EMAs of the source and of the EMA of their difference, bars, at least 1.

    Returns
    -------
    MacdLines
        First MACD value at index ``max(fast, slow) - 1``, first signal value ``signal - 1`` bars later.
    """
    line = ema(source, fast) - ema(source, slow)
    smooth = ema(line, signal)
    return MacdLines(line, smooth, line - smooth)


class Macd:
    """Streaming twin of `macd`."""

    def __init__(self, fast: int, slow: int, signal: int) -> None:
        self._fast = Ema(fast)
        self._slow = Ema(slow)
        self._signal = Ema(signal)

    def update(self, source: float) -> MacdLines:
        """Add one bar; return its three lines."""
        line = self._fast.update(source) - self._slow.update(source)
        smooth = self._signal.update(line)
        return MacdLines(line, smooth, line - smooth)


class StochasticLines(NamedTuple):
    """The two outputs of the Stochastic, arrays or single values, in per cent."""

    k: FloatArray | float
    d: FloatArray | float


def stochastic(
    high: npt.ArrayLike,
    low: npt.ArrayLike,
    close: npt.ArrayLike,
    k_length: int,
    k_smooth: int,
    d_smooth: int,
) -> StochasticLines:
    """Return the Stochastic oscillator.

    ``k = ta.sma(ta.stoch(close, high, low, k_length), k_smooth)`` and ``d = ta.sma(k, d_smooth)``.  Both
    distances of the quotient are taken in whole units (`aiopt.indicators.windows.in_units`): a value that is
    mathematically 15 is 15 here as in the script.

    Where the window's highest high equals its lowest low the raw value is 0/0: NaN, and so is every average
    whose window holds it (the Pine engine of the tests does the same).

    Parameters
    ----------
    high, low, close : array_like of shape (n_bars,)
        Price units.  A NaN in any of them gives NaN in every window that holds the bar.
    k_length, k_smooth, d_smooth : int
        Bars, at least 1.

    Returns
    -------
    StochasticLines
        First k at index ``k_length + k_smooth - 2``, first d ``d_smooth - 1`` bars later.
    """
    highs, lows, closes = finite(high), finite(low), finite(close)
    missing = np.isnan(highs + lows + closes)
    bottom = window_min(lows, k_length)
    span = in_units(window_max(highs, k_length) - bottom)
    span[span == 0.0] = NAN
    raw = 100.0 * in_units(closes - bottom) / span
    if missing.any():
        raw[window_max(missing.astype(np.float64), k_length) != 0.0] = NAN
    k = sma(raw, k_smooth)
    return StochasticLines(k, sma(k, d_smooth))


class Stochastic:
    """Streaming twin of `stochastic`."""

    def __init__(self, k_length: int, k_smooth: int, d_smooth: int) -> None:
        self._highest = WindowMax(k_length)
        self._lowest = WindowMin(k_length)
        self._missing = WindowMax(k_length)
        self._k = Sma(k_smooth)
        self._d = Sma(d_smooth)

    def update(self, high: float, low: float, close: float) -> StochasticLines:
        """Add one bar; return its two lines."""
        high = high if math.isfinite(high) else NAN
        low = low if math.isfinite(low) else NAN
        close = close if math.isfinite(close) else NAN
        missing = self._missing.update(1.0 if math.isnan(high + low + close) else 0.0)
        bottom = self._lowest.update(low)
        span = self._highest.update(high) - bottom
        known = missing == 0.0 and not math.isnan(span) and round(span * UNITS) != 0
        raw = 100.0 * round((close - bottom) * UNITS) / round(span * UNITS) if known else NAN
        k = self._k.update(raw)
        return StochasticLines(k, self._d.update(k))
