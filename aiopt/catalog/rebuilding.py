"""Are bars those of their ticks: built again from the tick store they name, and compared value by value.

Owns the comparison.  Bars of sessions, filled bars and bars that are not time bars are left out: what they
were asked for with is not all in the file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from aiopt.catalog.discovery import parquet_files
from aiopt.catalog.entries import Fault
from aiopt.errors import DataError
from aiopt.market.bar_shards import BarRequest, build_bars_locally
from aiopt.market.bars import BAR_SCHEMA, TIME_BARS, BarTable, bar_path, fill_flat, read_bars
from aiopt.market.ticks import stamp_text
from aiopt.timeframe import parse_timeframe


def compare_with_ticks(folder: Path, ticks: Path) -> tuple[list[Fault], bool]:
    """Build the bars of a folder again and compare them.

    Parameters
    ----------
    folder : Path
        An entry of kind ``bars``.
    ticks : Path
        The tick store its bars name.

    Returns
    -------
    faults : list of Fault
        Per file, the first bar that differs.
    all_compared : bool
        False if a file was left out, or could not be read.
    """
    tables: dict[Path, BarTable] = {}
    paths = parquet_files(folder)
    for path in paths:
        try:
            table = read_bars(path)
        except DataError:
            continue  # a fault of its own, named by the reading
        if (table.meta.type, table.meta.session, table.meta.fill) == (TIME_BARS, "", "none"):
            tables[path] = table
    faults: list[Fault] = []
    for label in sorted({table.meta.timeframe for table in tables.values()}):
        own = {path: table for path, table in tables.items() if table.meta.timeframe == label}
        faults += _compare(folder, ticks, label, own)
    return faults, len(tables) == len(paths)


def _compare(folder: Path, ticks: Path, label: str, tables: dict[Path, BarTable]) -> list[Fault]:
    timeframe = parse_timeframe(label)
    prices = tuple(sorted({table.meta.price for table in tables.values()}))
    faults = []
    with tempfile.TemporaryDirectory(prefix="aiopt-rebuild-") as scratch:
        build_bars_locally(ticks, Path(scratch), BarRequest(timeframes=(timeframe,), prices=prices))
        for path, table in tables.items():
            built = read_bars(bar_path(Path(scratch), table.meta.instrument, timeframe, table.meta.price))
            expected, found = (frame.select(BAR_SCHEMA.names()) for frame in (built.frame, table.frame))
            if found.equals(expected) or found.equals(fill_flat(expected, timeframe)):
                continue
            problem = f"not the bars of {ticks}: {_difference(found, expected)}"
            faults.append(Fault(entry=str(folder), file=path.name, problem=problem))
    return faults


def _difference(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    """Return the first bar in which two frames differ, for a message."""
    rows = min(found.height, expected.height)
    for name in BAR_SCHEMA.names():
        left, right = (frame[name][:rows].to_numpy() for frame in (found, expected))
        if not np.array_equal(left, right):
            row = int(np.argmax(left != right))
            opened = stamp_text(int(found["ts_open_ns"][row]))
            return f"{name} of bar {row} ({opened}) is {left[row]}, but {right[row]} by the ticks"
    return f"{found.height} bars, but {expected.height} by the ticks"
