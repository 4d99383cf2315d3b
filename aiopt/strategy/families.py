"""The ready strategy families, each with a search space.  Owns their rules and sensible ranges, nothing else.

Made for one- to fifteen-minute bars of EUR/USD: average true ranges of about one to six pips, a spread of up
to one pip.  Stops are therefore several ATRs or at least eight pips wide, so that the spread is a part of the
risk and not the whole of it.
"""

from __future__ import annotations

from aiopt.errors import SpecError, did_you_mean
from aiopt.strategy.dimensions import FloatRange, IntRange
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import IndicatorSpec, PriceDistance, SessionFilter, StrategySpec

_ATR = IndicatorSpec(kind="atr", args={"length": "atr_length"})
_ATR_STOP = PriceDistance(unit="atr", value="stop_atr", indicator="atr")
_ATR_TARGET = PriceDistance(unit="atr", value="target_atr", indicator="atr")


def _rsi_reversion() -> SearchSpace:
    spec = StrategySpec(
        name="rsi_reversion",
        description=(
            "Buys when the RSI climbs back out of oversold and sells when it falls back out of overbought, "
            "in the European and American day; leaves at the middle."
        ),
        params={
            "rsi_length": 14,
            "oversold": 30.0,
            "overbought": 70.0,
            "exit_level": 55.0,
            "atr_length": 14,
            "stop_atr": 4.0,
            "target_atr": 6.0,
        },
        indicators={"rsi": IndicatorSpec(kind="rsi", args={"length": "rsi_length"}), "atr": _ATR},
        entry_long="crossover(rsi, oversold)",
        entry_short="crossunder(rsi, overbought)",
        exit_long="rsi > exit_level",
        exit_short="rsi < 100 - exit_level",
        stop_loss=_ATR_STOP,
        take_profit=_ATR_TARGET,
        session=SessionFilter(start="06:00", end="20:00", timezone="UTC"),
    )
    return SearchSpace(
        spec,
        {
            "rsi_length": IntRange(5, 30),
            "oversold": FloatRange(15.0, 40.0, 2.5),
            "overbought": FloatRange(60.0, 85.0, 2.5),
            "exit_level": FloatRange(45.0, 65.0, 5.0),
            "stop_atr": FloatRange(3.0, 8.0, 0.5),
            "target_atr": FloatRange(3.0, 12.0, 1.0),
        },
        ("oversold + 30 <= overbought",),
    )


def _macd_adx_trend() -> SearchSpace:
    spec = StrategySpec(
        name="macd_adx_trend",
        description=(
            "Follows a MACD cross when the ADX says there is a trend and the directional lines agree; "
            "leaves when MACD crosses back."
        ),
        params={
            "fast_length": 12,
            "slow_length": 26,
            "signal_length": 9,
            "adx_length": 14,
            "adx_min": 20.0,
            "atr_length": 14,
            "stop_atr": 4.0,
            "target_atr": 8.0,
        },
        indicators={
            "macd": IndicatorSpec(
                kind="macd", args={"fast": "fast_length", "slow": "slow_length", "signal": "signal_length"}
            ),
            "dmi": IndicatorSpec(kind="dmi", args={"length": "adx_length", "smoothing": "adx_length"}),
            "atr": _ATR,
        },
        entry_long="crossover(macd.macd, macd.signal) and dmi.adx > adx_min and dmi.plus > dmi.minus",
        entry_short="crossunder(macd.macd, macd.signal) and dmi.adx > adx_min and dmi.minus > dmi.plus",
        exit_long="crossunder(macd.macd, macd.signal)",
        exit_short="crossover(macd.macd, macd.signal)",
        stop_loss=_ATR_STOP,
        take_profit=_ATR_TARGET,
    )
    return SearchSpace(
        spec,
        {
            "fast_length": IntRange(6, 30, 2),
            "slow_length": IntRange(14, 78, 4),
            "signal_length": IntRange(5, 15, 2),
            "adx_length": IntRange(8, 28, 2),
            "adx_min": FloatRange(15.0, 35.0, 2.5),
            "stop_atr": FloatRange(3.0, 8.0, 0.5),
            "target_atr": FloatRange(4.0, 14.0, 1.0),
        },
        ("fast_length < slow_length",),
    )


def _bollinger_breakout() -> SearchSpace:
    spec = StrategySpec(
        name="bollinger_breakout",
        description=(
            "Goes with a close outside the Bollinger Bands during London hours (daylight saving followed) "
            "and leaves when the price is back at the middle band."
        ),
        params={
            "length": 20,
            "multiplier": 2.0,
            "atr_length": 14,
            "stop_atr": 4.0,
            "target_atr": 8.0,
        },
        indicators={
            "bands": IndicatorSpec(kind="bollinger", args={"length": "length", "multiplier": "multiplier"}),
            "atr": _ATR,
        },
        entry_long="crossover(close, bands.upper)",
        entry_short="crossunder(close, bands.lower)",
        exit_long="crossunder(close, bands.middle)",
        exit_short="crossover(close, bands.middle)",
        stop_loss=_ATR_STOP,
        take_profit=_ATR_TARGET,
        session=SessionFilter(start="07:00", end="17:00", timezone="Europe/London"),
    )
    return SearchSpace(
        spec,
        {
            "length": IntRange(10, 100, 5),
            "multiplier": FloatRange(1.5, 3.5, 0.25),
            "atr_length": IntRange(7, 42, 7),
            "stop_atr": FloatRange(3.0, 8.0, 0.5),
            "target_atr": FloatRange(4.0, 16.0, 1.0),
        },
    )


def _ema_cross_atr() -> SearchSpace:
    spec = StrategySpec(
        name="ema_cross_atr",
        description=(
            "Always follows the last cross of two exponential moving averages, unless the ATR stop or target "
            "was reached first."
        ),
        params={
            "fast_length": 20,
            "slow_length": 60,
            "atr_length": 14,
            "stop_atr": 5.0,
            "target_atr": 10.0,
        },
        indicators={
            "fast": IndicatorSpec(kind="ema", args={"length": "fast_length"}),
            "slow": IndicatorSpec(kind="ema", args={"length": "slow_length"}),
            "atr": _ATR,
        },
        entry_long="crossover(fast, slow)",
        entry_short="crossunder(fast, slow)",
        stop_loss=_ATR_STOP,
        take_profit=_ATR_TARGET,
    )
    return SearchSpace(
        spec,
        {
            "fast_length": IntRange(5, 50),
            "slow_length": IntRange(20, 200, 5),
            "atr_length": IntRange(7, 42, 7),
            "stop_atr": FloatRange(3.0, 9.0, 0.5),
            "target_atr": FloatRange(4.0, 20.0, 1.0),
        },
        ("fast_length * 1.5 <= slow_length",),
    )


def _stochastic_sma() -> SearchSpace:
    spec = StrategySpec(
        name="stochastic_sma",
        description=(
            "Buys dips above a long moving average and sells rallies below it, when the Stochastic turns at "
            "its edge; stop and target in pips."
        ),
        params={
            "k_length": 14,
            "d_smooth": 3,
            "edge": 20.0,
            "trend_length": 100,
            "stop_pips": 16.0,
            "target_pips": 26.0,
        },
        indicators={
            "stoch": IndicatorSpec(
                kind="stochastic", args={"k_length": "k_length", "k_smooth": 3, "d_smooth": "d_smooth"}
            ),
            "trend": IndicatorSpec(kind="sma", args={"length": "trend_length"}),
        },
        entry_long="close > trend and crossover(stoch.k, stoch.d) and stoch.k[1] < edge",
        entry_short="close < trend and crossunder(stoch.k, stoch.d) and stoch.k[1] > 100 - edge",
        exit_long="stoch.k > 100 - edge and stoch.k < stoch.d",
        exit_short="stoch.k < edge and stoch.k > stoch.d",
        stop_loss=PriceDistance(unit="pips", value="stop_pips"),
        take_profit=PriceDistance(unit="pips", value="target_pips"),
        session=SessionFilter(start="07:00", end="19:00", timezone="UTC"),
    )
    return SearchSpace(
        spec,
        {
            "k_length": IntRange(5, 30),
            "d_smooth": IntRange(2, 6),
            "edge": FloatRange(10.0, 30.0, 2.5),
            "trend_length": IntRange(50, 300, 10),
            "stop_pips": FloatRange(8.0, 40.0, 2.0),
            "target_pips": FloatRange(8.0, 60.0, 2.0),
        },
    )


FAMILIES: dict[str, SearchSpace] = {
    space.family: space
    for space in (
        _rsi_reversion(),
        _macd_adx_trend(),
        _bollinger_breakout(),
        _ema_cross_atr(),
        _stochastic_sma(),
    )
}
"""Family name to its search space; ``FAMILIES[name].spec`` is the strategy with its default parameters."""


def family(name: str) -> SearchSpace:
    """Return the search space of a ready family.

    Raises
    ------
    SpecError
        If there is none of that name.
    """
    if name not in FAMILIES:
        msg = f"{name!r} is neither a ready family nor a file.{did_you_mean(name, FAMILIES)}"
        raise SpecError(msg)
    return FAMILIES[name]
