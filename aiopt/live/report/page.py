"""The report of a session as one self-contained HTML page, for a session that ended, was left or runs.

Owns what it says and which picture stands where.  Judges nothing: the proof was made by
`aiopt.live.session.proof`, refusals and states by the session itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup

from aiopt import __version__
from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import AioptError
from aiopt.files import atomic_write_text
from aiopt.live.report.curves import deepest, equity_curve, finest_series
from aiopt.live.report.pictures import PricedTrade, price_chart
from aiopt.live.report.record import (
    CommandRow,
    SessionRecord,
    read_commands,
    read_proofs,
    read_record,
    sentence,
    timeframe_of,
    when,
)
from aiopt.live.session.live_config import TradedSpec
from aiopt.live.session.live_trades import LiveTrade
from aiopt.live.session.proof import Proof
from aiopt.market.instrument import instrument
from aiopt.report import charts, tick_charts
from aiopt.report.document import Fact
from aiopt.report.html import asset, flatten, money, page_environment, percent
from aiopt.utc import time_text

NAME = "report.html"
_DETAIL = 180
"""Bars of the second picture: the last ones, as candles."""
_ROWS = 250
"""Rows of a table on the page; all are in the session's file and ``trades.csv``."""
_WHY = {
    "both_legs": "one bar reaches stop and target, and the ticks say otherwise than the bar's path",
    "follows": "follows from a difference before it: another exit, or the size that the equity carries",
    "refused": "the session refused the entry; a backtest has nothing that would",
    "closed": "the kill switch, a command or the guard closed it",
    "unexplained": "unexplained: a fault",
}
_STANDING = {"ended": "at the end of its feed", "left": "left; it can go on", "runs": "running"}
_NO_LIFE = {"stale", "halted"}


def write_session_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a session.

    Parameters
    ----------
    folder : Path
        Of the session, which may be running.
    out : Path, optional
        File; default: ``report.html`` in the folder.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ConfigError
        If there is no session in the folder, or it has not begun.
    DataError
        If its audit journal was changed or cut off.
    StorageError
        If its file cannot be read, or the page not be written.
    """
    page = Path(folder) / NAME if out is None else Path(out)
    text = render_session(read_record(folder), read_proofs(folder), read_commands(folder))
    atomic_write_text(page, text)
    return page


def render_session(record: SessionRecord, proofs: Sequence[Proof] | None, commands: list[CommandRow]) -> str:
    """Return the page.  The same record gives the same text: nothing is read from clock or host."""
    times, equity = equity_curve(record)
    priced = _priced(record)
    return (
        page_environment()
        .get_template("live.html.j2")
        .render(
            r=record,
            title=f"Session {record.session}",
            standing=_STANDING[record.standing],
            headline=headline(record, proofs),
            source=_source(record),
            tiles=_tiles(record, equity),
            equity=Markup(_equity(record, times, equity)),
            prices=_prices(record, priced),
            proofs=proofs,
            differences=_differences(proofs or ()),
            why=_WHY,
            costs=_costs(record),
            days=Markup(_days(record)),
            limits=_limits(record),
            refused=sorted(record.refused().items()),
            breaches=record.of_kind("breach"),
            kills=record.of_kind("kill"),
            kill=record.guard.kill,
            feed=record.of_kind("feed"),
            feed_picture=Markup(_feed_picture(record)),
            readings=record.of_kind("reading")[-_ROWS:],
            commands=commands,
            health=_health(record),
            last=[one for one in record.happenings if one.kind != "bar"][-25:],
            trades=record.trades[-_ROWS:],
            frames={one.id: _frame_text(one) for one in record.config.strategies},
            settings=_columns(flatten(_settings(record))),
            price=_prices_text(record),
            sentence=sentence,
            when=when,
            version=__version__,
            style=Markup(asset("style.css")),
            script=Markup(asset("script.js")),
        )
    )


def headline(record: SessionRecord, proofs: Sequence[Proof] | None) -> str:
    """Return the outcome in a sentence or two."""
    count, net = len(record.trades), sum(trade.pnl for trade in record.trades)
    text = f"{count:,} trade{'' if count == 1 else 's'}, {money(net)} {record.currency}"
    if record.positions:
        text += f", {len(record.positions):,} open"
    text += ". "
    if proofs is None:
        return text + "Not compared with a backtest."
    proofs = [one for one in proofs if not one.changed]
    if not proofs:
        return text + "Commands changed every strategy, so none is a backtest's."
    live, same, backtest = (
        sum(getattr(one, name) for one in proofs) for name in ("live", "same", "backtest")
    )
    unexplained = sum(one.why.get("unexplained", 0) for one in proofs)
    if unexplained:
        return text + f"{unexplained:,} differ from the backtest on the same ticks without an explanation."
    if all(one.same == one.live == one.backtest for one in proofs):
        return text + "Every one is the backtest's on the same ticks, to the cent."
    more = "" if backtest == live else f", which has {backtest:,}"
    return text + (
        f"{same:,} of {live:,} are the backtest's on the same ticks{more}; every difference is explained."
    )


def _prices_text(record: SessionRecord) -> Callable[[float], str]:
    """Return how prices are written: with the decimals of what is traded."""
    symbols = {name.rpartition("-")[0] for name in record.series}
    digits = max((instrument(symbol).price_precision for symbol in symbols), default=5)
    return lambda value: f"{value:.{digits}f}"


def _source(record: SessionRecord) -> str:
    feed = record.config.feed
    name = getattr(feed, "store", None)
    return str(record.feed.get("kind", "")) if name is None else f"replay of {Path(name).name}"


def _tiles(record: SessionRecord, equity: Sequence[float]) -> list[Fact]:
    account, worst = record.account, deepest(equity)
    wins = sum(trade.pnl > 0 for trade in record.trades)
    share = percent(wins / len(record.trades)) if record.trades else "–"
    return [
        Fact(name=f"balance, {account.currency}", value=_amount(account.balance)),
        Fact(name=f"equity, {account.currency}", value=_amount(account.equity)),
        Fact(name="deepest drawdown", value=percent(worst, 2 if abs(worst) >= 5e-5 else 4)),
        Fact(name=f"trades, {share} won", value=f"{len(record.trades):,}"),
        Fact(name="open positions", value=f"{len(record.positions):,}"),
        Fact(name=f"quotes, {record.dropped:,} dropped", value=f"{record.position:,}"),
    ]


def _amount(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 1e6 else f"{value:,.0f}"


def _equity(record: SessionRecord, times: list[int], equity: list[float]) -> str:
    path = charts.Path("Session", "oos main", times, equity)
    return charts.equity_chart([path], [], unit=record.currency)


def _priced(record: SessionRecord) -> list[tuple[str, PricedTrade]]:
    """Return all trades and open positions with the name of the instrument each is in."""
    names = sorted({name.rpartition("-")[0] for name in record.series})
    alone = names[0] if len(names) == 1 else ""
    found = [
        (
            getattr(trade, "instrument", alone),
            PricedTrade(
                strategy=trade.strategy,
                side=1 if trade.side == "long" else -1,
                entry_ns=trade.entry_ts_ns,
                entry=trade.entry_price,
                exit_ns=trade.exit_ts_ns,
                exit=trade.exit_price,
                profit=trade.pnl,
                reason=trade.exit_reason.replace("_", " "),
            ),
        )
        for trade in record.trades
    ]
    for held in record.positions:
        exits = {
            one.order.kind: one.price for one in record.orders if one.order.position_id == held.position_id
        }
        now = record.last or (0, held.entry_price, held.entry_price)
        one = PricedTrade(
            strategy=held.strategy,
            side=held.side,
            entry_ns=held.entry_ts_ns,
            entry=held.entry_price,
            exit_ns=None,
            exit=now[1] if held.side > 0 else now[2],
            profit=held.open_value,
            reason="open",
            stop=exits.get("stop"),
            target=exits.get("limit"),
        )
        found.append((held.instrument, one))
    return found


def _prices(record: SessionRecord, priced: list[tuple[str, PricedTrade]]) -> list[dict[str, Any]]:
    """Return per instrument the whole session and its last bars."""
    pictures = []
    for symbol in sorted({name.rpartition("-")[0] for name in record.series}):
        named = [name for name, rows in record.series.items() if rows and name.rpartition("-")[0] == symbol]
        if not named:
            continue
        name = min(named, key=lambda one: timeframe_of(one).ns)
        rows, length = record.series[name], timeframe_of(name).ns
        mine = [one for traded, one in priced if traded == symbol]
        parts: list[tuple[str, Sequence[BarRow]]] = [("The whole session", rows)]
        if len(rows) > _DETAIL * 3 // 2:
            parts.append((f"The last {_DETAIL} bars", rows[-_DETAIL:]))
        for title, part in parts:
            label = f"{symbol} with the session's trades. {title}"
            drawn = price_chart(part, length, mine, digits=instrument(symbol).price_precision, label=label)
            pictures.append({"title": f"{name}: {title.lower()}", "svg": Markup(drawn)})
    return pictures


def _differences(proofs: Sequence[Proof]) -> list[dict[str, Any]]:
    return [
        {
            "strategy": one.strategy,
            "bar": time_text(difference.entry_bar_ns, "m"),
            "side": difference.side,
            "where": difference.where,
            "why": difference.why,
            "text": f"{difference.rule.replace('_', ' ')}: " * bool(difference.rule)
            + _WHY.get(difference.why, difference.why.replace("_", " ")),
            "live": difference.live or "–",
            "backtest": difference.backtest or "–",
        }
        for one in proofs
        for difference in one.differences
    ]


def _costs(record: SessionRecord) -> list[dict[str, Any]]:
    """Return per strategy what was earned before costs and what they took."""
    rows = []
    for one in record.config.strategies:
        trades = [trade for trade in record.trades if trade.strategy == one.id]
        rows.append({"strategy": one.id, "spec": Path(one.spec).name, **_sums(trades)})
    if len(rows) > 1:
        rows.append({"strategy": "all", "spec": "", **_sums(record.trades)})
    return rows


def _sums(trades: Sequence[LiveTrade]) -> dict[str, Any]:
    net, commission = sum(t.pnl for t in trades), sum(t.commission for t in trades)
    swap = sum(t.swap for t in trades)
    return {
        "trades": len(trades),
        "won": sum(t.pnl > 0 for t in trades),
        "gross": net + commission - swap,
        "commission": -commission,
        "swap": swap,
        "nights": sum(t.nights for t in trades),
        "net": net,
        "units": sum(t.size for t in trades),
    }


def _days(record: SessionRecord) -> str:
    """Draw the profit of each day (UTC, by exit); nothing where there is but one."""
    days: dict[str, list[float]] = {}
    for trade in record.trades:
        days.setdefault(time_text(trade.exit_ts_ns, "m")[:10], []).append(trade.pnl)
    if len(days) < 2:
        return ""
    names = sorted(days)
    return charts.bar_chart(
        [name[5:] for name in names],
        [sum(days[name]) for name in names],
        [len(days[name]) for name in names],
        title="Profit and trades by day",
        unit=record.currency,
    )


def _limits(record: SessionRecord) -> list[dict[str, Any]]:
    """Return each limit that is set: what it allows, what it stands at, how often it refused."""
    config, risk, refused = record.config.guard.limits, record.guard.risk, record.refused()
    loss = risk.day_equity - risk.last_equity
    fall = (risk.peak_equity - risk.last_equity) / risk.peak_equity if risk.peak_equity > 0 else 0.0
    now = {"max_daily_loss": f"{max(loss, 0.0):,.2f}", "max_drawdown": f"{max(fall, 0.0):.2%}"}
    rows = []
    for name in config.__struct_fields__:
        limit = getattr(config, name)
        if name != "on_loss" and limit is not None:
            rows.append(
                {
                    "rule": name,
                    "limit": f"{limit:,g}",
                    "now": now.get(name, ""),
                    "refused": refused.get(name, 0),
                    "holds": name in risk.breached,
                }
            )
    return rows


def _feed_picture(record: SessionRecord) -> str:
    """Draw when the feed could not be traded on."""
    changes = record.of_kind("feed")
    name = finest_series(record)
    if not changes or record.last is None or name is None:
        return ""
    start, stop = record.series[name][0].ts_open_ns, record.last[0]
    bad, closed = [], []
    for number, one in enumerate(changes):
        change = one.record["change"]
        later = changes[number + 1].record["change"]["ts_ns"] if number + 1 < len(changes) else stop
        span = tick_charts.Span(change["ts_ns"], later, f"{when(change['ts_ns'])}: {change['text']}")
        if change["state"] in _NO_LIFE:
            bad.append(span)
        elif change["state"] == "closed":
            closed.append(span)
    return tick_charts.gap_timeline(start, stop, closed, bad)


def _health(record: SessionRecord) -> list[Fact]:
    starts = record.of_kind("began")
    facts = [
        Fact(name="Stretches", value=f"{len(starts):,}"),
        Fact(name="Quotes taken", value=f"{record.position:,}, {record.dropped:,} dropped"),
        Fact(name="Events", value=f"{record.happenings[-1].number if record.happenings else 0:,}"),
    ]
    for kind, name in (
        ("uncovered", "Moments without a stop"),
        ("node_error", "Errors of the node"),
        ("flatten_failed", "Failed closes"),
        ("warning", "Warnings"),
    ):
        rows = record.of_kind(kind)
        texts = list(dict.fromkeys(sentence(one) for one in rows))
        value = "none" if not rows else f"{len(rows):,}: " + "; ".join(texts[:5])
        facts.append(Fact(name=name, value=value))
    facts += [Fact(name=f"{name} stopped", value=text) for name, text in record.broken.items()]
    return facts


def _frame_text(strategy: TradedSpec) -> str:
    """Return the bars of a strategy; of a ranked entry those of its run, which may be gone by now."""
    try:
        return strategy.frame.label
    except AioptError:
        return "bars of its run"


def _settings(record: SessionRecord) -> dict[str, Any]:
    return msgspec.to_builtins(record.config)


def _columns(facts: list[Fact]) -> list[list[Fact]]:
    middle = (len(facts) + 1) // 2
    return [column for column in (facts[:middle], facts[middle:]) if column]
