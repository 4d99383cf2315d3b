"""The command `aiopt bars`: build bar files from a tick store, and look at one.

Owns flags, the choice between one process and the cluster, and what is printed.  Knows nothing of how bars
are built.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from aiopt.cli.bars_import import command as import_bars
from aiopt.cli.output import emit, json_option, progress
from aiopt.errors import ConfigError, DataError, UnevenBarsError
from aiopt.timeframe import parse_timeframe
from cluster.connection import cluster_connection, connected

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.bars.building.event_shards import EventRequest
    from aiopt.bars.building.filling import Fill
    from aiopt.bars.building.shards import BarBuild, BarRequest, Progress
    from aiopt.market.sessions import TradingSession
    from aiopt.ticks.manifest import Manifest

LOCAL_BELOW_TICKS = 100_000_000
"""`--engine auto` starts no cluster for fewer ticks: one process builds them while a cluster starts."""


@click.group(epilog="Example: aiopt bars build --ticks data/ticks --out data/bars --timeframes 1m,5m")
def command() -> None:
    """Build bars from ticks, or import a provider's own."""


command.add_command(import_bars)


@command.command(
    epilog="Example: aiopt bars build --ticks data/ticks --out data/bars --type range --size 5,10 --price mid"
)
@click.option("--ticks", "ticks_dir", type=click.Path(path_type=Path), required=True, help="Tick store.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path), required=True, help="Folder of the bars.")
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
    help="Bars begin with these days (17:00), or lie in this window of each (08:00-17:00).",
)
@click.option("--timezone", help="Wall clock of --session, e.g. America/New_York.  [default: UTC]")
@click.option("--spread-stats", is_flag=True, help="Add mean, max, last and time-weighted spread per bar.")
@click.option(
    "--fill",
    type=click.Choice(["none", "flat", "linear"]),
    default="none",
    show_default=True,
    help="Time bars: add bars without ticks while the market is open, marked in the column `filled`.",
)
@click.option(
    "--empty",
    type=click.Choice(["omit", "flat"]),
    default="omit",
    show_default=True,
    help="Time bars without ticks: left out, or flat everywhere and unmarked, with volume 0.",
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

    Bars of other types than time lie in OUT/INSTRUMENT/TYPE-SIZE.  The result is the same, bit for bit,
    whichever engine builds it.  Definitions: docs/how-to/bars.md.
    """
    days = parse_session_flags(session, timezone)
    request: BarRequest | EventRequest
    if type_ == "time":
        if size is not None:
            raise ConfigError("Time bars have a timeframe, but --size was given. Use --timeframes 5m.")
        request = parse_request(
            timeframes or "1m", price, empty, fill, session=days, spread_stats=spread_stats
        )
    else:
        if timeframes is not None or fill != "none" or empty != "omit":
            msg = f"--timeframes, --fill and --empty are of time bars, but --type is {type_}. Use --size."
            raise ConfigError(msg)
        request = parse_event_request(type_, size or "", price, session=days, spread_stats=spread_stats)
    from aiopt.ticks.manifest import read_manifest

    manifest = read_manifest(ticks_dir)
    check_neighbours(out_dir, manifest, request)
    total = sum(partition.rows for partition in manifest.partitions)
    with progress("ticks to bars", total) as report:
        result = _build(ticks_dir, out_dir, request, engine, total, lambda done, _: report(done))
    emit(as_json, result, lambda console: _print_build(console, result, out_dir))


@command.command(epilog="Example: aiopt bars show data/bars/EURUSD/1m --json")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--timeframe", help="Which bars, when PATH leads to several: 5m, range-5.")
@json_option
def show(path: Path, timeframe: str | None, as_json: bool) -> None:
    """Show what a bar file or folder holds, whatever the type of its bars."""
    document = describe(path, timeframe)
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
            msg = (
                f"A timezone needs a session, but got --timezone {timezone} alone. Add e.g. --session 17:00."
            )
            raise ConfigError(msg)
        return None
    from aiopt.market.sessions import parse_session

    return parse_session(session, timezone or "UTC")


def parse_prices(text: str) -> tuple[str, ...]:
    """Return the price sides of ``--price``."""
    from aiopt.bars.schema import PRICES

    return PRICES if text == "all" else tuple(name.strip() for name in text.split(",") if name.strip())


def parse_request(
    timeframes: str,
    price: str,
    empty: str,
    fill: str = "none",
    *,
    session: TradingSession | None = None,
    spread_stats: bool = False,
) -> BarRequest:
    """Return what the flags ask for.

    Raises
    ------
    ConfigError
        If a timeframe, price or rule is unknown.
    """
    from aiopt.bars.building.shards import BarRequest

    names = [name.strip() for name in timeframes.split(",") if name.strip()]
    return BarRequest(
        timeframes=tuple(parse_timeframe(name) for name in names),
        prices=parse_prices(price),
        empty="flat" if empty == "flat" else "omit",
        session=session,
        spread_stats=spread_stats,
        fill=cast("Fill", fill),
    )


def parse_event_request(
    type_: str, size: str, price: str, *, session: TradingSession | None = None, spread_stats: bool = False
) -> EventRequest:
    """Return what the flags ask for.

    Raises
    ------
    ConfigError
        If a size is none of that type, or a price is unknown.
    """
    from aiopt.bars.building.event_bars import parse_rules
    from aiopt.bars.building.event_shards import EventRequest

    return EventRequest(parse_rules(type_, size), parse_prices(price), session, spread_stats)


def check_neighbours(out_dir: Path, manifest: Manifest, request: BarRequest | EventRequest) -> None:
    """Raise `DataError` if a series would get sides of different ticks, sessions or fillings.

    Nothing could use such a folder: bid and ask of a backtest must belong together.
    """
    from aiopt.bars.building.shards import BarRequest
    from aiopt.bars.files import bar_path, read_bar_meta
    from aiopt.bars.schema import PRICES

    if isinstance(request, BarRequest):
        labels, fill = [timeframe.label for timeframe in request.timeframes], request.fill
    else:
        labels, fill = [rule.label for rule in request.rules], "none"
    session = "" if request.session is None else request.session.label
    others = [price for price in PRICES if price not in request.prices]
    for symbol in sorted({partition.instrument for partition in manifest.partitions}):
        for path in (bar_path(out_dir, symbol, label, price) for label in labels for price in others):
            meta = read_bar_meta(path)
            if meta is None or (meta.data_hash, meta.session, meta.fill) == (
                manifest.data_hash,
                session,
                fill,
            ):
                continue
            together = ",".join((*request.prices, path.stem))
            msg = (
                "The sides of a series must be built from the same ticks, session and filling, but this one "
            )
            msg += f"was not. Build it too (--price {together})"
            raise DataError(f"{msg}, or choose another folder.", file=path)


def describe(path: Path, timeframe: str | None = None) -> dict[str, Any]:
    """Return the facts of a series of bars as plain data."""
    from aiopt.bars.files import load_bar_set, read_series
    from aiopt.bars.schema import TIME_BARS

    if timeframe is not None and timeframe[:1].isdigit():
        timeframe = parse_timeframe(timeframe).label
    tables = read_series(path, timeframe)
    first = next(iter(tables.values()))
    frame, meta = first.frame, first.meta
    document: dict[str, Any] = {
        "path": str(path),
        "instrument": meta.instrument,
        "type": meta.type,
        "timeframe": meta.timeframe,
        "session": meta.session,
        "fill": meta.fill,
        "prices": [table.meta.price for table in tables.values()],
        "single_price": len(tables) == 1,
        "bars": frame.height,
        "first_ts_open_ns": int(frame["ts_open_ns"][0]),
        "last_ts_open_ns": int(frame["ts_open_ns"][-1]),
        "first_open": float(frame["open"][0]),
        "last_close": float(frame["close"][-1]),
        "lowest": float(frame["low"].min()),  # type: ignore[arg-type]
        "highest": float(frame["high"].max()),  # type: ignore[arg-type]
        "volume": float(frame["volume"].sum()),
        "ticks": int(frame["ticks"].sum()),
        "columns": frame.columns,
        "data_hash": meta.data_hash,
        "synthetic": any(table.meta.synthetic for table in tables.values()),
    }
    if meta.type == TIME_BARS:
        length_ns = parse_timeframe(meta.timeframe).ns
        document["gaps"] = int((frame["ts_open_ns"].diff() > length_ns).sum())
        try:
            # As a backtest reads them: both sides must fit together.
            document["data_hash"] = load_bar_set(path, timeframe=timeframe, allow_interpolated=True).data_hash
        except UnevenBarsError as reason:
            document["not_for_backtests"] = reason.reason
    else:
        document["size"] = meta.size
        seconds = (frame["ts_close_ns"] - frame["ts_open_ns"]) / 1e9
        document["median_ticks"] = frame["ticks"].median()
        document["median_seconds"] = seconds.median()
    if "filled" in frame.columns:
        document["filled"] = int(frame["filled"].sum())
    if "spread_mean" in frame.columns:
        document["mean_spread"] = frame["spread_mean"].fill_nan(None).mean()
        document["largest_spread"] = frame["spread_max"].fill_nan(None).max()
    return document


def _build(
    ticks_dir: Path,
    out_dir: Path,
    request: BarRequest | EventRequest,
    engine: str,
    total: int,
    report: Progress,
) -> BarBuild:
    from aiopt.bars.building.event_shards import build_event_bars_locally
    from aiopt.bars.building.shards import BarRequest, build_bars_locally

    if engine == "local" or (engine == "auto" and total < LOCAL_BELOW_TICKS and not connected()):
        if isinstance(request, BarRequest):
            return build_bars_locally(ticks_dir, out_dir, request, progress=report)
        return build_event_bars_locally(ticks_dir, out_dir, request, progress=report)
    with cluster_connection():
        from cluster.bars import build_bars_distributed, build_event_bars_distributed

        if isinstance(request, BarRequest):
            return build_bars_distributed(ticks_dir, out_dir, request, progress=report)
        return build_event_bars_distributed(ticks_dir, out_dir, request, progress=report)


def _print_build(console: Console, result: BarBuild, out_dir: Path) -> None:
    from rich.table import Table

    table = Table("instrument", "timeframe", "price", "bars", "first bar (UTC)", "last bar (UTC)")
    table.add_column("file", overflow="fold")
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
    if result.ticks_outside:
        console.print(f"{result.ticks_outside:,} ticks lie outside the session, in no bar.")
    for series, ticks in result.ticks_left_over.items():
        console.print(f"{ticks:,} ticks of {series} lie behind the last brick of their session, in no bar.")
    origin = "synthetic ticks" if result.synthetic else "ticks"
    console.print(
        f"{result.ticks:,} {origin} in {result.elapsed_s:.2f} s "
        f"({result.ticks_per_s:,.0f} per second, engine {result.engine})."
    )


def _print_bars(console: Console, document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in document.items():
        if name.endswith("_ns"):
            table.add_row(name.removesuffix("_ns").replace("_", " "), _utc(value))
        elif isinstance(value, list):
            table.add_row(name.replace("_", " "), ", ".join(value))
        elif value == "":
            continue
        elif isinstance(value, bool):
            table.add_row(name.replace("_", " "), "yes" if value else "no")
        elif isinstance(value, int):
            table.add_row(name.replace("_", " "), f"{value:,}")
        elif isinstance(value, float):
            # 12 digits: all there are in a price, without what adding two doubles leaves behind them.
            table.add_row(name.replace("_", " "), f"{value:,.0f}" if name == "volume" else f"{value:.12g}")
        else:
            table.add_row(name.replace("_", " "), str(value))
    console.print(table)


def _utc(ts_ns: int) -> str:
    return dt.datetime.fromtimestamp(ts_ns // 1_000_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
