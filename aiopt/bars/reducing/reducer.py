"""What every kind of bar is built by: the protocol of reducers, and what they pass on.

Owns the protocol.  Knows nothing of a single kind of bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.rules import BarRule
from aiopt.bars.stops.stop_ladders import StopLadder

Columns = dict[str, NDArray[Any]]
"""Rows as columns: what consecutive ticks contribute to the bars they touch."""

Batch = Mapping[str, NDArray[Any]]
"""Consecutive ticks: the columns of `BarRequest.tick_columns`, each of shape (n_ticks,)."""

NEVER = -(2**61)
"""Number of the session before the first tick."""


@dataclass(frozen=True, eq=False, slots=True)
class FinishedBars:
    """The bars of one rule and price.

    Attributes
    ----------
    rule : BarRule
        When they end.
    price : str
        Their side.
    frame : polars.DataFrame
        `BAR_SCHEMA`, then some of `EXTRA_SCHEMA`.
    left_over : int
        Ticks behind the last brick of a session of Renko bars, which are in no bar.
    """

    rule: BarRule
    price: str
    frame: pl.DataFrame
    left_over: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class FinishedStops:
    """The record quotes inside the bars of one rule; no ladder where none was asked for or can be.

    Attributes
    ----------
    rule : BarRule
        When the bars end.
    ts_open_ns : ndarray of int64, shape (n_bars,)
        Opening times of the bars with ticks.
    ladder : StopLadder or None
        A row per bar.
    """

    rule: BarRule
    ts_open_ns: NDArray[np.int64]
    ladder: StopLadder | None


class Reducer(Protocol):
    """Reduces the ticks of one instrument to bars: `reduce` batches, `merge` all their rows, `finish` bars.

    Rows of consecutive batches may be reduced by several reducers, in other processes too, as long as each
    starts with the state its predecessor left (`BarRule.carry` says what that takes), and are merged by any
    one of them.  The bars are the same, bit for bit, whatever the cuts.

    Attributes
    ----------
    state : ndarray
        What the bars of the next tick depend on, after the batches so far; empty for time bars.
    first : int
        Session of the first tick in one, `NEVER` before it; where the state depends on sessions.
    outside : int
        Ticks in no session so far.
    """

    state: NDArray[Any]
    first: int
    outside: int

    def reduce(self, ticks: Batch) -> Columns:
        """Return the rows of the next batch of ticks, in time order.

        Raises
        ------
        DataError
            If stamps decrease, or a price or size is not finite; `row` counts within `ticks`.
        """
        ...

    def advance(self, ticks: Batch) -> None:
        """Take a batch of ticks into the state alone; time and sizes are all it needs where amounts carry."""
        ...

    def merge(self, parts: Sequence[Columns]) -> Columns:
        """Return one row per bar from the rows of all ticks, in order; their ``ticks`` add up to all inside.

        Raises
        ------
        DataError
            If a part starts before the part in front of it ends.
        """
        ...

    def finish(self, rows: Columns) -> Iterable[FinishedBars | FinishedStops]:
        """Return the bars of merged rows, per rule and price.

        Raises
        ------
        DataError
            If there is no bar; raised before the first is returned.
        """
        ...
