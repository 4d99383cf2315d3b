"""A provider's bars as bar files of our own, as bars.

Owns the policy for sources of bars: they become bar files and nothing else.  Four prices of a minute do not
say in which order they were quoted, nor how wide the spread was, so no ticks are made of them.  Knows nothing
of ticks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from aiopt.bars.building.neighbours import check_imported_neighbours
from aiopt.bars.files import bar_path, values_hash, write_bars
from aiopt.bars.importing.bar_source import BarSource, read_bar_source
from aiopt.bars.importing.joining import hash_sides
from aiopt.bars.importing.layouts import list_files
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.schema import BarMeta
from aiopt.config import canonical_json, content_hash
from aiopt.files import sha256_file
from aiopt.ticks.clocks.clock_proof import ClockProof

_IMPORTED = " bars, clock "


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
    reading: BarReading | None = None,
    *,
    instrument: str | None = "EURUSD",
    check: Callable[[BarSource], str] | None = None,
) -> BarImport:
    """Import a provider's bars as bar files ``OUT/INSTRUMENT/TIMEFRAME/PRICE.parquet``.

    Bars are checked: times ascend once files are in order of time, prices are finite, plausible for the
    instrument, and high and low hold open and close.  The same source twice gives the same bytes.

    Parameters
    ----------
    source : Path
        File or folder of one of `aiopt.bars.importing.layouts.BAR_FORMATS`.
    out : Path
        Folder of bars.
    reading : BarReading, optional
        What the files do not say; `price` of tables alone.
    instrument : str or None
        As for `read_bar_source`.
    check : callable, optional
        Compares the bars with a second witness: returns what it said, or raises.

    Raises
    ------
    DataError
        As `read_bar_source`; or if `out` holds another side of the series that comes from other files.
    StorageError
        If the disk is full or `out` is not writable.
    """
    source, reading = Path(source), reading or BarReading()
    read = read_bar_source(source, reading, instrument=instrument)
    if check is not None:
        read = replace(read, proof=read.proof.checked(check(read)))
    meta = _meta(source, read, reading)
    check_imported_neighbours(Path(out), meta, read.sides)
    written = []
    for side, frame in read.sides.items():
        mine = msgspec.structs.replace(meta, price=side)
        mine = msgspec.structs.replace(mine, values_hash=values_hash(frame, mine))
        path = bar_path(Path(out), mine.instrument, mine.timeframe, side)
        write_bars(path, frame, mine)
        written.append(str(path))
    stamps = [frame["ts_open_ns"] for frame in read.sides.values()]
    return BarImport(
        instrument=meta.instrument,
        timeframe=meta.timeframe,
        format=read.format,
        clock=read.clock,
        proof=read.proof,
        data_hash=meta.data_hash,
        first_ts_ns=min(int(stamp[0]) for stamp in stamps),
        last_ts_ns=max(int(stamp[-1]) for stamp in stamps),
        bars={side: frame.height for side, frame in read.sides.items()},
        repeated=read.repeated,
        dropped=read.dropped,
        files=written,
        notes=list(read.notes),
    )


def _meta(source: Path, read: BarSource, reading: BarReading) -> BarMeta:
    """Return the provenance of all sides."""
    hashes = [[_below(file, source), sha256_file(file)] for file in list_files(source)]
    settings = {
        "format": reading.format,
        "timezone": reading.timezone,
        "drop_bad": reading.drop_bad,
        "keep_clock": reading.keep_clock,
        "sides": list(read.sides),
        "table": reading.table(),
    }
    place = "/".join(source.absolute().parts[-3:])
    return BarMeta(
        instrument=read.instrument.symbol,
        timeframe=read.timeframe.label,
        price="",
        data_hash=hash_sides(read.instrument.symbol, read.timeframe.label, read.sides),
        source=f"{place} ({read.format}{_IMPORTED}{read.proof.text[:-1]})",
        source_hash=content_hash(hashes),
        settings=canonical_json(settings).decode(),
    )


def _below(file: Path, source: Path) -> str:
    return file.relative_to(source).as_posix() if file != source else file.name


__all__ = ["BarImport", "import_bars", "is_imported"]
