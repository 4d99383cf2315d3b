"""Tables with named columns as ticks: which column is what, and every usual way to write a time.

Owns the common names of time, bid, ask, size and symbol columns.  Knows nothing of files.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError, did_you_mean
from aiopt.market.instrument import Instrument, find_instrument
from aiopt.market.sources.delimited import numbers
from aiopt.market.sources.local_time import WallClock
from aiopt.market.sources.source import TIME_UNITS_NS, ReaderOptions, wrong_instrument
from aiopt.market.ticks import TickArrays

# Best first; compared without case, spaces and punctuation.
NAMES: dict[str, tuple[str, ...]] = {
    "time": (
        *("tseventns", "tsevent", "timestampns", "timestampms", "timestampus", "timestamp", "datetime"),
        *("gmttime", "utctime", "time", "ts", "date", "tsns", "tsms", "index", "indexlevel0"),
    ),
    "bid": ("bid", "bidprice", "bidpx", "bidpx00", "b"),
    "ask": ("ask", "askprice", "askpx", "askpx00", "offer", "offerprice", "a"),
    "bid_size": ("bidsize", "bidvolume", "bidvol", "bidqty", "bidsz", "bidsz00"),
    "ask_size": ("asksize", "askvolume", "askvol", "askqty", "asksz", "asksz00", "offersize"),
    "symbol": ("instrument", "symbol", "pair", "ticker", "instrumentid", "currencypair"),
}
"""Accepted column names, by meaning, in plain lower-case letters and digits."""

_PATTERNS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y.%m.%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y%m%d %H:%M:%S%.f",
    "%d.%m.%Y %H:%M:%S%.f",
    "%Y%m%d %H%M%S%3f",
    "%Y%m%d %H%M%S",
)
# An integer time is a Unix time; its unit follows from its size: 1e11 s is in 5138, 1e11 ms in 1973.
_UNITS = ((10**11, 1_000_000_000), (10**14, 1_000_000), (10**17, 1_000), (2**63, 1))
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")


@dataclass(frozen=True)
class ColumnMap:
    """Which column holds what; None where there is none."""

    time: str
    bid: str
    ask: str
    bid_size: str | None
    ask_size: str | None
    symbol: str | None
    time_of_day: str | None

    def names(self) -> list[str]:
        """Return the columns used."""
        fields = (self.time, self.bid, self.ask, self.bid_size, self.ask_size, self.symbol, self.time_of_day)
        return [name for name in fields if name is not None]


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
            msg = f"A mapped column must be in the table, but {absent!r} is not.{did_you_mean(absent, names)}"
            raise DataError(msg, file=file)
        return ColumnMap(
            given["ts"],
            given["bid"],
            given["ask"],
            given.get("bid_size"),
            given.get("ask_size"),
            given.get("symbol"),
            time_of_day=None,
        )
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    found = {
        meaning: next((plain[known] for known in accepted if known in plain), None)
        for meaning, accepted in NAMES.items()
    }
    time_of_day = None
    if "date" in plain and "time" in plain and found["time"] in (plain["date"], plain["time"]):
        found["time"], time_of_day = plain["date"], plain["time"]
    time, bid, ask = found["time"], found["bid"], found["ask"]
    if time is None or bid is None or ask is None:
        missing = [meaning for meaning in ("time", "bid", "ask") if found[meaning] is None]
        raise DataError(_missing_text(missing, names, plain), file=file)
    return ColumnMap(time, bid, ask, found["bid_size"], found["ask_size"], found["symbol"], time_of_day)


def ticks_of(
    frame: pl.DataFrame,
    columns: ColumnMap,
    instrument: Instrument,
    options: ReaderOptions,
    place: tuple[Path, int],
    wall: WallClock,
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
    options : ReaderOptions
        Units of times and sizes.
    place : tuple of Path and int
        File, and row of the first tick.
    wall : WallClock
        Of times without a zone.

    Raises
    ------
    DataError
        If a value cannot be read, or the ticks are of another or of several instruments; names the row.
    """
    file, first_row = place
    if columns.symbol is not None:
        check_symbol_column(frame[columns.symbol], instrument, file, first_row)
    times = frame[columns.time]
    if columns.time_of_day is not None:
        times = times.cast(pl.String) + pl.Series([" "]) + frame[columns.time_of_day].cast(pl.String)
    return TickArrays(
        stamps_of(times, file, first_row, wall, options.time_unit),
        _values(frame[columns.bid], file, first_row),
        _values(frame[columns.ask], file, first_row),
        _sizes(frame, columns.bid_size, options, place),
        _sizes(frame, columns.ask_size, options, place),
    )


def stamps_of(
    times: pl.Series, file: Path, first_row: int, wall: WallClock, unit: str | None = None
) -> NDArray[np.int64]:
    """Return times as UTC nanoseconds.

    Numbers are Unix times in `unit`, or in s, ms, us or ns by their size.  Date-times and text without a zone
    are on the clock `wall`.

    Raises
    ------
    DataError
        If a value is missing or is no time; names the row.
    """
    if times.dtype == pl.String:
        times = times.str.strip_chars()
        number = _unix_text(times, unit)
        if number is None:
            return _parse_text(times, file, first_row, wall)
        times = number
    if times.null_count():
        raise _no_time(times, int(times.is_null().arg_true()[0]), file, first_row)
    if times.dtype == pl.Date:
        raise DataError(
            f"A tick needs a time of day, but the column {times.name!r} holds days. Add the time.", file=file
        )
    if isinstance(times.dtype, pl.Datetime):
        zoned = times.dtype.time_zone is not None
        utc_ns = times.dt.cast_time_unit("ns").to_physical().to_numpy()
        stamps = np.asarray(utc_ns, dtype=np.int64)
        return stamps if zoned else wall.to_utc(stamps)
    if times.dtype.is_integer() or times.dtype.is_decimal():
        return _unix(times.cast(pl.Int64).to_numpy(), times.name, unit)
    if times.dtype.is_float():
        return _unix_float(times, file, first_row, unit)
    msg = f"The column {times.name!r} must hold times, but holds {times.dtype}. Use integers or date-times."
    raise DataError(msg, file=file)


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
        msg = f"A stamp must be a time like {example.replace('%.f', '.123')}, but got {column[row]!r}. "
        raise DataError(f"{msg}Mend or remove the row.", file=file, row=first_row + row)
    return np.asarray(stamps.cast(pl.Int64).to_numpy(), dtype=np.int64)


def _parse_text(text: pl.Series, file: Path, first_row: int, wall: WallClock) -> NDArray[np.int64]:
    if text.len() == 0:
        return np.zeros(0, dtype=np.int64)
    sample = text.drop_nulls()
    if sample.len() and _ZONE.search(str(sample[0])) is not None:
        zoned = text.str.replace(r"Z$", "+00:00").str.replace(" ", "T", literal=True)
        stamps = zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="ns", strict=False)
        zoned_text = True
    else:
        zoned_text = False
        attempts = (text.str.to_datetime(pattern, time_unit="ns", strict=False) for pattern in _PATTERNS)
        stamps = min(attempts, key=lambda attempt: attempt.null_count())
    if stamps.null_count():
        raise _no_time(text, int(stamps.is_null().arg_true()[0]), file, first_row)
    parsed = np.asarray(stamps.to_physical().to_numpy(), dtype=np.int64)
    return parsed if zoned_text else wall.to_utc(parsed)


def _unix_text(text: pl.Series, unit: str | None) -> pl.Series | None:
    """Return text that is Unix times as numbers, integers where all are; None for other text."""
    for kind in (pl.Int64, pl.Float64):
        values = text.cast(kind, strict=False)
        # Eight digits are a day (20180101), not a second of 1970.
        if values.len() and not values.null_count() and (unit or bool((values.abs() > 10**8).all())):
            return values
    return None


def _unix(values: NDArray[np.int64], name: str, unit: str | None) -> NDArray[np.int64]:
    if values.size == 0:
        return np.asarray(values, dtype=np.int64)
    if unit is not None:
        return np.asarray(values, dtype=np.int64) * TIME_UNITS_NS[unit]
    if _plain(name).endswith("ns"):
        return np.asarray(values, dtype=np.int64)
    largest = int(np.abs(values).max())
    factor = next(factor for limit, factor in _UNITS if largest < limit)
    return np.asarray(values, dtype=np.int64) * factor


def _unix_float(times: pl.Series, file: Path, first_row: int, unit: str | None) -> NDArray[np.int64]:
    values = times.to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise _no_time(times, int(np.argmax(~np.isfinite(values))), file, first_row)
    largest = np.abs(values).max(initial=0.0)
    factor = TIME_UNITS_NS[unit] if unit else next(factor for limit, factor in _UNITS if largest < limit)
    # Whole microseconds: a float64 of seconds since 1970 has no more.
    return np.asarray(np.rint(values * (factor / 1_000.0)), dtype=np.int64) * 1_000


def _values(column: pl.Series, file: Path, first_row: int, *, required: bool = True) -> NDArray[np.float64]:
    if column.dtype == pl.String:
        return numbers(column, file, first_row, required=required)
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        msg = f"The column {column.name!r} must hold numbers, but holds {column.dtype}. Convert it."
        raise DataError(msg, file=file)
    if column.dtype == pl.Float32:
        # The shortest decimal of a float32 is what was meant: 1.1f is 1.1, not 1.10000002384.
        column = column.cast(pl.String).cast(pl.Float64)
    filled = column.cast(pl.Float64).fill_null(float("nan") if required else 0.0)
    return np.asarray(filled.to_numpy(), dtype=np.float64)


def _sizes(
    frame: pl.DataFrame, name: str | None, options: ReaderOptions, place: tuple[Path, int]
) -> NDArray[np.float64]:
    if name is None:
        return np.zeros(frame.height)
    file, first_row = place
    sizes = _values(frame[name], file, first_row, required=False) * options.size_unit
    finite = np.where(np.isfinite(sizes), sizes, 0.0)
    broken = np.abs(finite - np.rint(finite)) > 1e-6 * np.maximum(1.0, np.abs(finite))
    if broken.any():
        row = int(np.argmax(broken))
        given = float(sizes[row] / options.size_unit)
        msg = (
            f"Sizes must be whole units of the base currency, but {name} is {given!r} (size unit "
            f"{options.size_unit:g}). If sizes are in millions, give --size-unit 1e6."
        )
        raise DataError(msg, file=file, row=first_row + row)
    return sizes


def check_symbol_column(column: pl.Series, instrument: Instrument, file: Path, first_row: int) -> None:
    """Refuse rows that say they are of another instrument, or of several.

    Raises
    ------
    DataError
        Names the row and the instruments.
    """
    texts = column.cast(pl.String)
    wanted = instrument.symbol
    for value in texts.unique(maintain_order=True).to_list():
        found = None if value is None else find_instrument(str(value).split(".")[0])
        if found is None or found.symbol != wanted:
            row = int((texts.is_null() if value is None else texts == value).arg_true()[0])
            if texts.n_unique() > 1:
                names = ", ".join(str(text) for text in texts.unique(maintain_order=True).to_list()[:4])
                msg = f"A source must hold one instrument, but the column {column.name!r} says {names}. "
                raise DataError(msg + "Split the file by instrument.", file=file, row=first_row + row)
            raise wrong_instrument(str(value), instrument, file, first_row + row)


def _missing_text(missing: Sequence[str], names: Sequence[str], plain: dict[str, str]) -> str:
    listed = ", ".join(names) if len(names) <= 12 else ", ".join(names[:12]) + ", …"
    if {"open", "high", "low", "close"} <= set(plain):
        return (
            f"A source of ticks must have columns for time, bid and ask, but this one holds bars ({listed}). "
            "Backtest Parquet bars directly with `aiopt backtest SPEC --bars FILE`."
        )
    accepted = "; ".join(f"{meaning}: {', '.join(NAMES[meaning][:4])}, …" for meaning in missing)
    return (
        f"A source of ticks must have columns for time, bid and ask, but {' and '.join(missing)} missing "
        f"among {listed}. Rename the columns ({accepted}) or name them: --map ts=…,bid=…,ask=…."
    )


def _no_time(times: pl.Series, at: int, file: Path, first_row: int) -> DataError:
    shown = "nothing" if times[at] is None else repr(times[at])
    msg = f"The column {times.name!r} must hold a time, but got {shown}. Use ISO 8601 or Unix time."
    return DataError(msg, file=file, row=first_row + at)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
