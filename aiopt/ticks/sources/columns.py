"""Tables with named columns as ticks: which column is what.

Owns the common names of time, bid, ask, size and symbol columns, and what a set of names says about a file's
origin.  How a time is read is in `stamps`.  Knows nothing of files.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.delimited import numbers
from aiopt.ticks.sources.instrument_evidence import check_column
from aiopt.ticks.stamps.stamp_reader import StampReader

# Best first; compared without case, spaces and punctuation.
NAMES: dict[str, tuple[str, ...]] = {
    "time": (
        *("tseventns", "timemsc", "tsevent", "timestampns", "timestampus", "timestampms", "timestamp"),
        *("datetime", "gmttime", "utctime", "time", "ts", "date", "tsns", "tsms", "index", "indexlevel0"),
        "localtime",
    ),
    "bid": ("bid", "bidprice", "bidpx", "bidpx00", "b"),
    "ask": ("ask", "askprice", "askpx", "askpx00", "offer", "offerprice", "a"),
    "bid_size": ("bidsize", "bidvolume", "bidvol", "bidqty", "bidsz", "bidsz00"),
    "ask_size": ("asksize", "askvolume", "askvol", "askqty", "asksz", "asksz00", "offersize"),
    "symbol": ("instrument", "symbol", "sym", "pair", "ticker", "instrumentid", "currencypair"),
}
"""Accepted column names, by meaning, in plain lower-case letters and digits."""

_DUKASCOPY_EXPORT = ({"gmttime", "localtime"}, {"ask", "bid", "askvolume", "bidvolume"})
_DUKASCOPY_PRICES = {"timestamp", "askprice", "bidprice", "askvolume", "bidvolume"}


@dataclass(frozen=True)
class ColumnMap:
    """Which column holds what; None where there is none.

    `of_metatrader` says that the names are those of ticks from MetaTrader's Python package, whose Unix times
    count on the broker's clock.
    """

    time: str
    bid: str
    ask: str
    bid_size: str | None
    ask_size: str | None
    symbol: str | None
    time_of_day: str | None
    of_metatrader: bool = False
    others: tuple[str, ...] = ()
    """Columns of no meaning here; text in them may name another instrument."""
    given: bool = False
    """The user said which column is what."""

    def times(self, frame: pl.DataFrame) -> pl.Series:
        """Return the stamps of a table, date and time of day joined where they are apart."""
        times = frame[self.time]
        if self.time_of_day is None:
            return times
        joined = times.cast(pl.String) + pl.Series([" "]) + frame[self.time_of_day].cast(pl.String)
        return joined.alias(f"{self.time} {self.time_of_day}")

    def names(self) -> list[str]:
        """Return the columns used."""
        fields = (self.time, self.bid, self.ask, self.bid_size, self.ask_size, self.symbol, self.time_of_day)
        return [name for name in fields if name is not None]

    def with_others(self, names: Sequence[str]) -> ColumnMap:
        """Return the map with the rest of a table's columns as `others`."""
        used = set(self.names())
        return replace(self, others=tuple(name for name in names if name not in used))


def map_columns(names: Sequence[str], file: Path, given: Mapping[str, str] | None = None) -> ColumnMap:
    """Find the columns of ticks among the names of a table.

    Parameters
    ----------
    names : sequence of str
        Of the table's columns.
    file : Path
        For messages.
    given : mapping of str to str, optional
        Meaning to name, `ReaderOptions.columns`; where given, nothing is guessed.

    Raises
    ------
    DataError
        If time, bid or ask is missing; says whether the columns look like bars.
    """
    if given:
        absent = next((name for name in given.values() if name not in names), None)
        if absent is not None:
            msg = f"The table has no column {absent!r}, which --map names.{did_you_mean(absent, names)}"
            raise DataError(msg, file=file)
        mapped = ColumnMap(
            given["ts"],
            given["bid"],
            given["ask"],
            given.get("bid_size"),
            given.get("ask_size"),
            given.get("symbol"),
            time_of_day=None,
            given=True,
        )
        return mapped.with_others(names)
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    found = {
        meaning: next((plain[known] for known in accepted if known in plain), None)
        for meaning, accepted in NAMES.items()
    }
    time_of_day = None
    of_metatrader = {"timemsc", "flags", "time"} <= set(plain)
    if "date" in plain and "time" in plain and found["time"] in (plain["date"], plain["time"]):
        found["time"], time_of_day = plain["date"], plain["time"]
    time, bid, ask = found["time"], found["bid"], found["ask"]
    if time is None or bid is None or ask is None:
        missing = [meaning for meaning in ("time", "bid", "ask") if found[meaning] is None]
        raise DataError(_missing_text(missing, names, plain), file=file)
    sizes = found["bid_size"], found["ask_size"]
    mapped = ColumnMap(time, bid, ask, *sizes, found["symbol"], time_of_day, of_metatrader)
    return mapped.with_others(names)


def size_unit_of(frame: pl.DataFrame, columns: ColumnMap) -> float:
    """Return the units of the base currency of a size of 1 by what the columns of a file are called.

    Dukascopy counts millions, and so do the programs that fetch its ticks; where the names leave a doubt, a
    fraction among the first sizes shows it.
    """
    plain = {_plain(name) for name in columns.names()}
    times, others = _DUKASCOPY_EXPORT
    if plain & times and others <= plain:
        return 1e6
    if plain == _DUKASCOPY_PRICES:
        for name in (columns.bid_size, columns.ask_size):
            sizes = frame[name or ""].cast(pl.String).str.replace(",", ".", literal=True)
            values = sizes.cast(pl.Float64, strict=False)
            if (values != values.round()).any():
                return 1e6
    return 1.0


def ticks_of(
    frame: pl.DataFrame,
    columns: ColumnMap,
    instrument: Instrument,
    size_unit: float,
    place: tuple[Path, int],
    stamps: StampReader,
) -> TickArrays:
    """Turn a table into ticks.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns of text, numbers or date-times.
    columns : ColumnMap
        From `map_columns`.
    instrument : Instrument
        What the symbol column, if any, must say.
    size_unit : float
        Units of the base currency of a size of 1.
    place : tuple of Path and int
        File, and row of the first tick.
    stamps : StampReader
        Of the file.

    Raises
    ------
    DataError
        If a value cannot be read, or the ticks are of another or of several instruments; names the row.
    """
    file, first_row = place
    for name in (columns.symbol, *columns.others):
        if name is not None and name in frame.columns:
            # Where the user said which column is what, one left out is not asked for a symbol in every row.
            strict = True if name == columns.symbol else False if columns.given else None
            check_column(frame[name], instrument, file, first_row, strict=strict)
    return TickArrays(
        stamps.read(columns.times(frame), first_row),
        values_of(frame[columns.bid], file, first_row),
        values_of(frame[columns.ask], file, first_row),
        _sizes(frame, columns, columns.bid_size, size_unit, place),
        _sizes(frame, columns, columns.ask_size, size_unit, place),
    )


def local_stamps(column: pl.Series, pattern: str, file: Path, first_row: int) -> NDArray[np.int64]:
    """Return text of one pattern as nanoseconds of the clock it was written on.

    Raises
    ------
    DataError
        If a text is no such time; names the row and shows one that is.
    """
    stamps = column.str.strip_chars().str.to_datetime(pattern, time_unit="ns", strict=False)
    if stamps.null_count():
        row = int(stamps.is_null().arg_true()[0])
        example = dt.datetime(2018, 1, 2, 17, 0, 0, 123_000).strftime(pattern.replace("%3f", "123"))
        msg = f"{column[row]!r} is no time like {example.replace('%.f', '.123')}. "
        raise DataError(f"{msg}Mend or remove the row.", file=file, row=first_row + row)
    return np.asarray(stamps.cast(pl.Int64).to_numpy(), dtype=np.int64)


def values_of(
    column: pl.Series, file: Path, first_row: int, *, required: bool = True, like: pl.Series | None = None
) -> NDArray[np.float64]:
    """Return a column of numbers or text as float64; null is NaN, or 0 unless `required`.

    Raises
    ------
    DataError
        If a value is no number; names the row.
    """
    if column.dtype == pl.String:
        return numbers(column, file, first_row, required=required, like=like)
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        msg = f"The column {column.name!r} holds {column.dtype}, not numbers. Convert it."
        raise DataError(msg, file=file)
    if column.dtype == pl.Float32:
        # The shortest decimal of a float32 is what was meant: 1.1f is 1.1, not 1.10000002384.
        column = column.cast(pl.String).cast(pl.Float64)
    filled = column.cast(pl.Float64).fill_null(float("nan") if required else 0.0)
    return np.asarray(filled.to_numpy(), dtype=np.float64)


def _sizes(
    frame: pl.DataFrame, columns: ColumnMap, name: str | None, size_unit: float, place: tuple[Path, int]
) -> NDArray[np.float64]:
    if name is None:
        return np.zeros(frame.height)
    file, first_row = place
    # A comma in a size is a decimal one only where prices have it too: else it may part the thousands.
    bid = frame[columns.bid]
    like = bid if bid.dtype == pl.String else None
    sizes = values_of(frame[name], file, first_row, required=False, like=like) * size_unit
    finite = np.where(np.isfinite(sizes), sizes, 0.0)
    broken = np.abs(finite - np.rint(finite)) > 1e-6 * np.maximum(1.0, np.abs(finite))
    if broken.any():
        row = int(np.argmax(broken))
        given = float(sizes[row] / size_unit)
        msg = (
            f"Sizes must be whole units of the base currency, but {name} is {given!r} (size unit "
            f"{size_unit:g}). If sizes are in millions, give --size-unit 1e6."
        )
        raise DataError(msg, file=file, row=first_row + row)
    return sizes


def _missing_text(missing: Sequence[str], names: Sequence[str], plain: dict[str, str]) -> str:
    listed = ", ".join(names) if len(names) <= 12 else ", ".join(names[:12]) + ", …"
    if {"open", "high", "low", "close"} <= set(plain):
        return (
            f"This file holds bars ({listed}), not ticks. "
            "Import them as bars: `aiopt bars import SRC --out DIR`."
        )
    accepted = "; ".join(f"{meaning}: {', '.join(NAMES[meaning][:4])}, …" for meaning in missing)
    return (
        f"No column for {' and '.join(missing)} is among {listed}. Rename the columns ({accepted}) or name "
        "them: --map ts=…,bid=…,ask=…."
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
