"""The compiled inner loops of bar building: where a bar begins, and what its ticks amount to.

Owns the loops over single ticks and nothing else: arrays in, arrays out, the global interpreter lock
released.  Cutting ticks into runs, one run per bar, is apart from reducing the runs, so that every type of
bar is reduced by the same loop.  Knows nothing of timeframes, sessions, files or price sides.

Compiled code is kept beside this file or in the user's cache folder; where neither can be written, each
process compiles anew (about three seconds).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled


@compiled
def cut_by_time(  # a compiled loop: the arrays it fills are its last parameters
    ts: NDArray[np.int64],
    length_ns: int,
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    anchors: NDArray[np.int64],
    opens: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
) -> int:
    """Cut ticks in time order into runs of one time bar each.

    A tick at ``t`` with ``begins[s] <= t < ends[s]`` belongs to the bar that opens at
    ``anchors[s] + floor((t - anchors[s]) / length_ns) * length_ns``; a bar ends with its session.  Ticks
    outside all sessions belong to none.

    Parameters
    ----------
    ts : ndarray of int64, shape (n_ticks,)
        Stamps.
    length_ns : int
        Bar length.
    begins, ends, anchors : ndarray of int64, shape (n_sessions,)
        Sessions in time order, not overlapping.
    opens, starts, stops : ndarray of int64, shape (at least n_ticks,)
        Filled per bar: opening time, index of the first tick, index after the last.

    Returns
    -------
    int
        Bars found, or ``-row`` if the stamp at `row` is before that of the row above.
    """
    found = 0
    session = 0
    bar_begin = 0
    bar_end = 0
    previous = ts[0]
    inside = False
    for i in range(ts.size):
        t = ts[i]
        if t < previous:
            return -i
        previous = t
        if inside and t < bar_end:
            continue
        if inside:
            stops[found - 1] = i
            inside = False
        while session < ends.size and t >= ends[session]:
            session += 1
        if session == ends.size or t < begins[session]:
            continue
        anchor = anchors[session]
        bar_begin = anchor + (t - anchor) // length_ns * length_ns
        bar_end = min(bar_begin + length_ns, ends[session])
        opens[found] = bar_begin
        starts[found] = i
        found += 1
        inside = True
    if inside:
        stops[found - 1] = ts.size
    return found


@compiled
def reduce_side(
    price: NDArray[np.float64],
    size: NDArray[np.float64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    rows: NDArray[np.float64],
) -> float:
    """Fill open, high, low, close and volume of each run of ticks of one price side.

    Parameters
    ----------
    price, size : ndarray of float64, shape (n_ticks,)
        Ticks.
    starts, stops : ndarray of int64, shape (n_runs,)
        Runs, none empty.
    rows : ndarray of float64, shape (5, n_runs)
        Filled: open, high, low, close, volume.

    Returns
    -------
    float
        0.0, or NaN if a price of any run is not finite.
    """
    check = 0.0
    for k in range(starts.size):
        start, stop = starts[k], stops[k]
        high = low = price[start]
        volume = 0.0
        for i in range(start, stop):
            value = price[i]
            if value > high:
                high = value
            if value < low:
                low = value
            volume += size[i]
            check += value - value
        rows[0, k] = price[start]
        rows[1, k] = high
        rows[2, k] = low
        rows[3, k] = price[stop - 1]
        rows[4, k] = volume
    return check


@compiled
def reduce_mid(
    bid: NDArray[np.float64],
    ask: NDArray[np.float64],
    bid_size: NDArray[np.float64],
    ask_size: NDArray[np.float64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    rows: NDArray[np.float64],
) -> float:
    """Fill what `reduce_side` does for prices ``(bid + ask) / 2`` and sizes ``bid_size + ask_size``.

    Halving is exact, so the product with 0.5 is the quotient by 2 to the last bit.
    """
    check = 0.0
    for k in range(starts.size):
        start, stop = starts[k], stops[k]
        first = (bid[start] + ask[start]) * 0.5
        high = low = first
        volume = 0.0
        for i in range(start, stop):
            value = (bid[i] + ask[i]) * 0.5
            if value > high:
                high = value
            if value < low:
                low = value
            volume += bid_size[i] + ask_size[i]
            check += value - value
        rows[0, k] = first
        rows[1, k] = high
        rows[2, k] = low
        rows[3, k] = (bid[stop - 1] + ask[stop - 1]) * 0.5
        rows[4, k] = volume
    return check


@compiled
def reduce_spread(
    ts: NDArray[np.int64],
    bid: NDArray[np.float64],
    ask: NDArray[np.float64],
    scale: float,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> None:
    """Fill what each run of ticks contributes to the spread statistics of its bar, in whole numbers.

    Parameters
    ----------
    ts : ndarray of int64, shape (n_ticks,)
        Stamps.
    bid, ask : ndarray of float64, shape (n_ticks,)
        Prices.
    scale : float
        Price steps per unit of price.
    starts, stops : ndarray of int64, shape (n_runs,)
        Runs, none empty.
    rows : ndarray of int64, shape (6, n_runs)
        Filled: sum, largest and last spread in price steps; sum of spread times microseconds until the next
        tick of the run; microseconds of the first and of the last tick.  Stamps are floored to microseconds
        before they are subtracted, so that parts add up exactly.
    """
    for k in range(starts.size):
        start, stop = starts[k], stops[k]
        total = 0
        largest = -(2**62)
        weighted = 0
        spread = 0
        before_us = ts[start] // 1000
        for i in range(start, stop):
            now_us = ts[i] // 1000
            weighted += spread * (now_us - before_us)
            before_us = now_us
            spread = int(np.rint((ask[i] - bid[i]) * scale))
            total += spread
            if spread > largest:
                largest = spread
        rows[0, k] = total
        rows[1, k] = largest
        rows[2, k] = spread
        rows[3, k] = weighted
        rows[4, k] = ts[start] // 1000
        rows[5, k] = before_us
