"""Cutting a tick store into shards, and reading one: every file and tick checked against the manifest.

A shard is a run of consecutive Parquet row groups of one instrument.  Shards are planned from the manifest
and may be read anywhere in any order.  Owns the agreement between manifest and files; knows nothing of bars,
and nothing of Ray, which may read a shard elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.errors import ConfigError, DataError, ManifestError
from aiopt.files import sha256_file
from aiopt.ticks.manifest import Manifest, Partition

Result = TypeVar("Result")

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
    absent : tuple of str
        Validation rules whose ticks the import dropped or refused, so that none may be here, to be checked.
    """

    path: str
    rows: int
    row_groups: tuple[int, ...] | None
    first_ts_ns: int | None
    last_ts_ns: int | None
    sha256: str | None
    absent: tuple[str, ...] = ()


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


def plan_shards(
    ticks_dir: Path, manifest: Manifest, rows_per_shard: int = ROWS_PER_SHARD, *, verify: bool = True
) -> list[Shard]:
    """Cut a tick store into shards of about `rows_per_shard` ticks, each whole row groups of one instrument.

    Only partitions larger than an eighth of a shard are opened here, to learn their row groups.

    Parameters
    ----------
    ticks_dir : Path
        Folder of the manifest.
    manifest : Manifest
        Its partitions are taken in the order of instrument and time.
    rows_per_shard : int
        A shard is closed once it holds this many ticks.
    verify : bool
        Let whoever reads a file compare its SHA-256 with the manifest, and look for crossed and duplicate
        ticks if the import dropped or refused such: about 6 ns a tick.  Rows, the first and last stamp of
        each partition, the order of stamps and that prices are finite are checked in any case.

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
    absent = tuple(
        count.rule
        for count in manifest.rules
        if verify and count.treatment != "keep" and count.rule in ("crossed", "duplicate")
    )
    shards: list[Shard] = []
    pending: list[Piece] = []
    held = 0
    instrument = ""

    def close() -> None:
        nonlocal held
        held = 0
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
            piece = replace(piece, sha256=piece.sha256 if verify else None, absent=absent)
            if pending and piece.row_groups is not None and pending[-1].path == piece.path:
                pending[-1] = _join(pending[-1], piece)
            else:
                pending.append(piece)
            held += piece.rows
            if held >= rows_per_shard:
                close()
    close()
    if not shards:
        msg = "This tick store has no ticks. Import ticks of an open market."
        raise ManifestError(msg, file=ticks_dir)
    return shards


def without_verification(shard: Shard) -> Shard:
    """Return the shard for a reader that need not verify it again."""
    return replace(shard, pieces=tuple(replace(piece, sha256=None, absent=()) for piece in shard.pieces))


def map_ticks(
    shard: Shard, columns: Sequence[str], function: Callable[[dict[str, NDArray[Any]]], Result]
) -> Iterator[Result]:
    """Apply a function to the ticks of a shard, one checked row group in memory at a time, in order.

    Parameters
    ----------
    shard : Shard
        From `plan_shards`.
    columns : sequence of str
        Tick columns the function needs, the time among them.
    function : callable
        Takes the ticks as a dict of arrays; a `DataError` it raises gets the file and the row in it.

    Raises
    ------
    ManifestError
        If a file is missing, unreadable, or not what the manifest says; names the file.
    DataError
        If ticks break a rule; names the file and row.
    """
    for piece in shard.pieces:
        needed = list(dict.fromkeys((*columns, *(("bid", "ask") if piece.absent else ()))))
        offset = 0
        last_ts_ns = None
        for ticks in _read_row_groups(piece, needed):
            ts = ticks["ts_event_ns"]
            if last_ts_ns is None:
                _check_stamp(piece, "first", piece.first_ts_ns, int(ts[0]))
            try:
                _check_absent(piece, ticks)
                result = function(ticks)
            except DataError as failure:
                row = None if failure.row is None else failure.row + offset
                raise DataError(failure.reason, file=piece.path, row=row) from failure
            yield result
            offset += ts.size
            last_ts_ns = int(ts[-1])
        if last_ts_ns is not None:
            _check_stamp(piece, "last", piece.last_ts_ns, last_ts_ns)


def _pieces(ticks_dir: Path, partition: Partition, rows_per_shard: int) -> Iterator[Piece]:
    """Yield a small partition whole and a large one as row groups, so that shards come out equally large."""
    path = str((ticks_dir / partition.path).absolute())
    if partition.rows <= rows_per_shard // 8:
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


def _join(first: Piece, second: Piece) -> Piece:
    """Return two pieces of neighbouring row groups of one file as one: a file is opened once per shard."""
    groups = (*(first.row_groups or ()), *(second.row_groups or ()))
    rows = first.rows + second.rows
    return replace(first, rows=rows, row_groups=groups, last_ts_ns=second.last_ts_ns)


def _read_row_groups(piece: Piece, columns: list[str]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the ticks of a piece, one row group in memory at a time."""
    with _open(piece.path) as file:
        _check_bytes(piece)
        groups = range(file.metadata.num_row_groups) if piece.row_groups is None else piece.row_groups
        if max(groups, default=-1) >= file.metadata.num_row_groups:
            msg = f"Row group {max(groups)} is missing: the file has {file.metadata.num_row_groups}."
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
        msg = "This file of the tick store is missing. Import the ticks again."
        raise ManifestError(msg, file=path) from failure
    except (pa.ArrowException, OSError) as failure:
        raise _unreadable(path, failure) from failure


def _unreadable(path: str, failure: Exception) -> ManifestError:
    msg = f"This file is no readable Parquet: {failure}. Import the ticks again."
    return ManifestError(msg, file=path)


def _array(table: pa.Table, name: str, path: str) -> NDArray[Any]:
    if name not in table.column_names:
        raise ManifestError(f"This file has no column {name}. Import the ticks again.", file=path)
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
        msg = f"This file holds {found} ticks; the manifest says {expected}."
        raise ManifestError(msg + " Import the ticks again.", file=path)


def _check_bytes(piece: Piece) -> None:
    """Compare a file with its manifest."""
    if piece.sha256 is not None and sha256_file(Path(piece.path)) != piece.sha256:
        msg = "This file was changed after the import: its SHA-256 is not that of the manifest."
        raise ManifestError(msg + " Import the ticks again.", file=piece.path)


def _check_absent(piece: Piece, ticks: Mapping[str, NDArray[Any]]) -> None:
    """Refuse ticks the import is said to have dropped; a duplicate across two row groups is not seen."""
    if not piece.absent:
        return
    found = _find_bad_quotes(ticks["ts_event_ns"], ticks["bid"], ticks["ask"])
    for rule, row in zip(("crossed", "duplicate"), found, strict=True):
        if row >= 0 and rule in piece.absent:
            values = (
                f"ts_event_ns={ticks['ts_event_ns'][row]}, bid={ticks['bid'][row]}, ask={ticks['ask'][row]}"
            )
            msg = f"The import dropped {rule} ticks, but one is here: {values}. Import the ticks again."
            raise DataError(msg, row=row)


@compiled
def _find_bad_quotes(
    ts: NDArray[np.int64], bid: NDArray[np.float64], ask: NDArray[np.float64]
) -> tuple[int, int]:
    """Return the first tick whose ask is below its bid, and the first equal to the tick before; else -1."""
    crossed = -1
    duplicate = -1
    for i in range(ts.size):
        if ask[i] < bid[i] and crossed < 0:
            crossed = i
        if i and ts[i] == ts[i - 1] and bid[i] == bid[i - 1] and ask[i] == ask[i - 1] and duplicate < 0:
            duplicate = i
    return crossed, duplicate


def _check_stamp(piece: Piece, which: str, expected: int | None, found: int) -> None:
    if expected is not None and found != expected:
        msg = f"The {which} tick of this file is of {found} ns; the manifest says {expected}."
        raise ManifestError(msg + " Import the ticks again.", file=piece.path)
