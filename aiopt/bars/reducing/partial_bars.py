"""Partial bars: what a part of the ticks contributes to each bar, and how parts are put together.

A batch of ticks reduces to one row per smallest bar it touches: number of ticks and, per price side, first,
largest, smallest and last price and the sum of sizes.  Rows of the same bar merge exactly if the shards keep
their order, because first, max, min, last and a sum of whole numbers are associative.  Longer bars are
merged from the shortest.  Spread statistics are kept in whole price steps and microseconds until the bars are
finished, so that they merge exactly too.  Owns that algebra; knows nothing of files or Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.reducing.filling import fill_flat
from aiopt.bars.reducing.reducer import Columns
from aiopt.bars.reducing.spread_columns import finish_spread
from aiopt.bars.reducing.time_kernels import reduce_mid, reduce_side, reduce_spread
from aiopt.bars.schema import BAR_SCHEMA, Empty, check_empty
from aiopt.bars.stops.stop_ladders import RECORD_COLUMNS, merge_records, no_records
from aiopt.errors import DataError
from aiopt.market.sessions import TradingSession
from aiopt.ticks.schema import nearest_decimal
from aiopt.timeframe import Timeframe

_FIELDS = ("open", "high", "low", "close", "volume")

SPREAD_FIELDS = ("total", "largest", "last", "weighted", "from_us", "until_us")
"""What a partial bar knows of the spread, see `aiopt.bars.reducing.time_kernels.reduce_spread`."""


def partial_columns(prices: Iterable[str], *, spread: bool = False) -> list[str]:
    """Return the column names of partial bars of these price sides."""
    names = ["ts_open_ns", "ticks", *(f"{price}_{field}" for price in prices for field in _FIELDS)]
    return names + [f"spread_{field}" for field in SPREAD_FIELDS] if spread else names


def empty_partial(prices: Iterable[str], *, spread: bool = False, stops: bool = False) -> Columns:
    """Return partial bars of no ticks."""
    whole = ("ts_open_ns", "ticks", "spread_")
    columns: Columns = {
        name: np.empty(0, dtype=np.int64 if name.startswith(whole) else np.float64)
        for name in partial_columns(prices, spread=spread)
    }
    return columns | no_records() if stops else columns


def reduce_runs(
    ticks: Mapping[str, NDArray[Any]],
    ts_open_ns: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    prices: Sequence[str],
    spread_scale: int = 0,
) -> Columns:
    """Return what runs of consecutive ticks contribute to their bars.

    Parameters
    ----------
    ticks : mapping of str to ndarray of shape (n_ticks,)
        The columns of `tick_columns(prices)`; with spread statistics ``bid`` and ``ask`` too.
    ts_open_ns : ndarray of int64, shape (n_runs,)
        Opening time of the bar of each run.
    starts, stops : ndarray of int64, shape (n_runs,)
        First tick and the one after the last.
    prices : sequence of str
        Sides.
    spread_scale : int
        See `reduce_runs`.

    Raises
    ------
    DataError
        If a price or size is not finite.
    """
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    result: Columns = {"ts_open_ns": ts_open_ns, "ticks": stops - starts}
    check = 0.0
    for price in prices:
        rows = np.empty((len(_FIELDS), starts.size))
        if price == "mid":
            sides = (ticks["bid"], ticks["ask"], ticks["bid_size"], ticks["ask_size"])
            check += reduce_mid(*sides, starts, stops, rows)
            rows[:4] = nearest_decimal(rows[:4])  # keeps the order, so extremes stay extremes
        else:
            check += reduce_side(ticks[price], ticks[f"{price}_size"], starts, stops, rows)
        for field, values in zip(_FIELDS, rows, strict=True):
            result[f"{price}_{field}"] = values
        if not (check == 0.0 and np.isfinite(rows).all()):
            raise _not_finite(ticks)
    if spread_scale:
        spreads = np.empty((len(SPREAD_FIELDS), starts.size), dtype=np.int64)
        quotes = (ticks["ts_event_ns"], ticks["bid"], ticks["ask"])
        reduce_spread(*quotes, float(spread_scale), starts, stops, spreads)
        result |= {f"spread_{field}": values for field, values in zip(SPREAD_FIELDS, spreads, strict=True)}
    return result


def merge_partials(
    parts: Sequence[Mapping[str, NDArray[Any]]], base: Timeframe, session: TradingSession | None = None
) -> Columns:
    """Put the partial bars of consecutive parts of the ticks together, in the order given.

    Parameters
    ----------
    parts : non-empty sequence of partial bars
        Each in time order; a part may start in the bar in which the one before it ends.
    base : Timeframe
        Bar length of the result; the same as that of `parts`, or a multiple.
    session : TradingSession, optional
        That of `parts`.

    Returns
    -------
    dict of str to ndarray
        One row per bar.

    Raises
    ------
    DataError
        If a part starts before the part in front of it ends.
    """
    joined = join_parts(parts)
    ts = joined["ts_open_ns"]
    if ts.size == 0:
        return joined
    backward = ts[1:] < ts[:-1]
    if backward.any():
        at = int(np.argmax(backward))
        msg = f"Parts of the ticks must be in time order, but {ts[at + 1]} ns follows {ts[at]} ns."
        raise DataError(msg + " Import the ticks again.")
    if session is None:
        opens = ts // base.ns * base.ns
    else:
        opens = session.spans(int(ts[0]), int(ts[-1]), base).opening(ts, base)
    starts = np.concatenate(([0], np.flatnonzero(opens[1:] != opens[:-1]) + 1))
    if starts.size == ts.size and np.array_equal(opens, ts):
        return joined
    return merge_runs(joined | {"ts_open_ns": opens}, starts)


def join_parts(parts: Sequence[Mapping[str, NDArray[Any]]]) -> Columns:
    """Return the rows of all parts below each other."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def merge_runs(rows: Columns, starts: NDArray[np.intp]) -> Columns:
    """Merge consecutive rows of partial bars.

    Parameters
    ----------
    rows : partial bars
        In order; ``ts_open_ns`` and ``ts_close_ns`` may be among the columns.
    starts : ndarray of int, shape (n_bars,)
        First row of each bar, from 0 on, increasing.
    """
    ends = np.append(starts[1:], rows["ticks"].size)
    merged: Columns = {}
    for name, column in rows.items():
        if name in RECORD_COLUMNS:
            continue
        field = name.rpartition("_")[2] if name not in _WHOLE_NAMES else name
        merged[name] = _merge_column(column, field, starts, ends)
    if RECORD_COLUMNS[0] in rows:
        merged |= merge_records(rows, starts)
    if "spread_weighted" in rows:
        # Between two parts of a bar the spread is that of the last tick before.
        between = rows["spread_last"][:-1] * (rows["spread_from_us"][1:] - rows["spread_until_us"][:-1])
        weighted = rows["spread_weighted"].copy()
        weighted[1:] += between
        weighted[starts] = rows["spread_weighted"][starts]
        merged["spread_weighted"] = np.add.reduceat(weighted, starts)
    return merged


def finish_bars(
    partial: Mapping[str, NDArray[Any]],
    price: str,
    timeframe: Timeframe,
    empty: Empty,
    *,
    session: TradingSession | None = None,
    spread_scale: int = 0,
) -> pl.DataFrame:
    """Return the finished bars of one price side from fully merged partial bars.

    Parameters
    ----------
    partial : partial bars
        Of `timeframe`, or of a length that divides it.
    price : str
        Side, among those of `partial`.
    timeframe : Timeframe
        Bar length wanted.
    empty : {"omit", "flat"}
        What happens to bars without ticks; "flat" without a session only.
    session : TradingSession, optional
        That of `partial`.
    spread_scale : int
        That of `partial`, see `reduce_runs`.

    Returns
    -------
    polars.DataFrame
        `BAR_SCHEMA`; with a session ``ts_close_ns``, when the bar was due to end; the spread statistics.
    """
    check_empty(empty)
    names = {"ts_open_ns": "ts_open_ns", "ticks": "ticks"} | {f"{price}_{field}": field for field in _FIELDS}
    if spread_scale:
        names |= {f"spread_{field}": f"spread_{field}" for field in SPREAD_FIELDS}
    merged = merge_partials([{name: partial[name] for name in names}], timeframe, session)
    columns = {names[name]: values for name, values in merged.items()}
    bars = pl.DataFrame({name: columns[name] for name in BAR_SCHEMA.names()}, schema=BAR_SCHEMA)
    if empty == "flat":
        return fill_flat(bars, timeframe)
    if session is not None and bars.height:
        opens = columns["ts_open_ns"]
        spans = session.spans(int(opens[0]), int(opens[-1]), timeframe)
        bars = bars.with_columns(ts_close_ns=spans.closing(opens, timeframe))
    if spread_scale:
        bars = bars.with_columns(**finish_spread(columns, spread_scale))
    return bars


_WHOLE_NAMES = ("ts_open_ns", "ts_close_ns", "spread_from_us", "spread_until_us")


def _merge_column(
    column: NDArray[Any], field: str, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[Any]:
    """Merge runs of one column by the rule of its field; what has no rule of its own is a sum."""
    if field in ("open", "ts_open_ns", "spread_from_us"):
        return column[starts]
    if field in ("close", "last", "ts_close_ns", "spread_until_us"):
        return column[ends - 1]
    if field in ("high", "largest"):
        return np.maximum.reduceat(column, starts)
    if field == "low":
        return np.minimum.reduceat(column, starts)
    return np.add.reduceat(column, starts)


def _not_finite(ticks: Mapping[str, NDArray[Any]]) -> DataError:
    """Return the error of ticks whose extremes or sums are NaN or infinite."""
    for name, values in ticks.items():
        broken = ~np.isfinite(values)
        if broken.any():
            row = int(np.argmax(broken))
            msg = f"Ticks must be finite, but {name} is {values[row]}. Validate and import them again."
            return DataError(msg, row=row)
    return DataError("The sum of tick sizes must be finite, but overflowed. Validate the ticks.")
