"""Technical indicators over arrays and their streaming twins, in Pine's conventions.

Owns the formulas, their seeding and the table of kinds (`INDICATORS`).  Knows nothing of strategies or bars.
"""

from aiopt.indicators.averages import Ema, Rma, Sma, ema, rma, sma
from aiopt.indicators.changes import Cmo, Roc, Tsi, cmo, roc, tsi
from aiopt.indicators.channels import (
    Cloud,
    Donchian,
    Ichimoku,
    Keltner,
    Supertrend,
    SupertrendLines,
    donchian,
    ichimoku,
    keltner,
    supertrend,
)
from aiopt.indicators.flows import Mfi, Obv, mfi, obv
from aiopt.indicators.heikin_ashi import HeikinAshi, HeikinAshiBar, heikin_ashi
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
from aiopt.indicators.ranges import Cci, StochRsi, WilliamsR, cci, stoch_rsi, williams_r
from aiopt.indicators.registry import INDICATORS, ArgDef, IndicatorDef, StreamingIndicator, indicator_def
from aiopt.indicators.trend import DirectionalLines, Dmi, dmi
from aiopt.indicators.volatility import Atr, Bands, Bollinger, atr, bollinger, true_range
from aiopt.indicators.weighted import Hma, Linreg, Vwma, Wma, hma, linreg, vwma, wma

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
    "wma",
    "hma",
    "linreg",
    "vwma",
    "keltner",
    "donchian",
    "ichimoku",
    "supertrend",
    "williams_r",
    "cci",
    "stoch_rsi",
    "roc",
    "tsi",
    "cmo",
    "obv",
    "mfi",
    "heikin_ashi",
    "Sma",
    "Ema",
    "Rma",
    "Rsi",
    "Macd",
    "Bollinger",
    "Stochastic",
    "Atr",
    "Dmi",
    "Wma",
    "Hma",
    "Linreg",
    "Vwma",
    "Keltner",
    "Donchian",
    "Ichimoku",
    "Supertrend",
    "WilliamsR",
    "Cci",
    "StochRsi",
    "Roc",
    "Tsi",
    "Cmo",
    "Obv",
    "Mfi",
    "HeikinAshi",
    "MacdLines",
    "Bands",
    "StochasticLines",
    "DirectionalLines",
    "Cloud",
    "SupertrendLines",
    "HeikinAshiBar",
]
