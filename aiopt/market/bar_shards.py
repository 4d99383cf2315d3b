"""From a tick store to bar files: cutting the store into shards, reducing one shard, writing the bars.

A shard is a run of consecutive Parquet row groups of one instrument.  Shards are planned from the manifest,
reduced anywhere in any order, and merged in their order.  Owns the agreement between manifest and files;
knows nothing of Ray, which may run `reduce_shard` elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiopt.errors import ConfigError, DataError, ManifestError
from aiopt.files import sha256_file
from aiopt.market.bars import BarMeta, Empty, bar_path, check_empty, check_price, write_bars
from aiopt.market.manifest import Manifest, Partition, read_manifest
from aiopt.market.partial_bars import (
    Columns,
    TickReducer,
    base_timeframe,
    empty_partial,
    finish_bars,
    merge_partials,
    tick_columns,
)
from aiopt.timeframe import Timeframe

Progress = Callable[[int, int], None]
"""Called with the number of ticks done and the number of all ticks."""

ROWS_PER_SHARD = 1_048_576
"""Ticks of a shard when nothing else is asked for: about 0.05 s of work."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Row groups of one partition.

    Attributes
    ----------
    path : str
        Absolute path of the Parquet file.
    rows : int
        Ticks in these row groups.
    row_groups : tuple of int or None
        None for the whole file.
    first_ts_ns, last_ts_ns : int or None
        What the manifest says of the first and last tick, where they belong to this piece.
    sha256 : str or None
        What the manifest says of the file's bytes, if this piece is the one to check them.
    """

    path: str
    rows: int
    row_groups: tuple[int, ...] | None
    first_ts_ns: int | None
    last_ts_ns: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive ticks of one instrument: the unit of work.

    Attributes
    ----------
    index : int
        Place in the order of merging, from 0.
    instrument : str
        Symbol.
    pieces : tuple of Piece
        In time order.
    """

    index: int
    instrument: str
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """Ticks in the shard."""
        return sum(piece.rows for piece in self.pieces)


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
    """

    files: list[BarFile]
    ticks: int
    shards: int
    engine: str
    elapsed_s: float
    ticks_per_s: float
    data_hash: str
    synthetic: bool


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
    """

    timeframes: tuple[Timeframe, ...]
    prices: tuple[str, ...]
    empty: Empty = "omit"

    def __post_init__(self) -> None:
        for name, values in (("timeframe", self.timeframes), ("price", self.prices)):
            if not values:
                raise ConfigError(f"Bars need at least one {name}, but got none. Name one, e.g. 1m or bid.")
            object.__setattr__(self, f"{name}s", tuple(dict.fromkeys(values)))
        for price in self.prices:
            check_price(price)
        check_empty(self.empty)

    @property
    def base(self) -> Timeframe:
        """Length of the partial bars."""
        return base_timeframe(self.timeframes)


def plan_shards(
    ticks_dir: Path, manifest: Manifest, rows_per_shard: int = ROWS_PER_SHARD, *, verify: bool = True
) -> list[Shard]:
    """Cut a tick store into shards of about `rows_per_shard` ticks, each whole row groups of one instrument.

    Only partitions larger than a shard are opened here, to learn their row groups.

    Parameters
    ----------
    ticks_dir : Path
        Folder of the manifest.
    manifest : Manifest
        Its partitions are taken in the order of instrument and time.
    rows_per_shard : int
        A shard is closed once it holds this many ticks.
    verify : bool
        Let whoever reads a file compare its SHA-256 with the manifest: about 5 ns a tick.  Rows and the first
        and last stamp of each partition are compared in any case.

    Raises
    ------
    ManifestError
        If the manifest lists no ticks, or a partition is missing, unreadable or of another length than the
        manifest says.
    ConfigError
        If `rows_per_shard` is not positive.
    """
    if rows_per_shard < 1:
        raise ConfigError(f"`rows_per_shard >= 1` must hold, but got {rows_per_shard}. Leave it out.")
    shards: list[Shard] = []
    pending: list[Piece] = []
    instrument = ""

    def close() -> None:
        if pending:
            shards.append(Shard(index=len(shards), instrument=instrument, pieces=tuple(pending)))
            pending.clear()

    for partition in sorted(
        manifest.partitions, key=lambda part: (part.instrument, part.first_ts_ns, part.path)
    ):
        if partition.instrument != instrument:
            close()
            instrument = partition.instrument
        for piece in _pieces(Path(ticks_dir), partition, rows_per_shard):
            pending.append(piece if verify else replace(piece, sha256=None))
            if sum(part.rows for part in pending) >= rows_per_shard:
                close()
    close()
    if not shards:
        msg = "Bars need at least one tick, but the manifest lists none. Import ticks of an open market."
        raise ManifestError(msg, file=ticks_dir)
    return shards


def reduce_shard(shard: Shard, base: Timeframe, prices: Sequence[str]) -> Columns:
    """Read the ticks of a shard, one row group at a time, and return their partial bars.

    Parameters
    ----------
    shard : Shard
        From `plan_shards`.
    base : Timeframe
        Length of the smallest bars.
    prices : sequence of str
        Sides.

    Returns
    -------
    dict of str to ndarray
        See `aiopt.market.partial_bars.TickReducer.reduce`.

    Raises
    ------
    ManifestError
        If a file is missing, unreadable, or not what the manifest says; names the file.
    DataError
        If ticks are out of order or not finite; names the file and row.
    """
    parts: list[Columns] = []
    reducer = TickReducer(base, prices)
    for piece in shard.pieces:
        offset = 0
        last_ts_ns = None
        for ticks in _read_row_groups(piece, tick_columns(prices)):
            ts = ticks["ts_event_ns"]
            if last_ts_ns is None:
                _check_stamp(piece, "first", piece.first_ts_ns, int(ts[0]))
            try:
                parts.append(reducer.reduce(ticks))
            except DataError as failure:
                row = None if failure.row is None else failure.row + offset
                raise DataError(failure.reason, file=piece.path, row=row) from failure
            offset += ts.size
            last_ts_ns = int(ts[-1])
        if last_ts_ns is not None:
            _check_stamp(piece, "last", piece.last_ts_ns, last_ts_ns)
    return merge_partials(parts, base) if parts else empty_partial(prices)


def write_bar_files(
    partials: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]],
    request: BarRequest,
    out_dir: Path,
    manifest: Manifest,
) -> list[BarFile]:
    """Merge the partial bars of each instrument and write one file per timeframe and price.

    Parameters
    ----------
    partials : mapping of str to sequence of partial bars
        Instrument to the parts of its shards, in the order of the shards.
    request : BarRequest
        What to write.
    out_dir : Path
        See `aiopt.market.bars.bar_path`.
    manifest : Manifest
        Of the ticks: provenance, and the number of ticks the bars must hold.

    Raises
    ------
    ManifestError
        If the bars do not hold every tick of the manifest exactly once.
    """
    merged = {symbol: merge_partials(parts, request.base) for symbol, parts in sorted(partials.items())}
    counted = sum(int(partial["ticks"].sum()) for partial in merged.values())
    expected = sum(partition.rows for partition in manifest.partitions)
    if counted != expected:
        msg = f"Bars must hold every tick of the manifest once, but hold {counted} of {expected}."
        raise ManifestError(msg + " Import the ticks again.")
    files = []
    for symbol, partial in merged.items():
        for timeframe in sorted(request.timeframes):
            for price in request.prices:
                bars = finish_bars(partial, price, timeframe, request.empty)
                meta = BarMeta(
                    instrument=symbol,
                    timeframe=timeframe.label,
                    price=price,
                    data_hash=manifest.data_hash,
                    synthetic=manifest.synthetic,
                    source=manifest.source,
                )
                path = bar_path(out_dir, symbol, timeframe, price)
                write_bars(path, bars, meta)
                files.append(
                    BarFile(
                        path=str(path),
                        instrument=symbol,
                        timeframe=timeframe.label,
                        price=price,
                        bars=bars.height,
                        first_ts_open_ns=bars["ts_open_ns"][0],
                        last_ts_open_ns=bars["ts_open_ns"][-1],
                    )
                )
    return files


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
    done = 0
    for shard in shards:
        partials.setdefault(shard.instrument, []).append(reduce_shard(shard, request.base, request.prices))
        done += shard.rows
        if progress is not None:
            progress(done, total)
    files = write_bar_files(partials, request, out_dir, manifest)
    elapsed_s = time.perf_counter() - started
    return summarise(files, manifest, total, len(shards), "local", elapsed_s)


def summarise(
    files: list[BarFile], manifest: Manifest, ticks: int, shards: int, engine: str, elapsed_s: float
) -> BarBuild:
    """Return the `BarBuild` of a finished build."""
    return BarBuild(
        files=files,
        ticks=ticks,
        shards=shards,
        engine=engine,
        elapsed_s=elapsed_s,
        ticks_per_s=ticks / elapsed_s,
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
    )


def _pieces(ticks_dir: Path, partition: Partition, rows_per_shard: int) -> Iterator[Piece]:
    """Yield a small partition whole and a large one as row groups."""
    path = str((ticks_dir / partition.path).absolute())
    if partition.rows <= rows_per_shard:
        if partition.rows:
            yield Piece(
                path, partition.rows, None, partition.first_ts_ns, partition.last_ts_ns, partition.sha256
            )
        return
    with _open(path) as file:
        footer = file.metadata
        _check_rows(path, partition.rows, footer.num_rows)
        last = footer.num_row_groups - 1
        for group in range(footer.num_row_groups):
            rows = footer.row_group(group).num_rows
            yield Piece(
                path,
                rows,
                (group,),
                partition.first_ts_ns if group == 0 else None,
                partition.last_ts_ns if group == last else None,
                partition.sha256 if group == 0 else None,
            )


def _read_row_groups(piece: Piece, columns: list[str]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the ticks of a piece, one row group in memory at a time."""
    with _open(piece.path) as file:
        _check_bytes(piece)
        groups = range(file.metadata.num_row_groups) if piece.row_groups is None else piece.row_groups
        if max(groups, default=-1) >= file.metadata.num_row_groups:
            msg = f"The partition must have row group {max(groups)}, but has {file.metadata.num_row_groups}."
            raise ManifestError(msg + " Import the ticks again.", file=piece.path)
        _check_rows(piece.path, piece.rows, sum(file.metadata.row_group(group).num_rows for group in groups))
        for group in groups:
            try:
                table = file.read_row_group(group, columns=columns, use_threads=False)
            except (pa.ArrowException, OSError) as failure:
                raise _unreadable(piece.path, failure) from failure
            if table.num_rows:
                yield {name: _array(table, name, piece.path) for name in columns}


def _open(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError as failure:
        msg = "Every partition of the manifest must exist, but this file does not. Import the ticks again."
        raise ManifestError(msg, file=path) from failure
    except (pa.ArrowException, OSError) as failure:
        raise _unreadable(path, failure) from failure


def _unreadable(path: str, failure: Exception) -> ManifestError:
    msg = f"A partition must be readable Parquet, but: {failure}. Import the ticks again."
    return ManifestError(msg, file=path)


def _array(table: pa.Table, name: str, path: str) -> NDArray[Any]:
    if name not in table.column_names:
        raise ManifestError(f"A partition must have the column {name}. Import the ticks again.", file=path)
    column = table.column(name)
    wanted = pa.int64() if name == "ts_event_ns" else pa.float64()
    if column.type != wanted or column.null_count:
        found = f"{column.type} with {column.null_count} nulls"
        msg = f"The column {name} must be {wanted} without nulls, but is {found}. Import the ticks again."
        raise ManifestError(msg, file=path)
    return (
        np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False))
        if column.num_chunks != 1
        else (column.chunk(0).to_numpy())
    )


def _check_rows(path: str, expected: int, found: int) -> None:
    if found != expected:
        msg = f"A partition must hold the {expected} ticks its manifest names, but holds {found}."
        raise ManifestError(msg + " Import the ticks again.", file=path)


def _check_bytes(piece: Piece) -> None:
    """Compare a file with its manifest."""
    if piece.sha256 is not None and sha256_file(Path(piece.path)) != piece.sha256:
        msg = "A partition must be the file that was imported, but its SHA-256 is not that of the manifest."
        raise ManifestError(msg + " Import the ticks again.", file=piece.path)


def _check_stamp(piece: Piece, which: str, expected: int | None, found: int) -> None:
    if expected is not None and found != expected:
        msg = (
            f"The {which} tick of a partition must be of {expected} ns as in its manifest, but is of {found}."
        )
        raise ManifestError(msg + " Import the ticks again.", file=piece.path)
