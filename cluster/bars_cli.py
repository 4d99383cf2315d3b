"""The command `aiopt bars`: build bar files from a tick store, and look at one.

Owns flags, the choice between one process and the cluster, and what is printed.  Knows nothing of how bars
are built.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.cli.bars_import import command as import_bars
from aiopt.cli.output import emit, json_option, progress
from aiopt.timeframe import parse_timeframe
from cluster.connection import cluster_connection, connected

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.market.bar_shards import BarBuild, BarRequest, Progress

LOCAL_BELOW_TICKS = 100_000_000
"""`--engine auto` starts no cluster for fewer ticks: one process builds them while a cluster starts."""


@click.group(epilog="Example: aiopt bars build --ticks data/ticks --out data/bars --timeframes 1m,5m")
def command() -> None:
    """Build bars from ticks, or import a provider's own."""


command.add_command(import_bars)


@command.command(
    epilog="Example: aiopt bars build --ticks data/ticks --out data/bars --timeframes 1m,5m,15m --price all"
)
@click.option("--ticks", "ticks_dir", type=click.Path(path_type=Path), required=True, help="Tick store.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path), required=True, help="Folder of the bars.")
@click.option("--timeframes", default="1m", show_default=True, help="Comma-separated, e.g. 30s,1m,4h,1d.")
@click.option(
    "--price",
    default="bid",
    show_default=True,
    help="bid, ask, mid, several separated by commas, or all.",
)
@click.option(
    "--empty",
    type=click.Choice(["omit", "flat"]),
    default="omit",
    show_default=True,
    help="Bars without ticks: left out, or flat at the previous close with volume 0.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "ray", "local"]),
    default="auto",
    show_default=True,
    help="auto: one process, or Ray when RAY_ADDRESS is set or the ticks are very many.",
)
@json_option
def build(
    ticks_dir: Path, out_dir: Path, timeframes: str, price: str, empty: str, engine: str, as_json: bool
) -> None:
    """Build bar files OUT/INSTRUMENT/TIMEFRAME/PRICE.parquet from a tick store.

    The result is the same, bit for bit, whichever engine builds it.
    """
    request = parse_request(timeframes, price, empty)
    from aiopt.market.manifest import read_manifest

    total = sum(partition.rows for partition in read_manifest(ticks_dir).partitions)
    with progress("ticks to bars", total) as report:
        result = _build(ticks_dir, out_dir, request, engine, total, lambda done, _: report(done))
    emit(as_json, result, lambda console: _print_build(console, result, out_dir))


@command.command(epilog="Example: aiopt bars show data/bars/EURUSD/1m --json")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--timeframe", help="Which bars, when PATH leads to several.")
@json_option
def show(path: Path, timeframe: str | None, as_json: bool) -> None:
    """Show what a bar file or folder holds, as a backtest would read it."""
    document = describe(path, timeframe)
    emit(as_json, document, lambda console: _print_bars(console, document))


def parse_request(timeframes: str, price: str, empty: str) -> BarRequest:
    """Return what the flags ask for.

    Raises
    ------
    ConfigError
        If a timeframe, price or rule is unknown.
    """
    from aiopt.market.bar_shards import BarRequest
    from aiopt.market.bars import PRICES

    names = [name.strip() for name in timeframes.split(",") if name.strip()]
    prices = PRICES if price == "all" else tuple(name.strip() for name in price.split(",") if name.strip())
    return BarRequest(
        timeframes=tuple(parse_timeframe(name) for name in names),
        prices=tuple(prices),
        empty="flat" if empty == "flat" else "omit",
    )


def describe(path: Path, timeframe: str | None = None) -> dict[str, Any]:
    """Return the facts of a series of bars as plain data."""
    from aiopt.market.bars import load_bar_set

    bars = load_bar_set(path, timeframe=timeframe)
    return {
        "path": str(path),
        "instrument": bars.bid.instrument,
        "timeframe": bars.timeframe.label,
        "prices": [bars.bid.price] if bars.single_price else [bars.bid.price, bars.ask.price],
        "single_price": bars.single_price,
        "bars": len(bars),
        "first_ts_open_ns": int(bars.bid.ts_open_ns[0]),
        "last_ts_open_ns": int(bars.bid.ts_open_ns[-1]),
        "gaps": int((bars.bid.ts_open_ns[1:] - bars.bid.ts_open_ns[:-1] > bars.timeframe.ns).sum()),
        "first_open": float(bars.bid.open[0]),
        "last_close": float(bars.bid.close[-1]),
        "lowest": float(bars.bid.low.min()),
        "highest": float(bars.bid.high.max()),
        "volume": float(bars.bid.volume.sum()),
        "data_hash": bars.data_hash,
        "synthetic": bars.synthetic,
    }


def _build(
    ticks_dir: Path, out_dir: Path, request: BarRequest, engine: str, total: int, report: Progress
) -> BarBuild:
    if engine == "local" or (engine == "auto" and total < LOCAL_BELOW_TICKS and not connected()):
        from aiopt.market.bar_shards import build_bars_locally

        return build_bars_locally(ticks_dir, out_dir, request, progress=report)
    with cluster_connection():
        from cluster.data import build_bars_distributed

        return build_bars_distributed(ticks_dir, out_dir, request, progress=report)


def _print_build(console: Console, result: BarBuild, out_dir: Path) -> None:
    from rich.table import Table

    table = Table("instrument", "timeframe", "price", "bars", "first bar (UTC)", "last bar (UTC)", "file")
    for file in result.files:
        table.add_row(
            file.instrument,
            file.timeframe,
            file.price,
            f"{file.bars:,}",
            _utc(file.first_ts_open_ns),
            _utc(file.last_ts_open_ns),
            "/".join(Path(file.path).parts[-3:]),
        )
    console.print(table)
    console.print(f"Written below {out_dir}", soft_wrap=True)
    origin = "synthetic ticks" if result.synthetic else "ticks"
    console.print(
        f"{result.ticks:,} {origin} in {result.elapsed_s:.2f} s "
        f"({result.ticks_per_s / 1e6:.1f} million per second, engine {result.engine})."
    )


def _print_bars(console: Console, document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in document.items():
        if name.endswith("_ns"):
            table.add_row(name.removesuffix("_ns").replace("_", " "), _utc(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            table.add_row(name.replace("_", " "), f"{value:,}")
        else:
            table.add_row(name.replace("_", " "), str(value))
    console.print(table)


def _utc(ts_ns: int) -> str:
    return dt.datetime.fromtimestamp(ts_ns // 1_000_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
