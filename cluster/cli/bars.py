"""The command `aiopt bars`: build bar files from a tick store, and look at one.

Owns flags and what is printed.  Knows nothing of how bars are built.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from aiopt.cli.bars_import import command as import_bars
from aiopt.cli.options import OutFolder, json_option
from aiopt.cli.output import Column, emit, number, print_pairs, print_table, progress, text
from aiopt.errors import ConfigError
from aiopt.utc import time_text
from cluster.connection import cluster_connection, connected

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.bars.building.build import BarBuild, Progress
    from aiopt.bars.reducing.filling import Fill
    from aiopt.bars.request import BarRequest
    from aiopt.bars.schema import Empty
    from aiopt.market.sessions import TradingSession


@click.group(epilog="Example: aiopt bars build --ticks data/ticks/EURUSD --out data/bars --timeframes 1m,5m")
def command() -> None:
    """Build bars from ticks, or import a provider's own."""


command.add_command(import_bars)


@command.command(
    epilog="Example: aiopt bars build --ticks data/ticks/EURUSD --out data/bars --type range --size 5,10 "
    "--price mid"
)
@click.option("--ticks", "ticks_dir", type=click.Path(path_type=Path), required=True, help="Tick store.")
@click.option("--out", "out_dir", type=OutFolder(), required=True, help="Folder of the bars.")
@click.option(
    "--type",
    "type_",
    type=click.Choice(["time", "tick", "volume", "range", "renko"]),
    default="time",
    show_default=True,
    help="When a bar ends.",
)
@click.option("--timeframes", help="Time bars: comma-separated, e.g. 30s,1m,4h,1d.  [default: 1m]")
@click.option(
    "--size",
    help="Other bars: comma-separated ticks, units of the base currency (volume) or pips (range, renko).",
)
@click.option(
    "--price",
    default="bid",
    show_default=True,
    help="bid, ask, mid, several separated by commas, or all.",
)
@click.option(
    "--session",
    help="When the trading day starts (17:00), or the part of each day to keep (08:00-17:00).",
)
@click.option("--timezone", help="Time zone of --session, e.g. America/New_York.  [default: UTC]")
@click.option("--spread-stats", is_flag=True, help="Add mean, max, last and time-weighted spread per bar.")
@click.option(
    "--fill",
    type=click.Choice(["none", "flat", "linear"]),
    default="none",
    show_default=True,
    help="Time bars: add a bar where the market is open but no tick came; the column `filled` marks it.",
)
@click.option(
    "--empty",
    type=click.Choice(["omit", "flat"]),
    default="omit",
    show_default=True,
    help="Time bars: where no tick came, leave the bar out, or add a flat one with volume 0, also while "
    "the market is closed.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "ray", "local"]),
    default="auto",
    show_default=True,
    help="auto: this process, or Ray if RAY_ADDRESS is set or there are very many ticks.",
)
@json_option
def build(  # one parameter per flag
    ticks_dir: Path,
    out_dir: Path,
    type_: str,
    timeframes: str | None,
    size: str | None,
    price: str,
    session: str | None,
    timezone: str | None,
    spread_stats: bool,
    fill: str,
    empty: str,
    engine: str,
    as_json: bool,
) -> None:
    """Build bar files OUT/INSTRUMENT/TIMEFRAME/PRICE.parquet from a tick store.

    Other than time bars go to OUT/INSTRUMENT/TYPE-SIZE.  The result is the same, bit for bit,
    whichever engine builds it.  Definitions: docs/how-to/bars.md.
    """
    from aiopt.bars.building.build import choose_engine
    from aiopt.bars.building.neighbours import check_neighbours
    from aiopt.ticks.manifest import read_manifest

    request = parse_request(
        type_,
        timeframes,
        size,
        price,
        session=parse_session_flags(session, timezone),
        spread_stats=spread_stats,
        empty=empty,
        fill=fill,
    )
    manifest = read_manifest(ticks_dir)
    check_neighbours(out_dir, manifest, request)
    chosen = choose_engine(engine, manifest, connected=connected())
    with progress("ticks to bars", manifest.rows) as report:
        result = _build(ticks_dir, out_dir, request, chosen, lambda done, _: report(done))
    emit(as_json, result, lambda console: _print_build(console, result, out_dir))


@command.command(epilog="Example: aiopt bars show data/bars/EURUSD/1m --json")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--timeframe", help="Which bars, if PATH holds several, e.g. 5m or range-5.")
@json_option
def show(path: Path, timeframe: str | None, as_json: bool) -> None:
    """Show what a bar file or folder holds, whatever the type of its bars."""
    from aiopt.bars.describing import describe_bars

    document = describe_bars(path, timeframe)
    emit(as_json, document, lambda console: _print_bars(console, document))


def parse_session_flags(session: str | None, timezone: str | None) -> TradingSession | None:
    """Return the session the flags ask for.

    Raises
    ------
    ConfigError
        If it is none, or a timezone comes without a session.
    """
    if session is None:
        if timezone is not None:
            msg = f"--timezone {timezone} needs a session. Add e.g. --session 17:00."
            raise ConfigError(msg)
        return None
    from aiopt.market.sessions import parse_session

    return parse_session(session, timezone or "UTC")


def parse_request(
    type_: str,
    timeframes: str | None,
    size: str | None,
    price: str,
    *,
    session: TradingSession | None = None,
    spread_stats: bool = False,
    empty: str = "omit",
    fill: str = "none",
) -> BarRequest:  # reason: one parameter per flag of the command
    """Return what the flags ask for.

    Raises
    ------
    ConfigError
        If a flag does not go with the type of the bars, or a timeframe, size or price is none.
    """
    from aiopt.bars.request import BarRequest
    from aiopt.bars.rules import parse_bar_rules
    from aiopt.bars.schema import TIME_BARS, parse_prices

    if type_ == TIME_BARS and size is not None:
        raise ConfigError("--size does not apply to time bars. Use --timeframes, e.g. --timeframes 5m.")
    if type_ != TIME_BARS and (timeframes is not None or fill != "none" or empty != "omit"):
        msg = f"--timeframes, --fill and --empty apply to time bars only, but --type is {type_}. Use --size."
        raise ConfigError(msg)
    sizes = (timeframes or "1m") if type_ == TIME_BARS else (size or "")
    return BarRequest(
        parse_bar_rules(type_, sizes),
        parse_prices(price),
        session=session,
        spread_stats=spread_stats,
        empty=cast("Empty", empty),
        fill=cast("Fill", fill),
    )


def _build(ticks_dir: Path, out_dir: Path, request: BarRequest, engine: str, report: Progress) -> BarBuild:
    from aiopt.bars.building.build import build

    if engine == "local":
        return build(ticks_dir, out_dir, request, progress=report)
    with cluster_connection():
        from cluster.bars import RayEngine

        return build(ticks_dir, out_dir, request, engine=RayEngine(), progress=report)


def _print_build(console: Console, result: BarBuild, out_dir: Path) -> None:
    columns: tuple[Column | str, ...] = (
        *("instrument", "timeframe", "price", number("bars")),
        *(text("first bar (UTC)"), text("last bar (UTC)"), text("file")),
    )
    rows = [
        (
            file.instrument,
            file.timeframe,
            file.price,
            f"{file.bars:,}",
            time_text(file.first_ts_open_ns),
            time_text(file.last_ts_open_ns),
            "/".join(Path(file.path).parts[-3:]),
        )
        for file in result.files
    ]
    print_table(console, columns, rows)
    folders = dict.fromkeys(str(Path(file.path).parent) for file in result.files)
    console.print(f"Written below {out_dir}. A command that reads bars takes one folder:", soft_wrap=True)
    for folder in folders:
        console.print(f"  --bars {folder}", soft_wrap=True, markup=False)
    if result.ticks_outside:
        console.print(f"{result.ticks_outside:,} ticks came outside the session and are in no bar.")
    for series, ticks in result.ticks_left_over.items():
        console.print(
            f"{ticks:,} ticks of {series} came after the last full brick of their session and are in no bar."
        )
    origin = "synthetic ticks" if result.synthetic else "ticks"
    console.print(
        f"{result.ticks:,} {origin} in {result.elapsed_s:.2f} s "
        f"({result.ticks_per_s:,.0f} per second, engine {result.engine})."
    )


def _print_bars(console: Console, document: dict[str, Any]) -> None:
    pairs = []
    for name, value in document.items():
        if name.endswith("_ns"):
            pairs.append((name.removesuffix("_ns").replace("_", " "), time_text(value)))
        elif isinstance(value, list):
            pairs.append((name.replace("_", " "), ", ".join(value)))
        elif value == "":
            continue
        elif isinstance(value, bool):
            pairs.append((name.replace("_", " "), "yes" if value else "no"))
        elif isinstance(value, int):
            pairs.append((name.replace("_", " "), f"{value:,}"))
        elif isinstance(value, float):
            # 12 digits: all there are in a price, without what adding two doubles leaves behind them.
            pairs.append((name.replace("_", " "), f"{value:,.0f}" if name == "volume" else f"{value:.12g}"))
        else:
            pairs.append((name.replace("_", " "), str(value)))
    print_pairs(console, pairs)
