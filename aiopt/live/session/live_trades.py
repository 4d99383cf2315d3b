"""Trades of a session as they are kept and written.  Owns the record and its table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

import msgspec

from aiopt.backtest.money import to_float
from aiopt.backtest.positions import ClosedPosition
from aiopt.live.paper.seam import Filled
from aiopt.timeframe import Timeframe
from aiopt.trades import Side
from aiopt.utc import stamp_text


class LiveTrade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finished round trip.

    Attributes
    ----------
    strategy : str
        Its id.
    side : str
        ``"long"`` or ``"short"``.
    entry_ts_ns, exit_ts_ns : int
        Stamps of the quotes that filled it, UTC.
    entry_bar_ns, exit_bar_ns : int
        Opening times of the bars they lie in.
    entry_price, exit_price : float
        Quote currency.
    stop_price, target_price : float or None
        As they were laid at the entry.
    size : float
        Units of the base currency.
    exit_reason : str
        As in a backtest; ``"flatten"``, ``"kill"`` or ``"refused"`` where a person or the session closed it.
    pnl, commission, swap : float
        Account currency; `pnl` is what is left of the profit after both.
    nights : int
        Rollovers held over; a triple one counts three.
    """

    strategy: str
    side: Side
    entry_ts_ns: int
    exit_ts_ns: int
    entry_bar_ns: int
    exit_bar_ns: int
    entry_price: float
    exit_price: float
    stop_price: float | None
    target_price: float | None
    size: float
    exit_reason: str
    pnl: float
    commission: float
    swap: float
    nights: int


def live_trade(strategy: str, closed: ClosedPosition, timeframe: Timeframe) -> LiveTrade:
    """Return a round trip as it is kept."""
    length, settled = timeframe.ns, closed.settlement
    return LiveTrade(
        strategy=strategy,
        side="long" if closed.side > 0 else "short",
        entry_ts_ns=closed.entry_ts_ns,
        exit_ts_ns=closed.exit_ts_ns,
        entry_bar_ns=closed.entry_ts_ns // length * length,
        exit_bar_ns=closed.exit_ts_ns // length * length,
        entry_price=closed.entry_price,
        exit_price=closed.exit_price,
        stop_price=None if math.isnan(closed.stop) else closed.stop,
        target_price=None if math.isnan(closed.target) else closed.target,
        size=closed.units,
        exit_reason=closed.exit_reason,
        pnl=to_float(settled.net),
        commission=to_float(settled.commission),
        swap=to_float(settled.swap),
        nights=settled.nights,
    )


def trade_past(event: Filled, timeframe: Timeframe) -> LiveTrade:
    """Return a round trip as the venue settled it, of a position closed without its strategy."""
    settled, length = event.settled, timeframe.ns
    assert settled is not None
    return LiveTrade(
        strategy=event.strategy,
        side="long" if settled.side > 0 else "short",
        entry_ts_ns=settled.entry_ts_ns,
        exit_ts_ns=event.ts_ns,
        entry_bar_ns=settled.entry_ts_ns // length * length,
        exit_bar_ns=event.ts_ns // length * length,
        entry_price=settled.entry_price,
        exit_price=settled.exit_price,
        stop_price=None,
        target_price=None,
        size=settled.units,
        exit_reason="flatten",
        pnl=settled.net,
        commission=settled.commission,
        swap=settled.swap,
        nights=settled.nights,
    )


def trades_table(trades: Iterable[LiveTrade]) -> str:
    """Return trades as CSV, times as ISO text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = LiveTrade.__struct_fields__
    writer.writerow([name.removesuffix("_ns") for name in names])
    for trade in trades:
        row = []
        for name in names:
            value = getattr(trade, name)
            row.append(stamp_text(value) if name.endswith("_ns") else "" if value is None else value)
        writer.writerow(row)
    return out.getvalue()
