"""Entries cut into parts, and round trips as rows.  Numbers in, numbers out.

Owns these two steps in compiled code; the rules of parts are `aiopt.strategy.targets`', those of costs
`aiopt.screen.orders`'.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.screen.amounts import Pair
from aiopt.screen.market import Costs
from aiopt.screen.orders import (
    Levels,
    Targets,
    added_pairs,
    commission,
    converted,
    gross_profit,
    less,
    level_steps,
)
from aiopt.screen.trade_table import (
    COMMISSION,
    COMMISSION_PART,
    ENTRY_BAR,
    ENTRY_COST,
    ENTRY_COST_PART,
    ENTRY_STEPS,
    EXIT_BAR,
    EXIT_STEPS,
    NET,
    NET_PART,
    NIGHTS,
    NO_LEVEL,
    REASON,
    SIDE,
    STOP_STEPS,
    SWAP,
    SWAP_PART,
    TARGET_STEPS,
    UNITS,
)
from aiopt.strategy.targets import STEP_TOLERANCE

_STEP_TOLERANCE = STEP_TOLERANCE


# reason: an entry is cut by all of these
@compiled
def cut(  # noqa: PLR0913
    long: bool,
    size: int,
    last_target: int,
    signal_bar: int,
    targets: Targets,
    levels: Levels,
    columns: NDArray[np.float64],
    steps_per_unit: int,
    parts: NDArray[np.int64],
) -> int:
    """Write units and target of every part of an entry, the nearest target first; return how many there are.

    Parameters
    ----------
    long : bool
        Side.
    size : int
        Units of the whole entry.
    last_target : int
        Steps of the strategy's `take_profit`; `NO_LEVEL` without one.
    signal_bar : int
        Where distances are measured.
    targets, levels : Targets, Levels
        What the strategy asks for.
    columns : ndarray of shape (n_rows, n_bars)
        What distances are multiples of.
    steps_per_unit : int
        Steps of a price.
    parts : ndarray of shape (n_targets + 1, 2), int64
        The result: units, steps of the target.
    """
    sign = 1 if long else -1
    close = levels.close[signal_bar]
    count, left, reached = 0, size, NO_LEVEL
    n_targets = targets.share.size
    for k in range(n_targets + 1):
        level = last_target
        units = left
        if k < n_targets:
            row = targets.row[k]
            away = targets.value[k] * (1.0 if row < 0 else columns[row, signal_bar])
            level = level_steps(close + sign * away, levels.tick, levels.tick_scale, steps_per_unit)
            if k < n_targets - 1 or not targets.closes_all:
                share = size * targets.share[k] / 100.0
                units = math.floor(share / targets.step + _STEP_TOLERANCE) * targets.step
        if level != NO_LEVEL:
            reached = max(reached, sign * level)
            level = sign * reached
        if units > 0:
            parts[count, 0], parts[count, 1] = units, level
            count += 1
            left -= units
    return count


@compiled
def fill_commission(size: int, price: int, twice_mid: int, unit: int, multiplies: bool, costs: Costs) -> Pair:
    """Return the commission of a fill, account currency; `unit` is 0 where that is the quote currency."""
    cost = commission(size, price, costs)
    if unit:
        cost = converted(cost, twice_mid, unit, multiplies)
    return cost


# reason: numbers rather than the market's records, whose arrays would be counted at every trade
@compiled
def earned(  # noqa: PLR0913
    long: bool,
    size: int,
    entry: int,
    price: int,
    cost: Pair,
    twice_mid: int,
    unit: int,
    multiplies: bool,
    costs: Costs,
) -> tuple[Pair, Pair]:
    """Return what a round trip earned before swap, and the commission of both its fills.

    Parameters
    ----------
    long, size, entry
        What was held; prices in steps.
    cost : tuple of int
        Commission of the entry of `size`, account currency.
    price : int
        Of its exit.
    twice_mid, unit, multiplies
        The rate at its exit, see `aiopt.screen.market.Rates`.
    costs : Costs
        The market's.
    """
    gross = gross_profit(1 if long else -1, size, entry, price, costs.steps_per_unit)
    if unit:
        gross = converted(gross, twice_mid, unit, multiplies)
    charged = added_pairs(cost, fill_commission(size, price, twice_mid, unit, multiplies, costs))
    return less(gross, charged), charged


# reason: a row is made of all of these
@compiled
def write_trade(  # noqa: PLR0913
    trades: NDArray[np.int64],
    at: int,
    long: bool,
    size: int,
    entry_bar: int,
    entry: int,
    stop: int,
    target: int,
    cost: Pair,
    bar: int,
    price: int,
    reason: int,
    nights: int,
    net: Pair,
    charged: Pair,
    swap: Pair,
) -> None:
    """Write a round trip into a row of the table of trades; see its columns."""
    trades[at, ENTRY_BAR], trades[at, SIDE], trades[at, UNITS] = entry_bar, 1 if long else -1, size
    trades[at, ENTRY_STEPS], trades[at, STOP_STEPS], trades[at, TARGET_STEPS] = entry, stop, target
    trades[at, ENTRY_COST], trades[at, ENTRY_COST_PART] = cost
    trades[at, EXIT_BAR], trades[at, EXIT_STEPS], trades[at, REASON] = bar, price, reason
    trades[at, NIGHTS] = nights
    trades[at, NET], trades[at, NET_PART] = net
    trades[at, COMMISSION], trades[at, COMMISSION_PART] = charged
    trades[at, SWAP], trades[at, SWAP_PART] = swap
