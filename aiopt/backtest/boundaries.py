"""Where positions may be opened and must be closed: the segments of a run, bar by bar.

Owns what segments mean for each bar.  Knows no engine, no signals and no prices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Boundaries:
    """Where positions may be opened and must be closed.

    Attributes
    ----------
    may_enter : ndarray of shape (n_bars,), bool
        Whether a signal at the close of the bar may open a position.
    flatten_bar : ndarray of shape (n_bars,), int64
        The bar at whose close a position held on this bar is closed; `n_bars` for never.
    segment : ndarray of shape (n_bars,), int64
        Segment of each bar; -1 outside all.
    """

    may_enter: NDArray[np.bool_]
    flatten_bar: NDArray[np.int64]
    segment: NDArray[np.int64]
    flatten_bars: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        ends = np.unique(self.flatten_bar)
        object.__setattr__(self, "flatten_bars", frozenset(ends[ends < self.flatten_bar.size].tolist()))


def make_boundaries(n_bars: int, ranges: list[tuple[int, int]] | None, *, close_at_end: bool) -> Boundaries:
    """Return the boundaries of a run.

    Parameters
    ----------
    n_bars : int
        Bars of the series.
    ranges : list of (int, int) or None
        First bar and bar behind the last of each segment; None for one that is the whole series.
    close_at_end : bool
        Without segments: close a position at the close of the last bar.
    """
    if ranges is None:
        may_enter = np.ones(n_bars, dtype=bool)
        may_enter[-1:] = False
        flatten_bar = np.full(n_bars, n_bars - 1 if close_at_end else n_bars, dtype=np.int64)
        return Boundaries(may_enter, flatten_bar, np.zeros(n_bars, dtype=np.int64))
    may_enter = np.zeros(n_bars, dtype=bool)
    flatten_bar = np.full(n_bars, n_bars, dtype=np.int64)
    segment = np.full(n_bars, -1, dtype=np.int64)
    for number, (start, stop) in enumerate(ranges):
        segment[start:stop] = number
        may_enter[start : max(start, stop - 1)] = True
        flatten_bar[start:stop] = stop - 1
    return Boundaries(may_enter, flatten_bar, segment)
