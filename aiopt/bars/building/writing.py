"""From the rows of all shards to bar files: merged, proved to hold every tick, finished, written.

Owns what is written where, and that nothing is written unless all of it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from aiopt.bars.building.shard_jobs import ShardRows
from aiopt.bars.files import bar_path, write_bars
from aiopt.bars.reducing.reducer import Columns, FinishedBars, FinishedStops
from aiopt.bars.reducing.reducers import make_reducers
from aiopt.bars.request import BarRequest
from aiopt.bars.schema import BarMeta
from aiopt.bars.stops.stop_files import STOPS_NAME, StopMeta, StopTable, read_stop_meta, write_stop_table
from aiopt.errors import DataError, ManifestError
from aiopt.market.instrument import instrument
from aiopt.ticks.manifest import Manifest
from aiopt.ticks.shards import Shard


class BarFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bar file that was written.

    Attributes
    ----------
    path : str
        Where it lies.
    instrument, timeframe, price : str
        As in `BarMeta`.
    bars : int
        Bars in it.
    first_ts_open_ns, last_ts_open_ns : int
        Opening times of the first and last.
    """

    path: str
    instrument: str
    timeframe: str
    price: str
    bars: int
    first_ts_open_ns: int
    last_ts_open_ns: int


def write_bar_files(
    shards: Sequence[Shard],
    found: Sequence[ShardRows],
    request: BarRequest,
    out_dir: Path,
    manifest: Manifest,
) -> tuple[list[BarFile], dict[str, int]]:
    """Merge the rows of each instrument, check that they hold every tick, and write one file per series.

    Parameters
    ----------
    shards : sequence of Shard
        Whose instrument the rows are of.
    found : sequence of ShardRows
        What each gave, from its true state.
    request : BarRequest
        What to write.
    out_dir : Path
        See `aiopt.bars.files.bar_path`.
    manifest : Manifest
        Of the ticks: provenance, and the number of ticks the bars must hold.

    Returns
    -------
    files : list of BarFile
        Ordered by instrument, rule and price.
    left_over : dict of str to int
        See `BarBuild.ticks_left_over`.

    Raises
    ------
    ManifestError
        If the rows do not hold every tick of the manifest once, but for those outside.
    DataError
        If a series has no bar, or volume bars are asked of ticks without sizes.
    """
    reducers = {shard.instrument: make_reducers(request, instrument(shard.instrument)) for shard in shards}
    merged: dict[str, list[Columns]] = {}
    for symbol, those in sorted(reducers.items()):
        mine = [part.rows for shard, part in zip(shards, found, strict=True) if shard.instrument == symbol]
        merged[symbol] = [
            reducer.merge([batch for rows in mine for batch in rows[number]])
            for number, reducer in enumerate(those)
        ]
    outside = sum(part.outside for part in found)
    for one_series in zip(*merged.values(), strict=True):
        _check_total(sum(int(rows["ticks"].sum()) for rows in one_series), outside, manifest)
    # Whatever a reducer refuses, it refuses here, before the first file.
    finishing = [
        (symbol, reducer.finish(rows))
        for symbol, series in merged.items()
        for reducer, rows in zip(reducers[symbol], series, strict=True)
    ]
    files: list[BarFile] = []
    left_over: dict[str, int] = {}
    for symbol, finished in finishing:
        for one in finished:
            meta = _meta(symbol, one, request, manifest)
            if isinstance(one, FinishedStops):
                _write_stops(out_dir, one, meta)
                continue
            if one.rule.type == "renko":
                left_over[f"{one.rule.label}/{one.price}"] = one.left_over
            files.append(_write_bars(out_dir, one, meta))
    return files, left_over


def _meta(symbol: str, one: FinishedBars | FinishedStops, request: BarRequest, manifest: Manifest) -> BarMeta:
    return BarMeta(
        instrument=symbol,
        timeframe=one.rule.label,
        price=one.price if isinstance(one, FinishedBars) else "",
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
        source=manifest.source,
        type=one.rule.type,
        size=one.rule.size,
        session=request.session_label,
        fill=request.fill,
    )


def _check_total(counted: int, outside: int, manifest: Manifest) -> None:
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


def _write_bars(out_dir: Path, one: FinishedBars, meta: BarMeta) -> BarFile:
    path = bar_path(out_dir, meta.instrument, meta.timeframe, meta.price)
    write_bars(path, one.frame, meta)
    return BarFile(
        path=str(path),
        instrument=meta.instrument,
        timeframe=meta.timeframe,
        price=meta.price,
        bars=one.frame.height,
        first_ts_open_ns=one.frame["ts_open_ns"][0],
        last_ts_open_ns=one.frame["ts_open_ns"][-1],
    )


def _write_stops(out_dir: Path, stops: FinishedStops, bars: BarMeta) -> None:
    """Write the stop ladder of one timeframe beside its bars, or remove one of other bars."""
    path = bar_path(out_dir, bars.instrument, bars.timeframe, "bid").with_name(STOPS_NAME)
    ladder = stops.ladder
    if ladder is None:
        known = read_stop_meta(path)
        if known is not None and (known.data_hash, known.session) != (bars.data_hash, bars.session):
            path.unlink()
        return
    meta = StopMeta(
        instrument=bars.instrument,
        timeframe=bars.timeframe,
        data_hash=bars.data_hash,
        synthetic=bars.synthetic,
        session=bars.session,
        price_scale=ladder.price_scale,
    )
    write_stop_table(path, StopTable(stops.ts_open_ns, ladder, meta))
