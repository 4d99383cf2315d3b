"""Tick tables: CSV with a header, and Parquet, in our own schema or with usual column names.

Owns reading them block by block.  Which column is what is in `columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.market.sources.columns import map_columns, ticks_of
from aiopt.market.sources.delimited import first_line, read_blocks, split_header
from aiopt.market.sources.source import Batch, ReaderOptions, TickSource, check_symbols

CSV = "csv"
PARQUET = "parquet"

_BATCH_ROWS = 1_000_000


def open_csv(root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions) -> TickSource:
    """List CSV files, in order of their names.

    Raises
    ------
    DataError
        If a header lacks time, bid or ask, or the names say another instrument.
    """
    paths = tuple(sorted(files))
    check_symbols(paths, root, instrument)
    for path in paths:
        map_columns(_header(path)[1], path)

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        delimiter, names = _header(path)
        columns = map_columns(names, path)
        with path.open("rb") as stream:
            blocks = read_blocks(stream, path, columns=names, delimiter=delimiter, has_header=True)
            for first_row, block in blocks:
                ticks = ticks_of(block, columns, instrument, options, (path, first_row))
                yield Batch(ticks, number, first_row, stream.tell() if not stream.closed else 0)

    return TickSource(format=CSV, root=root, files=paths, read=read)


def open_parquet(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List Parquet files, in order of their paths.

    Raises
    ------
    DataError
        If a file is not Parquet or lacks time, bid or ask, or the names say another instrument.
    """
    paths = tuple(sorted(files))
    check_symbols(paths, root, instrument)
    for path in paths:
        with _open_parquet(path) as file:
            map_columns(file.schema_arrow.names, path)

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        size = path.stat().st_size
        with _open_parquet(path) as file:
            columns = map_columns(file.schema_arrow.names, path)
            first_row = 0
            total = max(file.metadata.num_rows, 1)
            for frame in _frames(file, columns.names(), path):
                ticks = ticks_of(frame, columns, instrument, options, (path, first_row))
                done = size * (first_row + frame.height) // total
                yield Batch(ticks, number, first_row, done)
                first_row += frame.height

    return TickSource(format=PARQUET, root=root, files=paths, read=read)


def _header(path: Path) -> tuple[str, list[str]]:
    with path.open("rb") as stream:
        line = first_line(stream)
    if not line.strip():
        raise DataError("A source must hold at least one tick, but this file is empty.", file=path)
    delimiter, names = split_header(line)
    if len(set(names)) != len(names):
        raise DataError(f"Column names must differ, but the header is {line[:120]!r}. Rename.", file=path)
    return delimiter, names


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as failure:
        msg = f"The file must be readable Parquet, but: {failure}. Check the path or convert it."
        raise DataError(msg, file=path) from failure


def _frames(file: pq.ParquetFile, names: list[str], path: Path) -> Iterator[pl.DataFrame]:
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            if isinstance(frame, pl.DataFrame) and frame.height:
                yield frame
    except (pa.ArrowException, OSError) as failure:
        msg = f"The file must be sound Parquet, but: {failure}. Write or download it again."
        raise DataError(msg, file=path) from failure
