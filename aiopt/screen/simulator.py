"""The simulator: one position at a time over bars, as `aiopt.backtest` trades it in the engine.

Owns the order of events inside a bar and between bars, in compiled code, as `aiopt.backtest.strategy` and
`aiopt.backtest.replay` state it.  Prices are whole steps and money is exact, so the results are the engine's
to the last bit; the tests hold them so.  Knows no spec: signals come as bits, distances as numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.screen.amounts import to_float
from aiopt.screen.entry_limits import NO_DAY, Limits, holds_back
from aiopt.screen.machine import ENTRY_LONG, ENTRY_SHORT, EXIT_LONG, EXIT_SHORT
from aiopt.screen.market import Market
from aiopt.screen.orders import (
    STAYS,
    STOPPED_INSIDE,
    TAKEN_INSIDE,
    Bounds,
    Exits,
    Levels,
    Sizing,
    added_pairs,
    admitted_units,
    converted,
    gross_profit,
    is_positive,
    ladder_fill,
    laid_steps,
    less,
    level_steps,
    may_be_lost,
    night_swap,
    risk_units,
    touched,
)
from aiopt.screen.parts import cut, earned, fill_commission, write_trade
from aiopt.screen.trade_table import (
    BREAK_EVEN,
    ENTRY_BAR,
    ENTRY_COST,
    ENTRY_COST_PART,
    ENTRY_STEPS,
    EXIT_BAR,
    EXIT_SIGNAL,
    HAS_OPEN,
    N_CAPPED,
    N_REFUSED,
    N_RUINED,
    N_TRADES,
    NO_LEVEL,
    NO_QUOTE_BAR,
    NO_QUOTE_STEPS,
    REVERSE,
    RUIN,
    SIDE,
    STOP_LOSS,
    STOP_STEPS,
    TAKE_PROFIT,
    TARGET_STEPS,
    TIME,
    TRAILING,
    UNITS,
    Table,
)

ONE, THREE, SEVEN, EIGHT = (np.uint64(number) for number in (1, 3, 7, 8))
"""For bars that are passed over: a number with a sign is looked at for being negative, bar by bar."""

ENTRY = np.uint8(ENTRY_LONG | ENTRY_SHORT)
ENTRIES = np.uint64(int(ENTRY) * 0x0101_0101_0101_0101)
"""Signals to enter on a bar, and on any of eight bars in one word."""

_FAR = 2**62
"""Beyond every price: where a stop or target acts that is not there."""


@compiled
def _reach(long: bool, target: int) -> int:
    """Return where a target acts."""
    if target != NO_LEVEL:
        return target
    return _FAR if long else -_FAR


# reason: one loop over bars, whose state every part reads and writes; calls with arrays cost time.
@compiled
def simulate(  # noqa: C901, PLR0912, PLR0913, PLR0915
    flags: NDArray[np.uint8],
    columns: NDArray[np.float64],
    market: Market,
    bounds: Bounds,
    levels: Levels,
    exits: Exits,
    limits: Limits,
    sizing: Sizing,
    table: Table,
) -> None:
    """Trade the signals of a run and write its trades.

    Parameters
    ----------
    flags : ndarray of shape (n_bars,), uint8
        From `aiopt.screen.machine.run_program`.
    columns : ndarray of shape (n_rows, n_bars)
        What distances are multiples of.
    market : Market
        Bars and costs.
    bounds, levels, exits, limits, sizing
        What a run may do.
    table : Table
        The results.
    """
    sides, ladder, nights, rates, costs = market
    bid_open, bid_high, bid_low, bid_close, ask_open, ask_high, ask_low, ask_close, high_first = sides
    fixed, risk_pct, balance_quote, long_price, short_price, account = sizing
    has_stop, has_target, stop_value, target_value, stop_row, target_row, close, tick, tick_scale = levels
    flatten_bar, segment_of, flatten_reason, pine_entry_bar = bounds
    limited, pause, per_day, loss_percent, loss_money, day_of = limits
    moves, time_bars, next_strike = exits.moves, exits.time_bars, exits.next_strike
    targets, laid_stop, laid_target = exits.targets, exits.stop, exits.target
    has_parts = targets.share.size > 0
    parts = np.empty((targets.share.size + 1, 2), dtype=np.int64)
    trades, refused, capped, ruins, counts = table
    nights_open, unit, multiplies = nights.at_open, rates.unit, rates.multiplies
    rate_in, rate, swap = 1, 1, (0, 0)  # of what is held: conversion at entry and exit, swap of its nights
    slippage, steps_per_unit = costs.slippage, costs.steps_per_unit
    n_bars = flags.size
    words = flags[: n_bars // 8 * 8].view(np.uint64)
    behind_all, behind_words = np.uint64(n_bars), np.uint64(8 * words.size)
    by_risk, balances, scaled = risk_pct > 0.0, balance_quote.size > 1, fixed.size > 1
    counts[:] = 0
    balance, segment, ruined = account.initial, -2, False
    # Of the present trading day: entries, what closed trades brought, the balance it began with.
    last_exit, today, entries, gained, began_with = NO_DAY, NO_DAY, 0, (0, 0), account.initial
    bar, long, units = 0, True, 0.0  # units: of an entry ordered at the close of `bar`
    while True:
        if units <= 0.0:
            at = np.uint64(bar)
            while at < behind_all:
                if at & SEVEN == 0:
                    # Eight bars at once: most have no signal.
                    while at < behind_words and words[at >> THREE] & ENTRIES == 0:
                        at += EIGHT
                    if at >= behind_all:
                        break
                if flags[at] & ENTRY != 0:
                    break
                at += ONE
            bar = np.int64(at)  # type: ignore[assignment]  # one type when compiled
            if bar >= n_bars - 1:
                return
            if segment_of[bar] != segment:
                balance, segment, ruined = account.initial, segment_of[bar], False
                last_exit, today = NO_DAY, NO_DAY
            if limited:
                if day_of[bar] != today:
                    today, entries, gained, began_with = day_of[bar], 0, (0, 0), balance
                since = bar - last_exit
                if holds_back(since, entries, gained, began_with, pause, per_day, loss_percent, loss_money):
                    bar += 1
                    continue
            long = flags[bar] & ENTRY_LONG != 0
            wanted = 0.0
            if not ruined:
                wanted = fixed[bar if scaled else 0]
                if by_risk:
                    away = stop_value if stop_row < 0 else stop_value * columns[stop_row, bar]
                    wanted = risk_units(away, balance_quote[bar if balances else 0], risk_pct, account.step)
            if wanted > 0.0:
                price = long_price[bar] if long else short_price[bar]
                units = admitted_units(wanted, by_risk, price, balance, account)
                if 0.0 < units < wanted:
                    capped[counts[N_CAPPED]] = bar
                    counts[N_CAPPED] += 1
                elif units <= 0.0:
                    refused[counts[N_REFUSED]] = bar
                    counts[N_REFUSED] += 1
            if units <= 0.0:
                bar += 1
                continue
        # --- the entry fills at the next open -----------------------------------------------------------
        size, units = int(units), 0.0
        stop, target = NO_LEVEL, NO_LEVEL
        armed, reach = (-_FAR, _FAR) if long else (_FAR, -_FAR)
        if has_stop and not laid_stop.is_laid:
            away = stop_value if stop_row < 0 else stop_value * columns[stop_row, bar]
            level = close[bar] - away if long else close[bar] + away
            stop = armed = level_steps(level, tick, tick_scale, steps_per_unit)
        if has_target and not laid_target.is_laid:
            away = target_value if target_row < 0 else target_value * columns[target_row, bar]
            level = close[bar] + away if long else close[bar] - away
            target = reach = level_steps(level, tick, tick_scale, steps_per_unit)
        part, part_size = 0, size  # the part whose target is next
        if has_parts:
            cut(long, size, target, bar, targets, levels, columns, steps_per_unit, parts)
            part_size, target = parts[0]
            reach = _reach(long, target)
        signal_bar = bar
        bar += 1
        entry_bar = bar
        if limited:
            if day_of[bar] != today:
                today, entries, gained, began_with = day_of[bar], 0, (0, 0), balance
            entries += 1
        entry = ask_open[bar] + slippage if long else bid_open[bar] - slippage
        if laid_stop.is_laid:
            stop = laid_steps(entry, not long, laid_stop, columns, signal_bar, tick, steps_per_unit)
            armed = armed if laid_stop.waits else stop
        if laid_target.is_laid:
            target = laid_steps(entry, long, laid_target, columns, signal_bar, tick, steps_per_unit)
            reach = reach if laid_target.waits else target
        if unit:
            rate_in = rates.at_open[bar]
        cost = fill_commission(size, entry, rate_in, unit, multiplies, costs)
        # TradingView arms a short's stop only at the end of a bar that opens at or beyond it.
        late = pine_entry_bar and not long and has_stop and entry >= stop
        watched = False
        if account.has_margin:
            left = less(balance, cost)
            watched = may_be_lost(
                long, entry, size, to_float(left[0], left[1]), account, costs, nights.worst_per_unit
            )
        acts = (EXIT_LONG | ENTRY_SHORT) if long else (EXIT_SHORT | ENTRY_LONG)
        acts_bits = np.uint8(acts)
        opposite = ENTRY_SHORT if long else ENTRY_LONG
        last = flatten_bar[bar]
        end = min(last, n_bars - 1)
        due = n_bars
        if time_bars:
            due = bar + time_bars - 1
        if next_strike.size:
            due = min(due, next_strike[bar])
        end = min(end, due)
        if moves:
            sign = 1 if long else -1
            best, trail_from, trail, even_from, even = -_FAR, -_FAR, 0.0, _FAR, -_FAR
            if exits.trails:
                row_of, trail = exits.trail_row, exits.trail
                trail *= 1.0 if row_of < 0 else columns[row_of, signal_bar]
            if exits.trails_late:
                row_of, away = exits.trail_after_row, exits.trail_after
                away *= 1.0 if row_of < 0 else columns[row_of, signal_bar]
                level = entry / steps_per_unit + sign * away
                trail_from = sign * level_steps(level, tick, tick_scale, steps_per_unit)
            if exits.evens:
                row_of, away = exits.even_after_row, exits.even_after
                away *= 1.0 if row_of < 0 else columns[row_of, signal_bar]
                level = entry / steps_per_unit + sign * away
                even_from = sign * level_steps(level, tick, tick_scale, steps_per_unit)
                level = entry / steps_per_unit + sign * exits.even_plus
                even = sign * level_steps(level, tick, tick_scale, steps_per_unit)
                even_from = max(even_from, even)
        first_stop, stop_reason = stop if laid_stop.waits else armed, STOP_LOSS
        inside = False
        while True:
            # Most bars do nothing: pass over them.
            if not (watched or late or moves):
                at, stop_at = np.uint64(bar), np.uint64(end)
                if long:
                    while at < stop_at and not (
                        (bid_low[at] <= armed) | (bid_high[at] >= reach) | (flags[at] & acts_bits != 0)
                    ):
                        at += ONE
                else:
                    while at < stop_at and not (
                        (ask_high[at] >= armed) | (ask_low[at] <= reach) | (flags[at] & acts_bits != 0)
                    ):
                        at += ONE
                bar = np.int64(at)  # type: ignore[assignment]  # one type when compiled
            live = _FAR if late else armed
            if long:
                reason, price = touched(
                    True, live, reach, bid_open[bar], bid_low[bar], bid_high[bar], high_first[bar]
                )
            else:
                reason, price = touched(
                    False, live, reach, ask_open[bar], ask_low[bar], ask_high[bar], high_first[bar]
                )
            if reason == TAKEN_INSIDE:
                reason, inside = TAKE_PROFIT, True
            elif reason == STOPPED_INSIDE:
                inside = True
                if ladder.scale == 0:
                    price += -costs.stop_slippage if long else costs.stop_slippage
                elif long:
                    price = ladder_fill(
                        price,
                        True,
                        ladder.bid_offsets[bar],
                        ladder.bid_offsets[bar + 1],
                        ladder.bid_steps,
                        steps_per_unit // ladder.scale,
                    )
                else:
                    price = ladder_fill(
                        price,
                        False,
                        ladder.ask_offsets[bar],
                        ladder.ask_offsets[bar + 1],
                        ladder.ask_steps,
                        steps_per_unit // ladder.scale,
                    )
                if price == NO_LEVEL:
                    counts[NO_QUOTE_BAR], counts[NO_QUOTE_STEPS] = bar, armed
                    return
                reason = STOP_LOSS
            if reason == STOP_LOSS:
                price += -slippage if long else slippage
                reason = stop_reason
            if reason == TAKE_PROFIT and part_size < size:
                # A part leaves; what is left sees the rest of the bar.
                paid = fill_commission(part_size, entry, rate_in, unit, multiplies, costs)
                first, behind = nights_open[entry_bar], nights.inside[bar] if inside else nights_open[bar]
                if unit:
                    rate = rates.inside[bar] if inside else rates.at_open[bar]
                net, charged = earned(long, part_size, entry, price, paid, rate, unit, multiplies, costs)
                if nights.divisor:
                    swap = night_swap(long, part_size, first, behind, n_bars, nights, rates)
                    net = added_pairs(net, swap)
                write_trade(
                    trades,
                    counts[N_TRADES],
                    long,
                    part_size,
                    entry_bar,
                    entry,
                    stop,
                    target,
                    paid,
                    bar,
                    price,
                    reason,
                    nights.before[behind] - nights.before[first],
                    net,
                    charged,
                    swap,
                )
                counts[N_TRADES] += 1
                if limited:
                    if day_of[bar] != today:
                        today, entries, gained, began_with = day_of[bar], 0, (0, 0), balance
                    gained = added_pairs(gained, net)
                balance, inside = added_pairs(balance, net), False
                size, part = size - part_size, part + 1
                part_size, target = parts[part]
                reach = _reach(long, target)
                cost = fill_commission(size, entry, rate_in, unit, multiplies, costs)
                if account.has_margin:
                    if not ruined and not is_positive(balance):
                        ruined = True
                        ruins[counts[N_RUINED]] = bar
                        counts[N_RUINED] += 1
                    left = less(balance, cost)
                    watched = may_be_lost(
                        long, entry, size, to_float(left[0], left[1]), account, costs, nights.worst_per_unit
                    )
                continue
            if reason != STAYS:
                break
            # --- the close of `bar` ---------------------------------------------------------------------
            if bar == last:
                reason, inside = flatten_reason, True
                price = bid_close[bar] - slippage if long else ask_close[bar] + slippage
                break
            if bar >= n_bars - 1:
                counts[HAS_OPEN] = 1
                reason = STAYS
                break
            flag = flags[bar]
            reverses = flag & opposite != 0
            if reverses and limited:
                if day_of[bar] != today:
                    today, entries, gained, began_with = day_of[bar], 0, (0, 0), balance
                since = bar - last_exit
                reverses = not holds_back(
                    since, entries, gained, began_with, pause, per_day, loss_percent, loss_money
                )
            wanted = fixed[bar if scaled else 0]
            if reverses and by_risk:
                away = stop_value if stop_row < 0 else stop_value * columns[stop_row, bar]
                wanted = risk_units(away, balance_quote[bar if balances else 0], risk_pct, account.step)
                reverses = wanted > 0.0
            equity = balance
            if watched or reverses:
                mark = bid_close[bar] if long else ask_close[bar]
                value = gross_profit(1 if long else -1, size, entry, mark, steps_per_unit)
                if rates.unit:
                    value = converted(value, rates.at_close[bar], rates.unit, rates.multiplies)
                equity = added_pairs(balance, less(value, cost))
                if nights.divisor:
                    behind = nights.at_close[bar]
                    swap = night_swap(long, size, nights_open[entry_bar], behind, n_bars, nights, rates)
                    equity = added_pairs(equity, swap)
            if watched and not is_positive(equity):
                reason = RUIN
                if not ruined:
                    ruined = True
                    ruins[counts[N_RUINED]] = bar
                    counts[N_RUINED] += 1
            elif reverses:
                reason = REVERSE
                if not ruined:
                    price_per_unit = short_price[bar] if long else long_price[bar]
                    units = admitted_units(wanted, by_risk, price_per_unit, equity, account)
                    if 0.0 < units < wanted:
                        capped[counts[N_CAPPED]] = bar
                        counts[N_CAPPED] += 1
                    elif units <= 0.0:
                        refused[counts[N_REFUSED]] = bar
                        counts[N_REFUSED] += 1
            elif flag & acts & (EXIT_LONG | EXIT_SHORT):
                reason = EXIT_SIGNAL
            elif bar >= due:
                reason = TIME
            elif moves:
                extreme = bid_high[bar] if long else -ask_low[bar]
                if extreme > best:
                    # Levels are compared with their signs turned for a short, so that a higher one is nearer.
                    best = extreme
                    nearest, stop_reason = sign * first_stop, STOP_LOSS
                    if best >= even_from and even > nearest:
                        nearest, stop_reason = even, BREAK_EVEN
                    if exits.trails and best >= trail_from:
                        level = sign * best / steps_per_unit - sign * trail
                        moved = sign * level_steps(level, tick, tick_scale, steps_per_unit)
                        if moved > nearest:
                            nearest, stop_reason = moved, TRAILING
                    armed = sign * nearest
                reach = target if laid_target.waits else reach
            bar += 1
            late = False
            if reason != STAYS:
                price = bid_open[bar] - slippage if long else ask_open[bar] + slippage
                break
        # --- the round trip is over on `bar` ------------------------------------------------------------
        if reason == STAYS:
            row = trades[counts[N_TRADES]]
            row[ENTRY_BAR], row[SIDE], row[UNITS] = entry_bar, 1 if long else -1, size
            row[ENTRY_STEPS], row[STOP_STEPS], row[TARGET_STEPS] = entry, stop, target
            row[ENTRY_COST], row[ENTRY_COST_PART] = cost
            row[EXIT_BAR] = -1
            return
        stopped = reason in (STOP_LOSS, TRAILING, BREAK_EVEN)
        first, behind = nights_open[entry_bar], nights.inside[bar] if inside else nights_open[bar]
        if unit:
            rate = rates.inside[bar] if inside else rates.at_open[bar]
        while size > 0:
            # Each part has a stop order of its own; a market order closes all that is left.
            if not stopped:
                part_size = size
            paid = cost
            if part_size < size:
                paid = fill_commission(part_size, entry, rate_in, unit, multiplies, costs)
            net, charged = earned(long, part_size, entry, price, paid, rate, unit, multiplies, costs)
            if nights.divisor:
                swap = night_swap(long, part_size, first, behind, n_bars, nights, rates)
                net = added_pairs(net, swap)
            write_trade(
                trades,
                counts[N_TRADES],
                long,
                part_size,
                entry_bar,
                entry,
                stop,
                target,
                paid,
                bar,
                price,
                reason,
                nights.before[behind] - nights.before[first],
                net,
                charged,
                swap,
            )
            counts[N_TRADES] += 1
            if limited:
                if day_of[bar] != today:
                    today, entries, gained, began_with = day_of[bar], 0, (0, 0), balance
                gained = added_pairs(gained, net)
                last_exit = bar
            balance = added_pairs(balance, net)
            if account.has_margin and not ruined and not is_positive(balance):
                ruined = True
                ruins[counts[N_RUINED]] = bar
                counts[N_RUINED] += 1
            size, part = size - part_size, part + 1
            if size > 0:
                part_size, target = parts[part]
                cost = fill_commission(size, entry, rate_in, unit, multiplies, costs)
        if units > 0.0:
            # The opposite entry fills at the same open; it was ordered at the close before.
            long = not long
            bar -= 1
