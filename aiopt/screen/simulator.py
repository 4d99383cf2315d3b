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
from aiopt.screen.machine import ENTRY_LONG, ENTRY_SHORT, EXIT_LONG, EXIT_SHORT
from aiopt.screen.market import Market
from aiopt.screen.orders import (
    STAYS,
    STOPPED_INSIDE,
    TAKEN_INSIDE,
    Bounds,
    Levels,
    Sizing,
    added_pairs,
    admitted_units,
    commission,
    converted,
    gross_profit,
    is_positive,
    ladder_fill,
    less,
    level_steps,
    may_be_lost,
    night_swap,
    risk_units,
    touched,
)
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
    UNITS,
    Table,
)

_FAR = 2**62
"""Beyond every price: where a stop or target acts that is not there."""


# reason: one loop over bars, whose state every part reads and writes; calls with arrays cost time.
@compiled
def simulate(  # noqa: C901, PLR0912, PLR0915
    flags: NDArray[np.uint8],
    columns: NDArray[np.float64],
    market: Market,
    bounds: Bounds,
    levels: Levels,
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
    bounds, levels, sizing
        What a run may do.
    table : Table
        The results.
    """
    sides, ladder, nights, rates, costs = market
    bid_open, bid_high, bid_low, bid_close, ask_open, ask_high, ask_low, ask_close, high_first = sides
    fixed, risk_pct, balance_quote, long_price, short_price, account = sizing
    has_stop, has_target, stop_value, target_value, stop_row, target_row, close, tick, tick_scale = levels
    flatten_bar, segment_of, flatten_reason, pine_entry_bar = bounds
    trades, refused, capped, ruins, counts = table
    nights_open, nights_inside, nights_before = nights.at_open, nights.inside, nights.before
    slippage, steps_per_unit = costs.slippage, costs.steps_per_unit
    n_bars = flags.size
    by_risk = fixed == 0.0
    balances = balance_quote.size > 1
    counts[:] = 0
    balance, segment, ruined = account.initial, -2, False
    bar, long, units = 0, True, 0.0  # units: of an entry ordered at the close of `bar`
    while True:
        if units <= 0.0:
            while bar < n_bars and not flags[bar] & (ENTRY_LONG | ENTRY_SHORT):
                bar += 1
            if bar >= n_bars - 1:
                return
            if segment_of[bar] != segment:
                balance, segment, ruined = account.initial, segment_of[bar], False
            long = flags[bar] & ENTRY_LONG != 0
            wanted = 0.0
            if not ruined:
                wanted = fixed
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
        if has_stop:
            away = stop_value if stop_row < 0 else stop_value * columns[stop_row, bar]
            level = close[bar] - away if long else close[bar] + away
            stop = armed = level_steps(level, tick, tick_scale, steps_per_unit)
        if has_target:
            away = target_value if target_row < 0 else target_value * columns[target_row, bar]
            level = close[bar] + away if long else close[bar] - away
            target = reach = level_steps(level, tick, tick_scale, steps_per_unit)
        bar += 1
        entry_bar = bar
        entry = ask_open[bar] + slippage if long else bid_open[bar] - slippage
        cost = commission(size, entry, costs)
        if rates.unit:
            cost = converted(cost, rates.at_open[bar], rates.unit, rates.multiplies)
        # TradingView arms a short's stop only at the end of a bar that opens at or beyond it.
        late = pine_entry_bar and not long and has_stop and entry >= stop
        watched = False
        if account.has_margin:
            left = less(balance, cost)
            watched = may_be_lost(
                long, entry, size, to_float(left[0], left[1]), account, costs, nights.worst_per_unit
            )
        acts = (EXIT_LONG | ENTRY_SHORT) if long else (EXIT_SHORT | ENTRY_LONG)
        opposite = ENTRY_SHORT if long else ENTRY_LONG
        last = flatten_bar[bar]
        end = min(last, n_bars - 1)
        inside = False
        while True:
            # Most bars do nothing: pass over them.
            if not (watched or late):
                if long:
                    while bar < end and not (
                        bid_low[bar] <= armed or bid_high[bar] >= reach or flags[bar] & acts
                    ):
                        bar += 1
                else:
                    while bar < end and not (
                        ask_high[bar] >= armed or ask_low[bar] <= reach or flags[bar] & acts
                    ):
                        bar += 1
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
                break
            if reason == STOPPED_INSIDE:
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
            wanted = fixed
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
            bar += 1
            late = False
            if reason != STAYS:
                price = bid_open[bar] - slippage if long else ask_open[bar] + slippage
                break
        # --- the round trip is over on `bar` ------------------------------------------------------------
        row = trades[counts[N_TRADES]]
        row[ENTRY_BAR], row[SIDE], row[UNITS] = entry_bar, 1 if long else -1, size
        row[ENTRY_STEPS], row[STOP_STEPS], row[TARGET_STEPS] = entry, stop, target
        row[ENTRY_COST], row[ENTRY_COST_PART] = cost
        if reason == STAYS:
            row[EXIT_BAR] = -1
            return
        gross = gross_profit(1 if long else -1, size, entry, price, steps_per_unit)
        exit_cost = commission(size, price, costs)
        if rates.unit:
            twice_mid = rates.inside[bar] if inside else rates.at_open[bar]
            gross = converted(gross, twice_mid, rates.unit, rates.multiplies)
            exit_cost = converted(exit_cost, twice_mid, rates.unit, rates.multiplies)
        charged = added_pairs(cost, exit_cost)
        net = less(gross, charged)
        first = nights_open[entry_bar]
        behind = nights_inside[bar] if inside else nights_open[bar]
        row[SWAP], row[SWAP_PART] = 0, 0
        if nights.divisor:
            swap = night_swap(long, size, first, behind, n_bars, nights, rates)
            net = added_pairs(net, swap)
            row[SWAP], row[SWAP_PART] = swap
        row[EXIT_BAR], row[EXIT_STEPS], row[REASON] = bar, price, reason
        row[NIGHTS] = nights_before[behind] - nights_before[first]
        row[NET], row[NET_PART] = net
        row[COMMISSION], row[COMMISSION_PART] = charged
        counts[N_TRADES] += 1
        balance = added_pairs(balance, net)
        if account.has_margin and not ruined and not is_positive(balance):
            ruined = True
            ruins[counts[N_RUINED]] = bar
            counts[N_RUINED] += 1
        if units > 0.0:
            # The opposite entry fills at the same open; it was ordered at the close before.
            long = not long
            bar -= 1
