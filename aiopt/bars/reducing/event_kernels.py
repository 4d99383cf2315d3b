"""The compiled loops that cut ticks into bars that end when something has happened: ticks, volume, price.

Owns the rule of each such bar, with its state as an array that is handed from one batch of ticks to the next.
Knows nothing of files, sessions (only their numbers) or price sides.

Every loop fills, per run of ticks (a bar or the part of it inside the batch): first tick, the one after the
last, and whether the run begins a bar.  Ticks of session `OUTSIDE` belong to no run; a new session begins a
bar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled

OUTSIDE = -(2**62)
"""Session number of a tick that lies in none."""


@compiled
def cut_by_amount(
    amount: NDArray[np.float64],
    session: NDArray[np.int64],
    size: float,
    state: NDArray[np.float64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    fresh: NDArray[np.bool_],
) -> int:
    """Cut where the amount since the session's begin passes multiples of `size`.

    Tick ``i`` belongs to bar ``floor(A_i / size)`` of its session, with ``A_i`` the sum of the amounts of the
    session's ticks before it.  What a tick has beyond the end of its bar counts towards the next one.

    Parameters
    ----------
    amount : ndarray of float64, shape (n_ticks,)
        Whole numbers, so that their sums are exact.
    session : ndarray of int64, shape (n_ticks,)
        Numbers, or `OUTSIDE`.
    size : float
        Amount of a bar.
    state : ndarray of float64, shape (3,)
        Session of the last tick, amount of that session, amount of the last tick.  Changed in place.
    starts, stops, fresh : ndarray, shape (n_ticks,)
        Filled.

    Returns
    -------
    int
        Runs.
    """
    found = 0
    inside = False
    number, total, last = state[0], state[1], state[2]
    bar = np.floor((total - last) / size)
    for i in range(session.size):
        if session[i] == OUTSIDE:
            if inside:
                stops[found - 1] = i
                inside = False
            continue
        begins = session[i] != number
        if begins:
            number = session[i]
            total = 0.0
        mine = np.floor(total / size)
        begins = begins or mine != bar
        bar = mine
        if begins or not inside:
            if inside:
                stops[found - 1] = i
            starts[found] = i
            fresh[found] = begins
            found += 1
            inside = True
        last = amount[i]
        total += last
    if inside:
        stops[found - 1] = session.size
    state[0], state[1], state[2] = number, total, last
    return found


@compiled
def cut_by_range(
    price: NDArray[np.int64],
    session: NDArray[np.int64],
    size: int,
    state: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    fresh: NDArray[np.bool_],
) -> int:
    """Cut after the tick with which highest minus lowest price of the bar reaches `size`.

    Parameters
    ----------
    price : ndarray of int64, shape (n_ticks,)
        In half price steps.
    session, starts, stops, fresh
        As in `cut_by_amount`.
    size : int
        In half price steps, positive.
    state : ndarray of int64, shape (4,)
        Session of the last tick, 1 if a bar is open, its highest and lowest price.  Changed in place.

    Returns
    -------
    int
        Runs.
    """
    found = 0
    inside = False
    number, is_open, high, low = state[0], state[1], state[2], state[3]
    for i in range(session.size):
        if session[i] == OUTSIDE:
            if inside:
                stops[found - 1] = i
                inside = False
            continue
        value = price[i]
        begins = is_open == 0 or session[i] != number
        number = session[i]
        if begins:
            high = low = value
        if begins or not inside:
            if inside:
                stops[found - 1] = i
            starts[found] = i
            fresh[found] = begins
            found += 1
            inside = True
        high = max(high, value)
        low = min(low, value)
        is_open = 1
        if high - low >= size:
            stops[found - 1] = i + 1
            inside = False
            is_open = 0
    if inside:
        stops[found - 1] = session.size
    state[0], state[1], state[2], state[3] = number, is_open, high, low
    return found


@compiled
def cut_renko(  # a compiled loop: the arrays it fills are its last parameters
    price: NDArray[np.int64],
    session: NDArray[np.int64],
    size: int,
    state: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    fresh: NDArray[np.bool_],
    bricks: NDArray[np.int64],
) -> int:
    """Cut after each tick that completes a brick; a tick that completes several ends as many runs.

    Bricks lie between neighbouring multiples of `size`.  With the last brick's close ``L`` and direction
    ``d`` (at the first tick of a session ``L = floor(price / size) * size`` and ``d = 0``), an upward brick
    from ``L`` to ``L + size`` is complete once ``price >= L + size`` and ``d >= 0``, a downward one from
    ``L`` to ``L - size`` once ``price <= L - size`` and ``d <= 0``.  A turn takes two: after an upward brick
    a downward one from ``L - size`` to ``L - 2 size`` once ``price <= L - 2 size``, and the reverse.

    Parameters
    ----------
    price, session, size, starts, stops, fresh
        As in `cut_by_range`.  The second and later runs that end with one tick are empty: start equals stop.
    state : ndarray of int64, shape (4,)
        Session of the last tick, ``L``, ``d``, 1 if ticks wait for their brick.  Changed in place.
    bricks : ndarray of int64, shape (5, room)
        Filled per run: ``L`` and ``d`` at its begin, open and close of its brick, 1 if the brick is complete.

    Returns
    -------
    int
        Runs.
    """
    found = 0
    inside = False
    number, level, direction, waiting = state[0], state[1], state[2], state[3]
    for i in range(session.size):
        if session[i] == OUTSIDE:
            if inside:
                stops[found - 1] = i
                inside = False
            continue
        value = price[i]
        begins = waiting == 0 or session[i] != number
        if session[i] != number:
            number = session[i]
            level = value // size * size
            direction = 0
        if begins or not inside:
            if inside:
                stops[found - 1] = i
            starts[found] = i
            fresh[found] = begins
            bricks[0, found], bricks[1, found], bricks[4, found] = level, direction, 0
            found += 1
            inside = True
        waiting = 1
        while True:
            up = level if direction >= 0 else level + size
            down = level if direction <= 0 else level - size
            if down - size < value < up + size:
                break
            if waiting == 0:
                starts[found] = i + 1
                fresh[found] = True
                bricks[0, found], bricks[1, found] = level, direction
                found += 1
            if value >= up + size:
                opened, level, direction = up, up + size, 1
            else:
                opened, level, direction = down, down - size, -1
            stops[found - 1] = i + 1
            bricks[2, found - 1], bricks[3, found - 1], bricks[4, found - 1] = opened, level, 1
            waiting = 0
            inside = False
    if inside:
        stops[found - 1] = session.size
    state[0], state[1], state[2], state[3] = number, level, direction, waiting
    return found
