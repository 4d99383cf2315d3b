"""The simulator of specs that add to a position: several entries of one side, each a trade of its own.

Owns the order of events where more than one entry is open, in compiled code, as `aiopt.backtest.pyramid` and
`aiopt.backtest.replay` state it.  Specs of one entry at a time never come here: `aiopt.screen.simulator` is
theirs.

At each of a bar's quotes (open, both extremes) the entries that are reached leave in the order in which the
engine's venue looks at their orders: by price from the lowest up for a long, from the highest down for a
short.  An entry that fills at the open is looked at behind those that were open before it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.screen.amounts import Pair, to_float
from aiopt.screen.machine import ENTRY_LONG, ENTRY_SHORT, EXIT_LONG, EXIT_SHORT
from aiopt.screen.market import Costs, Ladder, Market
from aiopt.screen.orders import (
    STAYS,
    Account,
    Bounds,
    Levels,
    Sizing,
    added_pairs,
    converted,
    gross_profit,
    is_positive,
    ladder_fill,
    less,
    level_steps,
    night_swap,
    risk_units,
)
from aiopt.screen.parts import earned, fill_commission
from aiopt.screen.trade_table import (
    COMMISSION,
    COMMISSION_PART,
    ENTRY_BAR,
    ENTRY_COST,
    ENTRY_COST_PART,
    ENTRY_STEPS,
    EXIT_BAR,
    EXIT_SIGNAL,
    EXIT_STEPS,
    HAS_OPEN,
    N_CAPPED,
    N_REFUSED,
    N_RUINED,
    N_TRADES,
    NET,
    NET_PART,
    NIGHTS,
    NO_LEVEL,
    NO_QUOTE_BAR,
    NO_QUOTE_STEPS,
    REASON,
    REVERSE,
    RUIN,
    SIDE,
    STOP_LOSS,
    STOP_STEPS,
    SWAP,
    SWAP_PART,
    TAKE_PROFIT,
    TARGET_STEPS,
    TRADE_COLUMNS,
    UNITS,
    Table,
)

_BALANCE, _BALANCE_PART, _RUINED, _STATE = range(4)
"""The account: an array, so that functions can change it."""

_LATE = EXIT_BAR
"""Column of an open entry that says its stop is armed at the next close."""

_LOSS_TOLERANCE = 1e-6
_AT_OPEN, _INSIDE = 0, 1


@compiled
def _affordable(
    wanted: float, by_risk: bool, price: float, beside: int, equity: Pair, account: Account
) -> float:
    """Return the units of an entry that an equity carries beside what is held; not positive refuses it."""
    money = to_float(equity[0], equity[1])
    if by_risk:
        carried = math.floor(money * account.leverage / price / account.step) * float(account.step)
        return min(wanted, carried - beside)
    if account.has_margin and (beside + wanted) * price / account.leverage > money:
        return 0.0
    return wanted


@compiled
def _note(units: float, wanted: float, bar: int, table: Table) -> float:
    """Note an entry that was cut or refused; return its units, 0.0 where it was refused."""
    counts = table.counts
    if units <= 0.0:
        table.refused[counts[N_REFUSED]] = bar
        counts[N_REFUSED] += 1
        return 0.0
    if units < wanted:
        table.capped[counts[N_CAPPED]] = bar
        counts[N_CAPPED] += 1
    return units


# reason: numbers rather than a record with an array, see `aiopt.screen.orders`
@compiled
def _open_entry(  # noqa: PLR0913
    row: NDArray[np.int64],
    long: bool,
    size: int,
    signal_bar: int,
    market: Market,
    levels: Levels,
    columns: NDArray[np.float64],
    pine_entry_bar: bool,
) -> None:
    """Fill an entry at the open behind its signal's bar.

    Parameters
    ----------
    row : ndarray of shape (TRADE_COLUMNS,), int64
        The result: columns of a table of trades, as far as an open trade has them, and `_LATE`.
    long, size, signal_bar
        What was ordered.
    market, levels, columns, pine_entry_bar
        As in `simulate_pyramid`.
    """
    costs, rates = market.costs, market.rates
    bar, sign = signal_bar + 1, 1 if long else -1
    opened = market.sides.ask_open[bar] if long else market.sides.bid_open[bar]
    entry = opened + sign * costs.slippage
    stop, target = NO_LEVEL, NO_LEVEL
    if levels.has_stop:
        away = levels.stop_value * (1.0 if levels.stop_row < 0 else columns[levels.stop_row, signal_bar])
        stop = level_steps(
            levels.close[signal_bar] - sign * away, levels.tick, levels.tick_scale, costs.steps_per_unit
        )
    if levels.has_target:
        away = levels.target_value * (
            1.0 if levels.target_row < 0 else columns[levels.target_row, signal_bar]
        )
        target = level_steps(
            levels.close[signal_bar] + sign * away, levels.tick, levels.tick_scale, costs.steps_per_unit
        )
    twice_mid = rates.at_open[bar] if rates.unit else 1
    cost = fill_commission(size, entry, twice_mid, rates.unit, rates.multiplies, costs)
    row[:] = 0
    row[ENTRY_BAR], row[SIDE], row[UNITS] = bar, sign, size
    row[ENTRY_STEPS], row[STOP_STEPS], row[TARGET_STEPS] = entry, stop, target
    row[ENTRY_COST], row[ENTRY_COST_PART] = cost
    # TradingView arms a short's stop only at the end of a bar that opens at or beyond it.
    row[_LATE] = pine_entry_bar and not long and levels.has_stop and entry >= stop


# reason: a row is made of all of these
@compiled
def _leave(  # noqa: PLR0913
    held: NDArray[np.int64],
    count: int,
    k: int,
    bar: int,
    price: int,
    reason: int,
    inside: bool,
    market: Market,
    account: Account,
    state: NDArray[np.int64],
    table: Table,
) -> int:
    """Close entry `k` of `count`, book it and write its trade; return how many are left.

    Parameters
    ----------
    held : ndarray of shape (most, TRADE_COLUMNS), int64
        Open entries, the oldest first; those behind `k` move up.
    count, k : int
        Entries, and the one that leaves.
    bar, price, reason : int
        Its exit.
    inside : bool
        Whether it left inside the bar rather than at its open.
    market, account, state, table
        Costs, rules of money, the account and the results.
    """
    nights, rates, costs, counts = market.rollovers, market.rates, market.costs, table.counts
    row = table.trades[counts[N_TRADES]]
    row[:] = held[k]
    long, size = row[SIDE] > 0, row[UNITS]
    twice_mid = 1
    if rates.unit:
        twice_mid = rates.inside[bar] if inside else rates.at_open[bar]
    paid = (row[ENTRY_COST], row[ENTRY_COST_PART])
    net, charged = earned(
        long, size, row[ENTRY_STEPS], price, paid, twice_mid, rates.unit, rates.multiplies, costs
    )
    first = nights.at_open[row[ENTRY_BAR]]
    behind = nights.inside[bar] if inside else nights.at_open[bar]
    row[SWAP], row[SWAP_PART] = 0, 0
    if nights.divisor:
        swap = night_swap(long, size, first, behind, table.refused.size, nights, rates)
        net = added_pairs(net, swap)
        row[SWAP], row[SWAP_PART] = swap
    row[EXIT_BAR], row[EXIT_STEPS], row[REASON] = bar, price, reason
    row[NIGHTS] = nights.before[behind] - nights.before[first]
    row[NET], row[NET_PART] = net
    row[COMMISSION], row[COMMISSION_PART] = charged
    counts[N_TRADES] += 1
    balance = added_pairs((state[_BALANCE], state[_BALANCE_PART]), net)
    state[_BALANCE], state[_BALANCE_PART] = balance
    if account.has_margin and not is_positive(balance):
        _ruin(bar, state, table)
    for later in range(k + 1, count):
        held[later - 1] = held[later]
    return count - 1


@compiled
def _ruin(bar: int, state: NDArray[np.int64], table: Table) -> None:
    """Note that the account is lost, once in a segment."""
    if not state[_RUINED]:
        state[_RUINED] = 1
        table.ruined[table.counts[N_RUINED]] = bar
        table.counts[N_RUINED] += 1


@compiled
def _stopped(level: int, bar: int, long: bool, costs: Costs, ladder: Ladder) -> int:
    """Return where a stop that is reached inside a bar fills, before slippage; `NO_LEVEL` without a quote."""
    if ladder.scale == 0:
        return level - costs.stop_slippage if long else level + costs.stop_slippage
    per_step = costs.steps_per_unit // ladder.scale
    if long:
        first, behind = ladder.bid_offsets[bar], ladder.bid_offsets[bar + 1]
        return ladder_fill(level, True, first, behind, ladder.bid_steps, per_step)
    first, behind = ladder.ask_offsets[bar], ladder.ask_offsets[bar + 1]
    return ladder_fill(level, False, first, behind, ladder.ask_steps, per_step)


# reason: numbers rather than the market's records, whose arrays would be counted at every trade
@compiled
def _at_quote(  # noqa: PLR0913
    held: NDArray[np.int64],
    first: int,
    count: int,
    bar: int,
    quote: int,
    place: int,
    market: Market,
    account: Account,
    state: NDArray[np.int64],
    table: Table,
) -> int:
    """Let the entries leave whose stop or target a quote reaches; return how many are left.

    Parameters
    ----------
    held, count, market, account, state, table
        As in `_leave`.
    first : int
        The first entry that is looked at.
    bar, quote, place : int
        The quote that closes: where and in which place of its bar, `_AT_OPEN` or `_INSIDE`.
    """
    costs = market.costs
    while True:
        best, lowest, is_stop = -1, 0, False
        for k in range(first, count):
            sign, stop, target = held[k, SIDE], held[k, STOP_STEPS], held[k, TARGET_STEPS]
            if stop != NO_LEVEL and not held[k, _LATE] and sign * stop >= sign * quote:
                if best < 0 or sign * stop < lowest:
                    best, lowest, is_stop = k, sign * stop, True
            elif (
                target != NO_LEVEL and sign * target <= sign * quote and (best < 0 or sign * target < lowest)
            ):
                best, lowest, is_stop = k, sign * target, False
        if best < 0:
            return count
        sign = held[best, SIDE]
        price = quote if place == _AT_OPEN else sign * lowest
        if is_stop:
            if place == _INSIDE:
                price = _stopped(price, bar, sign > 0, costs, market.ladder)
                if price == NO_LEVEL:
                    table.counts[NO_QUOTE_BAR], table.counts[NO_QUOTE_STEPS] = bar, sign * lowest
                    return count
            price -= sign * costs.slippage
        reason = STOP_LOSS if is_stop else TAKE_PROFIT
        count = _leave(held, count, best, bar, price, reason, place == _INSIDE, market, account, state, table)


@compiled
def _equity(held: NDArray[np.int64], count: int, bar: int, market: Market, state: NDArray[np.int64]) -> Pair:
    """Return balance and open profit at the close of a bar, costs and nights so far deducted."""
    rates, nights, sides = market.rates, market.rollovers, market.sides
    total = (state[_BALANCE], state[_BALANCE_PART])
    for k in range(count):
        sign, size = held[k, SIDE], held[k, UNITS]
        mark = sides.bid_close[bar] if sign > 0 else sides.ask_close[bar]
        value = gross_profit(sign, size, held[k, ENTRY_STEPS], mark, market.costs.steps_per_unit)
        if rates.unit:
            value = converted(value, rates.at_close[bar], rates.unit, rates.multiplies)
        total = added_pairs(total, less(value, (held[k, ENTRY_COST], held[k, ENTRY_COST_PART])))
        if nights.divisor:
            first = nights.at_open[held[k, ENTRY_BAR]]
            behind = nights.at_close[bar]
            total = added_pairs(
                total, night_swap(sign > 0, size, first, behind, rates.value.size, nights, rates)
            )
    return total


@compiled
def _may_be_lost(
    held: NDArray[np.int64], count: int, market: Market, account: Account, state: NDArray[np.int64]
) -> bool:
    """Return whether some close of the series could take the whole account: then each is looked at."""
    left = to_float(state[_BALANCE], state[_BALANCE_PART])
    tolerance = _LOSS_TOLERANCE * (1.0 + abs(left))
    for k in range(count):
        entry = held[k, ENTRY_STEPS]
        moved = account.lowest - entry if held[k, SIDE] > 0 else entry - account.highest
        worst = min(0.0, moved / market.costs.steps_per_unit) + market.rollovers.worst_per_unit
        left += worst * account.dearest * held[k, UNITS]
        left -= to_float(held[k, ENTRY_COST], held[k, ENTRY_COST_PART])
    return left <= tolerance


# reason: one loop over bars, whose state every part reads and writes
@compiled
def simulate_pyramid(  # noqa: C901, PLR0912, PLR0913, PLR0915
    flags: NDArray[np.uint8],
    columns: NDArray[np.float64],
    market: Market,
    bounds: Bounds,
    levels: Levels,
    sizing: Sizing,
    most: int,
    table: Table,
) -> None:
    """Trade the signals of a run that adds entries, and write its trades.

    Parameters
    ----------
    flags, columns, market, bounds, levels, sizing, table
        As in `aiopt.screen.simulator.simulate`; `table` counts as `HAS_OPEN` how many entries stay open.
    most : int
        Entries of one side that may be open at once.
    """
    sides, costs, account = market.sides, market.costs, sizing.account
    slippage, n_bars, counts = costs.slippage, flags.size, table.counts
    by_risk, balances, scaled = sizing.risk_pct > 0.0, sizing.balance_quote.size > 1, sizing.fixed.size > 1
    held = np.zeros((most, TRADE_COLUMNS), dtype=np.int64)
    state = np.zeros(_STATE, dtype=np.int64)
    state[_BALANCE], state[_BALANCE_PART] = account.initial
    counts[:] = 0
    segment, count, watched = -2, 0, False
    bar, long, units, reason = 0, True, 0.0, STAYS  # units: of an entry ordered at the close before `bar`
    while True:
        if count == 0 and units <= 0.0:
            # --- the close of `bar`, without a position ---------------------------------------------------
            while bar < n_bars and not flags[bar] & (ENTRY_LONG | ENTRY_SHORT):
                bar += 1
            if bar >= n_bars - 1:
                return
            if bounds.segment[bar] != segment:
                state[_BALANCE], state[_BALANCE_PART] = account.initial
                segment, state[_RUINED] = bounds.segment[bar], 0
            long = flags[bar] & ENTRY_LONG != 0
            wanted = sizing.fixed[bar if scaled else 0]
            if by_risk:
                row = levels.stop_row
                away = levels.stop_value * (1.0 if row < 0 else columns[row, bar])
                budget = sizing.balance_quote[bar if balances else 0]
                wanted = risk_units(away, budget, sizing.risk_pct, account.step)
            if wanted > 0.0 and not state[_RUINED]:
                price_per_unit = sizing.long_price[bar] if long else sizing.short_price[bar]
                balance = (state[_BALANCE], state[_BALANCE_PART])
                units = _affordable(wanted, by_risk, price_per_unit, 0, balance, account)
                units = _note(units, wanted, bar, table)
            bar += 1
            if units <= 0.0:
                continue
        # --- the open of `bar` ----------------------------------------------------------------------------
        if reason != STAYS:
            price = sides.bid_open[bar] - slippage if long else sides.ask_open[bar] + slippage
            while count > 0:
                count = _leave(held, count, 0, bar, price, reason, False, market, account, state, table)
            if reason == REVERSE:
                long = not long
            reason = STAYS
        opened = sides.bid_open[bar] if long else sides.ask_open[bar]
        before = count
        count = _at_quote(held, 0, count, bar, opened, _AT_OPEN, market, account, state, table)
        changed = count != before
        if units > 0.0:
            _open_entry(
                held[count], long, int(units), bar - 1, market, levels, columns, bounds.pine_entry_bar
            )
            count, units, changed = count + 1, 0.0, True
            count = _at_quote(held, count - 1, count, bar, opened, _AT_OPEN, market, account, state, table)
        # --- its extremes ---------------------------------------------------------------------------------
        before = count
        for place in range(2):
            if sides.high_first[bar] == (place == 0):
                quote = sides.bid_high[bar] if long else sides.ask_high[bar]
            else:
                quote = sides.bid_low[bar] if long else sides.ask_low[bar]
            count = _at_quote(held, 0, count, bar, quote, _INSIDE, market, account, state, table)
            if counts[NO_QUOTE_BAR]:
                return
        # --- its close ------------------------------------------------------------------------------------
        if bar == bounds.flatten_bar[bar]:
            price = sides.bid_close[bar] - slippage if long else sides.ask_close[bar] + slippage
            while count > 0:
                count = _leave(
                    held, count, 0, bar, price, bounds.flatten_reason, True, market, account, state, table
                )
        if count == 0:
            continue
        if bar >= n_bars - 1:
            for k in range(count):
                table.trades[counts[N_TRADES] + k] = held[k]
                table.trades[counts[N_TRADES] + k, EXIT_BAR] = -1
            counts[HAS_OPEN] = count
            return
        if account.has_margin and (changed or count != before):
            watched = _may_be_lost(held, count, market, account, state)
        flag = flags[bar]
        opposite = flag & (ENTRY_SHORT if long else ENTRY_LONG) != 0
        same = flag & (ENTRY_LONG if long else ENTRY_SHORT) != 0
        wanted = sizing.fixed[bar if scaled else 0]
        if by_risk and (opposite or same):
            row = levels.stop_row
            away = levels.stop_value * (1.0 if row < 0 else columns[row, bar])
            budget = sizing.balance_quote[bar if balances else 0]
            wanted = risk_units(away, budget, sizing.risk_pct, account.step)
            opposite, same = opposite and wanted > 0.0, same and wanted > 0.0
        equity = (0, 0)
        if watched or opposite or same:
            equity = _equity(held, count, bar, market, state)
        if watched and not is_positive(equity):
            reason = RUIN
            _ruin(bar, state, table)
        elif opposite:
            reason = REVERSE
            if not state[_RUINED]:
                price_per_unit = sizing.short_price[bar] if long else sizing.long_price[bar]
                units = _affordable(wanted, by_risk, price_per_unit, 0, equity, account)
                units = _note(units, wanted, bar, table)
        elif flag & (EXIT_LONG if long else EXIT_SHORT):
            reason = EXIT_SIGNAL
        else:
            beside = 0
            for k in range(count):
                held[k, _LATE] = 0
                beside += held[k, UNITS]
            if same and count < most and not state[_RUINED]:
                price_per_unit = sizing.long_price[bar] if long else sizing.short_price[bar]
                units = _affordable(wanted, by_risk, price_per_unit, beside, equity, account)
                units = _note(units, wanted, bar, table)
        bar += 1
