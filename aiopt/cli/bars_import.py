"""The command `aiopt bars import`.  Owns flags and what is printed; knows no format."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiopt.cli.check_against import check_options
from aiopt.cli.options import OutFolder, json_option
from aiopt.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.bars.importing.bar_import import BarImport


@click.command(
    "import", epilog="Example: aiopt bars import HISTDATA_COM_ASCII_EURUSD_M12018.zip --out data/bars"
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=OutFolder(), required=True, help="Folder of the bars.")
@click.option("--instrument", help="Symbol. Default: what the source says.")
@click.option(
    "--format",
    "format_",
    help="histdata, metatrader, oanda, fxcm, csv, json or parquet. Default: recognised.",
)
@click.option(
    "--timezone",
    help="Clock of the times, if not the format's own: UTC, +02:00, Europe/Athens, NY+7 (most FX brokers).",
)
@click.option(
    "--keep-clock",
    is_flag=True,
    help="Use the clock even if the FX week contradicts it; the bar files record that.",
)
@click.option(
    "--map",
    "column_map",
    metavar="ts=NAME,open=NAME,…",
    help="Columns of a table whose names are not recognised: ts (ts_close if it holds closing times), open, "
    "high, low, close or bid_open … ask_close; also volume, ticks, symbol.",
)
@click.option(
    "--time-unit",
    help="What a numeric time counts: s, ms, us, ns, dotnet, filetime, excel, or digits such as "
    "YYYYMMDDHHMM. Default: the one unit that gives possible years.",
)
@click.option(
    "--time-format",
    help="How a time is written, e.g. '%d/%m/%Y %H:%M' (also %y %b %I %p %z). Default: the one way that "
    "fits all rows.",
)
@click.option("--no-header", is_flag=True, help="The CSV has no header: --map counts columns from 0.")
@click.option(
    "--price",
    help="Which price a table with one price holds: bid, ask or mid. Default: unknown.",
)
@click.option("--drop-bad", is_flag=True, help="Leave out impossible bars and count them.")
@check_options
@json_option
def command(  # one parameter per flag
    source: Path,
    out: Path,
    instrument: str | None,
    format_: str | None,
    timezone: str | None,
    keep_clock: bool,
    column_map: str | None,
    time_unit: str | None,
    time_format: str | None,
    no_header: bool,
    price: str | None,
    drop_bad: bool,
    check_path: Path | None,
    check_timezone: str | None,
    as_json: bool,
) -> None:
    """Import SOURCE, a provider's own bars, as bar files OUT/INSTRUMENT/TIMEFRAME/PRICE.parquet.

    No ticks are made up from them.  A source of bid bars only gives bid.parquet, which
    backtests without a spread.
    """
    from aiopt.bars.importing.bar_import import import_bars
    from aiopt.bars.importing.reading import BarReading
    from aiopt.bars.importing.witness_bars import check_bars, witness_of
    from aiopt.ticks.sources import parse_columns

    reading = BarReading(
        price=price,
        format=format_,
        timezone=timezone,
        keep_clock=keep_clock,
        columns=parse_columns(column_map or ""),
        time_unit=time_unit,
        time_format=time_format,
        header=not no_header,
        drop_bad=drop_bad,
    )
    witness = witness_of(check_path, check_timezone)
    check = None if witness is None else partial(check_bars, witness=witness, source=source)
    result = import_bars(source, out, reading, instrument=instrument, check=check)
    emit(as_json, result, lambda console: _print(console, result))


def _print(console: Console, result: BarImport) -> None:
    from aiopt.utc import stamp_text

    counts = ", ".join(f"{count:,} {side}" for side, count in result.bars.items())
    console.print(
        f"{counts} bars of {result.instrument} {result.timeframe}, {stamp_text(result.first_ts_ns)[:16]} to "
        f"{stamp_text(result.last_ts_ns)[:16]} UTC ({result.format})"
    )
    console.print(f"clock: {result.proof.text}", soft_wrap=True)
    for name, count in (("repeated", result.repeated), ("impossible", result.dropped)):
        if count:
            console.print(f"{count:,} {name} bars left out")
    for note in result.notes:
        console.print(f"note: {note}", soft_wrap=True)
    for path in result.files:
        console.print(path, soft_wrap=True)
