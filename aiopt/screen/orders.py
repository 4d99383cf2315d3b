"""What orders become: sizes, levels, fills and what they cost.  Numbers in, numbers out.

Owns these rules in compiled code; each is the engine's.  Where it is stated:

- levels and sizes: `aiopt.strategy.signals`;
- margin: `aiopt.backtest.account`;
- the price of a fill and the path of a bar: `aiopt.backtest.execution`, `aiopt.backtest.replay`;
- what is charged: `aiopt.backtest.bookkeeper`, `aiopt.backtest.swap`, `aiopt.backtest.conversion`.

Functions take numbers rather than arrays: each array passed in a call is counted, which costs more than the
work.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.screen.amounts import PART, Pair, added, negated, product, scaled, to_float
from aiopt.screen.market import Costs, Rates, Rollovers
from aiopt.screen.trade_table import NO_LEVEL, STOP_LOSS, TAKE_PROFIT

STAYS, TAKEN_INSIDE, STOPPED_INSIDE = -1, -2, -3
"""Answers of `touched` that are no reasons: nothing, and levels reached inside the bar."""

_LOSS_TOLERANCE = 1e-6
_MAX_UNITS = 1e9


class Account(NamedTuple):
    """What carries entries.

    Attributes
    ----------
    initial : tuple of int
        The balance every segment begins with, as an amount.
    leverage : float
        Largest value of a position per equity.
    has_margin : bool
        Whether entries can be refused and accounts be lost.
    step : int
        Units to which sizes by risk are rounded down.
    lowest, highest : int
        Lowest bid and highest ask of all closes, in steps.
    dearest : float
        Highest rate of the account's currency per quote currency.
    """

    initial: Pair
    leverage: float
    has_margin: bool
    step: int
    lowest: int
    highest: int
    dearest: float


class Sizing(NamedTuple):
    """How large entries are.

    Attributes
    ----------
    fixed : ndarray of shape (1,) or (n_bars,)
        Units of a fixed size; per bar where readings scale it.
    risk_pct : float
        Per cent of the balance lost at the stop; 0.0 where the size is fixed.
    balance_quote : ndarray of shape (1,) or (n_bars,)
        The initial balance in quote currency; per bar where the account is in another, or readings scale it.
    long_price, short_price : ndarray of shape (n_bars,)
        What a unit would cost at each close, account currency.
    account : Account
        What carries them.
    """

    fixed: NDArray[np.float64]
    risk_pct: float
    balance_quote: NDArray[np.float64]
    long_price: NDArray[np.float64]
    short_price: NDArray[np.float64]
    account: Account


class Levels(NamedTuple):
    """Where stops and targets lie.

    Attributes
    ----------
    has_stop, has_target : bool
        Whether the spec has them.
    stop_value, target_value : float
        Distance from the signal bar's close, quote currency; times a column where there is one.
    stop_row, target_row : int
        Row of that column, -1 for none.
    close : ndarray of shape (n_bars,)
        Closes the distances are measured from.
    tick : float
        Levels lie on its multiples.
    tick_scale : float
        ``10**digits`` of the tick.
    """

    has_stop: bool
    has_target: bool
    stop_value: float
    target_value: float
    stop_row: int
    target_row: int
    close: NDArray[np.float64]
    tick: float
    tick_scale: float


class Targets(NamedTuple):
    """`aiopt.strategy.targets.TargetPlan` as numbers and rows of columns; empty without targets of parts.

    Attributes
    ----------
    share, value : ndarray of shape (n_targets,)
        Per cent of an entry, and the distance in quote currency; times a column where there is one.
    row : ndarray of shape (n_targets,), int64
        Rows of these columns, -1 for none.
    step : int
        Units of which parts are whole multiples.
    closes_all : bool
        Whether the last target takes what is left.
    """

    share: NDArray[np.float64]
    value: NDArray[np.float64]
    row: NDArray[np.int64]
    step: int
    closes_all: bool


class Laid(NamedTuple):
    """`aiopt.strategy.distances.LaidLevel` as numbers.

    Attributes
    ----------
    is_laid : bool
        Whether the level is laid from the entry's price at all.
    value : float
        Distance in quote currency; times a column where there is one, times the entry's price `of_entry`.
    row : int
        Row of that column, -1 for none.
    farther : float
        What rounding away adds, quote currency.
    of_entry, waits : bool
        As there.
    """

    is_laid: bool
    value: float
    row: int
    farther: float
    of_entry: bool
    waits: bool


class Exits(NamedTuple):
    """`aiopt.strategy.exits.ExitPlan` as numbers and rows of columns.

    Attributes
    ----------
    moves, trails, trails_late, evens : bool
        Whether a stop moves, or stop or target wait for the close of the entry bar; by which rule; whether
        the trailing stop waits for a move.
    trail, trail_after, even_after : float
        Distances in quote currency; times a column where there is one.
    trail_row, trail_after_row, even_after_row : int
        Rows of these columns, -1 for none.
    even_plus : float
        Quote currency.
    time_bars : int
        0 for never.
    next_strike : ndarray of shape (n_bars,), int64
        From `aiopt.strategy.exits.next_strikes`; empty without a clock.
    targets : Targets
        Of parts.
    stop, target : Laid
        Those that are laid from the entry's own price.
    """

    moves: bool
    trails: bool
    trails_late: bool
    evens: bool
    trail: float
    trail_after: float
    even_after: float
    trail_row: int
    trail_after_row: int
    even_after_row: int
    even_plus: float
    time_bars: int
    next_strike: NDArray[np.int64]
    targets: Targets
    stop: Laid
    target: Laid


class Bounds(NamedTuple):
    """`aiopt.backtest.boundaries.Boundaries` as arrays, and what ends a position there.

    Where nothing may be entered no bar has a signal to enter.
    """

    flatten_bar: NDArray[np.int64]
    segment: NDArray[np.int64]
    flatten_reason: int
    pine_entry_bar: bool


@compiled
def converted(amount: Pair, twice_mid: int, unit: int, multiplies: bool) -> Pair:
    """Return an amount of quote currency in the account's."""
    if multiplies:
        return scaled(amount[0], amount[1], twice_mid, unit)
    return scaled(amount[0], amount[1], unit, twice_mid)


@compiled
def commission(units: int, steps: int, costs: Costs) -> Pair:
    """Return the commission of a fill, quote currency."""
    if costs.commission == 0:
        return 0, 0
    whole, part = product(units * steps, costs.commission)
    if costs.commission_divisor > 1:
        whole, part = scaled(whole, part, 1, costs.commission_divisor)
    return whole, part


@compiled
def gross_profit(side: int, units: int, entry_steps: int, exit_steps: int, steps_per_unit: int) -> Pair:
    """Return the profit of the prices alone, quote currency."""
    moved = side * units * (exit_steps - entry_steps)
    return moved // steps_per_unit, (moved % steps_per_unit) * (PART // steps_per_unit)


@compiled
def night_swap(
    long: bool, units: int, first: int, behind: int, up_to_bar: int, nights: Rollovers, rates: Rates
) -> Pair:
    """Return the swap of some rollovers, account currency: those booked on bars up to `up_to_bar`."""
    total = (0, 0)
    side = 0 if long else 1
    for k in range(first, behind):
        if nights.bar[k] > up_to_bar:
            break
        count = nights.before[k + 1] - nights.before[k]
        amount = product(nights.numerator[side, k], units * count)
        amount = scaled(amount[0], amount[1], 1, nights.divisor)
        if rates.unit:
            amount = converted(amount, rates.at_night[k], rates.unit, rates.multiplies)
        total = added_pairs(total, amount)
    return total


@compiled
def added_pairs(left: Pair, right: Pair) -> Pair:
    """Return the sum of two amounts."""
    return added(left[0], left[1], right[0], right[1])


@compiled
def less(left: Pair, right: Pair) -> Pair:
    """Return the difference of two amounts."""
    whole, part = negated(right[0], right[1])
    return added(left[0], left[1], whole, part)


@compiled
def is_positive(amount: Pair) -> bool:
    """Return whether an amount is more than nothing."""
    return amount[0] > 0 or (amount[0] == 0 and amount[1] > 0)


@compiled
def ladder_fill(
    level: int, sells: bool, first: int, behind: int, quotes: NDArray[np.int32], per_step: int
) -> int:
    """Return the first of some quotes at or beyond a stop, in steps; `NO_LEVEL` if there is none."""
    for k in range(first, behind):
        quote = quotes[k] * per_step
        if (quote <= level) if sells else (quote >= level):
            return quote
    return NO_LEVEL


@compiled
def level_steps(price: float, tick: float, tick_scale: float, steps_per_unit: int) -> int:
    """Return a price on the nearest tick, halves up, in steps."""
    ticks = math.floor(price / tick + 0.5)
    return int(np.rint(np.rint(ticks * tick * tick_scale) / tick_scale * steps_per_unit))


@compiled
def laid_steps(
    entry: int,
    above: bool,
    laid: Laid,
    columns: NDArray[np.float64],
    signal_bar: int,
    tick: float,
    steps_per_unit: int,
) -> int:
    """Return where a level lies above or below an entry's price, in steps."""
    away = laid.value if laid.row < 0 else laid.value * columns[laid.row, signal_bar]
    if laid.of_entry:
        away *= entry / steps_per_unit
    ticks = max(1, math.floor((away + laid.farther) / tick + 0.5))
    return entry + (1 if above else -1) * ticks * int(np.rint(tick * steps_per_unit))


@compiled
def risk_units(stop: float, balance: float, risk_pct: float, step: int) -> float:
    """Return the size that loses a share of a balance at a stop; 0.0 where there is none."""
    if not stop > 0.0:
        return 0.0
    risked = balance * risk_pct / 100.0
    return math.floor(min(risked / stop, _MAX_UNITS) / step) * float(step)


@compiled
def admitted_units(units: float, by_risk: bool, price: float, equity: Pair, account: Account) -> float:
    """Return the units of an entry that an equity carries; not positive refuses it."""
    money = to_float(equity[0], equity[1])
    if by_risk:
        carried = math.floor(money * account.leverage / price / account.step) * float(account.step)
        return min(units, carried)
    if account.has_margin and units * price / account.leverage > money:
        return 0.0
    return units


@compiled
def may_be_lost(
    long: bool, entry: int, units: int, left: float, account: Account, costs: Costs, night: float
) -> bool:
    """Return whether some close of the series could take the whole account: then each is looked at."""
    moved = account.lowest - entry if long else entry - account.highest
    worst = min(0.0, moved / costs.steps_per_unit) + night
    return left + worst * account.dearest * units <= _LOSS_TOLERANCE * (1.0 + abs(left))


@compiled
def touched(
    long: bool, armed: int, reach: int, opened: int, low: int, high: int, high_first: bool
) -> tuple[int, int]:
    """Return how a bar's path ends a position: the reason (`STAYS` if not) and the price before slippage.

    `STOPPED_INSIDE`: the stop was reached inside the bar; where it fills is another matter.
    """
    # Turned round for a short, so that a lower price is always the worse one.
    if not long:
        opened, low, high, armed, reach = -opened, -high, -low, -armed, -reach
    stops, gains = low <= armed, high >= reach
    if not (stops or gains):
        return STAYS, 0
    sign = 1 if long else -1
    if opened <= armed:
        return STOP_LOSS, sign * opened
    if opened >= reach:
        return TAKE_PROFIT, sign * opened
    if gains and (high_first == long or not stops):
        return TAKEN_INSIDE, sign * reach
    return STOPPED_INSIDE, sign * armed
