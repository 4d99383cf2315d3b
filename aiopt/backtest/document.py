"""A backtest as a document: what ``aiopt backtest --json`` prints and ``--out`` writes.

Owns the keys.  Knows nothing of the engine or of how the document is shown.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.results import FIGURE_PERIOD_NS, TrialResult, pnl_by_period
from aiopt.backtest.stop_paths import follow_stops
from aiopt.bars.schema import BarSet
from aiopt.evaluation.rollover import held_over, held_over_text
from aiopt.strategy.spec import StrategySpec
from aiopt.trades import FollowedTrade


def backtest_document(
    strategy: StrategySpec, config: BacktestConfig, bars: BarSet, result: TrialResult
) -> dict[str, Any]:
    """Return a result with what it was made of, as plain data.

    Where the strategy moves its stops, every trade says how: ``stop_moves``, see `FollowedTrade`.
    """
    pair = bars.instrument
    nights = ((trade.nights or 0, trade.size) for trade in result.trades)
    found = result.to_document()
    held = result.open_trades
    marks = follow_stops([*result.trades, *held], strategy, bars)
    shown = [*found["trades"], *([found["open_trade"]] if held else []), *found.get("added_trades", [])]
    for told, mark in zip(shown, marks, strict=True):
        if isinstance(mark, FollowedTrade):
            told["stop_moves"] = msgspec.to_builtins(mark.stop_moves)
    return {
        "spec": {"name": strategy.name, "family": strategy.family, "params": strategy.params},
        "config": config.document(),
        "bars": {
            "instrument": pair.symbol,
            "timeframe": bars.timeframe.label,
            "count": len(bars),
            "first_ts_ns": int(bars.bid.ts_open_ns[0]),
            "last_ts_ns": int(bars.bid.ts_open_ns[-1]),
            "synthetic": bars.synthetic,
        },
        "currency": config.account_currency or pair.quote,
        "rollover": held_over_text(
            held_over(nights, pip_size=pair.pip_size),
            currency=pair.quote,
            charged=None if config.swap is None else result.metrics.swap,
            account_currency=config.account_currency,
        ),
        **found,
    }


def curves(bars: BarSet, result: TrialResult) -> dict[str, Any]:
    """Return equity and hourly profit with their times, as plain data for `backtest_document`.

    Returns
    -------
    dict
        ``equity_ts_ns`` and ``equity``: the opening time of the first bar, then the closing time of every
        bar.  ``profits``: ``period_ns``, ``ts_ns`` (start of each hour from the first bar's to the last
        bar's, weekends included) and ``pnl`` in account currency.
    """
    opens = bars.bid.ts_open_ns
    pnl = pnl_by_period(result.equity, opens, FIGURE_PERIOD_NS)
    first = int(opens[0]) // FIGURE_PERIOD_NS * FIGURE_PERIOD_NS
    hours = first + np.arange(pnl.size, dtype=np.int64) * FIGURE_PERIOD_NS
    return {
        "equity_ts_ns": [int(opens[0]), *(opens + bars.timeframe.ns).tolist()],
        "equity": result.equity.tolist(),
        "profits": {"period_ns": FIGURE_PERIOD_NS, "ts_ns": hours.tolist(), "pnl": pnl.tolist()},
    }
