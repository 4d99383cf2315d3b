"""Partial bars: what a part of the ticks contributes to each bar, and how parts are put together.

A batch of ticks reduces to one row per smallest bar it touches: number of ticks and, per price side, first,
largest, smallest and last price and the sum of sizes.  Rows of the same bar merge exactly if the shards keep
their order, because first, max, min, last and a sum of whole numbers are associative.  Longer bars are
merged from the shortest.  Owns that algebra; knows nothing of files or Ray.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.bars import BAR_SCHEMA, Empty, check_empty, fill_flat
from aiopt.timeframe import Timeframe, timeframe_of_ns

Columns = dict[str, NDArray[Any]]
"""Partial bars as columns: ``ts_open_ns``, ``ticks`` and for each side ``bid_open bid_high …``."""

_FIELDS = ("open", "high", "low", "close", "volume")


def base_timeframe(timeframes: Iterable[Timeframe]) -> Timeframe:
    """Return the longest timeframe every one of `timeframes` is a whole multiple of.

    Bars start at multiples of their length since the epoch, so bars of this length never straddle two longer
    ones.

    Examples
    --------
    >>> from aiopt.timeframe import parse_timeframe
    >>> base_timeframe([parse_timeframe("4m"), parse_timeframe("6m")]).label
    '2m'
    """
    return timeframe_of_ns(math.gcd(*(timeframe.ns for timeframe in timeframes)))


def tick_columns(prices: Iterable[str]) -> list[str]:
    """Return the tick columns needed for these price sides, the time first."""
    sides = {side for price in prices for side in (("bid", "ask") if price == "mid" else (price,))}
    ordered = [side for side in ("bid", "ask") if side in sides]
    return ["ts_event_ns", *ordered, *(f"{side}_size" for side in ordered)]


def partial_columns(prices: Iterable[str]) -> list[str]:
    """Return the column names of partial bars of these price sides."""
    return ["ts_open_ns", "ticks", *(f"{price}_{field}" for price in prices for field in _FIELDS)]


def empty_partial(prices: Iterable[str]) -> Columns:
    """Return partial bars of no ticks."""
    return {
        name: np.empty(0, dtype=np.int64 if name in ("ts_open_ns", "ticks") else np.float64)
        for name in partial_columns(prices)
    }


class TickReducer:
    """Reduces ticks in time order to partial bars, one batch after the other.

    Temporaries are kept between batches: fresh ones of a megabyte cost more in page faults than the
    arithmetic done in them.  Not for use by several threads.

    Parameters
    ----------
    base : Timeframe
        Length of the smallest bars.
    prices : sequence of str
        ``"bid"``, ``"ask"``, ``"mid"``.
    """

    def __init__(self, base: Timeframe, prices: Sequence[str]) -> None:
        self._base = base
        self._prices = tuple(prices)
        self._bucket = np.empty(0, dtype=np.int64)
        self._flag = np.empty(0, dtype=np.bool_)
        self._mid = np.empty(0)
        self._mid_size = np.empty(0)

    def reduce(self, ticks: Mapping[str, NDArray[Any]]) -> Columns:
        """Return the partial bars of a batch of ticks.

        Parameters
        ----------
        ticks : mapping of str to ndarray of shape (n_ticks,)
            The columns of `tick_columns(prices)`.

        Returns
        -------
        dict of str to ndarray of shape (n_bars,)
            The columns of `partial_columns(prices)`; only bars with ticks.

        Raises
        ------
        DataError
            If the times decrease, or a price or size is not finite.  `row` counts within `ticks`.
        """
        ts = ticks["ts_event_ns"]
        if ts.size == 0:
            return empty_partial(self._prices)
        self._reserve(ts.size)
        self._check_order(ts)
        bucket = np.floor_divide(ts, self._base.ns, out=self._bucket[: ts.size])
        changes = np.not_equal(bucket[1:], bucket[:-1], out=self._flag[: ts.size - 1])
        starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
        ends = np.append(starts[1:], ts.size)
        result: Columns = {"ts_open_ns": bucket[starts] * self._base.ns, "ticks": ends - starts}
        for price in self._prices:
            value, size = self._side(ticks, price)
            result[f"{price}_open"] = value[starts]
            result[f"{price}_high"] = np.maximum.reduceat(value, starts)
            result[f"{price}_low"] = np.minimum.reduceat(value, starts)
            result[f"{price}_close"] = value[ends - 1]
            result[f"{price}_volume"] = np.add.reduceat(size, starts)
        _check_finite(result, ticks)
        return result

    def _reserve(self, rows: int) -> None:
        if self._bucket.size < rows:
            self._bucket = np.empty(rows, dtype=np.int64)
            self._flag = np.empty(rows, dtype=np.bool_)
            if "mid" in self._prices:
                self._mid = np.empty(rows)
                self._mid_size = np.empty(rows)

    def _check_order(self, ts: NDArray[np.int64]) -> None:
        backward = np.less(ts[1:], ts[:-1], out=self._flag[: ts.size - 1])
        if backward.any():
            row = int(np.argmax(backward)) + 1
            msg = (
                f"Ticks must be in time order, but {ts[row]} ns follows {ts[row - 1]} ns. Import them again."
            )
            raise DataError(msg, row=row)

    def _side(self, ticks: Mapping[str, NDArray[Any]], price: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return price and size of each tick; those of mid live until the next batch."""
        if price != "mid":
            return ticks[price], ticks[f"{price}_size"]
        rows = ticks["ts_event_ns"].size
        mid = np.add(ticks["bid"], ticks["ask"], out=self._mid[:rows])
        # Halving is exact, so this equals the reference's division by 2 to the last bit, and is faster.
        np.multiply(mid, 0.5, out=mid)
        return mid, np.add(ticks["bid_size"], ticks["ask_size"], out=self._mid_size[:rows])


def merge_partials(parts: Sequence[Mapping[str, NDArray[Any]]], base: Timeframe) -> Columns:
    """Put the partial bars of consecutive parts of the ticks together, in the order given.

    Parameters
    ----------
    parts : non-empty sequence of partial bars
        Each in time order; a part may start in the bar in which the one before it ends.
    base : Timeframe
        Bar length of the result; the same as that of `parts`, or a multiple.

    Returns
    -------
    dict of str to ndarray
        One row per bar.

    Raises
    ------
    DataError
        If a part starts before the part in front of it ends.
    """
    names = list(parts[0])
    if len(parts) == 1:
        joined: Columns = dict(parts[0])
    else:
        joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    ts = joined["ts_open_ns"]
    if ts.size == 0:
        return joined
    backward = ts[1:] < ts[:-1]
    if backward.any():
        at = int(np.argmax(backward))
        msg = f"Parts of the ticks must be in time order, but {ts[at + 1]} ns follows {ts[at]} ns."
        raise DataError(msg + " Import the ticks again.")
    bucket = ts // base.ns
    starts = np.concatenate(([0], np.flatnonzero(bucket[1:] != bucket[:-1]) + 1))
    if starts.size == ts.size and np.array_equal(bucket * base.ns, ts):
        return joined
    ends = np.append(starts[1:], ts.size)
    merged: Columns = {}
    for name in names:
        if name == "ts_open_ns":
            merged[name] = bucket[starts] * base.ns
        else:
            merged[name] = _merge_column(joined[name], name.rpartition("_")[2], starts, ends)
    return merged


def finish_bars(
    partial: Mapping[str, NDArray[Any]], price: str, timeframe: Timeframe, empty: Empty
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
        What happens to bars without ticks.

    Returns
    -------
    polars.DataFrame
        `BAR_SCHEMA`.
    """
    check_empty(empty)
    names = {"ts_open_ns": "ts_open_ns", "ticks": "ticks"} | {f"{price}_{field}": field for field in _FIELDS}
    merged = merge_partials([{name: partial[name] for name in names}], timeframe)
    columns = {names[name]: values for name, values in merged.items()}
    bars = pl.DataFrame({name: columns[name] for name in BAR_SCHEMA.names()}, schema=BAR_SCHEMA)
    return fill_flat(bars, timeframe) if empty == "flat" else bars


def _merge_column(
    column: NDArray[Any], field: str, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[Any]:
    """Merge runs of one column by the rule of its field; ticks and volume are sums."""
    if field == "open":
        return column[starts]
    if field == "close":
        return column[ends - 1]
    if field == "high":
        return np.maximum.reduceat(column, starts)
    if field == "low":
        return np.minimum.reduceat(column, starts)
    return np.add.reduceat(column, starts)


def _check_finite(partial: Columns, ticks: Mapping[str, NDArray[Any]]) -> None:
    """Refuse NaN and infinity: either shows in the extremes and sums, far fewer than the ticks."""
    if all(np.isfinite(partial[name]).all() for name in partial if name not in ("ts_open_ns", "ticks")):
        return
    for name, values in ticks.items():
        broken = ~np.isfinite(values)
        if broken.any():
            row = int(np.argmax(broken))
            msg = f"Ticks must be finite, but {name} is {values[row]}. Validate and import them again."
            raise DataError(msg, row=row)
    raise DataError("The sum of tick sizes must be finite, but overflowed. Validate the ticks.")
