"""Are bars those of their ticks: built again from the tick store they name, and compared value by value.

Owns the comparison.  What bars were asked for with, their type, session and filling, is in their metadata.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from aiopt.bars.building.build import build
from aiopt.bars.files import bar_path, read_bars
from aiopt.bars.reducing.filling import Fill
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import EventRule, TimeRule
from aiopt.bars.schema import TIME_BARS, BarMeta, BarTable
from aiopt.bars.stops.stop_files import STOPS_NAME, read_stop_meta, read_stop_table
from aiopt.catalog.discovery import bar_files
from aiopt.catalog.entries import Fault
from aiopt.errors import ConfigError, DataError
from aiopt.market.sessions import parse_session
from aiopt.timeframe import parse_timeframe
from aiopt.utc import stamp_text


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
        False if a file could not be read.
    """
    paths = bar_files(folder)
    groups: dict[tuple[object, ...], dict[Path, BarTable]] = {}
    for path in paths:
        try:
            table = read_bars(path)
        except DataError:
            continue  # a fault of its own, named by the reading
        meta = table.meta
        key = (meta.type, meta.timeframe, meta.size, meta.session, meta.fill)
        groups.setdefault(key, {})[path] = table
    faults = [fault for _, tables in sorted(groups.items()) for fault in _compare(folder, ticks, tables)]
    return faults, sum(map(len, groups.values())) == len(paths)


def _compare(folder: Path, ticks: Path, tables: Mapping[Path, BarTable]) -> list[Fault]:
    """Compare bars that one build makes."""
    meta = next(iter(tables.values())).meta
    prices = tuple(sorted({table.meta.price for table in tables.values()}))
    spread = any("spread_mean" in table.frame.columns for table in tables.values())
    # Where the metadata names no filling, bars without ticks were made by `empty="flat"`.
    unmarked = meta.type == TIME_BARS and meta.fill == "none"
    flat = unmarked and any((table.frame["ticks"] == 0).any() for table in tables.values())
    faults = []
    with tempfile.TemporaryDirectory(prefix="aiopt-rebuild-") as scratch:
        try:
            _build(ticks, Path(scratch), meta, prices, spread, flat)
        except (ConfigError, DataError) as failure:
            return [Fault(entry=str(folder), file=path.name, problem=failure.args[0]) for path in tables]
        for path, table in tables.items():
            built = read_bars(bar_path(Path(scratch), meta.instrument, meta.timeframe, table.meta.price))
            found, expected = table.frame, built.frame.select(table.frame.columns)
            if found.equals(expected):
                continue
            problem = f"not the bars of {ticks}: {_difference(found, expected)}"
            faults.append(Fault(entry=str(folder), file=path.name, problem=problem))
        faults += _compare_stops(
            folder, ticks, bar_path(Path(scratch), meta.instrument, meta.timeframe, "bid")
        )
    return faults


def _compare_stops(folder: Path, ticks: Path, built: Path) -> list[Fault]:
    """Compare the stop ladder of a folder, if it has one, with the one built beside a bar file."""
    found, expected = folder / STOPS_NAME, built.with_name(STOPS_NAME)
    if read_stop_meta(found) is None:
        return []
    try:
        ours = read_stop_table(found)
    except DataError:
        return []  # a fault of its own, named by the reading
    if expected.is_file() and ours.content_sha256() == read_stop_table(expected).content_sha256():
        return []
    problem = f"not the stop ladder of {ticks}: its record quotes are others"
    return [Fault(entry=str(folder), file=STOPS_NAME, problem=problem)]


def _build(ticks: Path, out: Path, meta: BarMeta, prices: tuple[str, ...], spread: bool, flat: bool) -> None:
    session = parse_session(*meta.session.split()) if meta.session else None
    timed = meta.type == TIME_BARS
    request = BarRequest(
        (TimeRule(parse_timeframe(meta.timeframe)) if timed else EventRule(meta.type, meta.size),),
        prices,
        session=session,
        spread_stats=spread,
        empty="flat" if flat else "omit",
        fill=cast("Fill", meta.fill),
    )
    build(ticks, out, request)


def _difference(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    """Return the first bar in which two frames differ, for a message."""
    rows = min(found.height, expected.height)
    for name in expected.columns:
        left, right = (frame[name][:rows].to_numpy() for frame in (found, expected))
        differing = (left != right) & ~((left != left) & (right != right))  # NaN equals NaN
        if differing.any():
            row = int(np.argmax(differing))
            opened = stamp_text(int(found["ts_open_ns"][row]))
            return f"{name} of bar {row} ({opened}) is {left[row]}, but {right[row]} by the ticks"
    return f"{found.height} bars, but {expected.height} by the ticks"
