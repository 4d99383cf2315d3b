"""Labels: what happened in the bars after a decision.

Owns the formulas.  A label of bar i with horizon h reads bars i + 1 to i + h and, of what was known at the
decision, the close and the ATR of bar i; a test changes all other bars and sees no label move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarSet
from aiopt.dataset.dataset_config import BarrierConfig, CostConfig, LabelConfig
from aiopt.dataset.stretches import market_breaks
from aiopt.errors import ConfigError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int8]

SELL, HOLD, BUY = -1, 0, 1
CLASS_NAMES = {SELL: "SELL", HOLD: "HOLD", BUY: "BUY"}

PRICE_TOLERANCE = 1e-9
"""Prices are decimal and floats are not: a move so little short of a threshold or barrier reaches it."""

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of every bar.

    Attributes
    ----------
    columns : dict of str to ndarray of shape (n_bars,)
        Classes int8, bars int32, all else float64; without meaning where `complete` is False.
    classes : tuple of str
        The columns that hold SELL, HOLD, BUY as -1, 0, 1.
    longest : int
        Bars after the decision bar that a row reads.
    complete : ndarray of shape (n_bars,), bool
        Where all bars that labels read exist.
    breaks : ndarray of shape (n_bars,), bool
        Where the market breaks inside the bars that labels read.
    """

    columns: dict[str, NDArray]
    classes: tuple[str, ...]
    longest: int
    complete: NDArray[np.bool_]
    breaks: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Market:
    """Arrays that all labels share; spreads in price units, 0 without costs."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    open_spread: FloatArray
    close_spread: FloatArray
    atr: FloatArray
    pip_size: float


def compute_labels(bars: BarSet, atr: FloatArray, config: LabelConfig) -> Labels:
    """Return the labels of every bar.

    Parameters
    ----------
    bars : BarSet
        Moves are those of the bid side.  The ask side counts where costs ask for the bars' own spread.
    atr : ndarray of shape (n_bars,)
        From `Features.atr`.
    config : LabelConfig
        Which labels.

    Raises
    ------
    ConfigError
        If costs need a spread that neither the bars nor the configuration have.
    """
    market = _market(bars, atr, config.costs)
    n_bars = len(bars)
    columns: dict[str, NDArray] = {}
    classes = []
    for horizon in config.horizons:
        columns |= _forward(market, horizon, config)
        classes.append(f"class_{horizon}")
    if config.triple_barrier is not None:
        columns |= triple_barrier(market, config.triple_barrier, config)
        classes.append("barrier")
    longest = config.longest
    passed = np.concatenate(([0], np.cumsum(market_breaks(bars))))
    breaks = np.zeros(n_bars, bool)
    if n_bars > longest:
        breaks[:-longest] = passed[longest:] > passed[:-longest]
    return Labels(
        columns=columns,
        classes=tuple(classes),
        longest=longest,
        complete=np.arange(n_bars) + longest < n_bars,
        breaks=breaks,
    )


def _market(bars: BarSet, atr: FloatArray, costs: CostConfig | None) -> _Market:
    side, pip = bars.bid, bars.instrument.pip_size
    if costs is None:
        open_spread = close_spread = np.zeros(len(bars))
    elif costs.spread_pips is not None:
        open_spread = close_spread = np.full(len(bars), costs.spread_pips * pip)
    elif bars.single_price:
        msg = (
            "Costs need a spread, but the bars have one price only. Give a folder with bid.parquet and "
            "ask.parquet, or set labels.costs.spread_pips, e.g. to 0.8."
        )
        raise ConfigError(msg)
    else:
        open_spread, close_spread = bars.ask.open - side.open, bars.ask.close - side.close
    return _Market(side.open, side.high, side.low, side.close, open_spread, close_spread, atr, pip)


def _entry(market: _Market, config: LabelConfig) -> tuple[FloatArray, FloatArray]:
    """Return the bid price a trade decided at each bar is entered at, and the spread there."""
    if config.entry == "close":
        return market.close, market.close_spread
    return _ahead(market.open, 1), _ahead(market.open_spread, 1)


def _ahead(values: FloatArray, bars: int) -> FloatArray:
    """Return the values `bars` later, NaN where there are none."""
    result = np.full(values.size, NAN)
    if values.size > bars:
        result[:-bars] = values[bars:]
    return result


def _round_trip(costs: CostConfig | None, entry: FloatArray, leave: FloatArray, pip: float) -> FloatArray:
    """Return commission and slippage of entry and exit in price units."""
    if costs is None:
        return np.zeros(entry.size)
    return (entry + leave) * (costs.commission_per_million * 1e-6) + 2.0 * costs.slippage_pips * pip


def _forward(market: _Market, horizon: int, config: LabelConfig) -> dict[str, NDArray]:
    entry, entry_spread = _entry(market, config)
    leave, leave_spread = _ahead(market.close, horizon), _ahead(market.close_spread, horizon)
    move = leave - entry
    # A long buys at the ask and sells at the bid; a short sells at the bid and buys back at the ask.
    ask_entry, ask_leave = entry + entry_spread, leave + leave_spread
    long_net = leave - ask_entry - _round_trip(config.costs, ask_entry, leave, market.pip_size)
    short_net = entry - ask_leave - _round_trip(config.costs, entry, ask_leave, market.pip_size)
    scale = market.atr if config.threshold_unit == "atr" else np.full(move.size, market.pip_size)
    least = config.threshold * scale - PRICE_TOLERANCE
    with np.errstate(invalid="ignore"):
        buy = (long_net >= least) & (long_net > 0)
        sell = (short_net >= least) & (short_net > 0)
    columns: dict[str, NDArray] = {
        f"return_{horizon}": leave / entry - 1.0,
        f"move_pips_{horizon}": move / market.pip_size,
        f"move_atr_{horizon}": move / np.where(market.atr > 0, market.atr, NAN),
        f"class_{horizon}": np.where(buy, BUY, np.where(sell, SELL, HOLD)).astype(np.int8),
    }
    if config.costs is not None:
        columns[f"long_net_pips_{horizon}"] = long_net / market.pip_size
        columns[f"short_net_pips_{horizon}"] = short_net / market.pip_size
    return columns


def triple_barrier(market: _Market, barrier: BarrierConfig, config: LabelConfig) -> dict[str, NDArray]:
    """Return which barrier the bid price touches first after each bar, when and at what price.

    The upper barrier lies ``upper_atr * ATR`` above the entry, the lower one ``lower_atr * ATR`` below; costs
    move both outward by the round trip's (spread at the entry, commission at the entry price, slippage), so
    that a trade closed at a barrier keeps the distance as profit.  A bar that opens beyond a barrier touches
    it at the open.
    """
    n_bars = market.close.size
    entry, spread = _entry(market, config)
    cost = spread + _round_trip(config.costs, entry, entry, market.pip_size)
    upper = entry + barrier.upper_atr * market.atr + cost
    lower = entry - barrier.lower_atr * market.atr - cost
    label = np.zeros(n_bars, np.int8)
    bars = np.full(n_bars, barrier.horizon, np.int32)
    leave = _ahead(market.close, barrier.horizon)
    ambiguous = np.zeros(n_bars, bool)
    pending = np.flatnonzero(np.isfinite(entry) & np.isfinite(upper))
    for step in range(1, barrier.horizon + 1):
        pending = pending[pending + step < n_bars]
        if not pending.size:
            break
        at = pending + step
        opened, high, low = market.open[at], market.high[at], market.low[at]
        above, below = upper[pending] - PRICE_TOLERANCE, lower[pending] + PRICE_TOLERANCE
        up, down = high >= above, low <= below
        gap_up, gap_down = opened >= above, opened <= below
        both = up & down & ~gap_up & ~gap_down
        high_first = np.abs(opened - high) < np.abs(opened - low)
        side = np.where(up & (~down | gap_up | (both & high_first)), BUY, np.where(down, SELL, HOLD))
        price = np.where(side == BUY, np.maximum(opened, upper[pending]), np.minimum(opened, lower[pending]))
        if barrier.both == "hold":
            side, price = np.where(both, HOLD, side), np.where(both, market.close[at], price)
        touched = up | down
        rows = pending[touched]
        label[rows], bars[rows] = side[touched], step
        leave[rows], ambiguous[rows] = price[touched], both[touched]
        pending = pending[~touched]
    return {
        "barrier": label,
        "barrier_bars": bars,
        "barrier_return": leave / entry - 1.0,
        "barrier_ambiguous": ambiguous,
    }
