"""HistData's ASCII files: monthly ticks and yearly minute bars, zipped or not.

Owns their two line formats.  The provider documents "EST without daylight saving"; the files are in fact on
other clocks, which differ by year: each file's weeks decide, see `conventions`.  Knows nothing of what is
done with the ticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.conventions import FileClock, choose, convention
from aiopt.ticks.clocks.local_time import NEW_YORK, Clock, WallClock, parse_clock
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.columns import local_stamps
from aiopt.ticks.sources.delimited import first_line, numbers, read_blocks
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, check_symbols, no_sizes
from aiopt.ticks.sources.zipped import open_text

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
        If a file holds minute bars, is of another instrument, or does not tell its clock.
    """
    check_symbols(files, root, instrument)
    paths = tuple(sorted(files, key=_first_stamp))
    clocks = tuple(_clock(path, options) for path in paths)
    names = ", ".join(dict.fromkeys(one.clock.name for one in clocks))
    notes = [f"Stamps were read as the clock {names} and turned into UTC."]

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        wall = WallClock(clocks[number].clock, path)
        with open_text(path) as stream:
            for first_row, block in read_blocks(stream, path, columns=_TICK_COLUMNS):
                local_ns = local_stamps(block["time"], "%Y%m%d %H%M%S%3f", path, first_row)
                ticks = TickArrays(
                    wall.to_utc(local_ns),
                    numbers(block["bid"], path, first_row),
                    numbers(block["ask"], path, first_row),
                    no_sizes(block.height),
                    no_sizes(block.height),
                )
                yield Batch(ticks, number, first_row, path.stat().st_size)
        notes.extend(wall.notes())

    return TickSource(format=FORMAT, root=root, files=paths, read=read, notes=notes, clocks=clocks)


def read_minute_bars(path: Path, clock: Clock | None = None) -> pl.DataFrame:
    """Read a file of minute bars (bid prices; HistData gives no volume).

    Parameters
    ----------
    path : Path
        Zip or CSV, lines ``YYYYMMDD HHMMSS;open;high;low;close;0``.
    clock : Clock, optional
        Of the stamps; New York's if absent.

    Returns
    -------
    polars.DataFrame
        ``ts_open_ns`` int64 UTC, ``open high low close`` float64, ``ticks`` int64 (0: not known), ``row``
        int64.
    """
    wall = WallClock(clock or parse_clock(NEW_YORK), path, bars=True)
    with open_text(path) as stream:
        blocks = [
            pl.DataFrame(
                {
                    "ts_open_ns": wall.to_utc(local_stamps(block["time"], "%Y%m%d %H%M%S", path, row)),
                    **{name: numbers(block[name], path, row) for name in _BAR_COLUMNS[1:-1]},
                    "ticks": np.zeros(block.height, dtype=np.int64),
                    "row": np.arange(row, row + block.height),
                }
            )
            for row, block in read_blocks(stream, path, columns=_BAR_COLUMNS, delimiter=";")
        ]
    return pl.concat(blocks)


def is_bars(line: str) -> bool:
    """Return whether a first line is that of a file of minute bars."""
    return _BAR_LINE.match(line) is not None


def _clock(path: Path, options: ReaderOptions) -> FileClock:
    """Return the clock of a file of ticks: the one given, or what its weeks say."""
    if options.clock_given:
        return options.file_clock(FORMAT, path)
    with open_text(path) as stream:
        stamps = (
            local_stamps(block["time"], "%Y%m%d %H%M%S%3f", path, first_row)
            for first_row, block in read_blocks(stream, path, columns=_TICK_COLUMNS)
        )
        return choose(path, convention(FORMAT, path), stamps)


def _first_stamp(path: Path) -> str:
    """Return the first stamp; refuse files that do not hold ticks."""
    with open_text(path) as stream:
        line = first_line(stream)
    if _BAR_LINE.match(line):
        msg = "This file holds minute bars (HistData M1: bid only), not ticks. "
        msg += "Import them with `aiopt bars import SRC --out DIR`, or give HistData's tick files (…_T….zip)."
        raise DataError(msg, file=path)
    if not _TICK_LINE.match(line):
        msg = f"The first line {line[:60]!r} is not 'YYYYMMDD HHMMSSmmm,bid,ask,volume'. "
        raise DataError(msg + "Name another --format.", file=path, row=0)
    return line.split(",")[0]
