"""Ticks that know where they were read, and what is said about them: findings and gaps.

Owns these types and how columns of ticks are replaced.  Knows no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.ticks.clocks.clock_shift import Shift
from aiopt.ticks.schema import TickArrays
from aiopt.utc import HOUR_NS


@dataclass(frozen=True, eq=False, slots=True)
class SourcedTicks:
    """Ticks that know where they were read.

    Attributes
    ----------
    ticks : TickArrays
        Shape (n,).
    file : ndarray of int32, shape (n,)
        Index into the files of the source.
    row : ndarray of int64, shape (n,)
        0-based record or row in the file.
    """

    ticks: TickArrays
    file: NDArray[np.int32]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ticks)

    def take(self, index: NDArray[Any]) -> SourcedTicks:
        """Return the ticks of an index array or a mask."""
        if index.dtype == np.bool_:
            # Seven columns: the mask is searched once, and `take` copies faster than indexing.
            index = np.flatnonzero(index)
        ticks = TickArrays(*(column.take(index) for _, column in self.ticks.columns()))
        return SourcedTicks(ticks, self.file.take(index), self.row.take(index))


@dataclass(frozen=True, slots=True)
class Finding:
    """The first tick of an hour that a rule found: where it was read, and what it is."""

    rule: str
    hour: int
    file: int
    row: int
    ts_ns: int
    bid: float
    ask: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Open market without a tick; the tick that ends it stands in `row` of `file`."""

    start_ns: int
    stop_ns: int
    open_s: float
    file: int
    row: int


def move(batch: SourcedTicks, shifts: Sequence[Shift]) -> SourcedTicks:
    """Return ticks with the stamps of shifted weeks set right: ``stamp - shift``."""
    ts = batch.ticks.ts_event_ns.copy()
    for shift in shifts:
        inside = (batch.ticks.ts_event_ns >= shift.start_ns) & (batch.ticks.ts_event_ns < shift.stop_ns)
        ts[inside] -= shift.hours * HOUR_NS
    return with_columns(batch, ts_event_ns=ts)


def with_columns(batch: SourcedTicks, **columns: NDArray[Any]) -> SourcedTicks:
    """Return ticks with some columns replaced."""
    names = {name: columns.get(name, column) for name, column in batch.ticks.columns()}
    return SourcedTicks(TickArrays(**names), batch.file, batch.row)


def swapped(ticks: TickArrays, crossed: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Return the prices and sizes with bid and ask exchanged where `crossed`."""
    pairs = (("bid", "ask"), ("ask", "bid"), ("bid_size", "ask_size"), ("ask_size", "bid_size"))
    return {name: np.where(crossed, getattr(ticks, other), getattr(ticks, name)) for name, other in pairs}
