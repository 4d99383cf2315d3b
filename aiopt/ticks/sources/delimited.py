"""Delimited text: reading it in blocks as columns of text, and turning text into numbers with row numbers.

Owns what "file and row" means for text: row 0 is the first line after the header.  Knows no column by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from aiopt.errors import DataError

_BLOCK_BYTES = 16 * 1024 * 1024


def read_blocks(
    stream: IO[bytes], file: Path, *, columns: Sequence[str], delimiter: str = ",", has_header: bool = False
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield blocks of rows as text.

    Parameters
    ----------
    stream : binary file
        The text, UTF-8.
    file : Path
        For messages.
    columns : sequence of str
        Names of the columns.
    delimiter : str
        One character.
    has_header : bool
        The first line is not data.

    Yields
    ------
    first_row : int
        0-based row of the block's first.
    block : polars.DataFrame
        Strings; an empty field is null.

    Raises
    ------
    DataError
        If a line has another number of fields, or the text is not UTF-8; names the row.
    """
    ragged: list[tuple[int | None, int, int]] = []

    def refuse(row: Any) -> str:
        ragged.append((row.number, row.expected_columns, row.actual_columns))
        return "error"

    try:
        reader = pa_csv.open_csv(
            stream,
            # Row numbers are only told when one thread reads.
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK_BYTES,
                column_names=list(columns),
                skip_rows=int(has_header),
            ),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=refuse),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
        first_row = 0
        for batch in reader:
            block = pl.from_arrow(pa.Table.from_batches([batch]))
            if isinstance(block, pl.DataFrame) and block.height:
                yield first_row, block.cast(pl.String)
                first_row += block.height
    except pa.ArrowException as failure:
        raise _csv_error(failure, ragged, file, header_lines=int(has_header)) from failure


def first_line(stream: IO[bytes]) -> str:
    """Return the first line of a text, without its end; undecodable bytes become question marks."""
    return stream.readline(65_536).decode("utf-8-sig", errors="replace").rstrip("\r\n")


def split_header(line: str) -> tuple[str, list[str]]:
    """Return the delimiter of a header line (the most frequent of comma, semicolon, tab) and its fields."""
    delimiter = max(",;\t", key=line.count)
    return delimiter, [field.strip().strip('"').strip() for field in line.split(delimiter)]


def numbers(
    column: pl.Series, file: Path, first_row: int, *, required: bool = True, like: pl.Series | None = None
) -> NDArray[np.float64]:
    """Return a text column as float64; an empty field is NaN (0 unless `required`).

    A comma is a decimal comma where no number of the block has a point, nor any of the column `like`.

    Raises
    ------
    DataError
        If a field is not a number (``nan`` and ``inf`` are); names the row.
    """
    text = column.str.strip_chars()
    values = text.cast(pl.Float64, strict=False)
    wrong = values.is_null() & text.is_not_null() & (text != "")
    if wrong.any() and _has_decimal_commas(text) and (like is None or _has_decimal_commas(like)):
        values = text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        wrong = values.is_null() & text.is_not_null() & (text != "")
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise _not_a(column, "number", text[row], file, first_row + row)
    filled = values.fill_null(float("nan")) if required else values.fill_null(0.0)
    return np.asarray(filled.to_numpy(), dtype=np.float64)


def _has_decimal_commas(text: pl.Series) -> bool:
    commas, points = (text.str.contains(mark, literal=True).any() for mark in ",.")
    return bool(commas) and not points


def integers(column: pl.Series, file: Path, first_row: int) -> NDArray[np.int64]:
    """Return a text column as int64.

    Raises
    ------
    DataError
        If a field is not a whole number; names the row.
    """
    text = column.str.strip_chars()
    values = text.cast(pl.Int64, strict=False)
    if values.null_count():
        row = int(values.is_null().arg_true()[0])
        raise _not_a(column, "whole number", text[row], file, first_row + row)
    return np.asarray(values.to_numpy(), dtype=np.int64)


def _csv_error(
    failure: Exception, ragged: list[tuple[int | None, int, int]], file: Path, *, header_lines: int
) -> DataError:
    if ragged:
        number, expected, actual = ragged[0]
        row = None if number is None else number - 1 - header_lines
        msg = f"This line has {actual} fields, the others {expected}. Mend or remove the line."
        return DataError(msg, file=file, row=row)
    if "Empty CSV" in str(failure):
        return DataError("This file is empty. Remove it, or give one with ticks.", file=file)
    return DataError(f"This file is no delimited text in UTF-8: {failure}. Mend the file.", file=file)


def _not_a(column: pl.Series, kind: str, value: object, file: Path, row: int) -> DataError:
    shown = "nothing" if value is None else repr(value)
    msg = f"The column {column.name!r} must hold a {kind}, but got {shown}. Mend or remove the row."
    return DataError(msg, file=file, row=row)
