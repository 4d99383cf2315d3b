"""``aiopt live orders|positions|events``: what a session holds and told, whether it runs or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, minute_text, number, print_table, text
from aiopt.errors import ConfigError, did_you_mean


@click.command("orders", epilog="Example: aiopt live orders runs/live")
@click.argument("folder", type=PATH)
@json_option
def orders_command(folder: Path, as_json: bool) -> None:
    """Show the orders of a session that are at work."""
    from aiopt.live.session.status import status_of

    found = status_of(folder)["orders"]

    def human(console: Console) -> None:
        columns = ["order", "strategy", "what", number("units"), number("price"), "of position"]
        rows = [
            [
                one["order_id"],
                one["strategy"],
                f"{'buy' if one['side'] > 0 else 'sell'} {one['kind']}",
                f"{one['units']:,}",
                "" if one["price"] is None else f"{one['price']}",
                one["position_id"] or "",
            ]
            for one in found
        ]
        _table(console, columns, rows, "No order is at work.")

    emit(as_json, found, human)


@click.command("positions", epilog="Example: aiopt live positions runs/live")
@click.argument("folder", type=PATH)
@json_option
def positions_command(folder: Path, as_json: bool) -> None:
    """Show the open positions of a session with stop, target and what closing them would bring.

    The profit is in the quote currency at the last quote, without costs.
    """
    from aiopt.live.session.status import status_of

    status = status_of(folder)
    found = [_position(one, status) for one in status["positions"]]

    def human(console: Console) -> None:
        columns = [
            *("position", "strategy", "side", number("units"), number("entry"), number("stop")),
            *(number("target"), number("P&L")),
        ]
        rows = [
            [
                one["position_id"],
                one["strategy"],
                "long" if one["side"] > 0 else "short",
                f"{one['units']:,}",
                f"{one['entry_price']}",
                *("" if one[name] is None else f"{one[name]}" for name in ("stop", "target")),
                "" if one["profit"] is None else f"{one['profit']:,.2f}",
            ]
            for one in found
        ]
        _table(console, columns, rows, "No position is open.")

    emit(as_json, found, human)


def _position(held: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    prices: dict[str, float | None] = {"stop": None, "limit": None}
    for one in status["orders"]:
        if one["position_id"] == held["position_id"] and one["kind"] in prices:
            prices[one["kind"]] = one["price"]
    last, profit = status["last_quote"], None
    if last is not None:
        mark = last["bid"] if held["side"] > 0 else last["ask"]
        profit = round(held["side"] * (mark - held["entry_price"]) * held["units"], 2)
    return held | {"stop": prices["stop"], "target": prices["limit"], "profit": profit}


@click.command("events", epilog="Example: aiopt live events runs/live --kind fill --limit 20")
@click.argument("folder", type=PATH)
@click.option("--kind", "kinds", multiple=True, help="Only this kind of event; may be given again.")
@click.option("--after", type=click.IntRange(0), default=0, show_default=True, help="Behind this number.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@json_option
def events_command(folder: Path, kinds: tuple[str, ...], after: int, limit: int, as_json: bool) -> None:
    """Show what a session told: orders, fills, positions, signals, health, commands.

    Quotes and bars are shown only if asked for by --kind.
    """
    from aiopt.bus.codec import decode_event
    from aiopt.bus.events import EVENTS
    from aiopt.live.state.session_file import read_outbox

    for kind in kinds:
        if kind not in EVENTS:
            raise ConfigError(f"There is no event {kind!r}.{did_you_mean(kind, EVENTS)}")
    rows = [document for _, document in read_outbox(folder, after=after)]
    wanted = set(kinds or EVENTS.keys() - {"quote", "bar"})
    rows = [document for document in rows if json.loads(document)["kind"] in wanted]
    found = [decode_event(document.encode()) for document in rows[-limit:]]

    def human(console: Console) -> None:
        columns = [number("number"), "market time", "kind", text("what")]
        cells = [
            [str(one.seq), minute_text(one.ts_ns) if one.ts_ns else "", one.kind, one._told().strip()]
            for one in found
        ]
        _table(console, columns, cells, "Nothing was told yet.")

    emit(as_json, found, human)


def _table(console: Console, columns: list[Any], rows: list[list[str]], none: str) -> None:
    if rows:
        print_table(console, columns, rows)
    else:
        console.print(none, markup=False)
