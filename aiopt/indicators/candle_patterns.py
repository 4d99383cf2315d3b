"""Candlestick patterns and breakouts as kinds: 1 on the bar at whose close a pattern is known, else 0.

The formulas are `aiopt.patterns`'.  NaN policy: a bar with a NaN is passed over.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from aiopt.indicators.definition import IndicatorDef
from aiopt.indicators.windows import NAN, FloatArray, WindowMax, WindowMin, finite
from aiopt.patterns.bars import RANGE_BARS, above, at_least, typical_range
from aiopt.patterns.breakouts import BEYOND, BREAKOUT_BARS, MAX_RANGE, breakout_mask
from aiopt.patterns.candlesticks import (
    CANDLESTICKS,
    MOVE_BARS,
    Candle,
    candle,
    candlestick_mask,
    turned_candle,
)

PRICES = ("open", "high", "low", "close")
"""What a pattern reads."""


def over_whole_bars(
    detect: Callable[..., npt.NDArray[np.bool_]],
    open: npt.ArrayLike,
    high: npt.ArrayLike,
    low: npt.ArrayLike,
    close: npt.ArrayLike,
) -> FloatArray:
    """Return 1 where ``detect(open, high, low, close)`` holds, else 0; it is not given bars with a NaN."""
    series = [finite(values) for values in (open, high, low, close)]
    present = ~np.isnan(sum(series))
    result = np.full(present.size, NAN)
    result[present] = detect(*(values[present] for values in series))
    return result


def candlestick(
    open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, *, pattern: str
) -> FloatArray:
    """Return 1 on the bars a candlestick pattern ends on, else 0.

    Parameters
    ----------
    open, high, low, close : array_like of shape (n_bars,)
        Price units.
    pattern : str
        A key of `aiopt.patterns.candlesticks.CANDLESTICKS`.
    """

    def detect(*prices: FloatArray) -> npt.NDArray[np.bool_]:
        start, top, bottom, end = prices
        return candlestick_mask(pattern, start, top, bottom, end, typical_range(top, bottom, end))

    return over_whole_bars(detect, open, high, low, close)


class TypicalRange:
    """Streaming twin of `aiopt.patterns.bars.typical_range`."""

    def __init__(self) -> None:
        self._ranges: deque[float] = deque(maxlen=RANGE_BARS)
        self._close = NAN

    def update(self, high: float, low: float, close: float) -> float:
        """Add one bar; return the mean true range of the last ones."""
        span = high - low
        if not math.isnan(self._close):
            span = max(span, abs(high - self._close), abs(low - self._close))
        self._close = close
        self._ranges.append(span)
        return sum(self._ranges) / len(self._ranges)


_NOTHING = Candle(*(NAN,) * len(Candle._fields))


class Candlestick:
    """Streaming twin of `candlestick`."""

    def __init__(self, *, pattern: str) -> None:
        shape = CANDLESTICKS[pattern]
        self._test = shape.test
        self._measure = turned_candle if shape.turned else candle
        self._range = TypicalRange()
        self._units = deque([NAN] * (shape.length + 1), maxlen=shape.length + 1)
        self._candles = deque([_NOTHING] * shape.length, maxlen=shape.length)
        self._closes = deque([NAN] * (MOVE_BARS + shape.length + 1), maxlen=MOVE_BARS + shape.length + 1)

    def update(self, open: float, high: float, low: float, close: float) -> float:
        """Add one bar; return whether the pattern ends on it."""
        if not math.isfinite(open + high + low + close):
            return NAN
        now = self._measure(open, high, low, close, larger=max)
        self._candles.appendleft(now)
        self._closes.append(now.close)
        self._units.append(self._range.update(high, low, close))
        move = self._closes[MOVE_BARS] - self._closes[0]
        return float(self._test(tuple(self._candles), move, self._units[0]))


def breakout(
    open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, *, upwards: bool
) -> FloatArray:
    """Return 1 on the bars that break out of a narrow range, else 0.

    Parameters
    ----------
    open, high, low, close : array_like of shape (n_bars,)
        Price units.
    upwards : bool
        Above the range or below it; see `aiopt.patterns.breakouts`.
    """

    def detect(*prices: FloatArray) -> npt.NDArray[np.bool_]:
        _, top, bottom, end = prices
        return breakout_mask(top, bottom, end, typical_range(top, bottom, end), upwards=upwards)

    return over_whole_bars(detect, open, high, low, close)


class Breakout:
    """Streaming twin of `breakout`."""

    def __init__(self, *, upwards: bool) -> None:
        self._upwards = upwards
        self._range = TypicalRange()
        self._highs, self._lows = WindowMax(BREAKOUT_BARS), WindowMin(BREAKOUT_BARS)
        self._top = self._bottom = self._unit = NAN
        self._was_beyond = False

    def update(self, open: float, high: float, low: float, close: float) -> float:
        """Add one bar; return whether it breaks out."""
        if not math.isfinite(open + high + low + close):
            return NAN
        top, bottom, unit = self._top, self._bottom, self._unit
        narrow = above(unit, 0.0) and at_least(MAX_RANGE * unit, top - bottom)
        beyond = narrow and above(close - top if self._upwards else bottom - close, BEYOND * unit)
        first = beyond and not self._was_beyond
        self._was_beyond = beyond
        self._top, self._bottom = self._highs.update(high), self._lows.update(low)
        self._unit = self._range.update(high, low, close)
        return float(first)


def _title(kind: str) -> str:
    return f"Candlestick pattern: {kind.replace('_', ' ')}"


CANDLE_PATTERN_KINDS = tuple(
    IndicatorDef(
        kind=kind,
        title=_title(kind),
        args={},
        inputs=PRICES,
        outputs=("value",),
        function=partial(candlestick, pattern=kind),
        streaming=partial(Candlestick, pattern=kind),
        warmup=lambda a: 0,
    )
    for kind in CANDLESTICKS
)

BREAKOUT_KINDS = tuple(
    IndicatorDef(
        kind=kind,
        title=f"First close {side} a narrow range of {BREAKOUT_BARS} bars",
        args={},
        inputs=PRICES,
        outputs=("value",),
        function=partial(breakout, upwards=upwards),
        streaming=partial(Breakout, upwards=upwards),
        warmup=lambda a: 0,
    )
    for kind, side, upwards in (("breakout_up", "above", True), ("breakout_down", "below", False))
)
