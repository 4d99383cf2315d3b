"""``aiopt indicators``: list the indicator kinds and compute one over bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import OutFile, instrument_option, json_option
from aiopt.cli.output import check_table_name, emit, number, print_table, text, write_frame
from aiopt.errors import SpecError
from aiopt.outputs import TABLE

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
    import numpy as np
    import polars as pl

    from aiopt.bars.files import load_bar_set
    from aiopt.indicators import indicator_def
    from aiopt.strategy.signals import series_arrays
    from aiopt.strategy.spec_rules import check_source

    definition = indicator_def(kind)
    args = definition.check_args({**definition.defaults(), **_parse_args(pairs)}, where="--arg")
    check_source(definition, source, where="--source")
    check_table_name(out)

    bars = getattr(load_bar_set(bars_path, timeframe=timeframe, symbol=symbol), price)
    inputs = [series_arrays(bars, source if name == "source" else name) for name in definition.inputs]
    outputs = dict(zip(definition.outputs, definition.compute(inputs, args), strict=True))
    missing = np.logical_or.reduce([np.isnan(values) for values in outputs.values()])
    first = None if missing.all() else int(np.argmin(missing))
    frame = pl.DataFrame({"ts_open_ns": bars.ts_open_ns, **outputs})
    document: dict[str, Any] = {
        "kind": kind,
        "args": args,
        "source": source if definition.inputs == ("source",) else None,
        "bars": len(bars),
        "first_value_index": first,
    }
    if out is not None:
        write_frame(frame, out)
        document["out"] = str(out)
    else:
        document["ts_open_ns"] = bars.ts_open_ns.tolist()
        document["outputs"] = {name: values.tolist() for name, values in outputs.items()}

    def human(console: Console) -> None:
        console.print(f"{definition.title} over {len(bars)} bars, first value on bar {first}.")
        if out is not None:
            console.print(f"Written to {out}", markup=False, soft_wrap=True)
            return
        shown = frame.tail(_SHOWN_ROWS).with_columns(pl.from_epoch("ts_open_ns", time_unit="ns"))
        rows = [(str(ts), *(f"{value:.8g}" for value in values)) for ts, *values in shown.iter_rows()]
        print_table(console, ("bar opens (UTC)", *map(number, definition.outputs)), rows)

    emit(as_json, document, human)


def _parse_args(pairs: tuple[str, ...]) -> dict[str, int | float]:
    result: dict[str, int | float] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            result[name.strip()] = int(text) if text.strip().lstrip("+-").isdigit() else float(text)
        except ValueError as failure:
            msg = f"--arg must be NAME=NUMBER, but got {pair!r}. Write e.g. length=14."
            raise SpecError(msg) from failure
    return result
