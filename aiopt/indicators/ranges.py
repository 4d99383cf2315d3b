"""Where a price lies in its range: Williams %R, CCI, Stochastic RSI.

NaN policy: see `aiopt.indicators.averages`.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Sma, sma
from aiopt.indicators.definition import RANGE, SOURCE, IndicatorDef, length_arg
from aiopt.indicators.oscillators import Rsi, StochasticLines, rsi
from aiopt.indicators.weighted import ZERO
from aiopt.indicators.windows import (
    NAN,
    UNITS,
    FloatArray,
    WindowMax,
    WindowMin,
    WindowSum,
    finite,
    in_units,
    window_max,
    window_min,
    window_sum,
)


def williams_r(high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, length: int) -> FloatArray:
    """Return Williams %R (Pine's ``ta.wpr``): ``100 * (close - highest) / (highest - lowest)``.

    Both distances are taken in whole units (`aiopt.indicators.windows.in_units`).

    Parameters
    ----------
    high, low, close : array_like of shape (n_bars,)
        Price units.  A window without any range gives NaN.
    length : int
        Bars, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        In [-100, 0].  First value at index ``length - 1``.
    """
    top = window_max(finite(high), length)
    span = in_units(top - window_min(finite(low), length))
    return 100.0 * in_units(finite(close) - top) / np.where(span == 0.0, NAN, span)


class WilliamsR:
    """Streaming twin of `williams_r`."""

    def __init__(self, length: int) -> None:
        self._top = WindowMax(length)
        self._bottom = WindowMin(length)

    def update(self, high: float, low: float, close: float) -> float:
        """Add one bar; return its value."""
        top = self._top.update(high if math.isfinite(high) else NAN)
        span = top - self._bottom.update(low if math.isfinite(low) else NAN)
        if math.isnan(span) or not math.isfinite(close) or round(span * UNITS) == 0:
            return NAN
        return 100.0 * round((close - top) * UNITS) / round(span * UNITS)


def cci(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return the commodity channel index (Pine's ``ta.cci``).

    ``(x - sma) / (0.015 * mean of |x - sma|)``; NaN where the deviation is at most 1e-10.  All of it is taken
    `length` times and in whole units (`aiopt.indicators.windows.in_units`), so that an index equal to the one
    before is equal in every engine.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: a window that holds one gives NaN.
    length : int
        Bars, at least 1.
    """
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    scaled = float(length) * in_units(finite(source))
    total = window_sum(in_units(finite(source)), length)
    deviation = kernels.mean_deviation(scaled, total, length)
    return (scaled - total) / (0.015 * np.where(deviation <= length * ZERO * UNITS, NAN, deviation))


class Cci:
    """Streaming twin of `cci`."""

    def __init__(self, length: int) -> None:
        self._total = WindowSum(length)
        self._window = deque[float](maxlen=length)
        self._length = float(length)

    def update(self, source: float) -> float:
        """Add one bar; return its index."""
        units = float(round(source * UNITS)) if math.isfinite(source) else NAN
        scaled = self._length * units
        self._window.append(scaled)
        total = self._total.update(units)
        if math.isnan(total):
            return NAN
        away = 0.0
        for value in self._window:
            away += abs(value - total)
        deviation = away / len(self._window)
        return NAN if deviation <= self._length * ZERO * UNITS else (scaled - total) / (0.015 * deviation)


# reason: one series and four arguments
def stoch_rsi(
    source: npt.ArrayLike, rsi_length: int, k_length: int, k_smooth: int, d_smooth: int
) -> StochasticLines:
    """Return the Stochastic of the RSI: where the RSI lies in its own range, smoothed twice.

    A window in which the RSI does not move gives NaN, and so does every average that holds it.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.
    rsi_length, k_length, k_smooth, d_smooth : int
        Bars, at least 1.

    Returns
    -------
    StochasticLines
        In per cent.  First k at index ``rsi_length + k_length + k_smooth - 2``.
    """
    strength = rsi(source, rsi_length)
    bottom = window_min(strength, k_length)
    span = window_max(strength, k_length) - bottom
    missing = window_max(np.isnan(strength).astype(np.float64), k_length)
    span[(span <= ZERO) | (missing != 0.0)] = NAN
    k = sma(100.0 * (strength - bottom) / span, k_smooth)
    return StochasticLines(k, sma(k, d_smooth))


class StochRsi:
    """Streaming twin of `stoch_rsi`."""

    def __init__(self, rsi_length: int, k_length: int, k_smooth: int, d_smooth: int) -> None:
        self._rsi = Rsi(rsi_length)
        self._top, self._bottom = WindowMax(k_length), WindowMin(k_length)
        self._missing = WindowMax(k_length)
        self._k, self._d = Sma(k_smooth), Sma(d_smooth)

    def update(self, source: float) -> StochasticLines:
        """Add one bar; return its two lines."""
        strength = self._rsi.update(source)
        missing = self._missing.update(1.0 if math.isnan(strength) else 0.0)
        bottom = self._bottom.update(strength)
        span = self._top.update(strength) - bottom
        known = span > ZERO and missing == 0.0
        k = self._k.update(100.0 * (strength - bottom) / span if known else NAN)
        return StochasticLines(k, self._d.update(k))


RANGE_KINDS = (
    IndicatorDef(
        kind="williams_r",
        title="Williams %R",
        args={"length": length_arg(14)},
        inputs=RANGE,
        outputs=("value",),
        function=williams_r,
        streaming=WilliamsR,
        warmup=lambda a: int(a["length"]) - 1,
    ),
    IndicatorDef(
        kind="cci",
        title="Commodity channel index",
        args={"length": length_arg(20, 2)},
        inputs=SOURCE,
        outputs=("value",),
        function=cci,
        streaming=Cci,
        warmup=lambda a: int(a["length"]) - 1,
    ),
    IndicatorDef(
        kind="stoch_rsi",
        title="Stochastic RSI",
        args={
            "rsi_length": length_arg(14),
            "k_length": length_arg(14, 2),
            "k_smooth": length_arg(3),
            "d_smooth": length_arg(3),
        },
        inputs=SOURCE,
        outputs=("k", "d"),
        function=stoch_rsi,
        streaming=StochRsi,
        warmup=lambda a: int(a["rsi_length"] + a["k_length"] + a["k_smooth"] + a["d_smooth"]) - 3,
    ),
)
