"""Trades on charts: read from a result's file, and which of them a window shows.

Owns the file's keys that a chart needs.  Draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aiopt.bars.schema import BarArrays
from aiopt.charts.windows import DEFAULT_WINDOW, Window
from aiopt.errors import ConfigError, DataError
from aiopt.trades import FollowedTrade, TradeMark

_MARGIN = 10
"""Bars shown before the first and after the last trade, where the window has room."""


def read_trades(path: Path, symbol: str) -> list[TradeMark]:
    """Read the trades of a result that ``aiopt backtest --json`` printed; the open one is the last.

    Parameters
    ----------
    path : Path
        JSON with `trades`, which may have ``stop_moves``; ``bars.instrument``, where it is there, says whose
        they are.
    symbol : str
        Instrument of the bars they are to be drawn on.

    Raises
    ------
    DataError
        If the file is missing or no such JSON.
    ConfigError
        If the trades are of another instrument, or one breaks a rule of `TradeMark`.
    """
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        marks: list[TradeMark] = []
        marks += msgspec.convert(document.get("trades"), list[FollowedTrade])
        held = msgspec.convert(document.get("open_trade"), FollowedTrade | None)
        added = msgspec.convert(document.get("added_trades", []), list[FollowedTrade])
    except FileNotFoundError as failure:
        raise DataError("There is no such file of trades. Check the path.", file=path) from failure
    except msgspec.DecodeError as failure:
        msg = (
            f"Cannot read the trades: {failure}. The file must be the JSON that `aiopt backtest --json` "
            "prints."
        )
        raise DataError(msg + " Write it again.", file=path) from failure
    bars = document.get("bars")
    traded = bars.get("instrument") if isinstance(bars, dict) else None
    if traded is not None and traded != symbol:
        msg = f"{path}: the trades are of {traded}, but the bars are of {symbol}. Give bars of {traded}."
        raise ConfigError(msg)
    return marks if held is None else [*marks, held, *added]


def shown_trades(bars: BarArrays, windows: Sequence[Window], trades: Sequence[TradeMark]) -> list[TradeMark]:
    """Return the trades of which at least one window shows a part."""
    spans = [(int(bars.ts_open_ns[start]), _end_ns(bars, stop)) for start, stop in windows]
    return [
        trade
        for trade in trades
        if any(
            trade.entry_ts_ns < end and (trade.exit_ts_ns is None or trade.exit_ts_ns >= start)
            for start, end in spans
        )
    ]


def window_of_trade(bars: BarArrays, trade: TradeMark | None, size: int = DEFAULT_WINDOW) -> Window:
    """Return the window that shows a trade, or the last bars where there is none.

    The exit lies near the right end, so that the window shows how the trade came about; a trade longer than
    the window is shown from its entry.
    """
    n_bars = len(bars)
    size = min(size, n_bars)
    if trade is None:
        return n_bars - size, n_bars
    entry = max(0, int(bars.ts_open_ns.searchsorted(trade.entry_ts_ns, side="right")) - 1)
    ends = bars.ts_open_ns[-1] if trade.exit_ts_ns is None else trade.exit_ts_ns
    leave = max(0, int(bars.ts_open_ns.searchsorted(ends, side="right")) - 1)
    stop = min(n_bars, leave + 1 + _MARGIN)
    if entry < stop - size:
        stop = min(n_bars, max(size, entry - _MARGIN + size))
    return max(0, stop - size), max(size, stop)


def _end_ns(bars: BarArrays, stop: int) -> int:
    return int(bars.ts_open_ns[stop - 1]) + bars.timeframe.ns
