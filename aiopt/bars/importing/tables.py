"""Tables of bars: CSV, JSON and Parquet with named columns, whoever wrote them.

Owns which column is what, and that a closing time is not an opening time.  How stamps are proved is in
`aiopt.ticks.stamps.stamp_reader`.  Knows nothing of bar files of our own and of ticks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.schema import OHLC
from aiopt.errors import ConfigError, DataError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.local_time import UTC, WallClock
from aiopt.ticks.sources.columns import NAMES, values_of
from aiopt.ticks.sources.delimited import first_line, read_blocks, split_header
from aiopt.ticks.sources.instrument_evidence import check_column
from aiopt.ticks.sources.source import check_stamp_options
from aiopt.ticks.sources.tables import read_json_rows
from aiopt.ticks.sources.zipped import open_text, suffix_of
from aiopt.ticks.stamps.stamp_reader import Reading, StampReader, StampRules
from aiopt.ticks.stamps.stamp_rules import value_at
from aiopt.ticks.stamps.time_units import latest_ns
from aiopt.timeframe import Timeframe, timeframe_of_ns
from aiopt.utc import MINUTE_NS, stamp_text

OPENING_TIMES = (
    *("tsopenns", "tseventns", "tsopen", "tsevent", "opentime", "timeopen", "timestampopen", "timemsc"),
    *("timestampns", "timestampus", "timestampms", "timestamp", "datetime", "gmttime", "utctime", "time"),
    *("date", "ts", "begins", "begin", "start", "starttime", "index", "indexlevel0", "localtime"),
)
"""Names an opening time may have, best first, in plain lower-case letters and digits."""

_CLOSING = re.compile(r"(close|end).*(time|date|ts|stamp)|(time|date|ts|stamp).*(close|end)")
_VOLUMES = ("volume", "vol", "realvolume")
_TICKS = ("tickvolume", "tickvol", "tickqty", "ticks", "tickcount")
_SHORT = ("o", "h", "l", "c")
_MEANINGS = (
    *("ts", "ts_close", *OHLC, "volume", "ticks", "symbol"),
    *(f"{side}_{name}" for side in ("bid", "ask") for name in OHLC),
)
_BEFORE_CLOSE_NS = (1_000_000, 1_000_000_000, 1_000, 1)
UNKNOWN_SIDE = "last"
"""The side of prices that do not say whether they are bids, asks or mids."""


class BarTableOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table of bars does not say about itself.

    Attributes
    ----------
    columns : dict of str to str
        ``"ts"`` (or ``"ts_close"``, if the column holds closing times), ``"open"``, ``"high"``, ``"low"``,
        ``"close"`` (or ``"bid_open"`` … ``"ask_close"``), ``"volume"``, ``"ticks"`` or ``"symbol"`` to the
        name of a column, or to its 0-based position if `header` is false.
    time_unit, time_format : str or None
        As `aiopt.ticks.sources.ReaderOptions` has them.
    header : bool
        False if the first line of a CSV holds data.
    price : str or None
        ``"bid"``, ``"ask"`` or ``"mid"``: what the prices of a table with one price are.
    """

    columns: dict[str, str] = {}
    time_unit: str | None = None
    time_format: str | None = None
    header: bool = True
    price: str | None = None

    def __post_init__(self) -> None:
        check_stamp_options(self.time_unit, self.time_format)
        if self.price not in {None, "bid", "ask", "mid"}:
            raise DataError(f"The price of bars must be bid, ask or mid, but got {self.price!r}. Choose one.")
        unknown = next((name for name in self.columns if name not in _MEANINGS), None)
        if unknown is not None:
            msg = f"A column of bars must mean one of {', '.join(_MEANINGS)}, but got {unknown!r}."
            raise DataError(msg + did_you_mean(unknown, _MEANINGS))
        if self.columns and ("ts" in self.columns) == ("ts_close" in self.columns):
            msg = f"Mapped columns must include one of ts and ts_close, but got {', '.join(self.columns)}. "
            raise DataError(msg + "Give the opening time as ts, or the closing time as ts_close.")
        if not self.header and not self.columns:
            msg = "Columns without names must be mapped by position. "
            raise DataError(msg + "Add e.g. --map ts=0,open=1,high=2,low=3,close=4.")

    @property
    def of_table(self) -> bool:
        """True if something is said that only tables have a use for."""
        return bool(self.columns or self.time_unit or self.time_format or not self.header)


@dataclass(frozen=True)
class BarColumns:
    """Which column holds what.

    Attributes
    ----------
    time : str
        Opening times, or closing times if `closes`.
    time_of_day : str or None
        The time of day, where `time` holds days alone.
    sides : dict of str to dict of str to str
        Price side to ``open high low close`` to column.
    volume, ticks, symbol : str or None
        Where there is such a column.
    of_metatrader : bool
        The names are those of MetaTrader's Python package, whose times are the broker's.
    """

    time: str
    closes: bool
    time_of_day: str | None
    sides: dict[str, dict[str, str]]
    volume: str | None
    ticks: str | None
    symbol: str | None
    of_metatrader: bool


@dataclass(frozen=True)
class TableBars:
    """Bars of one table.

    Attributes
    ----------
    sides : dict of str to polars.DataFrame
        ``ts_open_ns`` int64, UTC if `reading` is zoned, else of the file's clock; ``open high low close
        volume`` float64, ``ticks`` and ``row`` int64.
    reading : Reading
        How stamps were read.
    closes : bool
        Closing times were turned into opening times.
    of_metatrader : bool
        See `BarColumns`.
    """

    sides: dict[str, pl.DataFrame]
    reading: Reading
    closes: bool
    of_metatrader: bool


def has_bars(names: Sequence[str]) -> bool:
    """Return whether column names are those of bars."""
    return bool(_sides({_plain(name): name for name in reversed(names)}))


def bar_columns(
    schema: Mapping[str, pl.DataType], file: Path, given: Mapping[str, str] | None = None
) -> BarColumns:
    """Find the columns of bars among the names of a table.

    Parameters
    ----------
    schema : mapping of str to data type
        Of the table's columns.  A lone date-time column is the time whatever it is called.
    file : Path
        For messages.
    given : mapping of str to str, optional
        Meaning to name, `BarTableOptions.columns`; where given, nothing is guessed.

    Raises
    ------
    DataError
        If the time or a price is missing.
    """
    names = list(schema)
    if given:
        return _given_columns(names, file, given)
    plain = {_plain(name): name for name in reversed(names)}
    sides = _sides(plain)
    if not sides:
        missing = [name for name in OHLC if name not in plain]
        msg = f"A bar file must have the columns open, high, low, close, but {', '.join(missing)} missing"
        raise DataError(f"{msg} among {', '.join(names[:20])}. Rename the columns.", file=file)
    opening = next((plain[name] for name in OPENING_TIMES if name in plain), None)
    closing = next((name for key, name in plain.items() if _CLOSING.search(key)), None)
    lone = [name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime | pl.Date)]
    time = opening or closing or (lone[0] if len(lone) == 1 else None)
    if time is None:
        msg = "A bar file must have a time column (timestamp, datetime, time, date, ts_open, …), but it has "
        raise DataError(f"{msg}{', '.join(names[:20])}. Rename the opening time.", file=file)
    time_of_day = None
    if "date" in plain and "time" in plain and time in (plain["date"], plain["time"]):
        time, time_of_day = plain["date"], plain["time"]

    def first(known: Sequence[str]) -> str | None:
        return next((plain[name] for name in known if name in plain), None)

    return BarColumns(
        time=time,
        closes=opening is None and time == closing,
        time_of_day=time_of_day,
        sides=sides,
        volume=first(_VOLUMES),
        ticks=first(_TICKS),
        symbol=first(NAMES["symbol"]),
        of_metatrader={"tickvolume", "spread", "realvolume"} <= set(plain),
    )


def read_bar_table(
    path: Path, instrument: Instrument, options: BarTableOptions, *, clock_given: bool = False
) -> TableBars:
    """Read a table of bars.

    Parameters
    ----------
    path : Path
        CSV (also ``.gz``, UTF-16), JSON list of objects, or Parquet.
    instrument : Instrument
        What a symbol column must say, and when it was quoted.
    options : BarTableOptions
        What the table does not say.
    clock_given : bool
        The user named the clock, so stamps that say their own zone are refused.

    Raises
    ------
    DataError
        If a column is missing, a stamp cannot be proved, or closing times cannot be turned; names the row.
    """
    frame = read_table(path, options)
    columns = bar_columns(frame.schema, path, options.columns)
    rules = StampRules(
        low_ns=instrument.life_start_ns,
        high_ns=latest_ns(),
        unit=options.time_unit,
        format=options.time_format,
        days=True,
        clock_given=clock_given,
    )
    return table_bars(frame, columns, instrument, rules, path, price=options.price)


def table_bars(
    frame: pl.DataFrame,
    columns: BarColumns,
    instrument: Instrument | None,
    rules: StampRules,
    path: Path,
    *,
    price: str | None = None,
) -> TableBars:
    """Turn a table into bars, see `read_bar_table`; without `instrument` no column is asked for a symbol."""
    if not frame.height:
        raise DataError("A source must hold at least one bar, but this file has none. Check it.", file=path)
    if instrument is not None:
        for column in frame:
            check_column(column, instrument, path, 0, strict=column.name == columns.symbol or None)
    times = frame[columns.time]
    if columns.time_of_day is not None:
        joined = times.cast(pl.String) + pl.Series([" "]) + frame[columns.time_of_day].cast(pl.String)
        times = joined.alias(f"{columns.time} {columns.time_of_day}")
    reader = StampReader(path, WallClock(UTC), rules)
    stamps = reader.read(times, 0)
    assert reader.reading is not None
    _check_years(stamps, times, rules, path)
    if columns.closes:
        stamps = opening_times(stamps, columns.time, path)
    like = frame[next(iter(columns.sides.values()))["open"]]
    like_text = like if like.dtype == pl.String else None

    def optional(name: str | None) -> NDArray[np.float64]:
        if name is None:
            return np.zeros(frame.height)
        return np.nan_to_num(values_of(frame[name], path, 0, required=False, like=like_text))

    shared: dict[str, Any] = {
        "volume": optional(columns.volume),
        "ticks": np.clip(optional(columns.ticks), 0, 2**53).astype(np.int64),
        "row": np.arange(frame.height),
    }
    sides = {}
    for side, names in columns.sides.items():
        prices = {name: values_of(frame[names[name]], path, 0) for name in OHLC}
        named = price if price is not None and side == UNKNOWN_SIDE else side
        sides[named] = pl.DataFrame({"ts_open_ns": stamps, **prices, **shared})
    if price is not None and price not in sides:
        msg = f"The columns say that the prices are of the {' and '.join(sides)}, but --price says {price}. "
        raise DataError(msg + "Leave --price out.", file=path)
    return TableBars(sides, reader.reading, columns.closes, columns.of_metatrader)


def read_table(path: Path, options: BarTableOptions) -> pl.DataFrame:
    """Return a table as its file has it: Parquet and JSON typed, delimited text as text.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    suffix = suffix_of(path)
    if suffix in {".parquet", ".pq"}:
        try:
            return pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as failure:
            msg = f"The file must be readable Parquet, but: {failure}. Convert it or check the path."
            raise DataError(msg, file=path) from failure
    if suffix == ".json":
        return read_json_rows(path)
    with open_text(path) as stream:
        line = first_line(stream)
    delimiter, names = split_header(line)
    if not options.header:
        names = [str(number) for number in range(len(names))]
    if len(set(names)) != len(names):
        raise DataError(f"Column names must differ, but the header is {line[:120]!r}. Rename.", file=path)
    with open_text(path) as stream:
        rows = read_blocks(stream, path, columns=names, delimiter=delimiter, has_header=options.header)
        blocks = [block for _, block in rows]
    return pl.concat(blocks) if blocks else pl.DataFrame(schema=dict.fromkeys(names, pl.String))


def opening_times(close_ns: NDArray[np.int64], name: str, file: Path) -> NDArray[np.int64]:
    """Return the opening times of bars from their closing times.

    A bar of one minute that opens at 00:00 closes at 00:01, or, as some exchanges write it, a millisecond
    before.  Which of the two it is, and how long a bar is, all rows must agree on.

    Raises
    ------
    DataError
        If they do not.
    """
    timeframe = modal_timeframe(np.sort(close_ns), file)
    step = timeframe.ns
    grid = min(step, MINUTE_NS)
    rests = np.unique(np.mod(close_ns, grid))
    steps = np.diff(np.unique(close_ns))
    known = (ns for ns in _BEFORE_CLOSE_NS if ns < grid and rests.size == 1 and rests[0] == grid - ns)
    early = next(known, 0)
    if rests.size != 1 or (rests[0] != 0 and not early) or (steps % step).any():
        msg = f"Closing times ({name!r}) must all lie on ends of bars of {timeframe.label}, or just before, "
        raise DataError(f"{msg}but these do not. Give the opening times: --map ts=COLUMN,….", file=file)
    return np.asarray(close_ns + early - step)


def modal_timeframe(ts_open_ns: NDArray[np.int64], path: Path) -> Timeframe:
    """Return the most frequent step between bars; the shortest of equally frequent ones.

    Raises
    ------
    DataError
        If there are fewer than two bars or the step is not a whole number of seconds.
    """
    steps = np.diff(ts_open_ns)
    steps = steps[steps > 0]
    if steps.size == 0:
        msg = f"The bar length is taken from the step between bars, but there are {ts_open_ns.size} bars. "
        raise DataError(msg + "Give a file with at least two bars in time order.", file=path)
    values, counts = np.unique(steps, return_counts=True)
    try:
        return timeframe_of_ns(int(values[np.argmax(counts)]))
    except ConfigError as failure:
        raise DataError(str(failure), file=path) from failure


def _check_years(stamps: NDArray[np.int64], times: pl.Series, rules: StampRules, path: Path) -> None:
    outside = (stamps < rules.low_ns) | (stamps >= rules.high_ns)
    if outside.any():
        at = int(np.argmax(outside))
        span = f"{stamp_text(rules.low_ns)[:10]} to tomorrow"
        msg = f"Bars must be from {span}, but one is of {value_at(times, at)!r} "
        raise DataError(
            f"{msg}({stamp_text(int(stamps[at]))[:16]}). Mend or remove the row.", file=path, row=at
        )


def _sides(plain: Mapping[str, str]) -> dict[str, dict[str, str]]:
    sided = {
        side: {name: plain.get(f"{side}{name}") or plain.get(f"{name}{side}") or "" for name in OHLC}
        for side in ("bid", "ask")
    }
    found = {side: names for side, names in sided.items() if all(names.values())}
    if found:
        return found
    for known in (OHLC, _SHORT):
        if all(name in plain for name in known):
            names = {name: plain[short] for name, short in zip(OHLC, known, strict=True)}
            return {UNKNOWN_SIDE: names}
    return {}


def _given_columns(names: Sequence[str], file: Path, given: Mapping[str, str]) -> BarColumns:
    absent = next((name for name in given.values() if name not in names), None)
    if absent is not None:
        msg = f"A mapped column must be in the table, but {absent!r} is not.{did_you_mean(absent, names)}"
        raise DataError(msg, file=file)
    opening = given.get("ts", "")
    if _CLOSING.search(_plain(opening)) is not None:
        msg = f"`ts` must be an opening time, but the column {opening!r} is called a closing time. "
        raise DataError(f"{msg}Map it as ts_close={opening}, or rename it.", file=file)
    plain = {meaning.replace("_", ""): name for meaning, name in given.items()}
    sides = _sides(plain)
    if not sides:
        msg = f"Mapped columns must include open, high, low and close, but got {', '.join(given)}. Add them."
        raise DataError(msg, file=file)
    return BarColumns(
        time=given.get("ts") or given["ts_close"],
        closes="ts" not in given,
        time_of_day=None,
        sides=sides,
        volume=given.get("volume"),
        ticks=given.get("ticks"),
        symbol=given.get("symbol"),
        of_metatrader=False,
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


__all__ = [
    "BarColumns",
    "BarTableOptions",
    "TableBars",
    "bar_columns",
    "has_bars",
    "modal_timeframe",
    "opening_times",
    "read_bar_table",
    "read_table",
    "table_bars",
]
