"""Daily zips of quotes as QuantConnect's Lean lays them out: OANDA in UTC, FXCM five hours behind.

Nothing in a file says which of the two it is; their weeks do.

Owns ``YYYYMMDD_quote.zip`` with rows ``milliseconds since midnight, bid, ask`` and the minute bars of the
same layout.  Knows nothing of what is done with the ticks.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument, find_instrument
from aiopt.ticks.clocks.local_time import UTC, Clock, WallClock
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.columns import local_stamps
from aiopt.ticks.sources.delimited import first_line, integers, numbers, read_blocks
from aiopt.ticks.sources.instrument_evidence import wrong_instrument
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, check_symbols, no_sizes
from aiopt.ticks.sources.zipped import open_member
from aiopt.utc import DAY_MS, DAY_NS

OANDA = "oanda"
FXCM = "fxcm"
"""Clock of the stamps: FXCM's are UTC-5 all year."""

_NAME = re.compile(r"^(\d{4})(\d{2})(\d{2})_quote\.zip$", re.IGNORECASE)
_MEMBER = re.compile(r"^\d{8}_([a-z]{6})_", re.IGNORECASE)
_COLUMNS = ("ms", "bid", "ask")
_BAR_COLUMNS = (
    "ms",
    *(f"{side}_{name}" for side in ("bid", "ask") for name in ("open", "high", "low", "close", "volume")),
)


def is_quote_zip(path: Path) -> bool:
    """Return whether a file name is that of a daily zip of quotes."""
    return _NAME.match(path.name) is not None


def open_source(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions, *, format: str = OANDA
) -> TickSource:
    """List daily zips, in order of day.

    Raises
    ------
    DataError
        If a name gives no day or an instrument other than `instrument`.
    """
    paths = tuple(sorted(files, key=_day))
    for earlier, later in pairwise(paths):
        if _day(earlier) == _day(later):
            msg = f"{earlier} is of the same day as this file. Import each on its own."
            raise DataError(msg, file=later)
    check_symbols(paths, root, instrument)
    file_clock = options.file_clock(format, root)
    clock = file_clock.clock
    notes = [] if clock.is_utc else [f"Stamps were read as the clock {clock.name} and turned into UTC."]
    read = partial(_read, paths, instrument, clock, notes)
    return TickSource(format=format, root=root, files=paths, read=read, notes=notes, clocks=(file_clock,))


def is_bars(line: str) -> bool:
    """Return whether a first line is that of bars."""
    return line.count(",") + 1 == len(_BAR_COLUMNS)


def read_bars(path: Path, clock: Clock = UTC) -> pl.DataFrame:
    """Read a zip of bars of the same layout: the provider's own bars.

    Parameters
    ----------
    path : Path
        Zip whose CSV has eleven columns, the first of them milliseconds of the day in the name
        ``YYYYMMDD_quote.zip``, or a time ``YYYYMMDD HH:MM`` in a zip of another name.
    clock : Clock
        Of the stamps.

    Returns
    -------
    polars.DataFrame
        ``ts_open_ns`` int64 UTC, ``bid_open … bid_volume``, ``ask_open … ask_volume`` float64, ``row`` int64.
    """
    wall = WallClock(clock, path, bars=True)
    midnight_ns = _day(path) * DAY_NS if is_quote_zip(path) else None
    with open_member(path) as (_, stream):
        blocks = []
        for row, block in read_blocks(stream, path, columns=_BAR_COLUMNS):
            if midnight_ns is None:
                local_ns = local_stamps(block["ms"], "%Y%m%d %H:%M", path, row)
            else:
                local_ns = midnight_ns + integers(block["ms"], path, row) * 1_000_000
            columns = {name: numbers(block[name], path, row) for name in _BAR_COLUMNS[1:]}
            rows = np.arange(row, row + block.height)
            blocks.append(pl.DataFrame({"ts_open_ns": wall.to_utc(local_ns), **columns, "row": rows}))
    return pl.concat(blocks)


def _read(
    paths: Sequence[Path], instrument: Instrument, clock: Clock, notes: list[str], number: int
) -> Iterator[Batch]:
    path = paths[number]
    wall = WallClock(clock, path)
    midnight_ns = _day(path) * DAY_NS
    _check_content(path, instrument)
    with open_member(path) as (_, stream):
        for first_row, block in read_blocks(stream, path, columns=_COLUMNS):
            ms = integers(block["ms"], path, first_row)
            outside = (ms < 0) | (ms >= DAY_MS)
            if outside.any():
                row = int(np.argmax(outside))
                msg = f"{ms[row]} ms is outside of the file's day (0 … {DAY_MS - 1} ms). Mend it."
                raise DataError(msg, file=path, row=first_row + row)
            ticks = TickArrays(
                wall.to_utc(midnight_ns + ms * 1_000_000),
                numbers(block["bid"], path, first_row),
                numbers(block["ask"], path, first_row),
                no_sizes(ms.size),
                no_sizes(ms.size),
            )
            yield Batch(ticks, number, first_row, path.stat().st_size)
    notes.extend(wall.notes())


def _check_content(path: Path, instrument: Instrument) -> None:
    """Refuse bars and other instruments before reading rows."""
    with open_member(path) as (name, stream):
        line = first_line(stream)
    match = _MEMBER.match(name)
    found = None if match is None else find_instrument(match[1])
    if found is not None and found.symbol != instrument.symbol:
        raise wrong_instrument(found.symbol, instrument, path, what=f"the file {name} in the archive")
    fields = line.count(",") + 1
    if fields == len(_BAR_COLUMNS):
        msg = "This archive holds bars (11 columns), not ticks. "
        msg += "Import them with `aiopt bars import SRC --out DIR`, or give the ticks, e.g. …/tick/eurusd."
        raise DataError(msg, file=path)
    if fields != len(_COLUMNS):
        msg = f"The first line {line[:60]!r} is not 'milliseconds,bid,ask'. Name another --format."
        raise DataError(msg, file=path, row=0)


def _day(path: Path) -> int:
    """Return the day (since the epoch) in a file's name."""
    match = _NAME.match(path.name)
    if match is None:
        msg = "The name does not say the day. Rename the file: YYYYMMDD_quote.zip."
        raise DataError(msg, file=path)
    try:
        return (dt.date(*(int(part) for part in match.groups())) - dt.date(1970, 1, 1)).days
    except ValueError as failure:
        raise DataError(
            f"The name gives no day that exists: {failure}. Rename the file.", file=path
        ) from failure
