"""Figures of a run from its table of trades: profits as floats, equity at the closes of some bars.

Owns that arithmetic, in the order in which `aiopt.backtest.results` does it, so that both are equal to the
last bit.  Knows no file and no row of a sweep.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.screen.amounts import Pair, added, negated, to_float
from aiopt.screen.market import Market
from aiopt.screen.orders import night_swap
from aiopt.screen.trade_table import (
    COMMISSION,
    COMMISSION_PART,
    ENTRY_BAR,
    ENTRY_COST,
    ENTRY_COST_PART,
    ENTRY_STEPS,
    EXIT_BAR,
    NET,
    NET_PART,
    SIDE,
    SWAP,
    SWAP_PART,
    UNITS,
)

MONEY_SCALE = 1e8
"""Equity is rounded to eight decimals, as `aiopt.backtest.results` rounds it."""


@compiled
def trade_floats(trades: NDArray[np.int64], floats: NDArray[np.float64]) -> None:
    """Write profit, commission and swap of each trade, shape (n_trades, 3), as the nearest floats."""
    for k in range(trades.shape[0]):
        floats[k, 0] = to_float(trades[k, NET], trades[k, NET_PART])
        floats[k, 1] = to_float(trades[k, COMMISSION], trades[k, COMMISSION_PART])
        floats[k, 2] = to_float(trades[k, SWAP], trades[k, SWAP_PART])


@compiled
def equity_at(
    bars: NDArray[np.int64],
    trades: NDArray[np.int64],
    n_closed: int,
    initial: Pair,
    closes: tuple[NDArray[np.float64], NDArray[np.float64]],
    market: Market,
    equity: NDArray[np.float64],
) -> None:
    """Write the equity at the closes of some bars.

    Parameters
    ----------
    bars : ndarray of shape (n,), int64
        Ascending; -1 for before the first bar.
    trades : ndarray of shape (>= n_trades, TRADE_COLUMNS)
        In the order of their exits; an open one last.
    n_closed : int
        Closed trades.
    initial : tuple of int
        Balance at the start, as an amount.
    closes : two ndarrays of shape (n_bars,)
        Bid and ask, quote currency.
    market : Market
        Nights and rates.
    equity : ndarray of shape (n,)
        The result, account currency, rounded to eight decimals.
    """
    whole, part = initial
    nights, rates, steps_per_unit = market.rollovers, market.rates, market.costs.steps_per_unit
    bid_close, ask_close = closes
    at = 0
    settled, is_settled = 0.0, False  # the balance as it is written, where it was worked out
    for k in range(bars.size):
        bar = bars[k]
        if bar < 0:
            equity[k] = to_float(whole, part)
            continue
        while at < n_closed and trades[at, EXIT_BAR] <= bar:
            whole, part = added(whole, part, trades[at, NET], trades[at, NET_PART])
            at += 1
            is_settled = False
        if at >= trades.shape[0] or trades[at, ENTRY_BAR] > bar:
            # Nothing is held, as at most closes: the equity is the balance.
            if not is_settled:
                settled, is_settled = np.rint(to_float(whole, part) * MONEY_SCALE) / MONEY_SCALE, True
            equity[k] = settled
            continue
        balance, rest = whole, part
        profit = 0.0
        # What left one position in parts are several trades of one entry.
        held = at
        while held < trades.shape[0] and trades[held, ENTRY_BAR] <= bar:
            long, units = trades[held, SIDE] > 0, trades[held, UNITS]
            less, less_part = negated(trades[held, ENTRY_COST], trades[held, ENTRY_COST_PART])
            balance, rest = added(balance, rest, less, less_part)
            if nights.divisor and trades[held, EXIT_BAR] >= 0:
                swap, swap_part = night_swap(
                    long,
                    units,
                    nights.at_open[trades[held, ENTRY_BAR]],
                    # Up to the rollovers booked by this bar; those behind the exit lie on later bars.
                    nights.bar.size,
                    bar,
                    nights,
                    rates,
                )
                balance, rest = added(balance, rest, swap, swap_part)
            price = trades[held, ENTRY_STEPS] / steps_per_unit
            moved = bid_close[bar] - price if long else price - ask_close[bar]
            profit += moved * float(units)
            held += 1
        if rates.unit:
            profit *= rates.value[bar]
        value = to_float(balance, rest) + profit
        equity[k] = np.rint(value * MONEY_SCALE) / MONEY_SCALE
