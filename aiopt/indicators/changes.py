"""Changes of a price: rate of change, true strength, Chande's momentum.

NaN policy: see `aiopt.indicators.averages`.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Ema, ema
from aiopt.indicators.definition import SOURCE, IndicatorDef, length_arg
from aiopt.indicators.weighted import ZERO
from aiopt.indicators.windows import NAN, UNITS, FloatArray, WindowSum, finite, in_units, previous, window_sum


def roc(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return the change over `length` bars in per cent of the price then (Pine's ``ta.roc``).

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  A change from 0 is NaN.
    length : int
        Bars, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        First value at index `length`.
    """
    values = finite(source)
    before = previous(values, length)
    return 100.0 * (values - before) / np.where(np.abs(before) <= ZERO, NAN, before)


class Roc:
    """Streaming twin of `roc`."""

    def __init__(self, length: int) -> None:
        self._past = deque([NAN] * length, maxlen=length)

    def update(self, source: float) -> float:
        """Add one bar; return its change."""
        value = source if math.isfinite(source) else NAN
        before = self._past[0]
        self._past.append(value)
        return 100.0 * (value - before) / (NAN if abs(before) <= ZERO else before)


def tsi(source: npt.ArrayLike, short: int, long: int) -> FloatArray:
    """Return the true strength index (Pine's ``ta.tsi``), in [-1, 1].

    ``ema(ema(change, long), short) / ema(ema(|change|, long), short)``; NaN where the divisor is at most
    1e-10.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: passed over.
    short, long : int
        Bars, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        First value at index ``short + long - 1``.
    """
    values = finite(source)
    present = ~np.isnan(values)
    known = values[present]
    change = known - previous(known)
    moved = ema(ema(np.abs(change), long), short)
    result = np.full(values.size, NAN)
    result[present] = ema(ema(change, long), short) / np.where(moved <= ZERO, NAN, moved)
    return result


class Tsi:
    """Streaming twin of `tsi`."""

    def __init__(self, short: int, long: int) -> None:
        self._net = Ema(long), Ema(short)
        self._gross = Ema(long), Ema(short)
        self._before = NAN

    def update(self, source: float) -> float:
        """Add one bar; return its index."""
        if not math.isfinite(source):
            return NAN
        change = source - self._before
        self._before = source
        net = self._net[1].update(self._net[0].update(change))
        gross = self._gross[1].update(self._gross[0].update(abs(change)))
        return NAN if gross <= ZERO else net / gross


def cmo(source: npt.ArrayLike, length: int) -> FloatArray:
    """Return Chande's momentum oscillator (Pine's ``ta.cmo``), in [-100, 100].

    ``100 * (ups - downs) / (ups + downs)`` of the last `length` changes, in whole units
    (`aiopt.indicators.windows.in_units`); NaN where their mean is at most 1e-10.

    Parameters
    ----------
    source : array_like of shape (n_bars,)
        Price units.  NaN: a window that holds one gives NaN.
    length : int
        Changes, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        First value at index `length`.
    """
    values = finite(source)
    change = in_units(values - previous(values))
    ups = window_sum(np.where(change < 0.0, 0.0, change), length) / length
    downs = window_sum(np.where(change > 0.0, 0.0, -change), length) / length
    both = ups + downs
    return 100.0 * (ups - downs) / np.where(both <= ZERO * UNITS, NAN, both)


class Cmo:
    """Streaming twin of `cmo`."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._ups, self._downs = WindowSum(length), WindowSum(length)
        self._before = NAN

    def update(self, source: float) -> float:
        """Add one bar; return its value."""
        value = source if math.isfinite(source) else NAN
        moved = value - self._before
        change = NAN if math.isnan(moved) else float(round(moved * UNITS))
        self._before = value
        ups = self._ups.update(0.0 if change < 0.0 else change) / self._length
        downs = self._downs.update(0.0 if change > 0.0 else -change) / self._length
        both = ups + downs
        return NAN if both <= ZERO * UNITS else 100.0 * (ups - downs) / both


CHANGE_KINDS = (
    IndicatorDef(
        kind="roc",
        title="Rate of change, per cent",
        args={"length": length_arg(10)},
        inputs=SOURCE,
        outputs=("value",),
        function=roc,
        streaming=Roc,
        warmup=lambda a: int(a["length"]),
    ),
    IndicatorDef(
        kind="tsi",
        title="True strength index",
        args={"short": length_arg(13), "long": length_arg(25)},
        inputs=SOURCE,
        outputs=("value",),
        function=tsi,
        streaming=Tsi,
        warmup=lambda a: int(a["short"] + a["long"]) - 1,
    ),
    IndicatorDef(
        kind="cmo",
        title="Chande momentum oscillator",
        args={"length": length_arg(9)},
        inputs=SOURCE,
        outputs=("value",),
        function=cmo,
        streaming=Cmo,
        warmup=lambda a: int(a["length"]),
    ),
)
