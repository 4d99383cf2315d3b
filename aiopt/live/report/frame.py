"""One frame of a session's terminal view: what it holds, what it may still do, what happened last.

Owns the layout.  Reads nothing: it is given a `SessionRecord`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aiopt.live.paper.seam import PaperPosition
from aiopt.live.report.record import SessionRecord, sentence, when
from aiopt.market.instrument import instrument
from aiopt.utc import time_text

EVENTS = 8
"""Events in a frame."""
_STYLES = {"runs": "bold green", "left": "bold yellow", "ended": "bold"}
_FEED = {"live": "green", "closed": "dim", "stale": "bold yellow", "halted": "bold red"}


def frame(record: SessionRecord, pulse: Mapping[str, float] = MappingProxyType({})) -> RenderableType:
    """Return a frame for a `rich` console.

    Parameters
    ----------
    record : SessionRecord
        The session's last commit.
    pulse : mapping of str to float, optional
        What its metrics say since then: ``quote_timestamp_seconds``, ``bid``, ``ask``, ``equity``.
    """
    last = record.last
    if last is not None and pulse.get("quote_timestamp_seconds", 0.0) > last[0] / 1e9 and "equity" in pulse:
        last = round(pulse["quote_timestamp_seconds"] * 1e9), pulse["bid"], pulse["ask"]
        equity = pulse["equity"]
    else:
        equity = record.account.equity
    parts: list[RenderableType] = [_head(record, last), _account(record, equity)]
    parts.append(_positions(record, last) if record.positions else Text("No position is open.", style="dim"))
    entries = [one for one in record.orders if one.order.position_id is None]
    if entries:
        waiting = ", ".join(
            f"{one.order.strategy} {one.order.kind} {one.left:,g}" + (f" at {one.price}" if one.price else "")
            for one in entries
        )
        parts.append(Text(f"Entries at work: {waiting}"))
    parts += _strategies(record)
    parts.append(_events(record))
    return Panel(Group(*parts), title=f"session {record.session}", title_align="left")


def _head(record: SessionRecord, last: tuple[int, float, float] | None) -> Text:
    text = Text()
    text.append(record.standing, style=_STYLES[record.standing])
    if last is None:
        return text.append("  no quote yet")
    ts_ns, bid, ask = last
    symbols = sorted(record.guard.arrived) or ["?"]
    text.append(f"  {time_text(ts_ns, 's')} UTC  ")
    if len(symbols) == 1 and symbols[0] != "?":
        traded = instrument(symbols[0])
        digits = traded.price_precision
        pips = (ask - bid) / traded.pip_size
        text.append(f"{symbols[0]} {bid:.{digits}f} / {ask:.{digits}f}", style="bold")
        text.append(f"  {pips:.1f} pips")
    else:
        text.append(f"{bid} / {ask}", style="bold")
    for symbol, watch in record.guard.watches.items():
        text.append(f"  feed {symbol} ")
        text.append(watch.state, style=_FEED.get(watch.state, ""))
        if watch.cause:
            text.append(f" ({watch.cause})")
    return text


def _account(record: SessionRecord, equity: float) -> Text:
    account, risk, limits = record.account, record.guard.risk, record.config.guard.limits
    text = Text(f"equity {equity:,.2f}  balance {account.balance:,.2f} {account.currency}")
    if account.margin:
        text.append(f"  margin {account.margin:,.2f}")
    text.append(f"  trades {len(record.trades):,}")
    if risk.day_end_ns:
        today = equity - risk.day_equity
        text.append("\ntoday ")
        text.append(f"{today:+,.2f}", style="green" if today >= 0 else "red")
        if limits.max_daily_loss is not None:
            text.append(f" of at most -{limits.max_daily_loss:,g}")
        fall = (risk.peak_equity - equity) / risk.peak_equity if risk.peak_equity > 0 else 0.0
        text.append(f"  drawdown {max(fall, 0.0):.2%}")
        if limits.max_drawdown is not None:
            text.append(f" of at most {limits.max_drawdown:.2%}")
    for rule in risk.breached:
        text.append(f"  {rule} REACHED", style="bold red")
    kill = record.guard.kill
    if kill.step != "armed":
        text.append(f"\nKILL SWITCH {kill.step}: {kill.reason}", style="bold red")
    return text


def _positions(record: SessionRecord, last: tuple[int, float, float] | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("strategy", "position"):
        table.add_column(name)
    for name in ("entry", "stop", "target", "open P&L"):
        table.add_column(name, justify="right")
    for held in record.positions:
        digits = instrument(held.instrument).price_precision
        exits = {
            one.order.kind: one.price for one in record.orders if one.order.position_id == held.position_id
        }
        stop, target = exits.get("stop"), exits.get("limit")
        worth = held.open_value + _since(record, held, last)
        table.add_row(
            held.strategy,
            f"{'long' if held.side > 0 else 'short'} {held.units:,.0f} {held.instrument}",
            f"{held.entry_price:.{digits}f}",
            Text("none", style="bold red") if stop is None else f"{stop:.{digits}f}",
            "–" if target is None else f"{target:.{digits}f}",
            Text(f"{worth:+,.2f}", style="green" if worth >= 0 else "red"),
        )
    return table


def _since(record: SessionRecord, held: PaperPosition, last: tuple[int, float, float] | None) -> float:
    """Return what a position's price has done since the last commit; 0.0 where that needs a conversion."""
    alone = len(record.guard.arrived) == 1
    if last is None or record.last is None or not alone:
        return 0.0
    if instrument(held.instrument).quote != record.currency:
        return 0.0
    side = 1 if held.side > 0 else 2
    return held.side * held.units * (last[side] - record.last[side])


def _strategies(record: SessionRecord) -> Iterator[Text]:
    """Yield a line for each strategy that does not simply trade."""
    for name, state in record.guard.strategies.states.items():
        if state.name != "running":
            yield Text(f"{name} {state.name}: {state.reason}", style="bold yellow")


def _events(record: SessionRecord) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for one in record.happenings[-EVENTS:]:
        table.add_row(when(one.ts_ns), one.kind.replace("_", " "), sentence(one))
    return table
