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
from aiopt.market.instrument import Instrument


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
        msg = f"Stop slippage was measured on {measured.instrument}, but {symbol} is traded."
        raise ConfigError(f"{msg} Give ticks of {symbol}.")
    if isinstance(bars.stops, StopLadder):
        raise ConfigError("Bars with their own ticks' stop ladder need no measured slippage. Leave it out.")
    data_hash = content_hash({"bars": bars.data_hash, "stops": measured})
    return replace(bars, stops=measured, data_hash=data_hash)


def widen_spread(bars: BarSet, extra_pips: float) -> BarSet:
    """Return bars whose every ask is raised; bids stay as they are.

    Open, high, low and close of the ask, and the quotes its stops are filled by, all rise by the same number
    of price steps, so the spread is wider by exactly that much at every moment: a round trip pays it once,
    whichever side it trades.

    Parameters
    ----------
    bars : BarSet
        With bid and ask.
    extra_pips : float
        Whole price steps of the instrument; 0 gives the bars back as they are.

    Raises
    ------
    ConfigError
        If it is no whole number of price steps, or the bars have one price.
    """
    if extra_pips == 0:
        return bars
    instrument = bars.instrument
    steps = spread_steps(instrument, extra_pips)
    if bars.single_price:
        msg = f"A spread is widened where there is one, but these bars have one price ({extra_pips:g} pips)."
        raise ConfigError(f"{msg} Give bars of bid and ask, or use --spread-pips.")
    digits = instrument.price_precision + 1  # a mid price is half a tick
    raised = {
        name: np.round(getattr(bars.ask, name) + steps / instrument.price_scale, digits)
        for name in ("open", "high", "low", "close")
    }
    stops = bars.stops
    if isinstance(stops, StopLadder):
        in_ladder = round(steps * stops.price_scale / instrument.price_scale)
        stops = replace(stops, ask_steps=stops.ask_steps + np.int32(in_ladder))
    return replace(bars, ask=replace(bars.ask, **raised), stops=stops)


def spread_steps(instrument: Instrument, pips: float) -> int:
    """Return a width in pips as whole price steps of an instrument.

    Raises
    ------
    ConfigError
        If it is no whole number of them.
    """
    per_pip = instrument.pip_size * instrument.price_scale
    steps = round(pips * per_pip)
    if not math.isclose(steps, pips * per_pip, abs_tol=1e-6):
        msg = f"A wider spread must be whole price steps of {instrument.symbol} ({1 / per_pip:g} pips), "
        raise ConfigError(f"{msg}but got {pips:g} pips. Choose e.g. {max(1, steps) / per_pip:g}.")
    return steps


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
        raise ConfigError(f"{msg} Leave out --spread-pips; --extra-spread-pips widens theirs.")
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
