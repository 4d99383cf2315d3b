"""Stop ladders: where a stop inside a bar was really filled, kept so that no tick has to be read again.

The first quote at or beyond a price is always a new extreme of its bar: the first bid at or below 1.10000
is lower than every bid before it.  So of the ticks of a bar only the *record quotes* are kept: each bid below
all bids before it in the bar, which fill the stops of long positions, and each ask above all asks before it,
which fill those of short ones.  The first record is the bar's opening quote, the last its low (bid) or high
(ask); a stop is looked up among them by bisection.

Records of a part of a bar's ticks merge exactly: those of two parts, one after the other, are the records of
the first and those of the second that go beyond them.  So shards are merged, and longer bars made of shorter
ones, as partial bars are (`aiopt.bars.reducing.partial_bars`), with the same result whatever the cuts.

Owns records, their algebra and the look-up.  Their file is `aiopt.bars.stops.stop_files`, what stops cost on
average `aiopt.bars.stops.stop_slippage`.  Knows nothing of strategies or engines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled

RECORD_SIDES = ("bid", "ask")
"""Bids that fell below all before them, and asks that rose above all before them."""

RECORD_PRICES = {f"record_{side}_count": f"record_{side}_price" for side in RECORD_SIDES}
"""Records among the columns of partial bars: their number in each bar, and the prices of all in a row."""

RECORD_COLUMNS = tuple(name for pair in RECORD_PRICES.items() for name in pair)

Columns = dict[str, NDArray[Any]]


# --- records of ticks, and their algebra ------------------------------------------------------------------


@compiled
def _take_records(
    price: NDArray[np.float64],
    falling: bool,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    counts: NDArray[np.int64],
    records: NDArray[np.float64],
) -> int:
    """Fill the records of each run of ticks and their number per run; return the number of all."""
    found = 0
    for k in range(starts.size):
        best = price[starts[k]]
        records[found] = best
        before = found
        found += 1
        for i in range(starts[k] + 1, stops[k]):
            value = price[i]
            if (value < best) if falling else (value > best):
                best = value
                records[found] = value
                found += 1
        counts[k] = found - before
    return found


def records_of_runs(
    ticks: Mapping[str, NDArray[Any]], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> Columns:
    """Return the records of runs of consecutive ticks, one run per bar.

    Parameters
    ----------
    ticks : mapping of str to ndarray of shape (n_ticks,)
        With ``bid`` and ``ask``, finite.
    starts, stops : ndarray of int64, shape (n_runs,)
        First tick of each run and the one after its last; none empty.

    Returns
    -------
    dict of str to ndarray
        `RECORD_COLUMNS`.
    """
    columns: Columns = {}
    room = np.empty(int((stops - starts).sum()))
    for side in RECORD_SIDES:
        counts = np.empty(starts.size, dtype=np.int64)
        found = _take_records(ticks[side], side == "bid", starts, stops, counts, room)
        columns[f"record_{side}_count"] = counts
        columns[f"record_{side}_price"] = room[:found].copy()
    return columns


def no_records() -> Columns:
    """Return the records of no ticks."""
    return {
        name: np.empty(0, dtype=np.int64 if name.endswith("_count") else np.float64)
        for name in RECORD_COLUMNS
    }


@compiled
def _merge_records(
    price: NDArray[np.float64],
    counts: NDArray[np.int64],
    falling: bool,
    starts: NDArray[np.int64],
    merged_counts: NDArray[np.int64],
    merged: NDArray[np.float64],
) -> int:
    """Fill the records of runs of rows that follow each other in one bar; return the number of all."""
    found = 0
    at = 0
    for k in range(starts.size):
        stop = starts[k + 1] if k + 1 < starts.size else counts.size
        before = found
        best = math.inf if falling else -math.inf
        for row in range(starts[k], stop):
            for i in range(at, at + counts[row]):
                value = price[i]
                if (value < best) if falling else (value > best):
                    best = value
                    merged[found] = value
                    found += 1
            at += counts[row]
        merged_counts[k] = found - before
    return found


def merge_records(rows: Mapping[str, NDArray[Any]], starts: NDArray[np.intp]) -> Columns:
    """Merge the records of consecutive rows of partial bars.

    Parameters
    ----------
    rows : mapping of str to ndarray
        With `RECORD_COLUMNS`, in order.
    starts : ndarray of int, shape (n_bars,)
        First row of each bar, from 0 on, increasing.
    """
    columns: Columns = {}
    for side in RECORD_SIDES:
        counts, price = rows[f"record_{side}_count"], rows[f"record_{side}_price"]
        merged_counts = np.empty(starts.size, dtype=np.int64)
        merged = np.empty(price.size)
        found = _merge_records(price, counts, side == "bid", starts.astype(np.int64), merged_counts, merged)
        columns[f"record_{side}_count"] = merged_counts
        columns[f"record_{side}_price"] = merged[:found].copy()
    return columns


# --- the ladder of a series of bars -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class StopLadder:
    """The record quotes of every bar of a series.

    Attributes
    ----------
    bid_offsets, ask_offsets : ndarray of int64, shape (n_bars + 1,)
        Those of bar i are ``offsets[i]`` to ``offsets[i + 1]``; a bar without ticks has none.
    bid_steps, ask_steps : ndarray of int32
        Records in price steps: bids fall, asks rise within a bar.
    price_scale : int
        Steps per unit of price.
    """

    bid_offsets: NDArray[np.int64]
    bid_steps: NDArray[np.int32]
    ask_offsets: NDArray[np.int64]
    ask_steps: NDArray[np.int32]
    price_scale: int

    def __len__(self) -> int:
        return int(self.bid_offsets.size) - 1

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = (self.bid_offsets, self.bid_steps, self.ask_offsets, self.ask_steps)
        return sum(int(array.nbytes) for array in arrays)

    def slice(self, start: int, stop: int) -> StopLadder:
        """Return bars ``start`` (included) to ``stop`` (excluded), as views of the same records."""
        return StopLadder(
            self.bid_offsets[start : stop + 1],
            self.bid_steps,
            self.ask_offsets[start : stop + 1],
            self.ask_steps,
            self.price_scale,
        )

    def fill_price(self, bar: int, stop: float, *, sells: bool) -> float | None:
        """Return the first quote of a bar at or beyond a stop.

        Parameters
        ----------
        bar : int
            0-based.
        stop : float
            Quote currency; need not lie on a price step.
        sells : bool
            True for the stop of a long position, filled at the bid; False for that of a short, at the ask.

        Returns
        -------
        float or None
            Quote currency, the nearest double of the quote; None if no quote of the bar reaches the stop.
        """
        offsets, steps = (self.bid_offsets, self.bid_steps) if sells else (self.ask_offsets, self.ask_steps)
        first, last = int(offsets[bar]), int(offsets[bar + 1])
        # The stop in steps, exact where it lies on one: a quote at the very stop fills it.
        level = round(stop * self.price_scale, 3)
        if sells:
            at = first + int(np.searchsorted(-steps[first:last], -math.floor(level)))
        else:
            at = first + int(np.searchsorted(steps[first:last], math.ceil(level)))
        return None if at == last else int(steps[at]) / self.price_scale


def make_ladder(columns: Mapping[str, NDArray[Any]], price_scale: int) -> StopLadder | None:
    """Return the ladder of fully merged records, None if a price is no whole number of steps.

    Parameters
    ----------
    columns : mapping of str to ndarray
        `RECORD_COLUMNS`, a row per bar.
    price_scale : int
        Price steps per unit of price.
    """
    found: dict[str, NDArray[Any]] = {}
    for side in RECORD_SIDES:
        price = columns[f"record_{side}_price"]
        steps = np.rint(price * price_scale)
        if not np.array_equal(steps / price_scale, price) or (steps.size and steps.max() >= 2**31):
            return None
        found[f"{side}_steps"] = steps.astype(np.int32)
        found[f"{side}_offsets"] = np.concatenate(([0], np.cumsum(columns[f"record_{side}_count"])))
    return StopLadder(**found, price_scale=price_scale)
