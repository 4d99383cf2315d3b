"""Spread statistics of bars, in the quote currency.

Owns the finished columns; what ticks contribute is in `aiopt.bars.reducing.partial_bars`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPREAD_COLUMNS = ("spread_mean", "spread_max", "spread_last", "spread_time_mean")
"""Mean over ticks, largest, last, and mean weighted by the time until the next tick of the bar."""


def finish_spread(bars: Mapping[str, NDArray[Any]], price_scale: int) -> dict[str, NDArray[np.float64]]:
    """Return the columns of `SPREAD_COLUMNS` of merged partial bars.

    With the ticks ``i = 1 … n`` of a bar, spreads ``s_i = ask_i - bid_i`` rounded to price steps and stamps
    ``t_i`` floored to microseconds: ``sum(s_i) / n``, ``max(s_i)``, ``s_n`` and
    ``sum(s_i * (t_{i+1} - t_i), i < n) / (t_n - t_1)``, or the mean over ticks where ``t_n = t_1``.

    Parameters
    ----------
    bars : mapping of str to ndarray of shape (n_bars,)
        ``ticks`` and the columns ``spread_…`` of partial bars.
    price_scale : int
        Price steps per unit of price.

    Returns
    -------
    dict of str to ndarray of float64
        NaN for a bar without ticks.
    """
    ticks = bars["ticks"]
    none = ticks == 0
    duration = bars["spread_until_us"] - bars["spread_from_us"]
    mean = np.where(none, np.nan, bars["spread_total"] / np.maximum(ticks, 1))
    weighted = bars["spread_weighted"] / np.maximum(duration, 1)
    columns = (
        mean,
        np.where(none, np.nan, bars["spread_largest"]),
        np.where(none, np.nan, bars["spread_last"]),
        np.where(duration > 0, weighted, mean),
    )
    return {name: values / price_scale for name, values in zip(SPREAD_COLUMNS, columns, strict=True)}
