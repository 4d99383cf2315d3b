"""Candlestick patterns of one to three bars.  Owns their formulas; knows nothing of pivots.

For bar ``i``: body ``b = |close - open|``, range ``r = high - low``, upper wick ``high - max(open, close)``,
lower wick ``min(open, close) - low``.  ``u`` is `Prices.unit` of the bar before the pattern's first bar and
``move`` the change of the close over the `MOVE_BARS` bars before it, so a pattern is measured against what
was usual before it came.  Every pattern is known at the close of its last bar.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aiopt.patterns.bars import FloatArray, Prices
from aiopt.patterns.kinds import Pattern

BoolArray = npt.NDArray[np.bool_]

MOVE_BARS = 5
"""Bars of the move before a reversal pattern."""

_LENGTHS = {
    "doji": 1,
    "hammer": 1,
    "shooting_star": 1,
    "bullish_engulfing": 2,
    "bearish_engulfing": 2,
    "inside_bar": 2,
    "outside_bar": 2,
    "morning_star": 3,
    "evening_star": 3,
    "three_white_soldiers": 3,
    "three_black_crows": 3,
}


def candlestick_patterns(prices: Prices) -> list[Pattern]:
    """Return every candlestick pattern, in order of the bar it is known at.

    Parameters
    ----------
    prices : Prices
        Any number of bars.

    Returns
    -------
    list of Pattern
        ``confirmed_bar == last_bar``; price is the close of the last bar.
    """
    found = []
    for kind, mask in candlestick_masks(prices).items():
        length = _LENGTHS[kind]
        found += [
            Pattern(
                confirmed_bar=int(bar),
                first_bar=int(bar) - length + 1,
                last_bar=int(bar),
                kind=kind,
                price=float(prices.close[bar]),
            )
            for bar in np.flatnonzero(mask)
        ]
    return sorted(found)


def candlestick_masks(prices: Prices) -> dict[str, BoolArray]:
    """Return, per kind, on which bars the pattern ends.

    ===================== ===========================================================================
    doji                  ``b <= 0.1 r`` and ``r >= 0.5 u``
    hammer                ``move <= -u``, lower wick ``>= 2 b`` and ``>= 0.6 r``, upper wick
                          ``<= 0.15 r``, ``r >= 0.8 u``, ``b > 0``
    shooting_star         mirror image of the hammer
    bullish_engulfing     ``move <= -u``; falling bar, then rising bar with ``open <= close[1]``,
                          ``close >= open[1]``, ``b > b[1]`` and ``b >= 0.5 u``
    bearish_engulfing     mirror image
    inside_bar            ``high < high[1]``, ``low > low[1]``, ``r[1] >= u``
    outside_bar           ``high > high[1]``, ``low < low[1]``, ``r >= u``
    morning_star          falling body ``b[2] >= 0.7 u``; ``b[1] <= 0.35 b[2]`` at or below ``close[2]``
                          (by at most ``0.1 b[2]`` above); rising bar closing beyond the middle of body 2
    evening_star          mirror image
    three_white_soldiers  three rising bodies ``>= 0.5 u``, closes rising, each opening inside the body
                          before, upper wicks ``<= 0.35 b``
    three_black_crows     mirror image
    ===================== ===========================================================================

    Returns
    -------
    dict of str to ndarray of shape (n_bars,), bool
    """
    upright = _one_sided(prices)
    # The mirror image is computed by the same lines: what is symmetric stays so.
    mirrored = _one_sided(Prices(-prices.open, -prices.low, -prices.high, -prices.close))
    return {
        **_neutral(prices),
        "hammer": upright["hammer"],
        "shooting_star": mirrored["hammer"],
        "bullish_engulfing": upright["engulfing"],
        "bearish_engulfing": mirrored["engulfing"],
        "morning_star": upright["star"],
        "evening_star": mirrored["star"],
        "three_white_soldiers": upright["three"],
        "three_black_crows": mirrored["three"],
    }


def _back(values: FloatArray, bars: int) -> FloatArray:
    """Return `values` of `bars` bars ago; NaN, which no comparison holds for, at the start."""
    result = np.full(values.size, np.nan)
    if bars < values.size:
        result[bars:] = values[: values.size - bars]
    return result


def _move(prices: Prices, length: int) -> FloatArray:
    """Return the move before a pattern of `length` bars that ends on each bar."""
    return _back(prices.close, length) - _back(prices.close, length + MOVE_BARS)


def _neutral(prices: Prices) -> dict[str, BoolArray]:
    high, low = prices.high, prices.low
    span, body = high - low, np.abs(prices.close - prices.open)
    high_1, low_1 = _back(high, 1), _back(low, 1)
    unit_1, unit_2 = _back(prices.unit, 1), _back(prices.unit, 2)
    return {
        "doji": (unit_1 > 0) & (span >= 0.5 * unit_1) & (10.0 * body <= span),
        "inside_bar": (unit_2 > 0) & (high < high_1) & (low > low_1) & (high_1 - low_1 >= unit_2),
        "outside_bar": (unit_2 > 0) & (high > high_1) & (low < low_1) & (span >= unit_2),
    }


def _one_sided(prices: Prices) -> dict[str, BoolArray]:
    """Return the bullish patterns."""
    open_, high, low, close = prices.open, prices.high, prices.low, prices.close
    gain, span = close - open_, high - low
    body = np.abs(gain)
    upper, lower = high - np.maximum(open_, close), np.minimum(open_, close) - low
    unit_1, unit_2, unit_3 = (_back(prices.unit, bars) for bars in (1, 2, 3))
    open_1, close_1, gain_1, body_1 = (_back(values, 1) for values in (open_, close, gain, body))
    open_2, close_2, gain_2, body_2 = (_back(values, 2) for values in (open_, close, gain, body))
    hammer = (
        (unit_1 > 0)
        & (_move(prices, 1) <= -unit_1)
        & (body > 0)
        & (lower >= 2.0 * body)
        & (lower >= 0.6 * span)
        & (upper <= 0.15 * span)
        & (span >= 0.8 * unit_1)
    )
    engulfing = (
        (unit_2 > 0)
        & (_move(prices, 2) <= -unit_2)
        & (gain_1 < 0)
        & (gain > 0)
        & (open_ <= close_1)
        & (close >= open_1)
        & (body > body_1)
        & (body >= 0.5 * unit_2)
    )
    star = (
        (unit_3 > 0)
        & (gain_2 < 0)
        & (body_2 >= 0.7 * unit_3)
        & (body_1 <= 0.35 * body_2)
        & (np.maximum(open_1, close_1) - close_2 <= 0.1 * body_2)
        & (gain > 0)
        & ((close - close_2) + (close - open_2) > 0)
    )
    three = (unit_3 > 0) & (close > close_1) & (close_1 > close_2)
    for bars in (0, 1, 2):
        three &= _back(gain, bars) >= 0.5 * unit_3
        three &= _back(upper, bars) <= 0.35 * _back(body, bars)
    three &= (open_ >= open_1) & (open_ <= close_1) & (open_1 >= open_2) & (open_1 <= close_2)
    return {"hammer": hammer, "engulfing": engulfing, "star": star, "three": three & (gain_1 > 0)}
