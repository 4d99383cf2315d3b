"""The command `aiopt ticks spread-model`.  Owns flags and what is printed; measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from aiopt.cli.options import OutFile, json_option
from aiopt.cli.output import Column, emit, number, print_table, progress
from aiopt.outputs import SPREADS

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.bars.spread_model import By, SpreadModel


@click.command("spread-model", epilog="Example: aiopt ticks spread-model data/ticks/EURUSD --out spread.yaml")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", type=OutFile(SPREADS), required=True, help="YAML file.")
@click.option(
    "--by",
    type=click.Choice(["hour", "hour_of_week"]),
    default="hour",
    show_default=True,
    help="Rows of the table: 24 hours of the day, or 168 of the week from Monday; New York time.",
)
@json_option
def spread_model(store: Path, out: Path, by: str, as_json: bool) -> None:
    """Measure the spread of the tick store STORE by hour, for bars that have one side alone.

    The table says mean, median and quantiles over the ticks of each hour.  It goes into
    `aiopt optimize --bars … --spread-file`.
    """
    from aiopt.bars.spread_model import estimate_spread_model, write_spread_model
    from aiopt.bars.stops.stop_measuring import with_stops

    with progress("measuring spreads", 100) as report:
        model = estimate_spread_model(
            store, by=cast("By", by), progress=lambda done, total: report(100.0 * done / max(total, 1))
        )
    with progress("measuring stops", 100) as report:
        model = with_stops(model, store, progress=lambda done, total: report(100.0 * done / max(total, 1)))
    write_spread_model(out, model)
    emit(as_json, {"out": str(out), "model": model}, lambda console: _print(console, model, out))


def _print(console: Console, model: SpreadModel, out: Path) -> None:
    columns: tuple[Column | str, ...] = (
        "New York",
        *map(number, ("ticks", "mean", "median", "p75", "p95", "p99", "max")),
    )
    rows = []
    for row in model.hours:
        values = (row.mean, row.median, row.p75, row.p95, row.p99, row.max)
        rows.append((row.at, f"{row.ticks:,}", *(f"{value:.2f}" for value in values)))
    print_table(console, columns, rows)
    kind = "SYNTHETIC ticks" if model.synthetic else "ticks"
    console.print(
        f"pips over {model.ticks:,} {kind} of {model.instrument}, {model.first[:10]} to {model.last[:10]}"
    )
    if model.stops is not None:
        console.print(f"stops: {model.stops.text}, at most {model.stops.max_ticks:g} ticks")
    if model.crossed:
        console.print(f"{model.crossed:,} ticks with ask below bid left out")
    console.print(f"written to {out}", soft_wrap=True)
