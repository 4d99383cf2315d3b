"""Bars that a provider made: from its files to bar files, as bars.

Owns the policy for sources of bars: they become bar files and nothing else.  Four prices of a minute do not
say in which order they were quoted, nor how wide the spread was, so no ticks are made of them.  Knows nothing
of ticks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from aiopt.bars.files import bar_path, read_bar_meta, values_hash, write_bars
from aiopt.bars.importing.bar_clock import bars_to_utc
from aiopt.bars.importing.tables import BarTableOptions, TableBars, has_bars, modal_timeframe, read_bar_table
from aiopt.bars.schema import BAR_SCHEMA, BarMeta
from aiopt.config import canonical_json, content_hash
from aiopt.errors import DataError, did_you_mean
from aiopt.files import sha256_file
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.clock_proof import ClockProof
from aiopt.ticks.clocks.local_time import UTC, Clock
from aiopt.ticks.schema import round_price
from aiopt.ticks.sources import histdata, metatrader, quote_zip, tables, truefx
from aiopt.ticks.sources.delimited import first_line, split_header
from aiopt.ticks.sources.instrument_evidence import path_evidence, resolve_or_assume
from aiopt.ticks.sources.zipped import open_text, suffix_of
from aiopt.ticks.stamps.stamp_reader import Reading
from aiopt.timeframe import Timeframe
from aiopt.utc import stamp_text

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class _Format:
    """A layout of bars: a reader that gives a frame per price side, stamps as the file has them."""

    read: Callable[[Path], dict[str, pl.DataFrame]]


def _bid_only(read: Callable[[Path, Clock], pl.DataFrame]) -> Callable[[Path], dict[str, pl.DataFrame]]:
    return lambda path: {"bid": read(path, UTC)}


def _both_sides(path: Path) -> dict[str, pl.DataFrame]:
    frame = quote_zip.read_bars(path, UTC)
    # The fifth column of a side is a size; these providers leave it 0 in bars of quotes.
    return {
        side: frame.select(
            "ts_open_ns",
            *(pl.col(f"{side}_{name}").alias(name) for name in (*_PRICES, "volume")),
            pl.lit(0, dtype=pl.Int64).alias("ticks"),
            "row",
        )
        for side in ("bid", "ask")
    }


_FORMATS: dict[str, _Format] = {
    "histdata": _Format(_bid_only(histdata.read_minute_bars)),
    "metatrader": _Format(_bid_only(metatrader.read_bars)),
    "oanda": _Format(_both_sides),
    "fxcm": _Format(_both_sides),
}
TABLES = ("csv", "json", "parquet")
"""Names of the layouts with named columns."""

BAR_FORMATS = (*_FORMATS, *TABLES)
"""Names of the layouts of bars that are read: those of providers, and tables with named columns."""

_SUFFIXES = {".zip": "text", ".csv": "text", ".txt": "text", ".tsv": "text"} | {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".json": "json",
}

_IMPORTED = " bars, clock "


@dataclass(frozen=True, eq=False)
class BarSource:
    """A provider's bars, read and checked.

    Attributes
    ----------
    instrument : Instrument
        What they are of.
    timeframe : Timeframe
        Length of a bar.
    format, clock : str
        Layout of the files, and the clock (or clocks) their stamps were read as.
    sides : dict of str to polars.DataFrame
        ``"bid"`` and perhaps ``"ask"`` to bars of `BAR_SCHEMA`: opening times in UTC nanoseconds, ascending,
        prices on the instrument's grid.  One side if the provider gives one; ``"last"`` if a table does not
        say which.
    repeated, dropped : int
        Bars left out: equal ones read before, and impossible ones (only on request).
    proof : ClockProof
        What proves the clock.
    notes : tuple of str
        How stamps of tables were read, where that needs a word.
    """

    instrument: Instrument
    timeframe: Timeframe
    format: str
    clock: str
    sides: dict[str, pl.DataFrame]
    repeated: int
    dropped: int
    proof: ClockProof
    notes: tuple[str, ...] = ()


def is_imported(source: str) -> bool:
    """Return whether `BarMeta.source` is that of a provider's own bars, so that there never were ticks."""
    return _IMPORTED in source


class BarImport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `import_bars` wrote.

    Attributes
    ----------
    instrument, timeframe, format, clock : str
        Of the bars; `clock` is the one (or the ones) the stamps were read as.
    proof : ClockProof
        What proves the clock.
    data_hash : str
        SHA-256 over the bars of all sides.
    first_ts_ns, last_ts_ns : int
        Opening times of the first and last bar.
    bars : dict of str to int
        Bars per price side.
    repeated : int
        Bars left out because an equal one was read before.
    dropped : int
        Impossible bars left out on request.
    files : list of str
        Bar files written.
    notes : list of str
        How stamps of tables were read, where that needs a word.
    """

    instrument: str
    timeframe: str
    format: str
    clock: str
    proof: ClockProof
    data_hash: str
    first_ts_ns: int
    last_ts_ns: int
    bars: dict[str, int]
    repeated: int
    dropped: int
    files: list[str]
    notes: list[str] = []


def import_bars(
    source: Path,
    out: Path,
    *,
    instrument: str | None = "EURUSD",
    format: str | None = None,
    timezone: str | None = None,
    drop_bad: bool = False,
    keep_clock: bool = False,
    table: BarTableOptions | None = None,
    check: Callable[[BarSource], str] | None = None,
) -> BarImport:
    """Import a provider's bars as bar files ``OUT/INSTRUMENT/TIMEFRAME/PRICE.parquet``.

    Bars are checked: times ascend once files are in order of time, prices are finite, plausible for the
    instrument, and high and low hold open and close.  The same source twice gives the same bytes.

    Parameters
    ----------
    source : Path
        File or folder of one of `BAR_FORMATS`.
    out : Path
        Folder of bars.
    instrument : str or None
        Symbol, which nothing in the source may contradict.  None: what the source says; then it must say one,
        see `aiopt.ticks.sources.instrument_evidence`.
    format : str, optional
        Layout; recognised if absent.
    timezone : str, optional
        Clock of the stamps, if not the layout's own.
    drop_bad : bool
        Leave impossible bars out and count them instead of refusing the source.
    keep_clock : bool
        Take the clock although weeks contradict it.
    table : BarTableOptions, optional
        What CSV, JSON and Parquet do not say about themselves.
    check : callable, optional
        Compares the bars with a second witness: returns what it said, or raises.

    Raises
    ------
    DataError
        If the source holds no bars of a known layout, its weeks contradict the clock, or a bar is impossible
        or contradicts another; names file and row.
    StorageError
        If the disk is full or `out` is not writable.
    """
    read = read_bar_source(
        source,
        instrument=instrument,
        format=format,
        timezone=timezone,
        drop_bad=drop_bad,
        keep_clock=keep_clock,
        table=table,
    )
    if check is not None:
        read = replace(read, proof=read.proof.checked(check(read)))
    source, label = Path(source), read.timeframe.label
    origin = f"{'/'.join(source.absolute().parts[-3:])} ({read.format}{_IMPORTED}{read.proof.text[:-1]})"
    data_hash = _hash(read.instrument, label, read.sides)
    files = _list(source)
    source_hash = content_hash([[_below(file, source), sha256_file(file)] for file in files])
    asked: dict[str, Any] = {
        "format": format,
        "timezone": timezone,
        "drop_bad": drop_bad,
        "keep_clock": keep_clock,
    }
    asked |= {"sides": list(read.sides)}
    settings = canonical_json({**asked, "table": table or BarTableOptions()}).decode()
    written = []
    for side, frame in read.sides.items():
        meta = BarMeta(
            instrument=read.instrument.symbol,
            timeframe=label,
            price=side,
            data_hash=data_hash,
            source=origin,
            source_hash=source_hash,
            settings=settings,
        )
        meta = msgspec.structs.replace(meta, values_hash=values_hash(frame, meta))
        path = bar_path(Path(out), read.instrument.symbol, read.timeframe, side)
        write_bars(path, frame, meta)
        written.append(str(path))
    stamps = [frame["ts_open_ns"] for frame in read.sides.values()]
    return BarImport(
        instrument=read.instrument.symbol,
        timeframe=label,
        format=read.format,
        clock=read.clock,
        proof=read.proof,
        data_hash=data_hash,
        first_ts_ns=min(int(stamp[0]) for stamp in stamps),
        last_ts_ns=max(int(stamp[-1]) for stamp in stamps),
        bars={side: frame.height for side, frame in read.sides.items()},
        repeated=read.repeated,
        dropped=read.dropped,
        files=written,
        notes=list(read.notes),
    )


def read_bar_source(
    source: Path,
    *,
    instrument: str | None = "EURUSD",
    format: str | None = None,
    timezone: str | None = None,
    drop_bad: bool = False,
    keep_clock: bool = False,
    table: BarTableOptions | None = None,
) -> BarSource:
    """Read a provider's bars and check them, without writing anything.

    Parameters
    ----------
    source, instrument, format, timezone, drop_bad, keep_clock, table
        See `import_bars`.

    Raises
    ------
    DataError
        If the source holds no bars of a known layout, or a bar is impossible or contradicts another; names
        file and row.
    """
    source = Path(source)
    if format is not None and format not in BAR_FORMATS:
        raise DataError(
            f"The format must be one of bars, but got {format!r}.{did_you_mean(format, BAR_FORMATS)}"
        )
    table = table or BarTableOptions()
    files = _list(source)
    evidence = path_evidence(files, source, rows=instrument is None)
    item, assumed = resolve_or_assume(instrument, evidence, source)
    name = format or _recognise(files[0], table)
    clock_name, notes = name, []
    if name in TABLES:
        found = [read_bar_table(file, item, table, clock_given=timezone is not None) for file in files]
        read = [(file, bars.sides) for file, bars in zip(files, found, strict=True)]
        clock_name, notes = _clock_name(name, found, source), _notes(found)
        _check_sides(read)
    else:
        if table.of_table or table.price is not None:
            msg = f"Columns, times and --price may only be given for {', '.join(TABLES)}, but the format is "
            raise DataError(f"{msg}{name}. Leave them out.", file=source)
        read = [(file, _FORMATS[name].read(file)) for file in files]
    parts, proof = bars_to_utc(read, clock_name, item, timezone=timezone, keep=keep_clock)
    sides: dict[str, pl.DataFrame] = {}
    repeated = dropped = 0
    for side in parts[0][1]:
        frames = [_checked(frames[side], file, item, drop_bad) for file, frames in parts]
        dropped += sum(
            before[1][side].height - after.height for before, after in zip(parts, frames, strict=True)
        )
        sides[side], twice = _joined(frames, files)
        repeated += twice
    timeframe = modal_timeframe(next(iter(sides.values()))["ts_open_ns"].to_numpy(), source)
    return BarSource(item, timeframe, name, proof.clock, sides, repeated, dropped, proof, (*notes, *assumed))


def _clock_name(name: str, found: Sequence[TableBars], source: Path) -> str:
    """Return the layout by whose clock tables are read: MetaTrader's, if its Python package made them."""
    zoned = {bars.reading.zoned for bars in found}
    if len(zoned) > 1:
        msg = "Stamps must all say their zone, or none, but files of this folder differ. Import them apart."
        raise DataError(msg, file=source)
    of_metatrader = not zoned.pop() and all(bars.of_metatrader for bars in found)
    return "metatrader" if of_metatrader else name


def _notes(found: Sequence[TableBars]) -> list[str]:
    notes = [_note(bars.reading) for bars in found if not bars.reading.is_plain]
    notes += ["Closing times were turned into opening times." for bars in found if bars.closes]
    return list(dict.fromkeys(notes))


def _note(reading: Reading) -> str:
    return f"Stamps were read as {reading.text}."


def _check_sides(parts: Sequence[tuple[Path, dict[str, pl.DataFrame]]]) -> None:
    first = set(parts[0][1])
    for file, sides in parts:
        if set(sides) != first:
            msg = f"Files of a source must have the same prices, but this one has {' and '.join(sides)}, "
            raise DataError(f"{msg}others {' and '.join(first)}. Import them apart.", file=file)


def _list(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found: dict[str, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        kind = _SUFFIXES.get(suffix_of(path))
        if kind is not None and path.is_file():
            found.setdefault(kind, []).append(path)
    if len(found) > 1:
        # JSON beside anything else is a description of it.
        found.pop("json", None)
    if len(found) > 1:
        counts = ", ".join(f"{len(files)} {kind}" for kind, files in found.items())
        msg = f"A source of bars must hold files of one kind, but this folder holds {counts}. "
        raise DataError(msg + "Give the folder or file of one.", file=source)
    if not found:
        what = "holds none" if source.is_dir() else "does not exist"
        msg = "A source of bars must be a zip, CSV, JSON or Parquet file or a folder of them, but this path "
        raise DataError(f"{msg}{what}. Check the path.", file=source)
    return found.popitem()[1]


def _recognise(path: Path, table: BarTableOptions) -> str:
    kind = _SUFFIXES.get(suffix_of(path), "text")
    if kind == "parquet":
        if read_bar_meta(path) is not None:
            msg = "A source of bars must be a provider's, but this is a bar file of aiopt. Use it as it is."
            raise DataError(msg, file=path)
        return "parquet"
    if kind == "json":
        return "json"
    with open_text(path) as stream:
        line = first_line(stream)
    if table.of_table:
        return "csv"
    if histdata.is_bars(line):
        return "histdata"
    if metatrader.is_metatrader(line) and metatrader.is_bars(line):
        return "metatrader"
    if quote_zip.is_bars(line) and path.suffix.lower() == ".zip":
        return "fxcm" if "fxcm" in {part.lower() for part in path.absolute().parts} else "oanda"
    names = split_header(line)[1]
    if has_bars(names):
        return "csv"
    known = ", ".join(_FORMATS)
    msg = f"A source of bars must be of a known layout ({known}) or a table with named columns (open, high, "
    msg += f"low, close), but it begins with {line[:60]!r}. "
    if _is_of_ticks(path, line, names):
        msg += "Ticks are imported with `aiopt ticks import`."
    else:
        msg += "Name its columns: --map ts=…,open=…,high=…,low=…,close=… (--no-header counts them from 0)."
    raise DataError(msg, file=path, row=0)


def _is_of_ticks(path: Path, line: str, names: Sequence[str]) -> bool:
    known = truefx.is_truefx(line) or metatrader.is_metatrader(line) or histdata.is_histdata(path, line)
    return known or tables.has_ticks(names)


def _checked(frame: pl.DataFrame, file: Path, item: Instrument, drop_bad: bool) -> pl.DataFrame:
    """Return the bars with prices on the grid; refuse or leave out impossible ones."""
    raw = {name: frame[name].to_numpy() for name in _PRICES}
    price = {name: round_price(values, item) for name, values in raw.items()}
    low, high = item.plausible_low, item.plausible_high
    plausible = np.logical_and.reduce([(values >= low) & (values <= high) for values in price.values()])
    inside = (price["low"] <= np.minimum(price["open"], price["close"])) & (
        price["high"] >= np.maximum(price["open"], price["close"])
    )
    good = plausible & inside
    if not good.all() and not drop_bad:
        at = int(np.argmin(good))
        values = ", ".join(f"{name}={float(raw[name][at])!r}" for name in _PRICES)
        rule = (
            f"Prices of {item.symbol} must lie in {low:g} … {high:g}"
            if not plausible[at]
            else "High and low of a bar must hold its open and close"
        )
        when = stamp_text(int(frame["ts_open_ns"][at]))
        msg = f"{rule}, but got {values} at {when}. Mend the file, or leave such bars out with --drop-bad."
        raise DataError(msg, file=file, row=int(frame["row"][at]))
    volume = (
        frame["volume"] if "volume" in frame.columns else pl.Series([0.0]).new_from_index(0, frame.height)
    )
    columns: dict[str, Any] = {"ts_open_ns": frame["ts_open_ns"], **price, "volume": volume.fill_nan(0.0)}
    return pl.DataFrame({**columns, "ticks": frame["ticks"], "row": frame["row"]}).filter(pl.Series(good))


def _joined(frames: Sequence[pl.DataFrame], files: Sequence[Path]) -> tuple[pl.DataFrame, int]:
    """Return the bars of all files in order of time, and how many were there twice."""
    numbered = [frame.with_columns(pl.lit(number).alias("file")) for number, frame in enumerate(frames)]
    joined = pl.concat(numbered).sort("ts_open_ns", maintain_order=True)
    if not joined.height:
        raise DataError("A source must leave at least one bar, but none is left. Check it.", file=files[0])
    same_time = joined["ts_open_ns"].to_numpy()[1:] == joined["ts_open_ns"].to_numpy()[:-1]
    same = np.logical_and.reduce(
        [joined[name].to_numpy()[1:] == joined[name].to_numpy()[:-1] for name in _PRICES]
    )
    other = np.flatnonzero(same_time & ~same) + 1
    if other.size:
        at = int(other[0])
        values = ", ".join(f"{name}={joined[name][at]!r}" for name in _PRICES)
        msg = (
            f"A time must have one bar, but {stamp_text(int(joined['ts_open_ns'][at]))} has a second one "
            f"({values}). Give the right clock with --timezone, or remove one of the two."
        )
        raise DataError(msg, file=files[int(joined["file"][at])], row=int(joined["row"][at]))
    kept = joined.filter(pl.Series(np.concatenate(([True], ~same_time))))
    return kept.select(list(BAR_SCHEMA.names())).cast(BAR_SCHEMA), int(np.count_nonzero(same_time))


def _below(file: Path, source: Path) -> str:
    return file.relative_to(source).as_posix() if file != source else file.name


def _hash(item: Instrument, timeframe: str, sides: dict[str, pl.DataFrame]) -> str:
    digest = hashlib.sha256(f"{item.symbol} {timeframe}".encode())
    for side, frame in sides.items():
        digest.update(side.encode())
        for name in ("ts_open_ns", *_PRICES, "volume"):
            digest.update(np.ascontiguousarray(frame[name].to_numpy()).data)
    return digest.hexdigest()


__all__ = ["BAR_FORMATS", "BarImport", "BarSource", "import_bars", "is_imported", "read_bar_source"]
