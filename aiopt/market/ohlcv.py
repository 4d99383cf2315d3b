"""Foreign OHLCV Parquet files: finding the columns, the time unit and the bar length.

Owns the guesses made about files that `aiopt` did not write.  Knows nothing of bid and ask, of bar files of
our own or of ticks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import ConfigError, DataError
from aiopt.timeframe import Timeframe, timeframe_of_ns

TIME_COLUMNS = (
    "ts_open_ns",
    "ts_event_ns",
    "ts_open",
    "ts_event",
    "open_time",
    "timestamp",
    "datetime",
    "time",
    "date",
    "ts",
    "index",
    "__index_level_0__",
)
"""Names a time column may have, best first; compared without case, spaces and underscores."""

_PRICE_COLUMNS = ("open", "high", "low", "close")
_VOLUME_COLUMNS = ("volume", "tickvolume", "vol")
_UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
# An integer time is a Unix time; its unit follows from its size: 1e10 s is in 2286, 1e10 ms in April 1970.
_UNIT_LIMITS = (("s", 10**10), ("ms", 10**13), ("us", 10**16), ("ns", 2**63))


def read_ohlcv(path: Path) -> tuple[pl.DataFrame, Timeframe]:
    """Read a Parquet file of bars written by someone else.

    The time is the *opening* time of each bar and comes from the first column of `TIME_COLUMNS` present, or
    else from the only date-time column.  Integers and floats are Unix times in s, ms, us or ns (by their
    size); date-times without a zone are UTC.  Open, high, low and close are found whatever their case; volume
    is optional.

    Parameters
    ----------
    path : Path
        Parquet file.

    Returns
    -------
    frame : polars.DataFrame
        ``ts_open_ns`` int64 UTC, ``open high low close volume`` float64 (volume 0.0 when absent), rows in
        file order.
    timeframe : Timeframe
        The most frequent step between bars.

    Raises
    ------
    DataError
        If the file is not Parquet, a column is missing, a time is not a time, or no step can be found.
    """
    try:
        raw = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as failure:
        msg = f"The file must be readable Parquet, but: {failure}. Convert it or check the path."
        raise DataError(msg, file=path) from failure
    names = {_plain(name): name for name in reversed(raw.columns)}
    time_name = _time_column(raw, names, path)
    missing = [name for name in _PRICE_COLUMNS if name not in names]
    if missing:
        msg = f"A bar file must have the columns open, high, low, close, but {', '.join(missing)} missing"
        msg += f" among {', '.join(raw.columns)}. Rename the columns."
        raise DataError(msg, file=path)
    volume_name = next((names[name] for name in _VOLUME_COLUMNS if name in names), None)
    columns: dict[str, Any] = {"ts_open_ns": _to_ns(raw[time_name], path)}
    for name in _PRICE_COLUMNS:
        columns[name] = _to_float(raw[names[name]], path)
    columns["volume"] = (
        np.zeros(raw.height) if volume_name is None else _to_float(raw[volume_name].fill_null(0), path)
    )
    frame = pl.DataFrame(columns)
    return frame, modal_timeframe(frame["ts_open_ns"].to_numpy(), path)


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


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


def _time_column(raw: pl.DataFrame, names: dict[str, str], path: Path) -> str:
    for candidate in TIME_COLUMNS:
        if _plain(candidate) in names:
            return names[_plain(candidate)]
    temporal = [name for name, dtype in raw.schema.items() if isinstance(dtype, pl.Datetime | pl.Date)]
    if len(temporal) == 1:
        return temporal[0]
    msg = f"A bar file must have a time column ({', '.join(TIME_COLUMNS[:9])}), but it has "
    raise DataError(msg + f"{', '.join(raw.columns)}. Rename the opening time.", file=path)


def _to_ns(column: pl.Series, path: Path) -> NDArray[np.int64]:
    """Return a time column as ns since the Unix epoch, UTC."""
    if column.null_count():
        row = int(column.is_null().arg_true()[0])
        raise DataError("A bar must have a time, but it is null. Drop the row.", file=path, row=row)
    if column.dtype == pl.String:
        try:
            column = column.str.to_datetime(time_unit="ns", time_zone="UTC")
        except pl.exceptions.PolarsError as failure:
            msg = f"A time given as text must be ISO 8601, but: {failure}. Convert the column."
            raise DataError(msg, file=path) from failure
    if isinstance(column.dtype, pl.Date):
        column = column.cast(pl.Datetime("ns"))
    if isinstance(column.dtype, pl.Datetime):
        return column.cast(pl.Datetime("ns", column.dtype.time_zone)).to_physical().to_numpy()
    if not column.dtype.is_numeric():
        msg = f"A time must be an integer or a date-time, but column {column.name!r} is {column.dtype}."
        raise DataError(msg + " Convert the column.", file=path)
    return _scale_unix_time(column, path)


def _scale_unix_time(column: pl.Series, path: Path) -> NDArray[np.int64]:
    """Return Unix times as ns, their unit taken from the size of the largest."""
    largest = float(column.abs().max() or 0)  # type: ignore[arg-type]
    if not np.isfinite(largest) or largest >= 2**63:
        msg = f"A Unix time must be finite and below 2**63 ns, but column {column.name!r} reaches {largest}."
        raise DataError(msg + " Convert the column.", file=path)
    unit = next(unit for unit, limit in _UNIT_LIMITS if largest < limit)
    values = column.to_numpy()
    if column.dtype.is_float():
        return np.rint(values * _UNIT_NS[unit]).astype(np.int64)
    return values.astype(np.int64) * _UNIT_NS[unit]


def _to_float(column: pl.Series, path: Path) -> NDArray[np.float64]:
    try:
        return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    except pl.exceptions.PolarsError as failure:
        msg = f"Prices and volume must be numbers, but column {column.name!r} is {column.dtype}."
        raise DataError(msg + " Convert the column.", file=path) from failure
