"""The layouts of a provider's bars: which files a source has, which layout they are in, and its reader.

Owns the list of layouts.  What is done about bars that were read is `bar_source`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from aiopt.bars.files import read_bar_meta
from aiopt.bars.importing.tables import has_bars
from aiopt.bars.schema import OHLC
from aiopt.errors import DataError, did_you_mean
from aiopt.ticks.clocks.local_time import UTC, Clock
from aiopt.ticks.sources import histdata, metatrader, quote_zip, tables, truefx
from aiopt.ticks.sources.delimited import first_line, split_header
from aiopt.ticks.sources.zipped import open_text, suffix_of

Sides = dict[str, pl.DataFrame]
"""Price side to bars, stamps as the file has them: ``ts_open_ns``, `OHLC`, ``ticks``, ``row``, perhaps
``volume``."""


def _bid_only(read: Callable[[Path, Clock], pl.DataFrame]) -> Callable[[Path], Sides]:
    return lambda path: {"bid": read(path, UTC)}


def _both_sides(path: Path) -> Sides:
    frame = quote_zip.read_bars(path, UTC)
    # The fifth column of a side is a size; these providers leave it 0 in bars of quotes.
    return {
        side: frame.select(
            "ts_open_ns",
            *(pl.col(f"{side}_{name}").alias(name) for name in (*OHLC, "volume")),
            pl.lit(0, dtype=pl.Int64).alias("ticks"),
            "row",
        )
        for side in ("bid", "ask")
    }


READERS: dict[str, Callable[[Path], Sides]] = {
    "histdata": _bid_only(histdata.read_minute_bars),
    "metatrader": _bid_only(metatrader.read_bars),
    "oanda": _both_sides,
    "fxcm": _both_sides,
}
"""Layouts of providers, and what reads a file of each."""

TABLES = ("csv", "json", "parquet")
"""Names of the layouts with named columns."""

BAR_FORMATS = (*READERS, *TABLES)
"""Names of the layouts of bars that are read: those of providers, and tables with named columns."""

_SUFFIXES = {".zip": "text", ".csv": "text", ".txt": "text", ".tsv": "text"} | {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".json": "json",
}


def check_format(format: str | None) -> None:
    """Raise `DataError` unless a layout is one of `BAR_FORMATS`, or to be recognised."""
    if format is not None and format not in BAR_FORMATS:
        raise DataError(
            f"The format must be one of bars, but got {format!r}.{did_you_mean(format, BAR_FORMATS)}"
        )


def list_files(source: Path) -> list[Path]:
    """Return the files of a source, all of one kind, in order of their names.

    Raises
    ------
    DataError
        If there are none, or files of several kinds.
    """
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


def recognise(path: Path, *, is_table: bool) -> str:
    """Return the layout of a file, one of `BAR_FORMATS`.

    Parameters
    ----------
    path : Path
        File of a source.
    is_table : bool
        The user said something that only tables have a use for.

    Raises
    ------
    DataError
        If it is in none, or a bar file of our own.
    """
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
    if is_table:
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
    known = ", ".join(READERS)
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
