"""MetaTrader's exports: ticks of MetaTrader 5, bars of 4 and 5, stamped on the broker's server clock.

Owns their line formats.  The files do not say which clock the server runs on; New York plus seven hours, on
which the broker's day closes at 17:00 New York, is assumed unless another is given, and their weeks must bear
it out.  HistData's files in this layout (``DAT_MT_…``) are on HistData's clocks.  Knows nothing of what is
done with ticks and bars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.local_time import Clock, WallClock
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.columns import local_stamps
from aiopt.ticks.sources.delimited import first_line, numbers, read_blocks, split_header
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, check_symbols, no_sizes
from aiopt.ticks.sources.zipped import open_text

FORMAT = "metatrader"

_OLD_BAR = re.compile(r"^\d{4}\.\d{2}\.\d{2},\d{2}:\d{2},[\d.]+,[\d.]+,[\d.]+,[\d.]+,\d+$")
_OLD_COLUMNS = ("<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<TICKVOL>")
_PRICES = ("open", "high", "low", "close")


def is_metatrader(line: str) -> bool:
    """Return whether a first line is one of MetaTrader's exports."""
    return line.upper().startswith("<DATE>") or _OLD_BAR.match(line) is not None


def is_bars(line: str) -> bool:
    """Return whether a first line is that of an export of bars."""
    return _OLD_BAR.match(line) is not None or "<OPEN>" in line.upper()


def open_source(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List exports of ticks, in order of their first stamp.

    A bid or ask that is blank has not changed: the one before it in the file stands.  Lines before both are
    known and lines without either hold no quote; they are left out and counted in the notes.

    Raises
    ------
    DataError
        If a file holds bars or something else, or the names say another instrument.
    """
    check_symbols(files, root, instrument)
    paths = tuple(sorted(files, key=_first_stamp))
    file_clock = options.file_clock(FORMAT, paths[0])
    clock = file_clock.clock
    notes = [f"Stamps were read as the clock {clock.name} and turned into UTC."]

    def read(number: int) -> Iterator[Batch]:
        path = paths[number]
        wall = WallClock(clock, path)
        bid = ask = float("nan")
        left_out = 0
        for first_row, block in _blocks(path):
            local_ns = _stamps(block, path, first_row)
            utc_ns = wall.to_utc(local_ns)
            given_bid, given_ask = (numbers(block[name], path, first_row) for name in ("<BID>", "<ASK>"))
            quoted = ~(np.isnan(given_bid) & np.isnan(given_ask))
            bids, asks = _carried(given_bid, bid), _carried(given_ask, ask)
            bid, ask = float(bids[-1]), float(asks[-1])
            quoted &= ~(np.isnan(bids) | np.isnan(asks))
            left_out += quoted.size - int(np.count_nonzero(quoted))
            # One batch per unbroken stretch of lines: the rows of a batch follow each other.
            for start, stop in _stretches(quoted):
                part = slice(start, stop)
                none = no_sizes(stop - start)
                ticks = TickArrays(utc_ns[part], bids[part], asks[part], none, none)
                yield Batch(ticks, number, first_row + start, path.stat().st_size)
        if left_out:
            notes.append(f"{path.name}: {left_out} line(s) without a quote left out.")
        notes.extend(wall.notes())

    return TickSource(format=FORMAT, root=root, files=paths, read=read, notes=notes, clocks=(file_clock,))


def read_bars(path: Path, clock: Clock) -> pl.DataFrame:
    """Read an export of bars (bid prices, as MetaTrader's charts; volume counts ticks).

    Parameters
    ----------
    path : Path
        CSV or zip of one: lines ``2019.01.02,00:00,o,h,l,c,v`` without header, or a header of names in
        brackets.
    clock : Clock
        The server's.

    Returns
    -------
    polars.DataFrame
        ``ts_open_ns`` int64 UTC, ``open high low close`` float64, ``ticks`` int64, ``row`` int64.
    """
    wall = WallClock(clock, path, bars=True)
    blocks = []
    for first_row, block in _blocks(path):
        columns = {name: numbers(block[f"<{name.upper()}>"], path, first_row) for name in _PRICES}
        volume = next((name for name in ("<TICKVOL>", "<VOL>", "<VOLUME>") if name in block.columns), None)
        ticks = np.zeros(block.height) if volume is None else numbers(block[volume], path, first_row)
        stamps = wall.to_utc(_stamps(block, path, first_row))
        rows = np.arange(first_row, first_row + block.height)
        counts = np.nan_to_num(ticks).astype(np.int64)
        blocks.append(pl.DataFrame({"ts_open_ns": stamps, **columns, "ticks": counts, "row": rows}))
    return pl.concat(blocks)


def _blocks(path: Path) -> Iterator[tuple[int, pl.DataFrame]]:
    with open_text(path) as stream:
        line = first_line(stream)
    delimiter, names = (",", list(_OLD_COLUMNS)) if _OLD_BAR.match(line) else split_header(line.upper())
    with open_text(path) as stream:
        has_header = not _OLD_BAR.match(line)
        yield from read_blocks(stream, path, columns=names, delimiter=delimiter, has_header=has_header)


def _stamps(block: pl.DataFrame, path: Path, first_row: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if "<TIME>" not in block.columns:
        # Daily exports have no time: the bar opens at midnight of the server's clock.
        return local_stamps(block["<DATE>"] + " 00:00", "%Y.%m.%d %H:%M", path, first_row)
    text = block["<DATE>"] + " " + block["<TIME>"]
    length = len(str(block["<TIME>"][0]))
    pattern = "%Y.%m.%d %H:%M" if length == len("00:00") else "%Y.%m.%d %H:%M:%S%.f"
    return local_stamps(text, pattern, path, first_row)


def _carried(
    given: np.ndarray[tuple[int], np.dtype[np.float64]], before: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return prices with every blank (NaN) replaced by the price before it."""
    filled = pl.Series(given).fill_nan(None).fill_null(strategy="forward").fill_null(before)
    return np.asarray(filled.to_numpy(), dtype=np.float64)


def _stretches(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _first_stamp(path: Path) -> str:
    """Return the first stamp; refuse files that do not hold ticks."""
    with open_text(path) as stream:
        line, second = first_line(stream), first_line(stream)
    if is_bars(line):
        msg = "This file holds bars of MetaTrader (bid only), not ticks. "
        raise DataError(msg + "Import them as bars: `aiopt bars import SRC --out DIR`.", file=path)
    missing = [name for name in ("<DATE>", "<TIME>", "<BID>", "<ASK>") if name not in line.upper()]
    if missing:
        msg = f"{missing[0]} is missing in {line[:80]!r}; ticks need <DATE> <TIME> <BID> <ASK>. "
        raise DataError(f"{msg}Export again or name another --format.", file=path)
    return second
