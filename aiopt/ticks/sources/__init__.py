"""Tick sources: recognising the format of what was given and opening it with the right reader.

Owns the list of formats.  Each reader is a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from aiopt.errors import DataError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.market.instrument import instrument as look_up
from aiopt.ticks.sources import dukascopy, dukascopy_json, histdata, metatrader, quote_zip, tables, truefx
from aiopt.ticks.sources.delimited import first_line
from aiopt.ticks.sources.instrument_evidence import path_evidence, resolve_or_assume
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, parse_columns
from aiopt.ticks.sources.zipped import open_member, open_text, suffix_of

Opener = Callable[[Path, Sequence[Path], Instrument, ReaderOptions], TickSource]

FORMATS: dict[str, str] = {
    "dukascopy": "Dukascopy bi5 hour files: SYMBOL/YYYY/MM/DD/HHh_ticks.bi5, months from 00",
    "dukascopy_json": "hours of ticks as Dukascopy's JSON API of 2026 answers them, under any name",
    "oanda": "daily zips YYYYMMDD_quote.zip of 'milliseconds,bid,ask', UTC",
    "fxcm": "the same zips stamped UTC-5",
    "histdata": "HistData ASCII ticks (zip or CSV), New York wall clock",
    "truefx": "TrueFX's months (zip or CSV), GMT",
    "metatrader": "tick exports of MetaTrader 5 (CSV or zip), on the broker's clock, New York + 7 h",
    "csv": "CSV with a header naming time, bid, ask and optionally sizes and symbol, or with --map",
    "json": "JSON lists of objects with such names, as dukascopy-node writes them",
    "parquet": "Parquet in the tick schema or with such column names, or with --map",
}
"""Names of the formats and what they are."""

_OPENERS: dict[str, Opener] = {
    "dukascopy": dukascopy.open_source,
    "dukascopy_json": dukascopy_json.open_source,
    "oanda": partial(quote_zip.open_source, format=quote_zip.OANDA),
    "fxcm": partial(quote_zip.open_source, format=quote_zip.FXCM),
    "histdata": histdata.open_source,
    "truefx": truefx.open_source,
    "metatrader": metatrader.open_source,
    "csv": tables.open_csv,
    "json": tables.open_json,
    "parquet": tables.open_parquet,
}
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "dukascopy": (".bi5",),
    "dukascopy_json": (".json",),
    "oanda": (".zip",),
    "fxcm": (".zip",),
    "histdata": (".zip", ".csv", ".txt"),
    "truefx": (".zip", ".csv", ".txt"),
    "metatrader": (".zip", ".csv", ".txt", ".tsv"),
    "csv": (".csv", ".txt", ".tsv"),
    "json": (".json",),
    "parquet": (".parquet", ".pq"),
}
_KNOWN = {suffix for suffixes in _SUFFIXES.values() for suffix in suffixes}


def open_source(
    root: Path, instrument: Instrument, *, format: str | None = None, options: ReaderOptions | None = None
) -> TickSource:
    """Recognise a source and list its files.

    Parameters
    ----------
    root : Path
        A file, or a folder with files of one format at any depth.
    instrument : Instrument
        What the ticks should be of.
    format : str, optional
        Key of `FORMATS`; recognised from names and first lines if absent.
    options : ReaderOptions, optional
        What the files do not say.

    Raises
    ------
    DataError
        If the path is missing, the folder empty, the format unknown or mixed, or the reader refuses a file.
    """
    root, options = Path(root), options or ReaderOptions()
    name, chosen, others = _chosen(root, format, options)
    source = _OPENERS[name](root, chosen, instrument, options)
    if others:
        source.notes.append(f"{len(others)} file(s) of other kinds left aside ({_kinds(others)}).")
    return source


def open_named_source(
    root: Path, given: str | None, *, format: str | None = None, options: ReaderOptions | None = None
) -> tuple[TickSource, Instrument]:
    """Open a source as of the instrument given, which nothing may contradict, or of the one it says.

    A source that says none is taken as `instrument_evidence.ASSUMED`, with a note among its own.

    Parameters
    ----------
    root, format, options
        See `open_source`.
    given : str, optional
        Symbol that the user named.

    Raises
    ------
    DataError
        As `open_source` and `aiopt.ticks.sources.instrument_evidence.resolve_or_assume`.
    """
    if given is not None:
        look_up(given)
    root = Path(root)
    _, chosen, _ = _chosen(root, format, options or ReaderOptions())
    item, notes = resolve_or_assume(given, path_evidence(chosen, root, rows=given is None), root)
    source = open_source(root, item, format=format, options=options)
    source.notes.extend(notes)
    return source, item


def _chosen(root: Path, format: str | None, options: ReaderOptions) -> tuple[str, list[Path], list[Path]]:
    """Return the format of a source, the files of it and the others."""
    if format is not None and format not in FORMATS:
        raise DataError(f"There is no format {format!r}.{did_you_mean(format, FORMATS)}")
    files = _list_files(root)
    name = recognise(root, files, mapped=bool(options.columns)) if format is None else format
    _check_options(root, name, options)
    chosen = [file for file in files if suffix_of(file) in _SUFFIXES[name]]
    if not chosen:
        wanted = " or ".join(_SUFFIXES[name])
        msg = f"The format {name} reads {wanted} files, but this source holds {_kinds(files)}. "
        raise DataError(f"{msg}Name another --format.{_listing()}", file=root)
    return name, chosen, [file for file in files if suffix_of(file) not in _SUFFIXES[name]]


def recognise(root: Path, files: Sequence[Path], *, mapped: bool = False) -> str:
    """Return the format of the files of a source; of text, `mapped` says that its columns are named.

    Raises
    ------
    DataError
        If none of the formats fits, or more than one does.
    """
    found = {suffix_of(file) for file in files} & _KNOWN
    kinds = {".pq": ".parquet", ".txt": ".csv", ".tsv": ".csv"}
    json_name = _recognise_json(_json_files(files)) if found == {".json"} else None
    if json_name is None:
        # JSON beside anything else is a description of it, not ticks.
        found.discard(".json")
    merged = {kinds.get(suffix, suffix) for suffix in found}
    if len(merged) > 1:
        msg = f"This source holds files of more than one format: {_kinds(files)}. "
        raise DataError(msg + "Give the folder or file of one, or name it with --format.", file=root)
    if not merged:
        msg = f"This source holds no format that is known: {_kinds(files)}."
        raise DataError(msg + _listing(), file=root)
    suffix = merged.pop()
    first = next(file for file in files if suffix_of(file) in found)
    if suffix == ".bi5":
        return "dukascopy"
    if json_name is not None:
        return json_name
    if suffix == ".parquet":
        return "parquet"
    if suffix == ".csv":
        with open_text(first) as stream:
            line = first_line(stream)
        return "csv" if mapped else _recognise_text(first, line) or "csv"
    return _recognise_zip(root, first)


def _recognise_json(files: Sequence[Path]) -> str | None:
    if any(map(dukascopy_json.is_tick_answer, files)):
        return "dukascopy_json"
    return "json" if any(map(tables.is_json_table, files)) else None


def _recognise_text(path: Path, line: str) -> str | None:
    if metatrader.is_metatrader(line):
        return "metatrader"
    if truefx.is_truefx(line):
        return "truefx"
    return "histdata" if histdata.is_histdata(path, line) else None


def _check_options(root: Path, name: str, options: ReaderOptions) -> None:
    """Refuse options a format has no use for: they would silently do nothing."""
    clock = options.timezone is not None or options.utc_offset_h is not None
    if name.startswith("dukascopy") and clock:
        msg = f"No clock can be given for {name}: it is UTC. Leave it out."
        raise DataError(msg, file=root)
    if name not in {"csv", "json", "parquet"} and (
        options.columns or options.time_unit or options.time_format
    ):
        msg = f"Columns, time units and time formats are for csv, json and parquet, but this is {name}. "
        raise DataError(msg + "Leave them out, or name another --format.", file=root)


def _recognise_zip(root: Path, path: Path) -> str:
    with open_member(path) as (_, stream):
        line = first_line(stream)
    known = _recognise_text(path, line)
    if known is not None:
        return known
    if quote_zip.is_quote_zip(path):
        parts = {part.lower() for part in path.absolute().parts}
        return "fxcm" if "fxcm" in parts else "oanda"
    msg = f"The zip {path.name} holds no format that is known: it begins with {line[:60]!r}."
    if line.count(",") == 10:
        msg = "This archive holds bars (11 columns), not ticks. "
        msg += "Import them as bars: `aiopt bars import SRC --out DIR`."
    raise DataError(msg + _listing(), file=root)


def _json_files(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if suffix_of(file) == ".json"]


def _list_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        msg = "There is no such file or folder. Check the path."
        raise DataError(msg, file=root)
    files = sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not files:
        msg = "This folder is empty. Check the path."
        raise DataError(msg, file=root)
    return files


def _kinds(files: Sequence[Path]) -> str:
    counts: dict[str, int] = {}
    for file in files:
        kind = suffix_of(file) or "no suffix"
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def _listing() -> str:
    return " Formats: " + "; ".join(f"{name} ({text})" for name, text in FORMATS.items()) + "."


__all__ = [
    "FORMATS",
    "Batch",
    "ReaderOptions",
    "TickSource",
    "open_source",
    "parse_columns",
    "recognise",
    "open_named_source",
]
