"""How much a position says that others do not: the weight of records that share the same stretch of market.

Owns the formula.  Entries of one run are often near copies: ten strategies that buy the same breakout tell
one thing, not ten.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import MetricInputError


def average_uniqueness(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each interval's average uniqueness.

    At every moment a position shares with ``c - 1`` others counts ``1 / c``; the weight is the mean of that
    over its time (López de Prado, Advances in Financial Machine Learning, 2018, section 4.4).

    Parameters
    ----------
    starts, stops : ndarray of shape (n,), int64
        Half-open intervals, ``starts < stops``.

    Returns
    -------
    ndarray of shape (n,), float64
        In (0, 1]; 1 for one that shares no moment.

    Raises
    ------
    MetricInputError
        If the shapes differ or an interval is empty.
    """
    if starts.shape != stops.shape or starts.ndim != 1:
        msg = f"Starts and stops must pair up, but have the shapes {starts.shape} and {stops.shape}."
        raise MetricInputError(f"{msg} Give one of each.")
    if not (starts < stops).all():
        raise MetricInputError("`start < stop` must hold for every interval, but does not. Correct them.")
    edges = np.unique(np.concatenate([starts, stops]))
    first, last = np.searchsorted(edges, starts), np.searchsorted(edges, stops)
    change = np.bincount(first, minlength=edges.size) - np.bincount(last, minlength=edges.size)
    together = np.cumsum(change)[:-1]
    lengths = np.diff(edges).astype(np.float64)
    shares = np.divide(lengths, together, out=np.zeros_like(lengths), where=together > 0)
    summed = np.concatenate([[0.0], np.cumsum(shares)])
    return np.asarray((summed[last] - summed[first]) / (stops - starts), np.float64)
