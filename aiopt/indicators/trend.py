"""Directional movement: +DI, -DI and ADX.  NaN policy: see `aiopt.indicators.averages`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.averages import Rma
from aiopt.indicators.windows import NAN, FloatArray, finite

TIE = 1e-10
"""Moves that differ by no more than this are a tie.  It is the tolerance of every comparison in Pine."""


class DirectionalLines(NamedTuple):
    """The three outputs of DMI, arrays or single values, in per cent."""

    plus: FloatArray | float
    minus: FloatArray | float
    adx: FloatArray | float


def dmi(
    high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, length: int, smoothing: int
) -> DirectionalLines:
    """Return Wilder's directional movement index, as ``ta.dmi`` is written out in Pine's manual.

    Up-move and down-move of a bar that differ by at most 1e-10 are a tie and count for neither side.
    Engines' built-in ``ta.dmi`` differ there (a tie in prices is seldom one in floats), so an emitted script
    spells the formula out, where comparisons have exactly this tolerance in every engine.

    The true range of the first bar is NaN, so ``+DI = 100 * rma(plus_dm) / rma(tr)`` and
    ``ADX = rma(100 * |+DI - -DI| / (+DI + -DI))`` start late.  0/0 (no range at all so far, no movement at
    all so far) counts as 0.

    Parameters
    ----------
    high, low, close : array_like of shape (n_bars,)
        Price units.  A bar with a NaN is passed over.
    length, smoothing : int
        Bars of the DI and the ADX averages, at least 1.

    Returns
    -------
    DirectionalLines
        In [0, 100].  First DI at index `length`, first ADX at ``length + smoothing - 1``.
    """
    highs, lows, closes = finite(high), finite(low), finite(close)
    present = ~np.isnan(highs + lows + closes)
    if not present.all():
        lines = dmi(highs[present], lows[present], closes[present], length, smoothing)
        return DirectionalLines(*(_scatter(line, present) for line in lines))
    from aiopt.indicators import kernels  # see there: reading a spec must not pay for it

    return DirectionalLines(*kernels.directional(highs, lows, closes, length, smoothing, TIE))


def _scatter(line: FloatArray | float, present: npt.NDArray[np.bool_]) -> FloatArray:
    result = np.full(present.size, NAN)
    result[present] = line
    return result


class Dmi:
    """Streaming twin of `dmi`."""

    def __init__(self, length: int, smoothing: int) -> None:
        self._span = Rma(length)
        self._plus = Rma(length)
        self._minus = Rma(length)
        self._adx = Rma(smoothing)
        self._previous = (NAN, NAN, NAN)

    def update(self, high: float, low: float, close: float) -> DirectionalLines:
        """Add one bar; return its three lines."""
        if not math.isfinite(high + low + close):
            return DirectionalLines(NAN, NAN, NAN)
        high_before, low_before, close_before = self._previous
        self._previous = (high, low, close)
        if math.isnan(close_before):
            return DirectionalLines(NAN, NAN, NAN)
        up, down = high - high_before, low_before - low
        lead = up - down
        span = self._span.update(max(high - low, abs(high - close_before), abs(low - close_before)))
        plus = _share(self._plus.update(up if lead > TIE and up > TIE else 0.0), span)
        minus = _share(self._minus.update(down if lead < -TIE and down > TIE else 0.0), span)
        return DirectionalLines(plus, minus, self._adx.update(_share(abs(plus - minus), plus + minus)))


def _share(part: float, whole: float) -> float:
    return 0.0 if whole == 0.0 else 100.0 * part / whole
