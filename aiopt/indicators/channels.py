"""Channels round prices in Pine's conventions: Keltner, Donchian, Ichimoku, Supertrend.

NaN policy: see `aiopt.indicators.averages`; highest and lowest prices pass over NaNs, as `window_max` says.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Ema, ema
from aiopt.indicators.definition import RANGE, ArgDef, IndicatorDef, length_arg
from aiopt.indicators.volatility import Atr, Bands, atr, true_range
from aiopt.indicators.windows import (
    NAN,
    FloatArray,
    WindowMax,
    WindowMin,
    finite,
    previous,
    window_max,
    window_min,
)

TIE = 1e-10
"""Prices that differ by no more than this are equal, as in every comparison in Pine."""


# reason: four series and two arguments
def keltner(
    source: npt.ArrayLike,
    high: npt.ArrayLike,
    low: npt.ArrayLike,
    close: npt.ArrayLike,
    length: int,
    multiplier: float,
) -> Bands:
    """Return Keltner Channels: EMA plus and minus `multiplier` EMAs of the true range (Pine's ``ta.kc``).

    Parameters
    ----------
    source, high, low, close : array_like of shape (n_bars,)
        Price units; the first bar has no true range, as in Pine.
    length : int
        Bars of both averages, at least 1.
    multiplier : float
        Average ranges, at least 0.

    Returns
    -------
    Bands
        First middle at index ``length - 1``, the bands one bar later.
    """
    middle = ema(source, length)
    width = multiplier * ema(true_range(high, low, close, first=False), length)
    return Bands(middle, middle + width, middle - width)


class Keltner:
    """Streaming twin of `keltner`."""

    def __init__(self, length: int, multiplier: float) -> None:
        self._multiplier = multiplier
        self._middle = Ema(length)
        self._span = Ema(length)
        self._close = NAN

    def update(self, source: float, high: float, low: float, close: float) -> Bands:
        """Add one bar; return its three lines."""
        middle = self._middle.update(source)
        width = NAN
        if math.isfinite(high + low + close):
            before, self._close = self._close, close
            if not math.isnan(before):
                span = max(high - low, abs(high - before), abs(low - before))
                width = self._multiplier * self._span.update(span)
        return Bands(middle, middle + width, middle - width)


def donchian(high: npt.ArrayLike, low: npt.ArrayLike, length: int) -> Bands:
    """Return the Donchian channel: the highest high, the lowest low and the price between them.

    Parameters
    ----------
    high, low : array_like of shape (n_bars,)
        Price units.
    length : int
        Bars, this one included, at least 1.
    """
    upper, lower = window_max(finite(high), length), window_min(finite(low), length)
    return Bands((upper + lower) / 2.0, upper, lower)


class Donchian:
    """Streaming twin of `donchian`."""

    def __init__(self, length: int) -> None:
        self._upper = WindowMax(length)
        self._lower = WindowMin(length)

    def update(self, high: float, low: float) -> Bands:
        """Add one bar; return its three lines."""
        upper = self._upper.update(high if math.isfinite(high) else NAN)
        lower = self._lower.update(low if math.isfinite(low) else NAN)
        return Bands((upper + lower) / 2.0, upper, lower)


class Cloud(NamedTuple):
    """The four outputs of Ichimoku, arrays or single values, in price units."""

    conversion: FloatArray | float
    base: FloatArray | float
    span_a: FloatArray | float
    span_b: FloatArray | float


# reason: two series and four arguments
def ichimoku(
    high: npt.ArrayLike, low: npt.ArrayLike, conversion: int, base: int, span: int, displacement: int
) -> Cloud:
    """Return Ichimoku's lines as they stand **at** a bar.

    Charts draw the cloud `displacement` bars ahead.  Here the cloud at a bar is what is drawn at it: the
    values of ``displacement - 1`` bars before, as TradingView's own script offsets them.  Nothing is read
    from bars to come; the lagging span is ``close`` against ``close[displacement - 1]``.

    Parameters
    ----------
    high, low : array_like of shape (n_bars,)
        Price units.
    conversion, base, span : int
        Bars of the three middles of a range, at least 1.
    displacement : int
        Bars, at least 1.
    """
    fast = donchian(high, low, conversion).middle
    slow = donchian(high, low, base).middle
    back = displacement - 1
    wide = donchian(high, low, span).middle
    return Cloud(
        fast,
        slow,
        previous((np.asarray(fast) + slow) / 2.0, back),
        previous(np.asarray(wide), back),
    )


class Ichimoku:
    """Streaming twin of `ichimoku`."""

    def __init__(self, conversion: int, base: int, span: int, displacement: int) -> None:
        self._fast, self._slow, self._wide = Donchian(conversion), Donchian(base), Donchian(span)
        self._first = deque([NAN] * displacement, maxlen=displacement)
        self._second = deque([NAN] * displacement, maxlen=displacement)

    def update(self, high: float, low: float) -> Cloud:
        """Add one bar; return its four lines."""
        fast, slow = self._fast.update(high, low).middle, self._slow.update(high, low).middle
        self._first.append(float((fast + slow) / 2.0))
        self._second.append(float(self._wide.update(high, low).middle))
        return Cloud(fast, slow, self._first[0], self._second[0])


class SupertrendLines(NamedTuple):
    """The two outputs of Supertrend, arrays or single values: a price, and 1 (down) or -1 (up)."""

    line: FloatArray | float
    direction: FloatArray | float


def supertrend(
    high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, length: int, multiplier: float
) -> SupertrendLines:
    """Return Supertrend (Pine's ``ta.supertrend``): a stop line and its direction.

    As in Pine the direction is -1 while prices rise and the line lies below them, 1 while they fall.  Bands
    ``hl2 ± multiplier * atr`` only tighten until the close before lies beyond them.

    Parameters
    ----------
    high, low, close : array_like of shape (n_bars,)
        Price units.  A bar with a NaN is passed over.
    length : int
        Bars of the ATR, at least 1.
    multiplier : float
        ATRs, at least 0.

    Returns
    -------
    SupertrendLines
        First values at index ``length - 1``, with direction 1.
    """
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    highs, lows, closes = finite(high), finite(low), finite(close)
    present = ~np.isnan(highs + lows + closes)
    lines = [np.full(present.size, NAN) for _ in range(2)]
    highs, lows, closes = highs[present], lows[present], closes[present]
    ranges = atr(highs, lows, closes, length)
    found = kernels.supertrend(highs, lows, closes, ranges, float(multiplier), TIE)
    for line, values in zip(lines, found, strict=True):
        line[present] = values
    return SupertrendLines(*lines)


class Supertrend:
    """Streaming twin of `supertrend`."""

    def __init__(self, length: int, multiplier: float) -> None:
        self._atr = Atr(length)
        self._multiplier = multiplier
        self._upper = self._lower = self._close = NAN
        self._direction = 1.0

    def update(self, high: float, low: float, close: float) -> SupertrendLines:
        """Add one bar; return line and direction."""
        if not math.isfinite(high + low + close):
            return SupertrendLines(NAN, NAN)
        width = self._multiplier * self._atr.update(high, low, close)
        before, self._close = self._close, close
        if math.isnan(width):
            return SupertrendLines(NAN, NAN)
        middle = (high + low) / 2.0
        upper, lower = middle + width, middle - width
        if not math.isnan(self._lower):
            if not (lower - self._lower > TIE or before - self._lower < -TIE):
                lower = self._lower
            if not (upper - self._upper < -TIE or before - self._upper > TIE):
                upper = self._upper
            if self._direction > 0.0:
                self._direction = -1.0 if close - upper > TIE else 1.0
            else:
                self._direction = 1.0 if close - lower < -TIE else -1.0
        self._upper, self._lower = upper, lower
        return SupertrendLines(upper if self._direction > 0.0 else lower, self._direction)


def _multiplier(default: float) -> ArgDef:
    return ArgDef(float, 0.0, 100.0, default)


CHANNEL_KINDS = (
    IndicatorDef(
        kind="keltner",
        title="Keltner Channels",
        args={"length": length_arg(20), "multiplier": _multiplier(2.0)},
        inputs=("source", *RANGE),
        outputs=("middle", "upper", "lower"),
        function=keltner,
        streaming=Keltner,
        warmup=lambda a: int(a["length"]),
    ),
    IndicatorDef(
        kind="donchian",
        title="Donchian channel",
        args={"length": length_arg(20)},
        inputs=("high", "low"),
        outputs=("middle", "upper", "lower"),
        function=donchian,
        streaming=Donchian,
        warmup=lambda a: int(a["length"]) - 1,
    ),
    IndicatorDef(
        kind="ichimoku",
        title="Ichimoku: lines, and the cloud drawn at the bar",
        args={
            "conversion": length_arg(9),
            "base": length_arg(26),
            "span": length_arg(52),
            "displacement": length_arg(26),
        },
        inputs=("high", "low"),
        outputs=("conversion", "base", "span_a", "span_b"),
        function=ichimoku,
        streaming=Ichimoku,
        warmup=lambda a: int(max(a["conversion"], a["base"], a["span"]) + a["displacement"]) - 2,
    ),
    IndicatorDef(
        kind="supertrend",
        title="Supertrend: line, and direction (-1 up, 1 down)",
        args={"length": length_arg(10), "multiplier": _multiplier(3.0)},
        inputs=RANGE,
        outputs=("line", "direction"),
        function=supertrend,
        streaming=Supertrend,
        warmup=lambda a: int(a["length"]) - 1,
    ),
)
