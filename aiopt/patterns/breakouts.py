"""Breakouts: the first close beyond a narrow range of many bars.  Owns the formula; knows no pivots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from aiopt.patterns.bars import FloatArray, Prices, above, at_least
from aiopt.patterns.kinds import Pattern

BREAKOUT_BARS = 20
"""Bars of the range a breakout leaves."""
MAX_RANGE = 6.0
"""Width of a narrow range, in units."""
BEYOND = 0.1
"""How far beyond it a close lies, in units."""


def breakout_mask(
    high: FloatArray, low: FloatArray, close: FloatArray, unit: FloatArray, *, upwards: bool
) -> npt.NDArray[np.bool_]:
    """Return on which bars prices break out of the range of the `BREAKOUT_BARS` bars before.

    The close lies more than `BEYOND` units beyond the range, the range is at most `MAX_RANGE` units wide, and
    the bar before was no such close to the same side: the first close out of a narrow range counts, not every
    further one.  The unit is that of the bar before.

    Parameters
    ----------
    high, low, close : ndarray of shape (n_bars,)
        Price units, finite.
    unit : ndarray of shape (n_bars,)
        `aiopt.patterns.bars.typical_range` of the bars.
    upwards : bool
        Above the range or below it.
    """
    result = np.zeros(close.size, dtype=bool)
    if close.size <= BREAKOUT_BARS:
        return result
    top, bottom = _ranges(high, low)
    usual, last = unit[BREAKOUT_BARS - 1 : -1], close[BREAKOUT_BARS:]
    narrow = above(usual, 0.0) & at_least(MAX_RANGE * usual, top - bottom)
    beyond = narrow & above(last - top if upwards else bottom - last, BEYOND * usual)
    result[BREAKOUT_BARS:] = beyond
    result[BREAKOUT_BARS + 1 :] &= ~beyond[:-1]
    return result


def _ranges(high: FloatArray, low: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return highest and lowest price of the bars before, from bar `BREAKOUT_BARS` on."""
    windows = np.lib.stride_tricks.sliding_window_view
    return windows(high[:-1], BREAKOUT_BARS).max(axis=1), windows(low[:-1], BREAKOUT_BARS).min(axis=1)


def breakouts(prices: Prices) -> Iterator[Pattern]:
    """Yield the breakouts to both sides; price is the edge of the range."""
    if len(prices) <= BREAKOUT_BARS:
        return
    top, bottom = _ranges(prices.high, prices.low)
    series = (prices.high, prices.low, prices.close, prices.unit)
    for kind, edge in (("breakout_up", top), ("breakout_down", bottom)):
        for bar in np.flatnonzero(breakout_mask(*series, upwards=kind == "breakout_up")).tolist():
            yield Pattern(
                confirmed_bar=bar,
                first_bar=bar - BREAKOUT_BARS,
                last_bar=bar,
                kind=kind,
                price=float(edge[bar - BREAKOUT_BARS]),
            )
