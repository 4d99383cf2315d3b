"""Which prices a backtest sees: one side as a chart shows it, or a synthetic spread.  Knows no engine."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.bars.stops.stop_slippage import StopSlippage
from aiopt.config import content_hash
from aiopt.errors import ConfigError


def chart_price(bars: BarSet) -> BarSet:
    """Return the bid bars as the one price, as a foreign-exchange chart on TradingView shows it."""
    return bars if bars.single_price else replace(bars, ask=bars.bid, single_price=True)


def with_stop_slippage(bars: BarSet, measured: StopSlippage) -> BarSet:
    """Return bars whose stops fill by a mean measured on other ticks.

    Parameters
    ----------
    bars : BarSet
        Without a stop ladder: ticks of their own are better.
    measured : StopSlippage
        Of the same instrument.

    Raises
    ------
    ConfigError
        If it is of another instrument, or the bars have their ticks' ladder.
    """
    symbol = bars.instrument.symbol
    if measured.instrument != symbol:
        msg = f"Stop slippage must be measured on {symbol}, but is of {measured.instrument}."
        raise ConfigError(f"{msg} Give ticks of {symbol}.")
    if isinstance(bars.stops, StopLadder):
        raise ConfigError("Bars with their own ticks' stop ladder need no measured slippage. Leave it out.")
    data_hash = content_hash({"bars": bars.data_hash, "stops": measured})
    return replace(bars, stops=measured, data_hash=data_hash)


def add_spread(bars: BarSet, spread_pips: float) -> BarSet:
    """Return bars whose ask is the given price plus a constant spread.

    Parameters
    ----------
    bars : BarSet
        One price, taken as the bid.
    spread_pips : float
        Rounded to whole ticks; not negative.

    Raises
    ------
    ConfigError
        If the bars have an ask already, or the spread is negative or not finite.
    """
    if not bars.single_price:
        msg = f"A spread is added to one price, but these bars have bid and ask (spread_pips={spread_pips})."
        raise ConfigError(f"{msg} Leave out --spread-pips.")
    if not (math.isfinite(spread_pips) and spread_pips >= 0):
        msg = f"`spread_pips >= 0` must hold, but got spread_pips={spread_pips}. Choose e.g. 0.8."
        raise ConfigError(msg)
    instrument = bars.instrument
    spread = round(spread_pips * instrument.pip_size / instrument.tick_size) * instrument.tick_size
    digits = instrument.price_precision + 1  # a mid price is half a tick
    ask = replace(
        bars.bid,
        price="ask",
        **{
            name: np.round(getattr(bars.bid, name) + spread, digits)
            for name in ("open", "high", "low", "close")
        },
    )
    data_hash = content_hash({"bars": bars.data_hash, "spread_pips": spread_pips})
    return replace(bars, ask=ask, single_price=False, data_hash=data_hash)
