"""Sums and extremes over the last `length` bars.  Owns the order of the float operations; knows no indicator.

A window sum is built from block sums of 1, 2, 4, … bars, so it costs ``log2(length)`` additions per bar,
depends on nothing but the bars of its window (no drift as with a running sum) and is done in one and the same
order over arrays and bar by bar: the two results are equal to the last bit.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

NAN = math.nan

UNITS = 1.2e11
"""Of a price, in 1: twelfths of the 1e-10 within which Pine's comparisons hold prices equal.

A price on a tick grid is a whole number of these, and so are hl2, hlc3 and ohlc4 of such prices.  As a float
a distance between two prices carries the noise of both, some 1e-11 of a distance of two ticks.
"""


def in_units(distance: FloatArray) -> FloatArray:
    """Return distances between prices in whole `UNITS`, whose sums no order of operations can change."""
    return np.rint(distance * UNITS)


def finite(values: npt.ArrayLike) -> FloatArray:
    """Return `values` as a one-dimensional float64 array with infinities as NaN.

    Parameters
    ----------
    values : array_like of shape (n_bars,)
        Prices or other numbers.

    Returns
    -------
    ndarray of shape (n_bars,), float64
        `values` itself where nothing had to change.
    """
    array = np.ascontiguousarray(values, dtype=np.float64)
    if np.isinf(array).any():
        array = np.where(np.isinf(array), NAN, array)
    return array


def window_sum(values: FloatArray, length: int) -> FloatArray:
    """Return the sum over the last `length` bars; NaN before the window is full or if it holds a NaN.

    Parameters
    ----------
    values : ndarray of shape (n_bars,)
        Any floats.
    length : int
        Bars in the window, at least 1.

    Returns
    -------
    ndarray of shape (n_bars,)
        First value at index ``length - 1``.
    """
    n_bars = values.size
    result = np.full(n_bars, NAN)
    if n_bars < length:
        return result
    block = values  # block[i] is the sum of the `span` bars that end at bar i + span - 1
    span = 1
    end = length  # bars of the window not yet summed, counted from its oldest bar
    total: FloatArray | None = None
    remaining = length
    while remaining:
        if remaining & 1:
            end -= span
            part = block[end : end + n_bars - length + 1]
            total = part.copy() if total is None else np.add(total, part, out=total)
        remaining >>= 1
        if remaining:
            block = block[span:] + block[:-span]
            span *= 2
    result[length - 1 :] = total
    return result


class WindowSum:
    """Streaming twin of `window_sum`."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._seen = 0
        self._levels = [deque[float](maxlen=length + 1) for _ in range(length.bit_length())]

    def update(self, value: float) -> float:
        """Add one value; return the sum over the last `length` values, NaN while there are fewer."""
        self._seen += 1
        block = value
        span = 1
        offset = 0
        total = NAN
        full = self._seen >= self._length
        for level, history in enumerate(self._levels):
            history.append(block)
            if self._length >> level & 1 and full:
                part = history[-1 - offset]
                total = part if offset == 0 else total + part
            if self._length >> level & 1:
                offset += span
            block = block + history[-1 - span] if len(history) > span else NAN
            span *= 2
        return total


def window_weighted_sum(values: FloatArray, length: int) -> FloatArray:
    """Return the sum over the last `length` bars with weights 1 (the oldest) to `length` (the newest).

    NaN before the window is full or if it holds a NaN.

    Parameters
    ----------
    values : ndarray of shape (n_bars,)
        Any floats.
    length : int
        Bars in the window, at least 1.
    """
    n_bars = values.size
    result = np.full(n_bars, NAN)
    if n_bars < length:
        return result
    block = weighted = values  # sums of the `span` bars that end at bar i + span - 1, plain and weighted
    span = 1
    end = length
    total: FloatArray | None = None
    remaining = length
    while remaining:
        if remaining & 1:
            end -= span
            reach = slice(end, end + n_bars - length + 1)
            part = weighted[reach] + float(end) * block[reach]
            total = part if total is None else np.add(total, part, out=total)
        remaining >>= 1
        if remaining:
            weighted = (weighted[span:] + float(span) * block[span:]) + weighted[:-span]
            block = block[span:] + block[:-span]
            span *= 2
    result[length - 1 :] = total
    return result


class WindowWeightedSum:
    """Streaming twin of `window_weighted_sum`."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._seen = 0
        levels = length.bit_length()
        self._plain = [deque[float](maxlen=length + 1) for _ in range(levels)]
        self._weighted = [deque[float](maxlen=length + 1) for _ in range(levels)]

    def update(self, value: float) -> float:
        """Add one value; return the weighted sum, NaN while there are fewer than `length`."""
        self._seen += 1
        block = weighted = value
        span = 1
        offset = 0
        total = NAN
        full = self._seen >= self._length
        for level, (plain, sums) in enumerate(zip(self._plain, self._weighted, strict=True)):
            plain.append(block)
            sums.append(weighted)
            if self._length >> level & 1:
                if full:
                    older = float(self._length - offset - span)
                    part = sums[-1 - offset] + older * plain[-1 - offset]
                    total = part if offset == 0 else total + part
                offset += span
            if len(plain) > span:
                weighted = (weighted + float(span) * block) + sums[-1 - span]
                block = block + plain[-1 - span]
            else:
                block = weighted = NAN
            span *= 2
        return total


def window_max(values: FloatArray, length: int) -> FloatArray:
    """Return the greatest of the last `length` bars' values; NaN before the window is full.

    NaNs inside the window are ignored, as Pine's ``ta.highest`` does; a window of NaNs gives NaN.

    Parameters
    ----------
    values : ndarray of shape (n_bars,)
        Any floats.
    length : int
        Bars in the window, at least 1.
    """
    n_bars = values.size
    result = np.full(n_bars, NAN)
    if n_bars < length:
        return result
    block = values
    span = 1
    while span * 2 <= length:
        block = np.fmax(block[span:], block[:-span])
        span *= 2
    # Two overlapping blocks cover the window; an extreme does not mind bars counted twice.
    first = block[: n_bars - length + 1]
    last = block[length - span : length - span + n_bars - length + 1]
    result[length - 1 :] = np.fmax(first, last)
    return result


def window_min(values: FloatArray, length: int) -> FloatArray:
    """Return the least of the last `length` bars' values; see `window_max`."""
    return -window_max(-values, length)


class WindowMax:
    """Streaming twin of `window_max`."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._seen = 0
        self._candidates: deque[tuple[int, float]] = deque()  # falling values, each later than the one before

    def update(self, value: float) -> float:
        """Add one value; return the greatest of the last `length` values, NaN while there are fewer."""
        candidates = self._candidates
        if not math.isnan(value):
            while candidates and candidates[-1][1] <= value:
                candidates.pop()
            candidates.append((self._seen, value))
        self._seen += 1
        while candidates and candidates[0][0] < self._seen - self._length:
            candidates.popleft()
        return candidates[0][1] if candidates and self._seen >= self._length else NAN


class WindowMin:
    """Streaming twin of `window_min`."""

    def __init__(self, length: int) -> None:
        self._negated = WindowMax(length)

    def update(self, value: float) -> float:
        """Add one value; return the least of the last `length` values, NaN while there are fewer."""
        return -self._negated.update(-value)


def previous(values: FloatArray, bars: int = 1) -> FloatArray:
    """Return ``values[t - bars]`` at bar t, NaN for the first `bars` bars."""
    result = np.full(values.size, NAN)
    if bars < values.size:
        result[bars:] = values[: values.size - bars]
    return result
