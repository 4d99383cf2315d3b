"""Which of several points are on the Pareto front.  Owns that rule alone; more is better in every value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def front(values: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the points that no other point beats, in their order.

    A point beats another where it is nowhere worse and somewhere better.  Of points with equal values the
    first one stands for all.

    Parameters
    ----------
    values : sequence of shape (n_points, n_objectives)
        More is better; finite.

    Examples
    --------
    >>> front([(1.0, 5.0), (2.0, 4.0), (1.0, 4.0), (1.0, 5.0)])
    [0, 1]
    """
    table = np.asarray(values, dtype=np.float64)
    found: list[int] = []
    for index in range(len(table)):
        no_worse = (table >= table[index]).all(axis=1)
        better = no_worse & (table > table[index]).any(axis=1)
        equal_before = no_worse[:index] & (table[:index] == table[index]).all(axis=1)
        if not better.any() and not equal_before.any():
            found.append(index)
    return found
