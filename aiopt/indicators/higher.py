"""Values of a higher timeframe, made of the bars themselves: those of its last bar that is over.

The trading day rolls at 17:00 New York and is cut into pieces of the higher timeframe; a piece without bars
is no bar.  A bar belongs to the piece it **opens** in, and a piece is over from the first bar that opens
after it, so a value never comes from the bar that is still under way.  NaN policy: a bar with a NaN is passed
over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Ema, Sma, ema, sma
from aiopt.indicators.bar_series import TIME
from aiopt.indicators.channels import Donchian, donchian
from aiopt.indicators.definition import ArgDef, IndicatorDef, length_arg
from aiopt.indicators.oscillators import Rsi, rsi
from aiopt.indicators.volatility import Atr, atr
from aiopt.indicators.wall_clock import NEW_YORK, ROLL_NS, IntArray, WallClock, local_ns
from aiopt.indicators.windows import NAN, FloatArray, finite
from aiopt.utc import MINUTE_NS

_MINUTES = 1440
_COLUMNS = ("open", "high", "low", "close")

TIMEFRAME = "timeframe"
"""Argument of these kinds: minutes, or a text such as ``1h``."""


class Bar(NamedTuple):
    """A higher bar, arrays or single values, in price units."""

    open: FloatArray | float
    high: FloatArray | float
    low: FloatArray | float
    close: FloatArray | float


class Inner(NamedTuple):
    """What is computed over the higher bars.

    Attributes
    ----------
    function, streaming : callable
        As in `IndicatorDef`, over some columns of the higher bars.
    reads : tuple of str
        Those columns.
    n_outputs : int
        How many values it gives.
    """

    function: Callable[..., Any]
    streaming: Callable[..., Any]
    reads: tuple[str, ...]
    n_outputs: int


def pieces(time: IntArray, minutes: int) -> IntArray:
    """Return the number of the piece of the trading day that each instant lies in, days and all.

    Parameters
    ----------
    time : ndarray of shape (n,), int64
        UTC nanoseconds.
    minutes : int
        Length of a piece.
    """
    rolled = (local_ns(NEW_YORK, np.asarray(time, dtype=np.int64)) + ROLL_NS) // MINUTE_NS
    return _piece(rolled, minutes)


def _piece(rolled: Any, minutes: int) -> Any:
    return rolled - rolled % _MINUTES % minutes


def higher_bars(
    time: IntArray, open: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, minutes: int
) -> tuple[Bar, IntArray]:
    """Return bars gathered into higher ones, and the number of the higher bar each belongs to.

    Parameters
    ----------
    time : ndarray of shape (n_bars,), int64
        When bars open, UTC nanoseconds.
    open, high, low, close : ndarray of shape (n_bars,)
        Price units, finite.
    minutes : int
        Length of a higher bar.

    Returns
    -------
    Bar, ndarray of shape (n_bars,), int64
        The last higher bar may be under way.
    """
    keys = pieces(time, minutes)
    fresh = np.append(True, keys[1:] != keys[:-1])[: keys.size]
    starts = np.flatnonzero(fresh)
    number = np.cumsum(fresh) - 1
    if not starts.size:
        return Bar(*(np.empty(0) for _ in _COLUMNS)), number
    ends = np.append(starts[1:], keys.size) - 1
    top, bottom = np.maximum.reduceat(high, starts), np.minimum.reduceat(low, starts)
    return Bar(open[starts], top, bottom, close[ends]), number


# reason: five series of bars, and what is computed over them
def higher(
    time: IntArray,
    open: npt.ArrayLike,
    high: npt.ArrayLike,
    low: npt.ArrayLike,
    close: npt.ArrayLike,
    *,
    inner: Inner,
    timeframe: int,
    **args: Any,
) -> Any:
    """Return values over higher bars, on every bar those of the last higher bar that was over when it opened.

    Parameters
    ----------
    time : ndarray of shape (n_bars,), int64
        When bars open, UTC nanoseconds.
    open, high, low, close : array_like of shape (n_bars,)
        Price units.
    inner : Inner
        What is computed.
    timeframe : int
        Length of a higher bar in minutes.
    **args : int or float
        Of `inner`.
    """
    series = [finite(values) for values in (open, high, low, close)]
    present = ~np.isnan(sum(series))
    start, top, bottom, end = (values[present] for values in series)
    bars, number = higher_bars(np.asarray(time)[present], start, top, bottom, end, timeframe)
    found = inner.function(*(getattr(bars, name) for name in inner.reads), **args)
    lines = (found,) if inner.n_outputs == 1 else tuple(found)
    result = np.full((inner.n_outputs, present.size), NAN)
    for row, line in zip(result, lines, strict=True):
        row[present] = np.append(NAN, line)[number]  # the higher bar before, none before the first
    return result[0] if inner.n_outputs == 1 else tuple(result)


class Higher:
    """Streaming twin of `higher`."""

    def __init__(self, *, inner: Inner, timeframe: int, **args: Any) -> None:
        self._inner, self._minutes = inner, timeframe
        self._twin = inner.streaming(**args)
        self._clock = WallClock(NEW_YORK)
        self._key: int | None = None
        self._now = Bar(NAN, NAN, NAN, NAN)
        self._nothing: Any = NAN if inner.n_outputs == 1 else (NAN,) * inner.n_outputs
        self._value = self._nothing

    def update(self, time: float, open: float, high: float, low: float, close: float) -> Any:
        """Add one bar; return the values of the last higher bar that is over."""
        if not math.isfinite(open + high + low + close):
            return self._nothing
        key = _piece((self._clock.local_ns(time) + ROLL_NS) // MINUTE_NS, self._minutes)
        if key != self._key:
            if self._key is not None:
                self._value = self._twin.update(*(getattr(self._now, name) for name in self._inner.reads))
            self._key, self._now = key, Bar(open, high, low, close)
        else:
            start, top, bottom, _ = self._now
            self._now = Bar(start, max(top, high), min(bottom, low), close)
        return self._value


def _whole(open: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray) -> Bar:
    return Bar(open, high, low, close)


class _Whole:
    """Streaming twin of `_whole`."""

    def update(self, open: float, high: float, low: float, close: float) -> Bar:
        """Return the bar."""
        return Bar(open, high, low, close)


# reason: what a kind is, and what it is made of
def _kind(
    kind: str,
    title: str,
    *,
    args: Mapping[str, ArgDef],
    outputs: Sequence[str],
    reads: tuple[str, ...],
    function: Callable[..., Any],
    streaming: Callable[..., Any],
) -> IndicatorDef:
    inner = Inner(function, streaming, reads, len(outputs))
    return IndicatorDef(
        kind=kind,
        title=f"{title} of a higher timeframe",
        args={TIMEFRAME: ArgDef(int, 1, _MINUTES, 60, span=True), **args},
        inputs=(TIME, *_COLUMNS),
        outputs=tuple(outputs),
        function=partial(higher, inner=inner),
        streaming=partial(Higher, inner=inner),
        # In bars at least: how many make a higher one depends on the bars.
        warmup=lambda a: int(a.get("length", 1)),
    )


_LENGTH = {"length": length_arg(20)}
_CLOSE = ("close",)
_VALUE = ("value",)

HIGHER_KINDS = (
    _kind(
        "higher_bar",
        "Prices",
        args={},
        outputs=_COLUMNS,
        reads=_COLUMNS,
        function=_whole,
        streaming=_Whole,
    ),
    _kind(
        "higher_sma",
        "Simple moving average",
        args=_LENGTH,
        outputs=_VALUE,
        reads=_CLOSE,
        function=sma,
        streaming=Sma,
    ),
    _kind(
        "higher_ema",
        "Exponential moving average",
        args=_LENGTH,
        outputs=_VALUE,
        reads=_CLOSE,
        function=ema,
        streaming=Ema,
    ),
    _kind(
        "higher_rsi",
        "Relative strength index",
        args={"length": length_arg(14)},
        outputs=_VALUE,
        reads=_CLOSE,
        function=rsi,
        streaming=Rsi,
    ),
    _kind(
        "higher_atr",
        "Average true range",
        args={"length": length_arg(14)},
        outputs=_VALUE,
        reads=("high", "low", "close"),
        function=atr,
        streaming=Atr,
    ),
    _kind(
        "higher_donchian",
        "Donchian channel",
        args=_LENGTH,
        outputs=("middle", "upper", "lower"),
        reads=("high", "low"),
        function=donchian,
        streaming=Donchian,
    ),
)
