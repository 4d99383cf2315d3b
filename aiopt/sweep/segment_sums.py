"""Figures of trades summed per segment, in compiled code: every trial of a sweep needs them.

Owns that loop.  Knows no plan and no row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled

TRADES, WINS, NIGHTS, COUNTS = range(4)
"""Rows of the counts."""

GROSS_PROFIT, GROSS_LOSS, COMMISSION, UNITS, SUMS = range(5)
"""Rows of the sums."""


# reason: what a trade has, one array each, and two results
@compiled
def sum_segments(
    segment: NDArray[np.int64],
    pnl: NDArray[np.float64],
    commission: NDArray[np.float64],
    units: NDArray[np.float64],
    nights: NDArray[np.int64],
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add up the trades of each segment, in their order, as `numpy.bincount` adds.

    Parameters
    ----------
    segment : ndarray of shape (n_trades,), int64
        In which each trade was entered.
    pnl, commission, units, nights : ndarray of shape (n_trades,)
        As in `aiopt.trades.Trade`.
    counts : ndarray of shape (COUNTS, n_segments), int64
        Zeros; the result.
    sums : ndarray of shape (SUMS, n_segments)
        Zeros; the result.

    Raises
    ------
    IndexError
        If a trade lies in no segment.
    """
    for k in range(segment.size):
        at = segment[k]
        if at < 0 or at >= counts.shape[1]:
            raise IndexError("a trade lies in no segment")
        profit = pnl[k]
        counts[TRADES, at] += 1
        counts[NIGHTS, at] += nights[k]
        if profit > 0.0:
            counts[WINS, at] += 1
            sums[GROSS_PROFIT, at] += profit
        elif profit < 0.0:
            sums[GROSS_LOSS, at] -= profit
        sums[COMMISSION, at] += commission[k]
        sums[UNITS, at] += units[k]
