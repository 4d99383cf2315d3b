"""TrueFX's monthly files: lines ``EUR/USD,20140501 00:00:00.123,bid,ask``, zipped or not, GMT.

Owns their line format.  Knows nothing of what is done with the ticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.local_time import WallClock
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.columns import local_stamps
from aiopt.ticks.sources.delimited import first_line, numbers, read_blocks
from aiopt.ticks.sources.instrument_evidence import check_column
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, check_symbols, no_sizes
from aiopt.ticks.sources.zipped import open_text

FORMAT = "truefx"

_LINE = re.compile(r"^[A-Z]{3}/[A-Z]{3},\d{8} \d{2}:\d{2}:\d{2}\.\d{3},[\d.]+,[\d.]+$")
_COLUMNS = ("pair", "time", "bid", "ask")


def is_truefx(line: str) -> bool:
    """Return whether a first line is one of TrueFX's."""
    return _LINE.match(line) is not None


def open_source(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List monthly files, in order of their first stamp.

    Raises
    ------
    DataError
        If a first line is none of TrueFX's, or the names say another instrument.
    """
    check_symbols(files, root, instrument)
    paths = tuple(sorted(files, key=_first_stamp))
    file_clock = options.file_clock(FORMAT, root)
    clock = file_clock.clock
    notes: list[str] = []

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        wall = WallClock(clock, path)
        with open_text(path) as stream:
            for first_row, block in read_blocks(stream, path, columns=_COLUMNS):
                check_column(block["pair"], instrument, path, first_row)
                local_ns = local_stamps(block["time"], "%Y%m%d %H:%M:%S%.f", path, first_row)
                ticks = TickArrays(
                    wall.to_utc(local_ns),
                    numbers(block["bid"], path, first_row),
                    numbers(block["ask"], path, first_row),
                    no_sizes(block.height),
                    no_sizes(block.height),
                )
                yield Batch(ticks, number, first_row, path.stat().st_size)
        notes.extend(wall.notes())

    return TickSource(format=FORMAT, root=root, files=paths, read=read, notes=notes, clocks=(file_clock,))


def _first_stamp(path: Path) -> str:
    with open_text(path) as stream:
        line = first_line(stream)
    if not is_truefx(line):
        msg = f"The first line {line[:60]!r} is not 'EUR/USD,YYYYMMDD HH:MM:SS.mmm,bid,ask'. "
        raise DataError(msg + "Name another --format.", file=path, row=0)
    return line.split(",")[1]
