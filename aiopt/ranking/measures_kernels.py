"""The loop over profits behind Sharpe ratios, in compiled code.  Owns no figure; those are `measures`'s."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled


@compiled
def window_sums(
    columns: NDArray[np.float64],
    periods: NDArray[np.int64],
    totals: NDArray[np.float64],
    squares: NDArray[np.float64],
    largest: NDArray[np.float64],
) -> None:
    """Sum the profits of some trials over a window, each in the order of time.

    The order is that of `aiopt.evaluation.metrics.sharpe_ratios` over the columns of a table, so that the
    sums are the same to the last bit.

    Parameters
    ----------
    columns : ndarray of shape (n_periods, n_trials)
        Profits.
    periods : ndarray of shape (n,), int64
        The window.
    totals, squares, largest : ndarray of shape (n_trials,)
        Written: sum, sum of squared differences from the mean, and largest absolute value.
    """
    width = columns.shape[1]
    means = np.empty(width)
    for trial in range(width):
        totals[trial] = 0.0
        squares[trial] = 0.0
        largest[trial] = 0.0
    for period in periods:
        for trial in range(width):
            value = columns[period, trial]
            totals[trial] += value
            largest[trial] = max(largest[trial], abs(value))
    for trial in range(width):
        means[trial] = totals[trial] / periods.size
    for period in periods:
        for trial in range(width):
            difference = columns[period, trial] - means[trial]
            squares[trial] += difference * difference
