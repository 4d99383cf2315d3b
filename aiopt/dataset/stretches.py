"""Stretches of bars without a gap or a weekend, and features that know nothing from before theirs.

Owns what a break of the market is.  Knows no label and no file.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarSet
from aiopt.dataset.dataset_config import FeatureConfig
from aiopt.dataset.features import Features, compute_features
from aiopt.market.calendar import open_time_ns
from aiopt.utc import DAY_NS, HOUR_NS


def market_breaks(bars: BarSet) -> NDArray[np.bool_]:
    """Return which steps from one bar to the next break the market.

    A step is a *gap* where at least an hour, and at least one bar, of open market lies between the close of
    one bar and the opening of the next; a *weekend* where the market was closed for an hour or more between
    them.  Bars of a day and longer have no weekends: they are of days the market was open on.

    Returns
    -------
    ndarray of shape (n_bars - 1,), bool
    """
    closes = bars.bid.ts_open_ns[:-1] + bars.timeframe.ns
    opens = bars.bid.ts_open_ns[1:]
    silent = np.maximum(opens - closes, 0)
    open_ns = silent if bars.instrument.always_open else open_time_ns(closes, closes + silent)
    weekend = (silent - open_ns >= HOUR_NS) & (bars.timeframe.ns < DAY_NS)
    return np.asarray((open_ns >= max(HOUR_NS, bars.timeframe.ns)) | weekend)


def stretch_starts(bars: BarSet) -> NDArray[np.int64]:
    """Return the first bar of the stretch that each bar is in, shape (n_bars,)."""
    first = np.concatenate(([True], market_breaks(bars)))
    return np.asarray(np.maximum.accumulate(np.where(first, np.arange(first.size), 0)))


def stretch_features(bars: BarSet, config: FeatureConfig) -> Features:
    """Return the features of every bar, each computed from the bars of its own stretch alone."""
    edges = [*np.unique(stretch_starts(bars)).tolist(), len(bars)]
    parts = [compute_features(bars.slice(start, stop), config) for start, stop in pairwise(edges)]
    return Features(
        columns={name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        atr=np.concatenate([part.atr for part in parts]),
        ready=np.concatenate([part.ready for part in parts]),
    )
