"""Tick tables: CSV with a header, and Parquet, in our own schema or with usual column names.

Owns reading them block by block.  Which column is what is in `columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.market.sources.columns import map_columns, ticks_of
from aiopt.market.sources.delimited import first_line, read_blocks, split_header, text_stream
from aiopt.market.sources.local_time import Clock, WallClock
from aiopt.market.sources.source import Batch, ReaderOptions, TickSource, check_symbols
from aiopt.market.ticks import TickArrays

CSV = "csv"
PARQUET = "parquet"

_BATCH_ROWS = 1_000_000


def open_csv(root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions) -> TickSource:
    """List CSV files, in order of their first stamp.

    Raises
    ------
    DataError
        If a header lacks time, bid or ask, or the names say another instrument.
    """
    check_symbols(files, root, instrument)
    file_clock = options.file_clock(CSV, root)
    clock = file_clock.clock
    notes = _clock_notes(clock)

    def blocks(stream: IO[bytes], path: Path, wall: WallClock) -> Iterator[tuple[int, TickArrays]]:
        delimiter, names = _header(path, options)
        columns = map_columns(names, path, options.columns)
        rows = read_blocks(stream, path, columns=names, delimiter=delimiter, has_header=options.header)
        for first_row, block in rows:
            yield first_row, ticks_of(block, columns, instrument, options, (path, first_row), wall)

    def first_stamp(path: Path) -> int:
        map_columns(_header(path, options)[1], path, options.columns)
        with path.open("rb") as stream:
            head = b"".join(stream.readline(65_536) for _ in range(2 if options.header else 1))
        return _first(ticks for _, ticks in blocks(text_stream(head), path, WallClock(clock)))

    paths = tuple(sorted(files, key=lambda path: (first_stamp(path), path)))

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        wall = WallClock(clock, path)
        with path.open("rb") as stream:
            for first_row, ticks in blocks(stream, path, wall):
                yield Batch(ticks, number, first_row, stream.tell() if not stream.closed else 0)
        notes.extend(wall.notes())

    return TickSource(format=CSV, root=root, files=paths, read=read, notes=notes, clocks=(file_clock,))


def open_parquet(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List Parquet files, in order of their first stamp.

    Raises
    ------
    DataError
        If a file is not Parquet or lacks time, bid or ask, or the names say another instrument.
    """
    check_symbols(files, root, instrument)
    file_clock = options.file_clock(PARQUET, root)
    clock = file_clock.clock
    notes = _clock_notes(clock)

    def frames(path: Path, wall: WallClock, batch_rows: int) -> Iterator[tuple[int, int, TickArrays]]:
        with _open_parquet(path) as file:
            columns = map_columns(file.schema_arrow.names, path, options.columns)
            first_row = 0
            total = max(file.metadata.num_rows, 1)
            for frame in _frames(file, columns.names(), path, batch_rows):
                ticks = ticks_of(frame, columns, instrument, options, (path, first_row), wall)
                yield first_row, total, ticks
                first_row += frame.height

    def first_stamp(path: Path) -> int:
        with _open_parquet(path) as file:
            map_columns(file.schema_arrow.names, path, options.columns)
        return _first(ticks for _, _, ticks in frames(path, WallClock(clock), 1))

    paths = tuple(sorted(files, key=lambda path: (first_stamp(path), path)))

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        wall = WallClock(clock, path)
        size = path.stat().st_size
        for first_row, total, ticks in frames(path, wall, _BATCH_ROWS):
            yield Batch(ticks, number, first_row, size * (first_row + len(ticks)) // total)
        notes.extend(wall.notes())

    return TickSource(format=PARQUET, root=root, files=paths, read=read, notes=notes, clocks=(file_clock,))


def _first(batches: Iterator[TickArrays]) -> int:
    """Return the first stamp of a file; one that cannot be read comes first and says so when it is read."""
    try:
        ticks = next(batches, None)
    except DataError:
        return 0
    return int(ticks.ts_event_ns[0]) if ticks is not None and len(ticks) else 0


def _clock_notes(clock: Clock) -> list[str]:
    return [] if clock.is_utc else [f"Times without a zone were read as the clock {clock.name}."]


def _header(path: Path, options: ReaderOptions) -> tuple[str, list[str]]:
    with path.open("rb") as stream:
        line = first_line(stream)
    if not line.strip():
        raise DataError("A source must hold at least one tick, but this file is empty.", file=path)
    delimiter, names = split_header(line)
    if not options.header:
        return delimiter, [str(number) for number in range(len(names))]
    if len(set(names)) != len(names):
        raise DataError(f"Column names must differ, but the header is {line[:120]!r}. Rename.", file=path)
    return delimiter, names


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as failure:
        msg = f"The file must be readable Parquet, but: {failure}. Check the path or convert it."
        raise DataError(msg, file=path) from failure


def _frames(file: pq.ParquetFile, names: list[str], path: Path, rows: int) -> Iterator[pl.DataFrame]:
    try:
        for batch in file.iter_batches(batch_size=rows, columns=names):
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            if isinstance(frame, pl.DataFrame) and frame.height:
                yield frame
    except (pa.ArrowException, OSError) as failure:
        msg = f"The file must be sound Parquet, but: {failure}. Write or download it again."
        raise DataError(msg, file=path) from failure
