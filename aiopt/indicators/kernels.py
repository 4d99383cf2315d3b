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


@compiled
def mean_deviation(values: Floats, mean: Floats, length: int) -> Floats:
    """Return the mean distance of windows from their means, the oldest bar of a window first."""
    result = np.full(values.size, math.nan)
    for i in range(length - 1, values.size):
        centre = mean[i]
        if math.isnan(centre):
            continue
        total = 0.0
        for k in range(i - length + 1, i + 1):
            total += abs(values[k] - centre)
        result[i] = total / length
    return result


@compiled
def supertrend(
    high: Floats, low: Floats, close: Floats, ranges: Floats, multiplier: float, tie: float
) -> tuple[Floats, Floats]:
    """Return Supertrend's line and direction of bars without a NaN; `ranges` is their ATR."""
    line, directions = np.full(high.size, math.nan), np.full(high.size, math.nan)
    upper_before = lower_before = math.nan
    direction = 1.0
    for i in range(high.size):
        if math.isnan(ranges[i]):
            continue
        width = multiplier * ranges[i]
        middle = (high[i] + low[i]) / 2.0
        upper, lower = middle + width, middle - width
        if not math.isnan(lower_before):
            before = close[i - 1]
            if not (lower - lower_before > tie or before - lower_before < -tie):
                lower = lower_before
            if not (upper - upper_before < -tie or before - upper_before > tie):
                upper = upper_before
            if direction > 0.0:
                direction = -1.0 if close[i] - upper > tie else 1.0
            else:
                direction = 1.0 if close[i] - lower < -tie else -1.0
        upper_before, lower_before = upper, lower
        line[i] = upper if direction > 0.0 else lower
        directions[i] = direction
    return line, directions


@compiled
def heikin_ashi_open(opens: Floats, closes: Floats, middle: Floats) -> Floats:
    """Return the opens of Heikin-Ashi bars; `middle` is their close."""
    result = np.full(opens.size, math.nan)
    before = after = math.nan
    for i in range(opens.size):
        if math.isnan(middle[i]):
            continue
        start = (opens[i] + closes[i]) / 2.0 if math.isnan(before) else (before + after) / 2.0
        before, after = start, middle[i]
        result[i] = start
    return result


@compiled
def periods(
    keys: NDArray[np.int64], open: Floats, high: Floats, low: Floats, close: Floats, result: Floats
) -> None:
    """Write, row by row, open, high, low and close of the period before and open, high and low of this one.

    A period is a run of bars with one key; bars with a NaN are passed over.
    """
    state = np.full(8, math.nan)  # the period before, then this one
    key = np.int64(0)
    for i in range(keys.size):
        if math.isnan(open[i] + high[i] + low[i] + close[i]):
            continue
        if math.isnan(state[4]) or keys[i] != key:
            key = keys[i]
            state[:4] = state[4:]
            state[4], state[5], state[6] = open[i], high[i], low[i]
        state[5] = max(state[5], high[i])
        state[6] = min(state[6], low[i])
        state[7] = close[i]
        result[:, i] = state[:7]


@compiled
def session_ranges(
    inside: NDArray[np.bool_], days: NDArray[np.int64], high: Floats, low: Floats, result: Floats
) -> None:
    """Write highest and lowest price of the last session that has ended; bars with a NaN are passed over."""
    top = bottom = last_top = last_bottom = math.nan
    day = np.int64(0)
    for i in range(days.size):
        if math.isnan(high[i] + low[i]):
            continue
        fresh = inside[i] and (math.isnan(top) or days[i] != day)
        if (fresh or not inside[i]) and not math.isnan(top):
            last_top, last_bottom = top, bottom
        if not inside[i]:
            top = bottom = math.nan
        elif fresh:
            top, bottom, day = high[i], low[i], days[i]
        else:
            top, bottom = max(top, high[i]), min(bottom, low[i])
        result[0, i], result[1, i] = last_top, last_bottom


@compiled
def anchored_mean(keys: NDArray[np.int64], values: Floats, weights: Floats, zero: float) -> Floats:
    """Return the weighted mean since the key changed; NaN without weight, bars with a NaN are passed over."""
    result = np.full(values.size, math.nan)
    key = np.int64(0)
    begun = False
    total = weight = 0.0
    for i in range(values.size):
        part = values[i] * weights[i]
        if math.isnan(part):
            continue
        if not begun or keys[i] != key:
            begun, key = True, keys[i]
            total = weight = 0.0
        total += part
        weight += weights[i]
        if weight > zero:
            result[i] = total / weight
    return result
