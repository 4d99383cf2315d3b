"""Technical indicators over arrays and their streaming twins, in Pine's conventions.

Owns the formulas, their seeding and the table of kinds (`INDICATORS`).  Knows nothing of strategies or bars.
"""

from aiopt.indicators.averages import Ema, Rma, Sma, ema, rma, sma
from aiopt.indicators.oscillators import (
    Macd,
    MacdLines,
    Rsi,
    Stochastic,
    StochasticLines,
    macd,
    rsi,
    stochastic,
)
from aiopt.indicators.registry import INDICATORS, ArgDef, IndicatorDef, StreamingIndicator, indicator_def
from aiopt.indicators.trend import DirectionalLines, Dmi, dmi
from aiopt.indicators.volatility import Atr, Bands, Bollinger, atr, bollinger, true_range

__all__ = [
    "INDICATORS",
    "ArgDef",
    "IndicatorDef",
    "StreamingIndicator",
    "indicator_def",
    "sma",
    "ema",
    "rma",
    "rsi",
    "macd",
    "bollinger",
    "stochastic",
    "atr",
    "dmi",
    "true_range",
    "Sma",
    "Ema",
    "Rma",
    "Rsi",
    "Macd",
    "Bollinger",
    "Stochastic",
    "Atr",
    "Dmi",
    "MacdLines",
    "Bands",
    "StochasticLines",
    "DirectionalLines",
]
