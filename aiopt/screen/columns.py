"""Series of bars by content: indicators, extremes and the bars' own, each computed once and shared.

Owns the memory they lie in, rows of one matrix, and which are kept when it is full.  Knows no condition and
no parameter: a key says everything about a row.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.indicators.windows import FloatArray

FEWEST_ROWS = 24
"""Kept however long they are: years of minutes have millions of bars, and a spec reads several series."""
MOST_ROWS = 512
"""More would seldom be found again, and each costs its first use."""


def rows_held(n_bars: int, limit_bytes: int) -> int:
    """Return how many series of so many bars are held in some memory."""
    return min(max(limit_bytes // (8 * n_bars), FEWEST_ROWS), MOST_ROWS)


@compiled
def _numbers(values: FloatArray) -> tuple[int, bool]:
    """Return the first bar with a number, and whether a later one has none."""
    first = 0
    while first < values.size and math.isnan(values[first]):
        first += 1
    missing = 0
    for i in range(first, values.size):
        missing += math.isnan(values[i])
    return first, missing > 0


class Columns:
    """Rows of floats, one per bar, found by their keys; the ones used longest ago give way.

    Parameters
    ----------
    n_bars : int
        Length of a row.
    limit_bytes : int
        Memory that rows may take, unless a few take more.
    """

    def __init__(self, n_bars: int, limit_bytes: int) -> None:
        self.values: FloatArray = np.empty((rows_held(n_bars, limit_bytes), n_bars))
        """Row by row; a row is valid until as many others were asked for as there are rows."""
        self.first: NDArray[np.int64] = np.zeros(len(self.values), dtype=np.int64)
        """First bar of each row that has a number; `n_bars` where none has."""
        self.gaps: NDArray[np.bool_] = np.zeros(len(self.values), dtype=bool)
        """Whether a row has bars without a number behind its first."""
        self._rows: OrderedDict[Hashable, int] = OrderedDict()
        self.computed = 0
        """Rows computed so far."""

    def __repr__(self) -> str:
        return f"Columns({len(self._rows)} of {len(self.values)} rows, {self.computed} computed)"

    def rows_of(
        self, keys: Sequence[Hashable], compute: Callable[[], Sequence[FloatArray]]
    ) -> tuple[int, ...]:
        """Return the rows of some keys that are computed together.

        Parameters
        ----------
        keys : sequence
            One per array; equal keys must stand for equal content.
        compute : callable
            Returns the arrays; called if one of them is missing.
        """
        rows = self._rows
        found = [rows.get(key) for key in keys]
        if None in found:
            for key, array in zip(keys, compute(), strict=True):
                self._keep(key, array)
            found = [rows[key] for key in keys]
        for key in keys:
            rows.move_to_end(key)
        return tuple(found)  # type: ignore[arg-type]  # all found by now

    def rows_filled(
        self, keys: Sequence[Hashable], prepare: Callable[[], Callable[[Sequence[FloatArray]], None]]
    ) -> tuple[int, ...]:
        """Return the rows of some keys that are computed together, each written where it lies.

        Parameters
        ----------
        keys : sequence
            As in `rows_of`.
        prepare : callable
            Called if one of them is missing.  Returns what writes one array per key; it may read rows that
            `prepare` asked for.
        """
        rows = self._rows
        if any(key not in rows for key in keys):
            write = prepare()  # before any key has a row: it may fail
            found = [self._place(key) for key in keys]
            write([self.values[row] for row in found])
            for row in found:
                self._note(row)
            return tuple(found)
        for key in keys:
            rows.move_to_end(key)
        return tuple(rows[key] for key in keys)

    def _keep(self, key: Hashable, array: FloatArray) -> None:
        row = self._place(key)
        self.values[row] = array
        self._note(row)

    def _place(self, key: Hashable) -> int:
        """Return the row of a key, or one that nothing needs any more."""
        rows = self._rows
        if key in rows:
            row = rows[key]
        elif len(rows) < len(self.values):
            row = len(rows)
        else:
            _, row = rows.popitem(last=False)
        rows[key] = row
        rows.move_to_end(key)
        return row

    def _note(self, row: int) -> None:
        self.computed += 1
        self.first[row], self.gaps[row] = _numbers(self.values[row])


__all__ = ["FEWEST_ROWS", "MOST_ROWS", "Columns"]
