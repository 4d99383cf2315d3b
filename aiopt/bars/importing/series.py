"""One source of bars of a run: bar files of our own, or a provider's, as frames per price side.

Owns which series of a folder is taken, what counts as a filling, and what a source leaves on record.  Reading
a provider's files is `aiopt.bars.importing.bar_source`'s; putting sources together `bar_input`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from aiopt.bars.files import read_bar_meta, read_bars, read_series
from aiopt.bars.importing.bar_source import read_bar_source
from aiopt.bars.importing.layouts import TABLES
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.manifest import BarOrigin
from aiopt.bars.schema import BAR_SCHEMA, PRICES, TIME_BARS, BarMeta, BarTable
from aiopt.errors import DataError, UnevenBarsError
from aiopt.files import sha256_file
from aiopt.market.instrument import Instrument
from aiopt.ticks.manifest import SourceFile, is_tick_store
from aiopt.timeframe import parse_timeframe

OWN = "aiopt"
"""Format of bar files of our own."""

REPEATED = "there twice"
FILLED = "filled, without a quote"

_MOST_FILES = 2_000


@dataclass(frozen=True)
class SourceSeries:
    """The bars of one source.

    Attributes
    ----------
    instrument, timeframe : str
        Of all of them.
    sides : dict of str to polars.DataFrame
        Among `PRICES`, each `BAR_SCHEMA` in order of time.
    synthetic : bool
        True if they were built from generated ticks.
    record : BarOrigin
        For the manifest.
    path : Path
        What was given.
    """

    instrument: str
    timeframe: str
    sides: dict[str, pl.DataFrame]
    synthetic: bool
    record: BarOrigin
    path: Path


def read_source(path: Path, side: str | None, item: Instrument, reading: BarReading) -> SourceSeries:
    """Read one source.

    Parameters
    ----------
    path : Path
        Bar file or folder of our own, or what `read_bar_source` reads.
    side : str or None
        What one-sided bars are of; None: as the files say.
    item : Instrument
        What a provider's bars must be of.
    reading : BarReading
        What the files do not say.

    Raises
    ------
    DataError
        If the bars cannot be used.
    """
    if not path.exists():
        raise DataError("The bars must exist, but this path does not. Check --bars.", file=path)
    if path.is_dir() and is_tick_store(path):
        raise DataError("Bars were asked for, but this is a tick store. Give it with --ticks.", file=path)
    own = _own_series(path)
    return _read_own(own, side) if own is not None else _read_foreign(path, side, item, reading)


def _own_series(path: Path) -> Path | None:
    """Return the file or folder of the finest series of our own at `path`; None if the files are others'."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))[:_MOST_FILES]
    metas = {file: meta for file in files if file.suffix == ".parquet" and (meta := read_bar_meta(file))}
    if not metas:
        return None
    if path.is_file():
        return path
    series: dict[Path, BarMeta] = {file.parent: meta for file, meta in metas.items()}
    timed = {folder: meta for folder, meta in series.items() if meta.type == TIME_BARS}
    if not timed:
        types = ", ".join(sorted({meta.timeframe for meta in series.values()}))
        msg = f"A run needs bars of one length in time, but this folder holds {types} alone. "
        raise UnevenBarsError(msg + "Build time bars: `aiopt bars build --timeframes 1m`.", file=path)
    for name in ("instrument", "data_hash", "session"):
        values = sorted({str(getattr(meta, name)) for meta in timed.values()})
        if len(values) > 1:
            some = ", ".join(str(folder) for folder in list(timed)[:4])
            msg = f"A folder of bars must lead to bars of one {name.replace('_', ' ')}, but found "
            raise DataError(msg + f"{', '.join(values)}. Give one series: {some}.", file=path)
    # All were built from the same data, so the finest gives each of the others exactly.
    return min(timed, key=lambda folder: parse_timeframe(timed[folder].timeframe).ns)


def _read_own(path: Path, side: str | None) -> SourceSeries:
    if path.is_file():
        tables = {read_bars(path).meta.price: read_bars(path)}
        files = [path]
    else:
        tables = {table.meta.price: table for table in read_series(path).values()}
        files = [path / f"{price}.parquet" for price in tables]
        files = [file for file in files if file.is_file()] or sorted(path.glob("*.parquet"))
    first = next(iter(tables.values()))
    for table in tables.values():
        _check_own(table, path)
    sides, left_out = {}, 0
    for price, table in tables.items():
        if len(tables) == 1 and side is not None:
            if price in PRICES and price != side:
                msg = f"The bars must be of the {side}, but their file says {price}. Leave `price` out."
                raise DataError(msg, file=path)
            price = side
        sides[price], empty = _quoted(table.frame)
        left_out = max(left_out, empty)
    facts = _Facts(
        instrument=first.meta.instrument,
        timeframe=first.meta.timeframe,
        format=OWN,
        clock="UTC",
        left_out={FILLED: left_out},
        files=files,
        notes=[f"Bars built from {first.meta.source}."] if first.meta.source else [],
        synthetic=first.meta.synthetic,
    )
    return _series(path, sides, facts)


def _check_own(table: BarTable, path: Path) -> None:
    try:
        arrays = table.arrays()
    except UnevenBarsError as failure:
        raise UnevenBarsError(failure.reason, file=path, row=failure.row) from failure
    if arrays.interpolated:
        msg = "Bars must be of the past alone, but gaps of these were filled with prices from the future."
        raise DataError(msg + " Build them with --fill flat, or without --fill.", file=path)


def _read_foreign(path: Path, side: str | None, item: Instrument, reading: BarReading) -> SourceSeries:
    # Whatever the layout, `side` says what one price is; the reader would take it of tables alone.
    found = read_bar_source(path, msgspec.structs.replace(reading, price=None), instrument=item.symbol)
    sides, left_out = {}, 0
    for price, bars in found.sides.items():
        if found.format in TABLES and price in PRICES and side not in (None, price) and len(found.sides) == 1:
            msg = f"The bars must be of the {side}, but their columns say {price}. Leave `price` out."
            raise DataError(msg, file=path)
        frame, empty = _quoted(bars)
        sides[side if side is not None and len(found.sides) == 1 else price] = frame
        left_out = max(left_out, empty)
    facts = _Facts(
        instrument=found.instrument.symbol,
        timeframe=found.timeframe.label,
        format=found.format,
        clock=found.clock,
        left_out={REPEATED: found.repeated, "impossible": found.dropped, FILLED: left_out},
        files=_files(path),
        notes=[f"Clock of {path.name}: {found.proof.text}", *found.notes],
    )
    return _series(path, sides, facts)


@dataclass(frozen=True)
class _Facts:
    """What is known of a source besides its bars, see `SourceSeries` and `BarOrigin`."""

    instrument: str
    timeframe: str
    format: str
    clock: str
    left_out: dict[str, int]
    files: Sequence[Path]
    notes: list[str]
    synthetic: bool = False


def _series(path: Path, sides: dict[str, pl.DataFrame], facts: _Facts) -> SourceSeries:
    unknown = next((name for name in sides if name not in PRICES), None)
    if unknown is not None:
        msg = "One-sided bars must be known to be of the bid, the ask or the mid, but the file does not say. "
        raise DataError(msg + "Say it with --bars-price bid (`bar_reading: {price: bid}`).", file=path)
    for frame in sides.values():
        if not frame.height:
            raise DataError("A source must leave at least one bar, but none is left. Check it.", file=path)
    stamps = [frame["ts_open_ns"] for frame in sides.values()]
    record = BarOrigin(
        source="/".join(part for part in path.absolute().parts[-3:] if part != "/"),
        format=facts.format,
        clock=facts.clock,
        side=" and ".join(sides),
        bars=max(frame.height for frame in sides.values()),
        left_out={name: count for name, count in facts.left_out.items() if count},
        first_ts_ns=min(int(stamp[0]) for stamp in stamps),
        last_ts_ns=max(int(stamp[-1]) for stamp in stamps),
        files=[
            SourceFile(
                path=file.name if file == path else file.relative_to(path).as_posix(),
                rows=0,
                sha256=sha256_file(file),
            )
            for file in facts.files
        ],
        notes=facts.notes,
    )
    return SourceSeries(facts.instrument, facts.timeframe, sides, facts.synthetic, record, path)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))


def _quoted(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return the bars that hold a quote, and how many do not: fillings are no market.

    Where no bar has a volume or a number of ticks, none can be told from a filling, and all are kept.
    """
    bars = frame.select(BAR_SCHEMA.names())
    if "filled" in frame.columns:
        bars = bars.filter(~frame["filled"])
    counted = (bars["ticks"] > 0) | (bars["volume"] > 0)
    if counted.any():
        flat = (bars["high"] == bars["low"]) & (bars["open"] == bars["close"])
        bars = bars.filter(counted | ~flat)
    return bars, frame.height - bars.height


__all__ = ["FILLED", "OWN", "REPEATED", "SourceSeries", "read_source"]
