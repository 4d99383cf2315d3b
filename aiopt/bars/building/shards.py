"""From a tick store to files of time bars: reducing one shard, merging shards in order, writing the bars.

Shards (`aiopt.ticks.shards`) are reduced anywhere in any order.  Owns what is asked for and what was
done; knows nothing of Ray, which may run `reduce_shard` elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.building.filling import Fill, check_fill, fill_gaps
from aiopt.bars.building.partial_bars import (
    Columns,
    TickReducer,
    base_timeframe,
    empty_partial,
    finish_bars,
    merge_partials,
    tick_columns,
)
from aiopt.bars.files import bar_path, write_bars
from aiopt.bars.schema import BarMeta, Empty, check_empty, check_price
from aiopt.bars.stops.stop_files import STOPS_NAME, StopMeta, StopTable, read_stop_meta, write_stop_table
from aiopt.bars.stops.stop_ladders import RECORD_COLUMNS, RECORD_SIDES, make_ladder
from aiopt.errors import ConfigError, DataError, ManifestError
from aiopt.market.instrument import instrument
from aiopt.market.sessions import TradingSession, check_session_timeframe
from aiopt.ticks.manifest import Manifest, read_manifest
from aiopt.ticks.shards import ROWS_PER_SHARD, Shard, map_ticks, plan_shards
from aiopt.timeframe import Timeframe

Progress = Callable[[int, int], None]
"""Called with the number of ticks done and the number of all ticks."""


class BarFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bar file that was written."""

    path: str
    instrument: str
    timeframe: str
    price: str
    bars: int
    first_ts_open_ns: int
    last_ts_open_ns: int


class BarBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a build did: the files and how fast they came to be.

    Attributes
    ----------
    files : list of BarFile
        Ordered by instrument, timeframe, price.
    ticks : int
        Ticks read; equals the manifest's.
    shards : int
        Units of work.
    engine : str
        ``"local"`` or ``"ray"``.
    elapsed_s, ticks_per_s : float
        Wall time from planning to the last file, and its rate.
    data_hash : str
        Of the tick store.
    synthetic : bool
        True if the ticks were generated.
    ticks_outside : int
        Ticks outside the sessions asked for, which are in no bar.
    ticks_left_over : dict of str to int
        Renko bars: ``renko-5/bid`` to the ticks behind the last brick of each session, which are in no bar.
    """

    files: list[BarFile]
    ticks: int
    shards: int
    engine: str
    elapsed_s: float
    ticks_per_s: float
    data_hash: str
    synthetic: bool
    ticks_outside: int = 0
    ticks_left_over: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class BarRequest:
    """Which bars to build.

    Attributes
    ----------
    timeframes : tuple of Timeframe
        At least one; repeated ones count once.
    prices : tuple of str
        Among `PRICES`; at least one; repeated ones count once.
    empty : {"omit", "flat"}
        What happens to bars without ticks.
    session : TradingSession, optional
        Bars begin with its days, and ticks outside it are left out; otherwise bars begin at whole multiples
        of their length since the epoch, UTC.
    spread_stats : bool
        Add the columns of `aiopt.bars.building.spread_columns.SPREAD_COLUMNS`.
    fill : {"none", "flat", "linear"}
        Add marked bars for times without ticks, see `aiopt.bars.building.filling`.
    stops : bool
        Where bid and ask bars are built, write ``stops.parquet`` beside them, by which a backtest fills stops
        at the first quote beyond; see `aiopt.bars.stops.stop_ladders`.
    """

    timeframes: tuple[Timeframe, ...]
    prices: tuple[str, ...]
    empty: Empty = "omit"
    session: TradingSession | None = None
    spread_stats: bool = False
    fill: Fill = "none"
    stops: bool = True

    def __post_init__(self) -> None:
        for name, values in (("timeframe", self.timeframes), ("price", self.prices)):
            if not values:
                raise ConfigError(f"Bars need at least one {name}, but got none. Name one, e.g. 1m or bid.")
            object.__setattr__(self, f"{name}s", tuple(dict.fromkeys(values)))
        for price in self.prices:
            check_price(price)
        check_empty(self.empty)
        check_fill(self.fill)
        if self.empty == "flat" and (self.session is not None or self.fill != "none"):
            msg = (
                "Bars without ticks can be flat everywhere or be filled and marked in sessions, but got both."
            )
            raise ConfigError(msg + ' Leave `empty` out and use fill="flat".')
        if self.session is not None:
            for timeframe in self.timeframes:
                check_session_timeframe(timeframe)

    @property
    def base(self) -> Timeframe:
        """Length of the partial bars."""
        return base_timeframe(self.timeframes)

    @property
    def with_stops(self) -> bool:
        """True if stop ladders are built: asked for, and of both sides."""
        return self.stops and set(RECORD_SIDES) <= set(self.prices)


def reduce_shard(shard: Shard, request: BarRequest) -> tuple[Columns, int]:
    """Read the ticks of a shard, one row group at a time, and return their partial bars.

    Parameters
    ----------
    shard : Shard
        From `plan_shards`.
    request : BarRequest
        Which bars the parts are for.

    Returns
    -------
    partial : dict of str to ndarray
        See `aiopt.bars.building.partial_bars.TickReducer.reduce`.
    outside : int
        Ticks outside the sessions.

    Raises
    ------
    ManifestError
        If a file is missing, unreadable, or not what the manifest says; names the file.
    DataError
        If ticks are out of order or not finite; names the file and row.
    """
    spread = request.spread_stats
    reducer = TickReducer(
        request.base,
        request.prices,
        session=request.session,
        spread_scale=instrument(shard.instrument).price_scale if spread else 0,
        stops=request.with_stops,
    )
    parts = list(map_ticks(shard, tick_columns(request.prices, spread=spread), reducer.reduce))
    if not parts:
        return empty_partial(request.prices, spread=spread, stops=request.with_stops), 0
    return merge_partials(parts, request.base, request.session), reducer.outside


def write_bar_files(
    partials: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]],
    request: BarRequest,
    out_dir: Path,
    manifest: Manifest,
    outside: int = 0,
) -> list[BarFile]:
    """Merge the partial bars of each instrument and write one file per timeframe and price.

    Parameters
    ----------
    partials : mapping of str to sequence of partial bars
        Instrument to the parts of its shards, in the order of the shards.
    request : BarRequest
        What to write.
    out_dir : Path
        See `aiopt.bars.files.bar_path`.
    manifest : Manifest
        Of the ticks: provenance, and the number of ticks the bars must hold.
    outside : int
        Ticks outside the sessions.

    Raises
    ------
    ManifestError
        If the bars do not hold every tick of the manifest exactly once, but for those outside.
    """
    merged = {
        symbol: merge_partials(parts, request.base, request.session)
        for symbol, parts in sorted(partials.items())
    }
    check_total(sum(int(partial["ticks"].sum()) for partial in merged.values()), outside, manifest)
    files = []
    for symbol, partial in merged.items():
        item = instrument(symbol)
        for timeframe in sorted(request.timeframes):
            for price in request.prices:
                bars = finish_bars(
                    partial,
                    price,
                    timeframe,
                    request.empty,
                    session=request.session,
                    spread_scale=item.price_scale if request.spread_stats else 0,
                )
                bars = fill_gaps(
                    bars, timeframe, request.fill, session=request.session, always_open=item.always_open
                )
                meta = BarMeta(
                    instrument=symbol,
                    timeframe=timeframe.label,
                    price=price,
                    data_hash=manifest.data_hash,
                    synthetic=manifest.synthetic,
                    source=manifest.source,
                    session="" if request.session is None else request.session.label,
                    fill=request.fill,
                )
                files.append(write_bar_file(out_dir, bars, meta))
            _write_stops(out_dir, partial, timeframe, request, meta)
    return files


def _write_stops(
    out_dir: Path,
    partial: Mapping[str, NDArray[Any]],
    timeframe: Timeframe,
    request: BarRequest,
    bars: BarMeta,
) -> None:
    """Write the stop ladder of one timeframe beside its bars, or remove one of other bars.

    Ticks off the instrument's price grid have no ladder: a backtest then says what it assumes instead.
    """
    path = bar_path(out_dir, bars.instrument, timeframe, "bid").with_name(STOPS_NAME)
    ladder = None
    if request.with_stops:
        names = ("ts_open_ns", "ticks", *RECORD_COLUMNS)
        merged = merge_partials([{name: partial[name] for name in names}], timeframe, request.session)
        ladder = make_ladder(merged, instrument(bars.instrument).price_scale)
    if ladder is None:
        known = read_stop_meta(path)
        if known is not None and (known.data_hash, known.session) != (bars.data_hash, bars.session):
            path.unlink()
        return
    meta = StopMeta(
        instrument=bars.instrument,
        timeframe=timeframe.label,
        data_hash=bars.data_hash,
        synthetic=bars.synthetic,
        session=bars.session,
        price_scale=ladder.price_scale,
    )
    write_stop_table(path, StopTable(merged["ts_open_ns"], ladder, meta))


def check_total(counted: int, outside: int, manifest: Manifest) -> None:
    """Raise `ManifestError` unless bars hold every tick of the manifest that is not outside the sessions.

    Raises `DataError` if no tick lies inside.
    """
    expected = sum(partition.rows for partition in manifest.partitions)
    if counted + outside != expected:
        msg = f"Bars must hold every tick of the manifest once, but hold {counted + outside} of {expected}."
        raise ManifestError(msg + " Import the ticks again.")
    if counted == 0:
        msg = f"Some ticks must lie in the session, but none of {expected} does. Check times and timezone."
        raise DataError(msg)


def write_bar_file(out_dir: Path, bars: pl.DataFrame, meta: BarMeta) -> BarFile:
    """Write the bars of one series below `out_dir` and return what was written."""
    path = bar_path(out_dir, meta.instrument, meta.timeframe, meta.price)
    write_bars(path, bars, meta)
    return BarFile(
        path=str(path),
        instrument=meta.instrument,
        timeframe=meta.timeframe,
        price=meta.price,
        bars=bars.height,
        first_ts_open_ns=bars["ts_open_ns"][0],
        last_ts_open_ns=bars["ts_open_ns"][-1],
    )


def build_bars_locally(
    ticks_dir: Path,
    out_dir: Path,
    request: BarRequest,
    *,
    progress: Progress | None = None,
    rows_per_shard: int = ROWS_PER_SHARD,
    verify: bool = True,
) -> BarBuild:
    """Build bar files from a tick store in this process, one shard after the other.

    Parameters
    ----------
    ticks_dir : Path
        Tick store.
    out_dir : Path
        Folder of the bar files.
    request : BarRequest
        Which bars.
    progress : callable, optional
        See `Progress`.
    rows_per_shard : int
        Step of the progress; the bars do not depend on it.
    verify : bool
        See `plan_shards`.

    Returns
    -------
    BarBuild

    Raises
    ------
    DataError
        If the store is not what its manifest says.
    """
    started = time.perf_counter()
    manifest = read_manifest(Path(ticks_dir))
    shards = plan_shards(ticks_dir, manifest, rows_per_shard, verify=verify)
    total = sum(shard.rows for shard in shards)
    partials: dict[str, list[Columns]] = {}
    done = outside = 0
    for shard in shards:
        partial, beyond = reduce_shard(shard, request)
        partials.setdefault(shard.instrument, []).append(partial)
        outside += beyond
        done += shard.rows
        if progress is not None:
            progress(done, total)
    files = write_bar_files(partials, request, out_dir, manifest, outside)
    elapsed_s = time.perf_counter() - started
    return summarise(files, manifest, len(shards), "local", elapsed_s, outside)


def summarise(
    files: list[BarFile],
    manifest: Manifest,
    shards: int,
    engine: str,
    elapsed_s: float,
    outside: int,
    left_over: dict[str, int] | None = None,
) -> BarBuild:
    """Return the `BarBuild` of a finished build."""
    ticks = sum(partition.rows for partition in manifest.partitions)
    return BarBuild(
        files=files,
        ticks=ticks,
        shards=shards,
        engine=engine,
        elapsed_s=elapsed_s,
        ticks_per_s=ticks / elapsed_s,
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
        ticks_outside=outside,
        ticks_left_over=left_over or {},
    )
