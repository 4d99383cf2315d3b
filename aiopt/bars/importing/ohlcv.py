"""Foreign OHLCV Parquet files as bars of one price.

Owns what a backtest takes of such a file as it stands.  Which column is what is in `bar_tables`.  Knows
nothing of bid and ask, of bar files of our own or of ticks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from aiopt.bars.importing.tables import (
    UNKNOWN_SIDE,
    BarTableOptions,
    bar_columns,
    modal_timeframe,
    read_table,
    table_bars,
)
from aiopt.errors import DataError
from aiopt.ticks.stamps.stamp_reader import AmbiguousStampsError, StampRules
from aiopt.timeframe import Timeframe


def read_ohlcv(path: Path) -> tuple[pl.DataFrame, Timeframe]:
    """Read a Parquet file of bars written by someone else.

    The time is the *opening* time of each bar; closing times (``close_time``) are turned where the bars show
    their length.  What a number counts and how text is written is proved by all rows; date-times without a
    zone are UTC.  Open, high, low and close are found whatever their case; volume is optional.

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
        If the file is not Parquet, a column is missing, a time is not a time or has two readings, or no step
        can be found.
    """
    raw = read_table(path, BarTableOptions())
    columns = bar_columns(raw.schema, path)
    if UNKNOWN_SIDE not in columns.sides:
        msg = f"A bar file must have one price, but this one has {' and '.join(columns.sides)}. "
        raise DataError(msg + "Import it: `aiopt bars import FILE --out DIR`.", file=path)
    volume = columns.volume or columns.ticks
    try:
        found = table_bars(raw, replace(columns, volume=volume), None, StampRules.plain(days=True), path)
    except AmbiguousStampsError as error:
        msg = f"{error.reason} It is an option of `aiopt bars import {path.name} --out DIR`: import it first."
        raise DataError(msg, file=path, row=error.row) from error
    frame = found.sides[UNKNOWN_SIDE].drop("ticks", "row")
    return frame, modal_timeframe(frame["ts_open_ns"].to_numpy(), path)


__all__ = ["modal_timeframe", "read_ohlcv"]
