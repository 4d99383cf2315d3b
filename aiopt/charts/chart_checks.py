"""What can be drawn: checks of bars and overlays, and the decimal places of prices.  Knows no pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.errors import DataError
from aiopt.market.instrument import find_instrument

FloatArray = NDArray[np.float64]


def check_bars(bars: BarArrays) -> None:
    """Refuse bars that are none, out of order, or whose prices cannot be.

    Raises
    ------
    DataError
        Names the values of the first such bar.
    """
    if len(bars) == 0:
        raise DataError("A chart must have at least one bar, but got none. Choose a longer window.")
    prices = np.stack((bars.open, bars.high, bars.low, bars.close))
    broken = ~np.isfinite(prices).all(axis=0)
    broken |= (bars.high < prices.max(axis=0)) | (bars.low > prices.min(axis=0))
    broken |= ~(np.isfinite(bars.volume) & (bars.volume >= 0))
    broken[1:] |= np.diff(bars.ts_open_ns) <= 0
    if broken.any():
        at = int(np.argmax(broken))
        names = ("ts_open_ns", "open", "high", "low", "close", "volume")
        values = ", ".join(f"{name}={getattr(bars, name)[at]}" for name in names)
        msg = (
            "Bars must be finite, in order of time, with open and close between low and high, but got "
            f"{values}. Mend or rebuild the bars."
        )
        raise DataError(msg, row=at)


def check_overlay(name: str, values: FloatArray, n_bars: int) -> FloatArray:
    """Return an overlay as floats.

    Raises
    ------
    DataError
        If its length is wrong, or it is not finite from its first value on.
    """
    values = np.asarray(values, np.float64)
    if values.shape != (n_bars,):
        msg = f"An overlay must have one value per bar, but {name!r} has shape {values.shape} for "
        raise DataError(msg + f"{n_bars} bars. Compute it over the same bars.")
    finite = np.isfinite(values)
    first = int(np.argmax(finite)) if finite.any() else n_bars
    hole = np.flatnonzero(~finite[first:])
    if np.isinf(values).any() or hole.size or first == n_bars:
        at = first + int(hole[0]) if hole.size else int(np.argmax(~finite))
        msg = (
            f"An overlay must be finite after its first value, but {name!r} is {values[at]} at bar {at}. "
            "Leave NaN only before the first value."
        )
        raise DataError(msg, row=at)
    return values


def price_decimals(bars: BarArrays) -> int:
    """Return the decimal places of a price; a mid price lies between two ticks, so it has one more."""
    known = find_instrument(bars.instrument)
    if known is not None:
        return known.price_precision + (bars.price == "mid")
    price = float(bars.close[-1])
    return 5 if price < 20 else 3 if price < 1000 else 2
