"""Bars as the simulator reads them: prices in whole steps, nights, rates, what a run is charged.

Owns the arrays that do not depend on a spec, and what the screen cannot treat exactly.  They are made once
for some bars and assumptions.  Knows no signals.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.conversion import Conversion, account_currency
from aiopt.backtest.money import AMOUNT_DECIMALS
from aiopt.backtest.stop_fills import StopRule
from aiopt.backtest.swap import Nights
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.screen.amounts import PART
from aiopt.screen.failures import BeyondScreenError

LARGEST_STEPS = 2**31 - 1
LARGEST_FACTOR = 2**31 - 1
LARGEST_BALANCE = 1e9
"""Beyond it sums of many segments could leave what is exact."""

_OPEN_NS, _INSIDE_NS = 2, -3
"""When fills at a bar's open and inside it are stamped, from its opening and to its closing time."""
_STEP_TOLERANCE = 1e-3
_OFF = "`screen: off` (--no-screen)"


class Sides(NamedTuple):
    """Prices in whole steps of ``10**-decimals``, each of shape (n_bars,), int32."""

    bid_open: NDArray[np.int32]
    bid_high: NDArray[np.int32]
    bid_low: NDArray[np.int32]
    bid_close: NDArray[np.int32]
    ask_open: NDArray[np.int32]
    ask_high: NDArray[np.int32]
    ask_low: NDArray[np.int32]
    ask_close: NDArray[np.int32]
    high_first: NDArray[np.bool_]


class Ladder(NamedTuple):
    """`StopLadder` as arrays; `scale` 0 where there is none."""

    bid_offsets: NDArray[np.int64]
    bid_steps: NDArray[np.int32]
    ask_offsets: NDArray[np.int64]
    ask_steps: NDArray[np.int32]
    scale: int


class Rollovers(NamedTuple):
    """The nights of a series of bars.

    Attributes
    ----------
    at_open, inside, at_close : ndarray of shape (n_bars,), int64
        Rollovers before a fill at the bar's open, before one inside it, and up to its end.
    before : ndarray of shape (n + 1,), int64
        Nights of the first k rollovers.
    bar : ndarray of shape (n,), int64
        The bar each is booked on.
    numerator : ndarray of shape (2, n), int64
        Swap per unit of a long and of a short, parts of 10**-16 of quote currency, over `divisor`.
    divisor : int
        Of these; 0 where nothing is charged.
    worst_per_unit : float
        What a unit could pay at most, quote currency; not positive.
    """

    at_open: NDArray[np.int64]
    inside: NDArray[np.int64]
    at_close: NDArray[np.int64]
    before: NDArray[np.int64]
    bar: NDArray[np.int64]
    numerator: NDArray[np.int64]
    divisor: int
    worst_per_unit: float


class Rates(NamedTuple):
    """What money of the quote currency is in the account's.

    Attributes
    ----------
    at_open, inside, at_close : ndarray of shape (n_bars,), int64
        Twice the mid price that counts for a booking at a bar's open, inside it, and at its end.
    at_night : ndarray of shape (n_rollovers,), int64
        The same at each rollover.
    unit : int
        What the rate is over, or, where `multiplies` is False, what it is under; 0 without conversion.
    value : ndarray of shape (n_bars,), float64
        Account currency per quote currency at each close.
    """

    at_open: NDArray[np.int64]
    inside: NDArray[np.int64]
    at_close: NDArray[np.int64]
    at_night: NDArray[np.int64]
    unit: int
    multiplies: bool
    value: NDArray[np.float64]


class Costs(NamedTuple):
    """What fills and nights cost.

    Attributes
    ----------
    commission, commission_divisor : int
        Parts of 10**-16 of quote currency per unit and price step, over the divisor.
    steps_per_unit : int
        ``10**decimals``.
    slippage : int
        Steps by which market and stop fills are worse.
    stop_slippage : int
        Steps by which a stop reached inside a bar fills beyond itself.
    """

    commission: int
    commission_divisor: int
    steps_per_unit: int
    slippage: int
    stop_slippage: int


class Market(NamedTuple):
    """Everything the simulator needs of bars and assumptions.

    Parameters are those of `market_of`.
    """

    sides: Sides
    ladder: Ladder
    rollovers: Rollovers
    rates: Rates
    costs: Costs


def market_of(
    bars: BarSet, config: BacktestConfig, *, quoted: BarSet, rule: StopRule, decimals: int
) -> Market:
    """Return bars as the simulator reads them.

    Parameters
    ----------
    bars : BarSet
        As they are traded: one price in parity, the spread widened.
    config : BacktestConfig
        Costs.
    quoted : BarSet
        As they were given; what conversion without another pair reads.
    rule : StopRule
        How stops fill.
    decimals : int
        A price step is ``10**-decimals``.

    Raises
    ------
    BeyondScreenError
        If prices, balance or costs lie outside what is computed exactly here.
    DataError, ConfigError
        As the engine's session raises them.
    """
    if config.initial_balance > LARGEST_BALANCE:
        msg = f"The screen's accounts hold at most {LARGEST_BALANCE:,.0f}, not {config.initial_balance:,.0f}."
        raise BeyondScreenError(f"{msg} Use a smaller balance, or {_OFF}.")
    bid = _steps(bars.bid, decimals)
    ask = bid if bars.single_price else _steps(bars.ask, decimals)
    high_first = np.abs(bid["high"] - bid["open"]) <= np.abs(bid["open"] - bid["low"])
    columns = {
        f"{name}_{part}": side[part].astype(np.int32)
        for name, side in (("bid", bid), ("ask", ask))
        for part in ("open", "high", "low", "close")
    }
    account = account_currency(bars, config.account_currency)
    conversion = None if account == bars.instrument.quote else Conversion(quoted, account)
    rollovers, rollover_times = _rollovers(bars, config, decimals)
    return Market(
        sides=Sides(**columns, high_first=high_first),
        ladder=_ladder(rule),
        rollovers=rollovers,
        rates=_rates(bars, conversion, rollover_times),
        costs=_costs(bars, config, rule, decimals),
    )


def _steps(bars: BarArrays, decimals: int) -> dict[str, NDArray[np.int64]]:
    found = {}
    for name in ("open", "high", "low", "close"):
        scaled = getattr(bars, name) * 10**decimals
        whole = np.rint(scaled)
        wrong = np.flatnonzero((np.abs(scaled - whole) > _STEP_TOLERANCE) | (np.abs(whole) > LARGEST_STEPS))
        if wrong.size:
            row = int(wrong[0])
            price = float(getattr(bars, name)[row])
            msg = (
                f"The screen needs prices of at most {decimals} decimals below "
                f"{LARGEST_STEPS / 10**decimals:g}, but {name} of the {bars.price} bar {row} is {price!r}."
            )
            raise BeyondScreenError(f"{msg} Round the bars to the instrument's tick, or use {_OFF}.")
        found[name] = whole.astype(np.int64)
    return found


def _ladder(rule: StopRule) -> Ladder:
    ladder = rule.ladder
    if ladder is None:
        return Ladder(
            np.zeros(1, dtype=np.int64),
            np.zeros(0, dtype=np.int32),
            np.zeros(1, dtype=np.int64),
            np.zeros(0, dtype=np.int32),
            0,
        )
    return Ladder(
        np.ascontiguousarray(ladder.bid_offsets),
        np.ascontiguousarray(ladder.bid_steps),
        np.ascontiguousarray(ladder.ask_offsets),
        np.ascontiguousarray(ladder.ask_steps),
        ladder.price_scale,
    )


def _rollovers(bars: BarSet, config: BacktestConfig, decimals: int) -> tuple[Rollovers, NDArray[np.int64]]:
    opens = bars.bid.ts_open_ns
    swap = None if config.is_parity else config.swap
    nights = Nights(swap, bars.instrument, opens, bars.timeframe.ns, bars.bid.close, decimals)
    times, before, per_unit = nights.table()
    ends = opens + bars.timeframe.ns
    numerator = np.zeros((2, times.size), dtype=np.int64)
    divisor = 0
    if per_unit is not None:
        found = [[per_unit(side, index) for index in range(times.size)] for side in (1, -1)]
        divisor = 1
        for pairs in found:
            for above, below in pairs:
                divisor = math.lcm(divisor, below // math.gcd(above, below))
        if divisor > LARGEST_FACTOR:
            raise BeyondScreenError(f"The screen cannot charge these swap rates exactly. Use {_OFF}.")
        for side, pairs in enumerate(found):
            values = [above * divisor // below for above, below in pairs]
            if any(abs(value) >= 10**17 for value in values):
                raise BeyondScreenError(f"The screen cannot charge swap this large exactly. Use {_OFF}.")
            numerator[side] = values
    found_rollovers = Rollovers(
        at_open=np.searchsorted(times, opens + _OPEN_NS, side="right"),
        inside=np.searchsorted(times, ends + _INSIDE_NS, side="right"),
        at_close=np.searchsorted(times, ends, side="right"),
        before=before,
        bar=np.searchsorted(opens, times, side="right") - 1,
        numerator=numerator,
        divisor=divisor,
        worst_per_unit=nights.worst_per_unit,
    )
    return found_rollovers, times


def _rates(bars: BarSet, conversion: Conversion | None, night_times: NDArray[np.int64]) -> Rates:
    opens = bars.bid.ts_open_ns
    ends = opens + bars.timeframe.ns
    if conversion is None:
        ones = np.ones(1, dtype=np.int64)
        return Rates(ones, ones, ones, ones, 0, True, np.ones(len(bars)))
    unit, multiplies = conversion.unit, conversion.multiplies
    found = [
        conversion.twice_mids_at(times) for times in (opens + _OPEN_NS, ends + _INSIDE_NS, ends, night_times)
    ]
    if max(unit, *(int(values.max(initial=1)) for values in found)) > LARGEST_FACTOR:
        raise BeyondScreenError(f"The screen cannot convert at these prices exactly. Use {_OFF}.")
    at_open, inside, at_close, at_night = found
    return Rates(at_open, inside, at_close, at_night, unit, multiplies, conversion.rates_at(ends))


def _costs(bars: BarSet, config: BacktestConfig, rule: StopRule, decimals: int) -> Costs:
    per_million = 0 if config.is_parity else round(config.commission_per_million * 10_000)
    # units * steps * per_million counts 10**-(decimals + 10) of the quote currency.
    missing = AMOUNT_DECIMALS - decimals - 10
    slippage = 0.0 if config.is_parity else config.slippage_ticks * bars.instrument.tick_size
    return Costs(
        commission=per_million * 10 ** max(0, missing),
        commission_divisor=10 ** max(0, -missing),
        steps_per_unit=10**decimals,
        slippage=round(slippage * 10**decimals),
        stop_slippage=_whole_steps(rule.slippage, decimals),
    )


def _whole_steps(distance: float, decimals: int) -> int:
    """Return a distance in steps as the engine rounds a stop moved by it: a stop lies on a whole step."""
    exact = distance * 10**decimals
    steps = math.floor(exact + 0.5)
    if abs(abs(exact - math.floor(exact)) - 0.5) < 1e-6:
        msg = (
            f"The screen cannot tell which way the engine rounds a stop slippage of {exact:g} price steps. "
            f"Choose --stop-slippage in whole tenths of a tick, or use {_OFF}."
        )
        raise BeyondScreenError(msg)
    return steps


assert PART == 10**AMOUNT_DECIMALS
