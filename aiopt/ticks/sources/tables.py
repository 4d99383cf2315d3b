"""Tick tables: CSV with a header, JSON and Parquet, in our own schema or with usual column names.

Owns reading them block by block.  Which column is what is in `columns`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.local_time import Clock, WallClock
from aiopt.ticks.sources.columns import ColumnMap, map_columns, size_unit_of, ticks_of
from aiopt.ticks.sources.delimited import first_line, read_blocks, split_header
from aiopt.ticks.sources.instrument_evidence import may_name_instrument
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, check_symbols
from aiopt.ticks.sources.zipped import open_text, read_text
from aiopt.ticks.stamps.stamp_reader import (
    AmbiguousStampsError,
    Reading,
    StampReader,
    StampRules,
    plain_column,
    prove,
)

CSV = "csv"
JSON = "json"
PARQUET = "parquet"

_BATCH_ROWS = 1_000_000


_SAMPLE_BYTES = 65_536
_SAMPLE_ROWS = 1_000


@dataclass(frozen=True)
class _Table:
    """A file of a source: its columns, and a way to its rows.

    `rows` yields frames with the number of their first row and the bytes read so far; `sample` is the first
    of them, short.
    """

    path: Path
    columns: ColumnMap
    sample: pl.DataFrame
    rows: Callable[[Sequence[str]], Iterator[tuple[int, pl.DataFrame, int]]]

    def whole(self) -> Iterator[tuple[int, pl.Series]]:
        """Yield all stamps."""
        names = [name for name in (self.columns.time, self.columns.time_of_day) if name is not None]
        for first_row, frame, _ in self.rows(names):
            yield first_row, self.columns.times(frame)


def open_csv(root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions) -> TickSource:
    """List CSV files, in order of their first stamp.

    Raises
    ------
    DataError
        If a header lacks time, bid or ask, or the names say another instrument.
    """
    check_symbols(files, root, instrument)
    return _source(CSV, root, [_csv_table(path, options) for path in files], instrument, options)


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
    return _source(PARQUET, root, [_parquet_table(path, options) for path in files], instrument, options)


def open_json(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List JSON files of rows, in order of their first stamp; a file is read as a whole.

    Raises
    ------
    DataError
        If a file is no list of objects, or lacks time, bid or ask, or the names say another instrument.
    """
    check_symbols(files, root, instrument)
    return _source(JSON, root, [_json_table(path, options) for path in files], instrument, options)


def has_ticks(names: Sequence[str]) -> bool:
    """Return whether column names are those of ticks."""
    try:
        map_columns(names, Path())
    except DataError:
        return False
    return True


def is_json_table(path: Path) -> bool:
    """Return whether a file looks like a JSON list of objects."""
    with open_text(path) as stream:
        return re.match(rb"\s*\[\s*\{", stream.read(256)) is not None


def read_json_rows(path: Path) -> pl.DataFrame:
    """Return a JSON list of objects as a table.

    Raises
    ------
    DataError
        If the JSON is cut short or is something else.
    """
    try:
        rows = msgspec.json.decode(read_text(path), type=list[dict[str, int | float | str | bool | None]])
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, pl.exceptions.PolarsError, OverflowError) as failure:
        msg = f"This file is no whole JSON list of objects with single values: {failure}. Mend it."
        raise DataError(msg, file=path) from failure


def _source(
    format: str, root: Path, tables: list[_Table], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    rules = options.stamp_rules(instrument)
    notes: list[str] = []
    of_metatrader = all(table.columns.of_metatrader for table in tables)
    # MetaTrader's Python package counts Unix times on the broker's clock, as its exports do.
    file_clock = options.file_clock("metatrader" if of_metatrader else format, root)
    clock = file_clock.clock
    readings = _prove_all(tables, rules, notes)
    units = {table.path: options.size_unit or size_unit_of(table.sample, table.columns) for table in tables}
    if options.size_unit is None and any(unit != 1 for unit in units.values()):
        notes.append(
            f"Sizes were read as millions of {instrument.base}, as exports of Dukascopy's ticks have them; "
            "--size-unit says otherwise."
        )

    def reader(table: _Table, wall: WallClock) -> StampReader:
        known = readings.get(table.path)
        return StampReader(table.path, wall, rules, whole=table.whole, reading=known)

    def first_stamp(table: _Table) -> int:
        """Return the first stamp; a file that cannot be read comes first and says so when it is read."""
        try:
            first = reader(table, WallClock(clock)).read(table.columns.times(table.sample.head(1)), 0)
        except DataError:
            return 0
        return int(first[0]) if first.size else 0

    ordered = sorted(tables, key=lambda table: (first_stamp(table), table.path))

    def read(number: int) -> Iterator[Batch]:
        table = ordered[number]
        wall = WallClock(clock, table.path)
        stamps = reader(table, wall)
        for first_row, frame, done in table.rows([*table.columns.names(), *table.columns.others]):
            place = (table.path, first_row)
            ticks = ticks_of(frame, table.columns, instrument, units[table.path], place, stamps)
            yield Batch(ticks, number, first_row, done)
        notes.extend(wall.notes())
        for note in stamp_notes(stamps.reading, clock):
            if note not in notes:
                notes.append(note)

    paths = tuple(table.path for table in ordered)
    return TickSource(format=format, root=root, files=paths, read=read, notes=notes, clocks=(file_clock,))


def stamp_notes(reading: Reading | None, clock: Clock) -> list[str]:
    """Return what to say about how stamps were read; nothing of what needs no mention."""
    notes = []
    if reading is not None and not reading.is_plain:
        notes.append(f"Stamps were read as {reading.text}.")
    if reading is not None and not (reading.zoned or clock.is_utc):
        notes.append(f"Stamps without a zone were read as the clock {clock.name} and turned into UTC.")
    return notes


def _prove_all(tables: Sequence[_Table], rules: StampRules, notes: list[str]) -> dict[Path, Reading]:
    """Return the readings of files; those that cannot be read say so when they are read.

    Where day and month of a file could be exchanged in every row, the order that other files of the source
    prove is taken.
    """
    readings: dict[Path, Reading] = {}
    doubtful: dict[Path, AmbiguousStampsError] = {}
    for table in tables:
        try:
            times = plain_column(table.columns.times(table.sample), table.path, 0)
            if times.len():
                readings[table.path] = prove(times, 0, table.path, rules, table.whole)
        except AmbiguousStampsError as error:
            doubtful[table.path] = error
        except DataError:
            continue
    proved = {reading.layout.order for reading in readings.values() if reading.layout is not None} - {None}
    if len(proved) == 1:
        for path, doubt in doubtful.items():
            fitting = [
                reading
                for reading in doubt.readings
                if reading.layout is not None and reading.layout.order in proved
            ]
            if fitting:
                readings[path] = fitting[0]
                notes.append(f"{path.name}: day and month are in the order that other files show.")
    return readings


def _csv_table(path: Path, options: ReaderOptions) -> _Table:
    delimiter, names = _header(path, options)
    columns = map_columns(names, path, options.columns)

    def blocks(stream: IO[bytes]) -> Iterator[tuple[int, pl.DataFrame]]:
        return read_blocks(stream, path, columns=names, delimiter=delimiter, has_header=options.header)

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame, int]]:
        with open_text(path) as stream:
            for first_row, block in blocks(stream):
                yield first_row, block.select(list(dict.fromkeys(wanted))), _told(stream)

    with open_text(path) as stream:
        head = stream.read(_SAMPLE_BYTES)
    if len(head) == _SAMPLE_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    try:
        sample = next((block for _, block in blocks(io.BytesIO(head))), None)
    except DataError:
        # Said with its row when the file is read.
        sample = None
    empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return _Table(path, columns, empty if sample is None else sample, rows)


def _json_table(path: Path, options: ReaderOptions) -> _Table:
    frame = read_json_rows(path)
    columns = map_columns(frame.columns, path, options.columns)

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame, int]]:
        # Not kept from the look at the head: a folder of such files would all lie in memory.
        yield 0, read_json_rows(path).select(list(dict.fromkeys(wanted))), path.stat().st_size

    return _Table(path, columns, frame.head(_SAMPLE_ROWS), rows)


def _told(stream: IO[bytes]) -> int:
    return 0 if stream.closed else stream.tell()


def _parquet_table(path: Path, options: ReaderOptions) -> _Table:
    with _open_parquet(path) as file:
        schema = file.schema_arrow
        columns = map_columns(schema.names, path, options.columns)
    # Of the rest, only what may name an instrument is worth reading.
    texts = {name for name in schema.names if _is_text(schema.field(name).type)}
    others = (name for name in columns.others if may_name_instrument(name, is_text=name in texts))
    columns = replace(columns, others=tuple(others))

    def frames(wanted: Sequence[str], batch_rows: int) -> Iterator[tuple[int, pl.DataFrame, int]]:
        size, first_row = path.stat().st_size, 0
        with _open_parquet(path) as file:
            total = max(file.metadata.num_rows, 1)
            for frame in _frames(file, list(dict.fromkeys(wanted)), path, batch_rows):
                yield first_row, frame, size * (first_row + frame.height) // total
                first_row += frame.height

    empty = pl.DataFrame(schema=dict.fromkeys(columns.names(), pl.String))
    sample = next((frame for _, frame, _ in frames(columns.names(), _SAMPLE_ROWS)), empty)
    return _Table(path, columns, sample, lambda wanted: frames(wanted, _BATCH_ROWS))


def _header(path: Path, options: ReaderOptions) -> tuple[str, list[str]]:
    with open_text(path) as stream:
        line = first_line(stream)
    if not line.strip():
        raise DataError("This file is empty. Remove it, or give one with ticks.", file=path)
    delimiter, names = split_header(line)
    if not options.header:
        return delimiter, [str(number) for number in range(len(names))]
    if len(set(names)) != len(names):
        raise DataError(f"The header {line[:120]!r} names a column twice. Rename one.", file=path)
    return delimiter, names


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as failure:
        msg = f"This file is no readable Parquet: {failure}. Check the path or convert it."
        raise DataError(msg, file=path) from failure


def _frames(file: pq.ParquetFile, names: list[str], path: Path, rows: int) -> Iterator[pl.DataFrame]:
    try:
        for batch in file.iter_batches(batch_size=rows, columns=names):
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            if isinstance(frame, pl.DataFrame) and frame.height:
                yield frame
    except (pa.ArrowException, OSError) as failure:
        msg = f"This Parquet file is damaged: {failure}. Write or download it again."
        raise DataError(msg, file=path) from failure
