"""The facts of a series of bars as plain data: what `aiopt bars show` says.

Owns which facts there are for which type of bar.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiopt.bars.files import load_bar_set, read_series
from aiopt.bars.rules import parse_bar_rule
from aiopt.bars.schema import TIME_BARS, BarTable
from aiopt.errors import UnevenBarsError
from aiopt.timeframe import parse_timeframe


def describe_bars(path: Path, timeframe: str | None = None) -> dict[str, Any]:
    """Return the facts of a series of bars as plain data.

    Parameters
    ----------
    path : Path
        As for `aiopt.bars.files.load_bar_set`.
    timeframe : str, optional
        Which bars, when `path` leads to several: ``"5m"``, ``"range-5"``.

    Raises
    ------
    DataError
        If `path` leads to no series or to several, or a file breaks a rule of bars.
    """
    if timeframe is not None:
        timeframe = parse_bar_rule(timeframe).label
    tables = read_series(path, timeframe)
    first = next(iter(tables.values()))
    frame, meta = first.frame, first.meta
    document: dict[str, Any] = {
        "path": str(path),
        "instrument": meta.instrument,
        "type": meta.type,
        "timeframe": meta.timeframe,
        "session": meta.session,
        "fill": meta.fill,
        "prices": [table.meta.price for table in tables.values()],
        "single_price": len(tables) == 1,
        "bars": frame.height,
        "first_ts_open_ns": int(frame["ts_open_ns"][0]),
        "last_ts_open_ns": int(frame["ts_open_ns"][-1]),
        "first_open": float(frame["open"][0]),
        "last_close": float(frame["close"][-1]),
        "lowest": float(frame["low"].min()),  # type: ignore[arg-type]
        "highest": float(frame["high"].max()),  # type: ignore[arg-type]
        "volume": float(frame["volume"].sum()),
        "ticks": int(frame["ticks"].sum()),
        "columns": frame.columns,
        "data_hash": meta.data_hash,
        "synthetic": any(table.meta.synthetic for table in tables.values()),
    }
    document |= _facts_of_type(first)
    if meta.type == TIME_BARS:
        try:
            # As a backtest reads them: both sides must fit together.
            document["data_hash"] = load_bar_set(path, timeframe=timeframe, allow_interpolated=True).data_hash
        except UnevenBarsError as reason:
            document["not_for_backtests"] = reason.reason
    return document | _facts_of_extras(first)


def _facts_of_type(table: BarTable) -> dict[str, Any]:
    frame, meta = table.frame, table.meta
    document: dict[str, Any] = {}
    if meta.type == TIME_BARS:
        length_ns = parse_timeframe(meta.timeframe).ns
        document["gaps"] = int((frame["ts_open_ns"].diff() > length_ns).sum())
    else:
        document["size"] = meta.size
        seconds = (frame["ts_close_ns"] - frame["ts_open_ns"]) / 1e9
        document["median_ticks"] = frame["ticks"].median()
        document["median_seconds"] = seconds.median()
    return document


def _facts_of_extras(table: BarTable) -> dict[str, Any]:
    frame = table.frame
    document: dict[str, Any] = {}
    if "filled" in frame.columns:
        document["filled"] = int(frame["filled"].sum())
    if "spread_mean" in frame.columns:
        document["mean_spread"] = frame["spread_mean"].fill_nan(None).mean()
        document["largest_spread"] = frame["spread_max"].fill_nan(None).max()
    return document
