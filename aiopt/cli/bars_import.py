"""The command `aiopt bars import`.  Owns flags and what is printed; knows no format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiopt.cli.output import emit, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.market.bar_importing import BarImport


@click.command(
    "import", epilog="Example: aiopt bars import HISTDATA_COM_ASCII_EURUSD_M12018.zip --out data/bars"
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the bars.")
@click.option("--instrument", default="EURUSD", show_default=True, help="Symbol.")
@click.option("--format", "format_", help="histdata, metatrader, oanda or fxcm; recognised if left out.")
@click.option(
    "--timezone",
    help="Clock of the stamps, if not the format's own: UTC, +02:00, Europe/Athens, NY+7 (most FX brokers).",
)
@click.option(
    "--keep-clock", is_flag=True, help="Take the clock although weeks contradict it; the bars say so."
)
@click.option("--drop-bad", is_flag=True, help="Leave impossible bars out, and count them.")
@json_option
def command(
    source: Path,
    out: Path,
    instrument: str,
    format_: str | None,
    timezone: str | None,
    keep_clock: bool,
    drop_bad: bool,
    as_json: bool,
) -> None:
    """Import SOURCE, a provider's own bars, as bar files OUT/INSTRUMENT/TIMEFRAME/PRICE.parquet.

    Bars stay bars: no ticks are invented from them.  A source of bid bars only gives bid.parquet, which
    backtests without a spread.
    """
    from aiopt.market.bar_importing import import_bars

    result = import_bars(
        source,
        out,
        instrument=instrument,
        format=format_,
        timezone=timezone,
        drop_bad=drop_bad,
        keep_clock=keep_clock,
    )
    emit(as_json, result, lambda console: _print(console, result))


def _print(console: Console, result: BarImport) -> None:
    from aiopt.market.ticks import stamp_text

    counts = ", ".join(f"{count:,} {side}" for side, count in result.bars.items())
    console.print(
        f"{counts} bars of {result.instrument} {result.timeframe}, {stamp_text(result.first_ts_ns)[:16]} to "
        f"{stamp_text(result.last_ts_ns)[:16]} UTC ({result.format})"
    )
    console.print(f"clock: {result.proof.text}", soft_wrap=True)
    for name, count in (("repeated", result.repeated), ("impossible", result.dropped)):
        if count:
            console.print(f"{count:,} {name} bars left out")
    for path in result.files:
        console.print(path, soft_wrap=True)
