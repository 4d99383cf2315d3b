"""A session's equity over time, from its trades and bars.

Owns the arithmetic.  Reads no file and draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.growing_bars import BarRow
from aiopt.live.paper.seam import PaperPosition
from aiopt.live.report.record import SessionRecord, timeframe_of
from aiopt.live.session.live_trades import LiveTrade

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def finest_series(record: SessionRecord) -> str | None:
    """Return the series with the shortest bars, None where none has any."""
    filled = [name for name, rows in record.series.items() if rows]
    return min(filled, key=lambda name: timeframe_of(name).ns, default=None)


def equity_curve(record: SessionRecord) -> tuple[list[int], list[float]]:
    """Return times and equity of a session: its beginning, the end of each bar, its last quote.

    What was open at a bar's end is marked at its closing bid or ask, without costs that come with its exit;
    where the account is not in the quote currency only what was closed counts.  The last point is the
    venue's own equity.

    Returns
    -------
    list of int, list of float
        UTC nanoseconds ascending; account currency.
    """
    start = float(record.config.account.initial_balance)
    name = finest_series(record)
    if name is None or record.last is None:
        return [], []
    rows, length = record.series[name], timeframe_of(name).ns
    ends = np.array([row.ts_open_ns for row in rows], dtype=np.int64) + length
    ends = ends[ends <= record.last[0]]
    rows = rows[: len(ends)]
    equity = start + _realised(record.trades, ends)
    if record.feed_quote == record.currency:
        equity += _open(record.trades, record.positions, ends, rows)
    times = [rows[0].ts_open_ns, *ends.tolist()] if rows else [record.last[0]]
    values = [start, *equity.tolist()] if rows else [start]
    if record.last[0] > times[-1]:
        times.append(record.last[0])
        values.append(record.account.equity)
    else:
        values[-1] = record.account.equity
    return times, values


def _realised(trades: Sequence[LiveTrade], ends: IntArray) -> FloatArray:
    """Return the profit of what was closed by each time."""
    steps = np.zeros(len(ends) + 1)
    for trade in trades:
        steps[np.searchsorted(ends, trade.exit_ts_ns, side="right")] += trade.pnl
    return np.cumsum(steps[:-1])


def _open(
    trades: Sequence[LiveTrade], positions: Sequence[PaperPosition], ends: IntArray, rows: Sequence[BarRow]
) -> FloatArray:
    """Return what was open at each time, marked at the bar's close; quote currency."""
    closes = {
        "long": np.array([row.bid_close for row in rows]),
        "short": np.array([row.ask_close for row in rows]),
    }
    found = np.zeros(len(ends))
    spans: list[tuple[str, int, int, float, float]] = [
        (t.side, t.entry_ts_ns, t.exit_ts_ns, t.size, t.entry_price) for t in trades
    ]
    for held in positions:
        side = "long" if held.side > 0 else "short"
        spans.append((side, held.entry_ts_ns, 1 << 62, held.units, held.entry_price))
    for side, entry_ns, exit_ns, units, price in spans:
        first, behind = np.searchsorted(ends, (entry_ns, exit_ns), side="right")
        sign = 1 if side == "long" else -1
        found[first:behind] += sign * units * (closes[side][first:behind] - price)
    return found


def deepest(equity: Sequence[float]) -> float:
    """Return the deepest drawdown as a share of the peak before it, 0.0 or negative."""
    peak, worst = -math.inf, 0.0
    for value in equity:
        peak = max(peak, value)
        if peak > 0:
            worst = min(worst, value / peak - 1)
    return worst
