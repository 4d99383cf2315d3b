"""``aiopt indicators``: list the indicator kinds and compute one over bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import OutFile, instrument_option, json_option
from aiopt.cli.output import Column, check_table_name, emit, number, print_table, text, write_frame
from aiopt.outputs import TABLE
from aiopt.utc import time_text

if TYPE_CHECKING:
    from aiopt.indicators import IndicatorDef

_SHOWN_ROWS = 10


@click.group(
    invoke_without_command=True,
    epilog="Example: aiopt indicators compute --bars data/bars/EURUSD/1m --kind rsi --arg length=14",
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List indicators and compute them over bars; without a subcommand, list them."""
    if ctx.invoked_subcommand is None:
        _list(as_json)


@command.command("list", epilog="Example: aiopt indicators list --json")
@json_option
def list_command(as_json: bool) -> None:
    """List the kinds with their arguments, outputs and first bar with a value."""
    _list(as_json)


def _list(as_json: bool) -> None:
    from aiopt.indicators import INDICATORS

    document = {"indicators": [_describe(definition) for definition in INDICATORS.values()]}

    def human(console: Console) -> None:
        columns = ("kind", text("title"), text("arguments (default)"), text("outputs"), number("first value"))
        rows = []
        for definition in INDICATORS.values():
            arguments = ", ".join(f"{name} ({arg.default})" for name, arg in definition.args.items())
            first = str(definition.warmup(definition.defaults()))
            rows.append((definition.kind, definition.title, arguments, ", ".join(definition.outputs), first))
        print_table(console, columns, rows)
        console.print(
            "First value: 0-based bar on which every output has a value, with the default arguments."
        )

    emit(as_json, document, human)


def _describe(definition: IndicatorDef) -> dict[str, Any]:
    return {
        "kind": definition.kind,
        "title": definition.title,
        "args": {
            name: {
                "type": arg.type.__name__,
                "minimum": arg.minimum,
                "maximum": arg.maximum,
                "default": arg.default,
            }
            for name, arg in definition.args.items()
        },
        "inputs": list(definition.inputs),
        "outputs": list(definition.outputs),
        "first_value_index": definition.warmup(definition.defaults()),
    }


@command.command(
    "compute",
    epilog="Example: aiopt indicators compute --bars data/bars/EURUSD/1m --kind macd --arg fast=8 --json",
)
@click.option(
    "--bars",
    "bars_path",
    required=True,
    type=click.Path(path_type=Path),
    help="Bar Parquet file or folder.",
)
@click.option("--kind", required=True, help="Indicator kind; see `aiopt indicators list`.")
@click.option("--arg", "pairs", multiple=True, metavar="NAME=NUMBER", help="An argument; defaults otherwise.")
@click.option("--source", default="close", show_default=True, help="Series the indicator reads.")
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option("--price", type=click.Choice(["bid", "ask"]), default="bid", show_default=True, help="Side.")
@click.option("--out", type=OutFile(TABLE), help="Write a .parquet or .csv file instead of printing.")
@json_option
def compute_command(
    bars_path: Path,
    kind: str,
    pairs: tuple[str, ...],
    source: str,
    timeframe: str | None,
    symbol: str | None,
    price: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compute one indicator over bars."""
    from aiopt.bars.files import load_bar_set
    from aiopt.strategy.indicator_values import choose_indicator

    chosen = choose_indicator(kind, pairs, source)
    check_table_name(out)
    bars = getattr(load_bar_set(bars_path, timeframe=timeframe, symbol=symbol), price)
    values = chosen.over(bars)
    document: dict[str, Any] = {
        "kind": kind,
        "args": chosen.args,
        "source": chosen.own_source,
        "bars": len(bars),
        "first_value_index": values.first_value_index,
    }
    if out is not None:
        write_frame(values.frame(), out)
        document["out"] = str(out)
    else:
        document["ts_open_ns"] = values.ts_open_ns.tolist()
        document["outputs"] = {name: column.tolist() for name, column in values.outputs.items()}

    def human(console: Console) -> None:
        first = values.first_value_index
        console.print(f"{chosen.definition.title} over {len(bars)} bars, first value on bar {first}.")
        if out is not None:
            console.print(f"Written to {out}", markup=False, soft_wrap=True)
            return
        last = slice(-_SHOWN_ROWS, None)
        times = [time_text(int(ts)) for ts in values.ts_open_ns[last]]
        cells = [[f"{value:.8g}" for value in column[last]] for column in values.outputs.values()]
        columns: list[Column | str] = ["bar opens (UTC)", *map(number, values.outputs)]
        print_table(console, columns, list(zip(times, *cells, strict=True)))

    emit(as_json, document, human)
