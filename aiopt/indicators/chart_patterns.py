"""Chart patterns as kinds: double tops, heads with shoulders and their mirror images, 1 where one is known.

The formulas are `aiopt.patterns.reversals`'.  NaN policy: a bar with a NaN is passed over.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import numpy.typing as npt

from aiopt.indicators.candle_patterns import PRICES, TypicalRange, over_whole_bars
from aiopt.indicators.definition import IndicatorDef
from aiopt.indicators.windows import NAN, FloatArray
from aiopt.patterns.bars import Prices
from aiopt.patterns.pivots import zigzag
from aiopt.patterns.reversals import REVERSALS, ReversalFinder, reversals


def reversal(
    open: npt.ArrayLike, high: npt.ArrayLike, low: npt.ArrayLike, close: npt.ArrayLike, *, pattern: str
) -> FloatArray:
    """Return 1 on the bars at whose close a reversal becomes known, else 0.

    Parameters
    ----------
    open, high, low, close : array_like of shape (n_bars,)
        Price units.
    pattern : str
        One of `aiopt.patterns.reversals.REVERSALS`.
    """

    def detect(*prices: FloatArray) -> npt.NDArray[np.bool_]:
        bars = Prices(*prices)
        result = np.zeros(len(bars), dtype=bool)
        for found in reversals(bars, zigzag(bars)):
            if found.kind == pattern:
                result[found.confirmed_bar] = True
        return result

    return over_whole_bars(detect, open, high, low, close)


class Reversal:
    """Streaming twin of `reversal`."""

    def __init__(self, *, pattern: str) -> None:
        self._finder = ReversalFinder(pattern)
        self._range = TypicalRange()

    def update(self, open: float, high: float, low: float, close: float) -> float:
        """Add one bar; return whether the pattern becomes known."""
        if not math.isfinite(open + high + low + close):
            return NAN
        return float(self._finder.update(high, low, close, self._range.update(high, low, close)))


REVERSAL_KINDS = tuple(
    IndicatorDef(
        kind=kind,
        title=f"Chart pattern: {kind.replace('_', ' ')}",
        args={},
        inputs=PRICES,
        outputs=("value",),
        function=partial(reversal, pattern=kind),
        streaming=partial(Reversal, pattern=kind),
        warmup=lambda a: 0,
    )
    for kind in REVERSALS
)
