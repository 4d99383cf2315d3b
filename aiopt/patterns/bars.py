"""What every detector starts from: checked price arrays, the unit patterns are measured in, when values tie.

Owns `Prices`, `typical_range` and `TIE`.  Knows no pattern.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from aiopt.errors import MetricInputError

FloatArray = npt.NDArray[np.float64]

RANGE_BARS = 14
"""Bars the typical range is an average over."""

TIE = 1e-10
"""Values within it are equal, as in every comparison of a strategy and of Pine.  A tie of prices, such as a
body of exactly a tenth of the range, is seldom one of floats; without it the last bit would decide."""


def above(value: Any, other: Any) -> Any:
    """Return whether `value` exceeds `other`, of arrays elementwise; false for NaN."""
    return value - other > TIE


def at_least(value: Any, other: Any) -> Any:
    """Return whether `value` exceeds or equals `other`, of arrays elementwise; false for NaN."""
    return value - other >= -TIE


@dataclass(frozen=True, eq=False)
class Prices:
    """Open, high, low and close of consecutive bars, each of shape (n_bars,), float64, quote currency.

    Raises
    ------
    MetricInputError
        If the shapes differ, a value is not finite, or a bar's high and low do not enclose open and close.
    """

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray

    def __post_init__(self) -> None:
        for name in ("open", "high", "low", "close"):
            values = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if values.ndim != 1 or values.shape != np.shape(self.close):
                msg = f"Prices must be four arrays of one shape (n_bars,), but {name} has {values.shape}."
                raise MetricInputError(msg)
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                msg = f"Prices must be finite, but {name}[{bad[0]}] is {values[bad[0]]}. Remove that bar."
                raise MetricInputError(msg)
            object.__setattr__(self, name, values)
        inside = (self.low <= np.minimum(self.open, self.close)) & (
            self.high >= np.maximum(self.open, self.close)
        )
        if not inside.all():
            row = int(np.flatnonzero(~inside)[0])
            msg = (
                "`low <= open, close <= high` must hold for every bar, but bar "
                f"{row} has open={self.open[row]}, high={self.high[row]}, low={self.low[row]}, "
                f"close={self.close[row]}. Mend that bar."
            )
            raise MetricInputError(msg)

    def __len__(self) -> int:
        return int(self.close.size)

    def head(self, n_bars: int) -> Prices:
        """Return the first `n_bars` bars."""
        return Prices(self.open[:n_bars], self.high[:n_bars], self.low[:n_bars], self.close[:n_bars])

    def mirrored(self, top: float) -> Prices:
        """Return the bars upside down: every price ``p`` becomes ``top - p``."""
        return Prices(top - self.open, top - self.low, top - self.high, top - self.close)

    @cached_property
    def unit(self) -> FloatArray:
        """`typical_range` of each bar."""
        return typical_range(self.high, self.low, self.close)


def typical_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return the mean true range of the last `RANGE_BARS` bars, of all bars so far at the start.

    The true range is ``max(high - low, |high - close[1]|, |low - close[1]|)``, and ``high - low`` of the
    first bar.  Every pattern's tolerances are multiples of this unit, so patterns do not depend on the
    price level or the unit of price.  Value ``i`` reads bars up to ``i`` only.

    Parameters
    ----------
    high, low, close : ndarray of shape (n_bars,), float64
        Finite.

    Returns
    -------
    ndarray of shape (n_bars,), float64
        Price units, not negative; 0 where all bars so far were flat.
    """
    if close.size == 0:
        return np.empty(0)
    ranges = high - low
    before = close[:-1]
    ranges[1:] = np.maximum(ranges[1:], np.maximum(np.abs(high[1:] - before), np.abs(low[1:] - before)))
    padded = np.concatenate((np.zeros(RANGE_BARS - 1), ranges))
    # Summed window by window: a running sum would leave residues of bars long past.
    sums = np.lib.stride_tricks.sliding_window_view(padded, RANGE_BARS).sum(axis=1)
    counts = np.minimum(np.arange(1, close.size + 1), RANGE_BARS)
    return np.asarray(sums / counts, dtype=np.float64)
