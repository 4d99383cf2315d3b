"""Equity of runs in which several entries are open at once: the twin of `aiopt.screen.figures.equity_at`.

Owns which entries are open at a bar, where trades in the order of their exits are not in that of their
entries.  The arithmetic is the same, in the same order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.screen.amounts import Pair, added, negated, to_float
from aiopt.screen.figures import MONEY_SCALE
from aiopt.screen.market import Market
from aiopt.screen.orders import night_swap
from aiopt.screen.trade_table import (
    ENTRY_BAR,
    ENTRY_COST,
    ENTRY_COST_PART,
    ENTRY_STEPS,
    EXIT_BAR,
    NET,
    NET_PART,
    SIDE,
    UNITS,
)

_SCALE = MONEY_SCALE


# reason: what `equity_at` takes, and the order of entries
@compiled
def pyramid_equity_at(  # noqa: PLR0913
    bars: NDArray[np.int64],
    trades: NDArray[np.int64],
    by_entry: NDArray[np.int64],
    n_closed: int,
    initial: Pair,
    closes: tuple[NDArray[np.float64], NDArray[np.float64]],
    market: Market,
    equity: NDArray[np.float64],
) -> None:
    """Write the equity at the closes of some bars.

    Parameters
    ----------
    bars, trades, n_closed, initial, closes, market, equity
        As in `aiopt.screen.figures.equity_at`; several trades may be open at the end.
    by_entry : ndarray of shape (n_trades,), int64
        Rows of `trades` in the order of their entries.
    """
    whole, part = initial
    nights, rates = market.rollovers, market.rates
    held = np.empty(by_entry.size, dtype=np.int64)
    at, following, count = 0, 0, 0
    for k in range(bars.size):
        bar = bars[k]
        if bar < 0:
            equity[k] = to_float(whole, part)
            continue
        while at < n_closed and trades[at, EXIT_BAR] <= bar:
            whole, part = added(whole, part, trades[at, NET], trades[at, NET_PART])
            at += 1
        kept = 0
        for index in range(count):
            if held[index] >= at:
                held[kept] = held[index]
                kept += 1
        count = kept
        while following < by_entry.size and trades[by_entry[following], ENTRY_BAR] <= bar:
            row = by_entry[following]
            following += 1
            if row < at:
                continue
            place = count  # kept in the order of rows, in which profits are summed up
            while place > 0 and held[place - 1] > row:
                held[place] = held[place - 1]
                place -= 1
            held[place] = row
            count += 1
        balance, rest = whole, part
        profit = 0.0
        for index in range(count):
            trade = trades[held[index]]
            less, less_part = negated(trade[ENTRY_COST], trade[ENTRY_COST_PART])
            balance, rest = added(balance, rest, less, less_part)
            if nights.divisor and trade[EXIT_BAR] >= 0:
                swap, swap_part = night_swap(
                    trade[SIDE] > 0,
                    trade[UNITS],
                    nights.at_open[trade[ENTRY_BAR]],
                    nights.bar.size,
                    bar,
                    nights,
                    rates,
                )
                balance, rest = added(balance, rest, swap, swap_part)
            price = trade[ENTRY_STEPS] / market.costs.steps_per_unit
            moved = closes[0][bar] - price if trade[SIDE] > 0 else price - closes[1][bar]
            profit += moved * float(trade[UNITS])
        if rates.unit:
            profit *= rates.value[bar]
        value = to_float(balance, rest) + profit
        equity[k] = np.rint(value * _SCALE) / _SCALE
