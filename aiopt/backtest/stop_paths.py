"""Where the stops of trades lay while they were held: trades with the path of a stop that moved, for charts.

Owns the way from a finished trade back to its stop.  The rules are `aiopt.backtest.moving_exits`'; no order
and no result depends on what is said here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aiopt.backtest.moving_exits import MovingExits
from aiopt.bars.schema import BarSet
from aiopt.strategy.distances import CLOSE, Away
from aiopt.strategy.exits import exit_plan
from aiopt.strategy.signals import compute_indicators
from aiopt.strategy.spec import StrategySpec
from aiopt.trades import FollowedTrade, StopMove, TradeMark


def follow_stops(trades: Sequence[TradeMark], spec: StrategySpec, bars: BarSet) -> list[TradeMark]:
    """Return trades as a chart draws them: with every move of their stops where the strategy moves them.

    Parameters
    ----------
    trades : sequence of TradeMark
        That the strategy made on these bars; an open one is followed to the last bar.
    spec : StrategySpec
        The strategy.
    bars : BarSet
        What it traded on, as the backtest priced them.

    Returns
    -------
    list of TradeMark
        The same trades where no stop moves; otherwise each as a `FollowedTrade`.  A trade that began outside
        the bars is left as it is.
    """
    pair = bars.instrument
    plan = exit_plan(spec, pip_size=pair.pip_size, tick_size=bars.price_step)
    if plan is None or not plan.moves:
        return list(trades)
    series = {**compute_indicators(spec, bars.bid), CLOSE: bars.bid.close}
    moving = MovingExits(plan, bars, pair.price_precision + 1)
    stamps = bars.bid.ts_open_ns

    def distance(away: Away | None, bar: int) -> float:
        return math.nan if away is None else away.at(lambda name: float(series[name][bar]))

    def followed(trade: TradeMark) -> TradeMark:
        entry = int(np.searchsorted(stamps, trade.entry_ts_ns, side="right")) - 1
        if entry < 1:
            return trade
        end = len(stamps)
        if trade.exit_ts_ns is not None:
            end = int(np.searchsorted(stamps, trade.exit_ts_ns, side="right"))
        moving.open(
            side=1 if trade.side == "long" else -1,
            entry_bar=entry,
            entry_price=trade.entry_price,
            stop=math.nan if trade.stop_price is None else trade.stop_price,
            trail=distance(plan.trail, entry - 1),
            trail_after=distance(plan.trail_after, entry - 1),
            even_after=distance(plan.even_after, entry - 1),
        )
        # On the bar of the entry the stop lies where it began: it first moves at that bar's close.
        levels = moving.stops_on(entry + 1, end).tolist() if end > entry + 1 else []
        return _with_moves(trade, levels, stamps[entry + 1 : end].tolist())

    return [followed(trade) for trade in trades]


def _with_moves(trade: TradeMark, levels: list[float], stamps: list[int]) -> FollowedTrade:
    """Return a trade with what changes in the levels of its stop from bar to bar."""
    moves = []
    before = trade.stop_price
    for level, ts_ns in zip(levels, stamps, strict=True):
        if not math.isnan(level) and level != before:
            moves.append(StopMove(ts_ns=ts_ns, price=level))
            before = level
    known = {name: getattr(trade, name) for name in TradeMark.__struct_fields__}
    return FollowedTrade(**known, stop_moves=tuple(moves))
