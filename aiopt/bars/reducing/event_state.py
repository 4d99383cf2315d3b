"""The state tick, volume, range and Renko bars carry from one part of the ticks to the next.

What a part of the ticks gives depends on the state its predecessor left:

* tick and volume bars depend on the amount before the part alone, which adds up (`after_amounts`);
* range and Renko bars are sequential.  A part is cut as if nothing came before it, and `splice` cuts its
  first ticks again from the true state, until both agree on where a bar begins and with what state.  From
  there on they are the same.  Where they never agree, the whole part is cut again.

Owns that algebra.  Knows nothing of prices, files or Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.reducing.reducer import NEVER, Columns
from aiopt.bars.rules import EventRule


def initial_state(rule: EventRule) -> NDArray[Any]:
    """Return the state before the first tick."""
    if rule.carry == "amount":
        return np.array([NEVER, 0, 0], dtype=np.float64)
    return np.array([NEVER, 0, 0, 0], dtype=np.int64)


def after_amounts(before: NDArray[np.float64], alone: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Return the state after a part of the ticks of tick or volume bars.

    Parameters
    ----------
    before : ndarray of float64, shape (3,)
        State before the part.
    alone : ndarray of float64, shape (3,)
        State after the part if nothing had come before it.
    first : int
        Session of the first tick of the part.
    """
    if alone[0] == NEVER:
        return before
    if alone[0] != first or before[0] != first:
        return alone
    return np.array([alone[0], before[1] + alone[1], alone[2]])


def splice(
    rows: Columns,
    state: NDArray[np.int64],
    before: NDArray[np.int64],
    again: Callable[[NDArray[np.int64]], Iterable[tuple[Columns, NDArray[np.int64]]]],
) -> tuple[list[Columns], NDArray[np.int64]]:
    """Return the rows of a shard of range or Renko bars from the true state before it.

    Parameters
    ----------
    rows : rows of `EventReducer`
        Of the shard, cut as if nothing came before it.
    state : ndarray
        State after that.
    before : ndarray
        True state before the shard.
    again : callable
        Cuts the shard from a state, batch after batch: yields the rows of a batch and the state after it.

    Returns
    -------
    rows : list of Columns
        In order.
    state : ndarray
        True state after the shard.
    """
    if before[0] == NEVER:
        return [rows], state
    known = {
        (int(at), int(level), int(direction)): row
        for row, (at, level, direction, fresh) in enumerate(
            zip(rows["at"], rows["level"], rows["direction"], rows["fresh"], strict=True)
        )
        if fresh
    }
    mended: list[Columns] = []
    after = before
    for batch, reached in again(before):
        for row in np.flatnonzero(batch["fresh"]).tolist():
            key = (int(batch["at"][row]), int(batch["level"][row]), int(batch["direction"][row]))
            if key in known:
                mended.append({name: values[:row] for name, values in batch.items()})
                mended.append({name: values[known[key] :] for name, values in rows.items()})
                return mended, state
        mended.append(batch)
        after = reached
    return mended, after
