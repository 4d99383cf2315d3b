"""Candlestick patterns of one to three bars.  Owns their formulas; knows nothing of pivots.

For bar ``i``: body ``b = |close - open|``, range ``r = high - low``, upper wick ``high - max(open, close)``,
lower wick ``min(open, close) - low``.  ``u`` is `Prices.unit` of the bar before the pattern's first bar and
``move`` the change of the close over the `MOVE_BARS` bars before it, so a pattern is measured against what
was usual before it came.  Every pattern is known at the close of its last bar.

A formula reads candles whose fields are arrays over all bars or the numbers of one: both say the same.  Two
values within `aiopt.patterns.bars.TIE` are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.patterns.bars import FloatArray, Prices, above, at_least
from aiopt.patterns.kinds import Pattern

BoolArray = npt.NDArray[np.bool_]

Values = Any
"""An array of shape (n_bars,) or a float; of tests an array of truths or one."""

MOVE_BARS = 5
"""Bars of the move before a reversal pattern."""


class Candle(NamedTuple):
    """A bar as the formulas read it, arrays or single values; upside down for bearish patterns."""

    open: Values
    high: Values
    low: Values
    close: Values
    gain: Values
    body: Values
    span: Values
    upper: Values
    lower: Values
    top: Values


def candle(
    open: Values,
    high: Values,
    low: Values,
    close: Values,
    *,
    larger: Callable[[Values, Values], Values] = np.maximum,
) -> Candle:
    """Return the measures of a bar.

    Parameters
    ----------
    open, high, low, close : float or ndarray of shape (n_bars,)
        Price units.
    larger : callable
        The larger of two values: `max` for single ones.
    """
    gain = close - open
    top, bottom = larger(open, close), -larger(-open, -close)
    return Candle(open, high, low, close, gain, abs(gain), high - low, high - top, bottom - low, top)


def turned_candle(open: Values, high: Values, low: Values, close: Values, **larger: Any) -> Candle:
    """Return the measures of a bar turned upside down: what is symmetric stays so."""
    return candle(-open, -low, -high, -close, **larger)


# --- formulas: candles from the last bar back, the move before them, the unit -------------------------------


def _doji(bars: Sequence[Candle], move: Values, unit: Values) -> Values:
    (now,) = bars
    return above(unit, 0.0) & at_least(now.span, 0.5 * unit) & at_least(now.span, 10.0 * now.body)


def _inside_bar(bars: Sequence[Candle], move: Values, unit: Values) -> Values:
    now, before = bars
    within = above(before.high, now.high) & above(now.low, before.low)
    return above(unit, 0.0) & within & at_least(before.span, unit)


def _outside_bar(bars: Sequence[Candle], move: Values, unit: Values) -> Values:
    now, before = bars
    beyond = above(now.high, before.high) & above(before.low, now.low)
    return above(unit, 0.0) & beyond & at_least(now.span, unit)


def _hammer(bars: Sequence[Candle], move: Values, unit: Values) -> Values:
    (now,) = bars
    return (
        above(unit, 0.0)
        & at_least(-unit, move)
        & above(now.body, 0.0)
        & at_least(now.lower, 2.0 * now.body)
        & at_least(now.lower, 0.6 * now.span)
        & at_least(0.15 * now.span, now.upper)
        & at_least(now.span, 0.8 * unit)
    )


def _engulfing(bars: Sequence[Candle], move: Values, unit: Values) -> Values:
    now, before = bars
    return (
        above(unit, 0.0)
        & at_least(-unit, move)
        & above(0.0, before.gain)
        & above(now.gain, 0.0)
        & at_least(before.close, now.open)
        & at_least(now.close, before.open)
        & above(now.body, before.body)
        & at_least(now.body, 0.5 * unit)
    )


def _star(bars: Sequence[Candle], move: Values, unit: Values) -> Values:
    now, small, large = bars
    return (
        above(unit, 0.0)
        & above(0.0, large.gain)
        & at_least(large.body, 0.7 * unit)
        & at_least(0.35 * large.body, small.body)
        & at_least(0.1 * large.body, small.top - large.close)
        & above(now.gain, 0.0)
        & above((now.close - large.close) + (now.close - large.open), 0.0)
    )


def _three(bars: Sequence[Candle], move: Values, unit: Values) -> Values:
    now, second, first = bars
    steps = above(unit, 0.0) & above(now.close, second.close) & above(second.close, first.close)
    for bar in bars:
        steps = steps & at_least(bar.gain, 0.5 * unit) & at_least(0.35 * bar.body, bar.upper)
    for later, earlier in ((now, second), (second, first)):
        steps = steps & at_least(later.open, earlier.open) & at_least(earlier.close, later.open)
    return steps


class Candlestick(NamedTuple):
    """How a kind is found.

    Attributes
    ----------
    length : int
        Bars that form it.
    test : callable
        ``test(candles, move, unit)``, the candles from the last one back.
    turned : bool
        Whether it is found on the bars upside down.
    """

    length: int
    test: Callable[[Sequence[Candle], Values, Values], Values]
    turned: bool = False


CANDLESTICKS: dict[str, Candlestick] = {
    "doji": Candlestick(1, _doji),
    "hammer": Candlestick(1, _hammer),
    "shooting_star": Candlestick(1, _hammer, turned=True),
    "bullish_engulfing": Candlestick(2, _engulfing),
    "bearish_engulfing": Candlestick(2, _engulfing, turned=True),
    "inside_bar": Candlestick(2, _inside_bar),
    "outside_bar": Candlestick(2, _outside_bar),
    "morning_star": Candlestick(3, _star),
    "evening_star": Candlestick(3, _star, turned=True),
    "three_white_soldiers": Candlestick(3, _three),
    "three_black_crows": Candlestick(3, _three, turned=True),
}
"""Every kind by name."""


# --- over arrays ------------------------------------------------------------------------------------------


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
        length = CANDLESTICKS[kind].length
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
    series = (prices.open, prices.high, prices.low, prices.close)
    return {kind: candlestick_mask(kind, *series, prices.unit) for kind in CANDLESTICKS}


# reason: four prices, their unit and the kind
def candlestick_mask(
    kind: str, open: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, unit: FloatArray
) -> BoolArray:
    """Return on which bars a pattern of one kind ends; see `candlestick_masks`.

    Parameters
    ----------
    kind : str
        A key of `CANDLESTICKS`.
    open, high, low, close : ndarray of shape (n_bars,)
        Price units, finite.
    unit : ndarray of shape (n_bars,)
        `typical_range` of the bars.
    """
    shape = CANDLESTICKS[kind]
    measured = (turned_candle if shape.turned else candle)(open, high, low, close)
    candles = [Candle(*(_back(values, bars) for values in measured)) for bars in range(shape.length)]
    move = _back(measured.close, shape.length) - _back(measured.close, shape.length + MOVE_BARS)
    return np.asarray(shape.test(candles, move, _back(unit, shape.length)), dtype=bool)


def _back(values: FloatArray, bars: int) -> FloatArray:
    """Return `values` of `bars` bars ago; NaN, which no comparison holds for, at the start."""
    if bars == 0:
        return values
    result = np.full(values.size, np.nan)
    if bars < values.size:
        result[bars:] = values[: values.size - bars]
    return result
