"""Patterns in bars: candlesticks, swings, levels and regimes, from arrays, without looking ahead.

Owns the formulas.  Knows nothing of models, charts or strategies.
"""

from aiopt.patterns.bars import Prices, typical_range
from aiopt.patterns.candlesticks import candlestick_masks, candlestick_patterns
from aiopt.patterns.kinds import PATTERN_KINDS, Direction, Pattern, PatternKind
from aiopt.patterns.pivots import Pivot, zigzag
from aiopt.patterns.regimes import (
    Level,
    Trend,
    TrendRegime,
    Volatility,
    price_levels,
    trend_regime,
    volatility_regime,
)
from aiopt.patterns.swings import swing_patterns


def find_patterns(prices: Prices) -> list[Pattern]:
    """Return all candlestick and swing patterns, in order of the bar they are known at."""
    return sorted([*candlestick_patterns(prices), *swing_patterns(prices)])


__all__ = [
    "PATTERN_KINDS",
    "PatternKind",
    "Pattern",
    "Direction",
    "Prices",
    "typical_range",
    "find_patterns",
    "candlestick_patterns",
    "candlestick_masks",
    "swing_patterns",
    "Pivot",
    "zigzag",
    "Level",
    "price_levels",
    "Trend",
    "TrendRegime",
    "trend_regime",
    "Volatility",
    "volatility_regime",
]
