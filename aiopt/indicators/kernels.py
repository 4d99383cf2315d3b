"""The loops of the indicators in compiled code.  Owns the order of their float operations.

Each is the loop of a streaming twin over a whole array, so that both agree to the last bit.  Imported at its
first use: the compiler takes a moment to load, and reading a spec must not pay for it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled

Floats = NDArray[np.float64]

_BLOCK = 512
"""Bars whose sums of squares are built together: they stay in the processor's nearest memory."""


@compiled
def recursion(values: Floats, length: int, alpha: float) -> Floats:
    """Return ``y = alpha * x + (1 - alpha) * y``, seeded by the mean of the first `length` numbers."""
    result = np.full(values.size, math.nan)
    keep = 1.0 - alpha
    seen = 0
    state = 0.0
    for i in range(values.size):
        value = values[i]
        if math.isnan(value):
            continue
        if seen < length:
            seen += 1
            state += value
            if seen < length:
                continue
            state /= length
        else:
            state = alpha * value + keep * state
        result[i] = state
    return result


@compiled
def relative_strength(values: Floats, length: int) -> Floats:
    """Return the relative strength index of numbers; NaNs are passed over."""
    result = np.full(values.size, math.nan)
    alpha = 1.0 / length
    keep = 1.0 - alpha
    seen = -1
    gain = loss = before = 0.0
    for i in range(values.size):
        value = values[i]
        if math.isnan(value):
            continue
        if seen < 0:
            seen, before = 0, value
            continue
        change = value - before
        before = value
        up = change if change > 0.0 else 0.0
        down = -change if change < 0.0 else 0.0
        if seen < length:
            seen += 1
            gain += up
            loss += down
            if seen < length:
                continue
            gain /= length
            loss /= length
        else:
            gain = alpha * up + keep * gain
            loss = alpha * down + keep * loss
        result[i] = 100.0 if loss == 0.0 else 100.0 - 100.0 / (1.0 + gain / loss)
    return result


@compiled
def directional(
    high: Floats, low: Floats, close: Floats, length: int, smoothing: int, tie: float
) -> tuple[Floats, Floats, Floats]:
    """Return +DI, -DI and ADX of bars without a NaN."""
    n = high.size
    plus_line, minus_line = np.full(n, math.nan), np.full(n, math.nan)
    alpha, smooth_alpha = 1.0 / length, 1.0 / smoothing
    keep, smooth_keep = 1.0 - alpha, 1.0 - smooth_alpha
    adx_line = np.full(n, math.nan)
    span = plus = minus = adx = 0.0
    seen = 0
    for i in range(1, n):
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        lead = up - down
        plus_move = up if lead > tie and up > tie else 0.0
        minus_move = down if lead < -tie and down > tie else 0.0
        reach = max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))
        seen += 1
        if seen <= length:
            span += reach
            plus += plus_move
            minus += minus_move
            if seen < length:
                continue
            span /= length
            plus /= length
            minus /= length
        else:
            span = alpha * reach + keep * span
            plus = alpha * plus_move + keep * plus
            minus = alpha * minus_move + keep * minus
        above = 0.0 if span == 0.0 else 100.0 * plus / span
        below = 0.0 if span == 0.0 else 100.0 * minus / span
        plus_line[i], minus_line[i] = above, below
        both = above + below
        index = 0.0 if both == 0.0 else 100.0 * abs(above - below) / both
        if seen < length + smoothing:
            adx += index
            if seen < length + smoothing - 1:
                continue
            adx /= smoothing
        else:
            adx = smooth_alpha * index + smooth_keep * adx
        adx_line[i] = adx
    return plus_line, minus_line, adx_line


@compiled
def population_deviation(values: Floats, mean: Floats, length: int) -> Floats:
    """Return the standard deviation of windows about their means, the oldest bar of a window first."""
    result = np.full(values.size, math.nan)
    squares = np.empty(_BLOCK)
    for start in range(length - 1, values.size, _BLOCK):
        size = min(_BLOCK, values.size - start)
        centre = mean[start : start + size]
        squares[:size] = 0.0
        for back in range(length - 1, -1, -1):
            part = values[start - back : start - back + size]
            for i in range(size):
                deviation = part[i] - centre[i]
                squares[i] += deviation * deviation
        for i in range(size):
            result[start + i] = math.sqrt(squares[i] / length)
    return result


@compiled
def bands(
    mean: Floats, deviation: Floats, multiplier: float, middle: Floats, upper: Floats, lower: Floats
) -> None:
    """Write the lines some deviations about a mean."""
    for i in range(mean.size):
        width = multiplier * deviation[i]
        middle[i] = mean[i]
        upper[i] = mean[i] + width
        lower[i] = mean[i] - width
