"""The table of indicator kinds a strategy may name.

Owns which there are; what each argument may be stands beside it.  Knows no strategy.  Every kind is one
function over arrays and one streaming class; the two agree to the last bit.
"""

from __future__ import annotations

from aiopt.errors import SpecError, did_you_mean
from aiopt.indicators.averages import Ema, Rma, Sma, ema, rma, sma
from aiopt.indicators.candle_patterns import BREAKOUT_KINDS, CANDLE_PATTERN_KINDS
from aiopt.indicators.changes import CHANGE_KINDS
from aiopt.indicators.channels import CHANNEL_KINDS
from aiopt.indicators.chart_patterns import REVERSAL_KINDS
from aiopt.indicators.definition import (
    MAX_LENGTH,
    RANGE,
    SOURCE,
    ArgDef,
    CostlyPart,
    IndicatorDef,
    StreamingIndicator,
    length_arg,
)
from aiopt.indicators.flows import FLOW_KINDS
from aiopt.indicators.heikin_ashi import CANDLE_KINDS
from aiopt.indicators.higher import HIGHER_KINDS
from aiopt.indicators.oscillators import Macd, Rsi, Stochastic, macd, rsi, stochastic
from aiopt.indicators.ranges import RANGE_KINDS
from aiopt.indicators.times import TIME_KINDS
from aiopt.indicators.trend import Dmi, dmi
from aiopt.indicators.volatility import Atr, Bollinger, atr, bands_of, bollinger, mean_and_deviation
from aiopt.indicators.weighted import WEIGHTED_KINDS

INDICATORS: dict[str, IndicatorDef] = {
    definition.kind: definition
    for definition in (
        IndicatorDef(
            kind="sma",
            title="Simple moving average",
            args={"length": length_arg(20)},
            inputs=SOURCE,
            outputs=("value",),
            function=sma,
            streaming=Sma,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="ema",
            title="Exponential moving average",
            args={"length": length_arg(20)},
            inputs=SOURCE,
            outputs=("value",),
            function=ema,
            streaming=Ema,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="rma",
            title="Wilder's moving average",
            args={"length": length_arg(14)},
            inputs=SOURCE,
            outputs=("value",),
            function=rma,
            streaming=Rma,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="rsi",
            title="Relative strength index",
            args={"length": length_arg(14)},
            inputs=SOURCE,
            outputs=("value",),
            function=rsi,
            streaming=Rsi,
            warmup=lambda a: int(a["length"]),
        ),
        IndicatorDef(
            kind="macd",
            title="Moving average convergence/divergence",
            args={"fast": length_arg(12), "slow": length_arg(26), "signal": length_arg(9)},
            inputs=SOURCE,
            outputs=("macd", "signal", "histogram"),
            function=macd,
            streaming=Macd,
            warmup=lambda a: int(max(a["fast"], a["slow"]) + a["signal"]) - 2,
        ),
        IndicatorDef(
            kind="bollinger",
            title="Bollinger Bands",
            args={"length": length_arg(20), "multiplier": ArgDef(float, 0.0, 100.0, 2.0)},
            inputs=SOURCE,
            outputs=("middle", "upper", "lower"),
            function=bollinger,
            streaming=Bollinger,
            warmup=lambda a: int(a["length"]) - 1,
            costly=CostlyPart(
                args=("length",),
                names=("mean", "deviation"),
                compute=mean_and_deviation,
                finish=bands_of,
            ),
        ),
        IndicatorDef(
            kind="stochastic",
            title="Stochastic oscillator",
            args={"k_length": length_arg(14), "k_smooth": length_arg(3), "d_smooth": length_arg(3)},
            inputs=RANGE,
            outputs=("k", "d"),
            function=stochastic,
            streaming=Stochastic,
            warmup=lambda a: int(a["k_length"] + a["k_smooth"] + a["d_smooth"]) - 3,
        ),
        IndicatorDef(
            kind="atr",
            title="Average true range",
            args={"length": length_arg(14)},
            inputs=RANGE,
            outputs=("value",),
            function=atr,
            streaming=Atr,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="dmi",
            title="Directional movement: +DI, -DI, ADX",
            args={"length": length_arg(14), "smoothing": length_arg(14)},
            inputs=RANGE,
            outputs=("plus", "minus", "adx"),
            function=dmi,
            streaming=Dmi,
            warmup=lambda a: int(a["length"] + a["smoothing"]) - 1,
        ),
        *WEIGHTED_KINDS,
        *CHANNEL_KINDS,
        *RANGE_KINDS,
        *CHANGE_KINDS,
        *FLOW_KINDS,
        *CANDLE_KINDS,
        *TIME_KINDS,
        *CANDLE_PATTERN_KINDS,
        *BREAKOUT_KINDS,
        *REVERSAL_KINDS,
        *HIGHER_KINDS,
    )
}


def indicator_def(kind: str) -> IndicatorDef:
    """Return the definition of an indicator kind.

    Raises
    ------
    SpecError
        If there is none of that name.
    """
    if kind not in INDICATORS:
        msg = (
            f"There is no indicator of kind {kind!r}. `aiopt indicators list` shows "
            f"all.{did_you_mean(kind, INDICATORS)}"
        )
        raise SpecError(msg)
    return INDICATORS[kind]


__all__ = [
    "INDICATORS",
    "MAX_LENGTH",
    "ArgDef",
    "CostlyPart",
    "IndicatorDef",
    "StreamingIndicator",
    "indicator_def",
]
