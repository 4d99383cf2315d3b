"""Bars as they might have been: a wider spread, bars missing, blocks of returns in another order.

Owns how other bars are made of given ones, and how what changes is drawn.  Knows no strategy and no run; the
result is a `BarSet` like any other, so the engine can be given it as well as the screen.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import OHLC, BarArrays, BarSet
from aiopt.bars.stops.stop_files import StopMeta, StopTable
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.bars.stops.stop_slippage import StopSlippage, measure_slippage
from aiopt.errors import DataError
from aiopt.utc import DAY_NS, HOUR_NS

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


# --- what is drawn ----------------------------------------------------------------------------------------


def draw_widening(bars: BarSet, mean_pips: float, random: np.random.Generator) -> IntArray:
    """Draw by how many price steps the spread of each bar is wider.

    A level is drawn for all bars, uniform between 0 and twice the mean; then a widening for each clock hour,
    exponential with that level as its mean: wide spreads come in stretches.

    Returns
    -------
    ndarray of shape (n_bars,), int64
        Not negative.
    """
    level = random.uniform(0.0, 2 * mean_pips)
    hours, place = np.unique(bars.bid.ts_open_ns // HOUR_NS, return_inverse=True)
    pips = random.exponential(level, hours.size)
    steps = np.rint(pips * bars.instrument.pip_size * bars.instrument.price_scale)
    found: IntArray = steps.astype(np.int64)[place]
    return found


def draw_gaps(n_bars: int, share: float, mean_bars: float, random: np.random.Generator) -> BoolArray:
    """Draw which bars are kept where about a share of them is missing, in gaps of geometric length.

    The first and the last bar stay, so that the span does.
    """
    starts = random.random(n_bars) < share / mean_bars
    lengths = np.where(starts, random.geometric(1 / mean_bars, n_bars), 0)
    # A bar is missing if a gap that began at or before it reaches it.
    reach = np.maximum.accumulate(np.where(starts, np.arange(n_bars) + lengths, 0))
    keep = np.arange(n_bars) >= reach
    keep[[0, -1]] = True
    return keep


def draw_blocks(bars: BarSet, sources: BoolArray, mean_hours: float, random: np.random.Generator) -> IntArray:
    """Draw from which bar each bar takes its returns: blocks of consecutive bars, of geometric length.

    A block begins where another bar of the same hour of the day (UTC) stands, and ends at a weekend of either
    series at the latest; the first bar after a closure of a day or more takes the place of such a bar.  So
    days keep their shape, weekends stay where they are, and what is longer than a block is broken up.

    Parameters
    ----------
    bars : BarSet
        What is rebuilt.
    sources : ndarray of shape (n_bars,), bool
        Bars that may be taken.
    mean_hours : float
        Mean length of a block.

    Returns
    -------
    ndarray of shape (n_bars,), int64
        Element 0 is 0: the first bar stands.
    """
    opens, n = bars.bid.ts_open_ns, len(bars)
    first = np.zeros(n, dtype=bool)
    first[1:] = np.diff(opens) >= DAY_NS + bars.timeframe.ns
    usable = sources.copy()
    usable[0] = False
    hour = opens // HOUR_NS % 24
    places = [np.flatnonzero(usable & ~first & (hour == clock)) for clock in range(24)]
    any_place, after_closure = np.flatnonzero(usable & ~first), np.flatnonzero(usable & first)
    if not any_place.size:
        return np.arange(n)
    # The bar behind a run of bars that may follow each other in a block.
    breaks = np.append(np.flatnonzero(first | ~usable), n)
    closures = np.append(np.flatnonzero(first), n)
    mean_bars = max(1.0, mean_hours * HOUR_NS / bars.timeframe.ns)
    source = np.zeros(n, dtype=np.int64)
    at = 1
    while at < n:
        found = after_closure if first[at] and after_closure.size else places[hour[at]]
        found = found if found.size else any_place
        begin = int(found[random.integers(found.size)])
        room = min(
            int(breaks[np.searchsorted(breaks, begin, side="right")]) - begin,
            int(closures[np.searchsorted(closures, at, side="right")]) - at,
            int(random.geometric(1 / mean_bars)),
        )
        source[at : at + room] = np.arange(begin, begin + room)
        at += room
    return source


# --- what is made of it -----------------------------------------------------------------------------------


def widened(bars: BarSet, steps: IntArray) -> BarSet:
    """Return bars whose asks, and the quotes their stops are filled by, are higher by some price steps each.

    As `aiopt.backtest.pricing.widen_spread`, bar by bar; bids stay.

    Parameters
    ----------
    bars : BarSet
        With bid and ask.
    steps : ndarray of shape (n_bars,), int64
        Price steps of the instrument.
    """
    instrument = bars.instrument
    digits = instrument.price_precision + 1
    raised = {
        name: np.round(getattr(bars.ask, name) + steps / instrument.price_scale, digits) for name in OHLC
    }
    stops = bars.stops
    if isinstance(stops, StopLadder):
        each = steps * stops.price_scale // instrument.price_scale
        first, last = int(stops.ask_offsets[0]), int(stops.ask_offsets[-1])
        shift = np.repeat(each, np.diff(stops.ask_offsets)).astype(np.int32)
        stops = replace(
            stops,
            ask_offsets=stops.ask_offsets - first,
            ask_steps=stops.ask_steps[first:last] + shift,
        )
    return replace(bars, ask=replace(bars.ask, **raised), stops=stops)


def thinned(bars: BarSet, keep: BoolArray) -> BarSet:
    """Return some of the bars, with their quotes.

    Parameters
    ----------
    bars : BarSet
        With bid and ask.
    keep : ndarray of shape (n_bars,), bool
        At least two are True.
    """
    names = ("ts_open_ns", *OHLC, "volume")

    def side(one: BarArrays) -> BarArrays:
        return replace(one, **{name: getattr(one, name)[keep] for name in names})

    stops = bars.stops
    if isinstance(stops, StopLadder):
        columns = {}
        for name in ("bid", "ask"):
            offsets = getattr(stops, f"{name}_offsets")
            steps = getattr(stops, f"{name}_steps")[int(offsets[0]) : int(offsets[-1])]
            counts = np.diff(offsets)
            columns[f"{name}_steps"] = steps[np.repeat(keep, counts)]
            columns[f"{name}_offsets"] = np.concatenate(([0], np.cumsum(counts[keep])))
        stops = StopLadder(**columns, price_scale=stops.price_scale)
    return replace(bars, bid=side(bars.bid), ask=side(bars.ask), stops=stops)


def rebuilt(bars: BarSet, source: IntArray) -> BarSet:
    """Return bars with the times of these and, bar by bar, the log returns of others of them.

    Bid open, high, low and close follow the bid before as they did in the source; the spread at each of the
    four is the source's, in price.  Quotes inside such bars never existed, so stops fill by the mean measured
    on the bars' own quotes.

    Parameters
    ----------
    bars : BarSet
        With bid and ask.
    source : ndarray of shape (n_bars,), int64
        From `draw_blocks`; element 0 is 0.
    """
    bid, ask, digits = bars.bid, bars.ask, bars.instrument.price_precision + 1
    gap = np.zeros(len(bars))
    gap[1:] = np.log(bid.open[1:] / bid.close[:-1])
    body = np.log(bid.close / bid.open)
    steps = gap[source] + body[source]
    log_close = np.log(bid.open[0]) + np.cumsum(steps)
    log_open = log_close - body[source]
    prices = {
        name: np.exp(log_open + np.log(getattr(bid, name) / bid.open)[source])
        for name in ("high", "low", "close")
    }
    prices["open"] = np.exp(log_open)
    grid = bars.price_step
    new_bid = {name: np.round(np.rint(values / grid) * grid, digits) for name, values in prices.items()}
    new_ask = {
        name: np.round(new_bid[name] + (getattr(ask, name) - getattr(bid, name))[source], digits)
        for name in OHLC
    }
    # Rounding may leave an open or close one step outside.
    new_ask["high"] = np.maximum.reduce([new_ask["high"], new_ask["open"], new_ask["close"]])
    new_ask["low"] = np.minimum.reduce([new_ask["low"], new_ask["open"], new_ask["close"]])
    return replace(
        bars,
        bid=replace(bid, **new_bid, volume=bid.volume[source]),
        ask=replace(ask, **new_ask, volume=ask.volume[source]),
        stops=mean_stops(bars),
    )


def mean_stops(bars: BarSet) -> StopSlippage | None:
    """Return what stops cost on average by the quotes of bars, in whole tenths of a tick; None if unknown."""
    if not isinstance(bars.stops, StopLadder):
        return bars.stops
    meta = StopMeta(
        instrument=bars.instrument.symbol,
        timeframe=bars.timeframe.label,
        data_hash=bars.data_hash,
        synthetic=bars.synthetic,
        session="",
        price_scale=bars.stops.price_scale,
    )
    try:
        measured = measure_slippage(StopTable(bars.bid.ts_open_ns, bars.stops, meta))
    except DataError:
        return None  # no bar moves: nothing is known
    # The simulator's prices are whole tenths of a tick.
    return msgspec.structs.replace(measured, mean_ticks=round(measured.mean_ticks, 1))
