"""HistData's ASCII files: monthly ticks and yearly minute bars, zipped or not, stamped in New York time.

Owns their two line formats.  The provider documents "EST without daylight saving"; the files are in fact on
New York's wall clock (UTC-4 in summer), which is how they are read here.  Knows nothing of what is done with
the ticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.market.sources.delimited import first_line, numbers, read_blocks
from aiopt.market.sources.local_time import new_york_to_utc
from aiopt.market.sources.source import Batch, ReaderOptions, TickSource, check_symbols, no_sizes
from aiopt.market.sources.zipped import open_member
from aiopt.market.ticks import TickArrays

FORMAT = "histdata"

_TICK_LINE = re.compile(r"^\d{8} \d{9},[\d.]+,[\d.]+,\d+$")
_BAR_LINE = re.compile(r"^\d{8} \d{6};[\d.]+;[\d.]+;[\d.]+;[\d.]+;\d+$")
_TICK_COLUMNS = ("time", "bid", "ask", "volume")
_BAR_COLUMNS = ("time", "open", "high", "low", "close", "volume")


def is_histdata(path: Path, line: str) -> bool:
    """Return whether a file is one of HistData's, by its name or first line."""
    named = path.name.upper().startswith(("HISTDATA_COM_ASCII", "DAT_ASCII"))
    return named or bool(_TICK_LINE.match(line) or _BAR_LINE.match(line))


def open_source(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List tick files, in order of their first stamp.

    Raises
    ------
    DataError
        If a file holds minute bars, or is of another instrument.
    """
    check_symbols(files, root, instrument)
    paths = tuple(sorted(files, key=_first_stamp))
    offset_h = options.utc_offset_h

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        with _open(path) as stream:
            for first_row, block in read_blocks(stream, path, columns=_TICK_COLUMNS):
                local_ns = _wall_clock_ns(block["time"], "%Y%m%d %H%M%S%3f", path, first_row)
                ticks = TickArrays(
                    _to_utc(local_ns, offset_h),
                    numbers(block["bid"], path, first_row),
                    numbers(block["ask"], path, first_row),
                    no_sizes(block.height),
                    no_sizes(block.height),
                )
                yield Batch(ticks, number, first_row, path.stat().st_size)

    clock = "New York's wall clock" if offset_h is None else f"UTC{offset_h:+g} h"
    notes = [f"Stamps were read as {clock} and turned into UTC."]
    return TickSource(format=FORMAT, root=root, files=paths, read=read, notes=notes)


def read_minute_bars(path: Path, offset_h: float | None = None) -> pl.DataFrame:
    """Read a file of minute bars (bid prices; HistData gives no volume).

    Parameters
    ----------
    path : Path
        Zip or CSV, lines ``YYYYMMDD HHMMSS;open;high;low;close;0``.
    offset_h : float, optional
        Hours the stamps are ahead of UTC; New York's wall clock if absent.

    Returns
    -------
    polars.DataFrame
        ``ts_open_ns`` int64 UTC, ``open high low close volume`` float64.
    """
    with _open(path) as stream:
        blocks = [
            pl.DataFrame(
                {
                    "ts_open_ns": _to_utc(
                        _wall_clock_ns(block["time"], "%Y%m%d %H%M%S", path, row), offset_h
                    ),
                    **{name: numbers(block[name], path, row) for name in _BAR_COLUMNS[1:]},
                }
            )
            for row, block in read_blocks(stream, path, columns=_BAR_COLUMNS, delimiter=";")
        ]
    return pl.concat(blocks)


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix.lower() == ".zip":
        with open_member(path) as (_, stream):
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


def _first_stamp(path: Path) -> str:
    """Return the first stamp; refuse files that do not hold ticks."""
    with _open(path) as stream:
        line = first_line(stream)
    if _BAR_LINE.match(line):
        msg = "A source of ticks must hold ticks, but this file holds minute bars (HistData M1: bid only). "
        raise DataError(msg + "Give HistData's tick files (HISTDATA_COM_ASCII_…_T….zip).", file=path)
    if not _TICK_LINE.match(line):
        msg = f"A line must be 'YYYYMMDD HHMMSSmmm,bid,ask,volume', but the first is {line[:60]!r}. "
        raise DataError(msg + "Name another --format.", file=path, row=0)
    return line.split(",")[0]


def _wall_clock_ns(column: pl.Series, pattern: str, path: Path, first_row: int) -> NDArray[np.int64]:
    stamps = column.str.to_datetime(pattern, time_unit="ns", strict=False)
    if stamps.null_count():
        row = int(stamps.is_null().arg_true()[0])
        msg = (
            f"A stamp must be a time like {'20180101 170000123' if '%3f' in pattern else '20180101 170000'}, "
        )
        raise DataError(
            f"{msg}but got {column[row]!r}. Mend or remove the row.", file=path, row=first_row + row
        )
    return np.asarray(stamps.cast(pl.Int64).to_numpy(), dtype=np.int64)


def _to_utc(local_ns: NDArray[np.int64], offset_h: float | None) -> NDArray[np.int64]:
    if offset_h is None:
        return new_york_to_utc(local_ns)
    return local_ns - round(offset_h * 3_600_000_000_000)
