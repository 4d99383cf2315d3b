"""Patterns that a session's last bar completes, for those who listen on its bus.

Owns how far back is looked.  What a pattern is, `aiopt.patterns` says; whether one pays, a backtest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aiopt.backtest.growing_bars import GrowingBars
from aiopt.patterns import Pattern, Prices, find_patterns

WINDOW = 120
"""Bars that are looked at: as many as a chart of the analyst shows."""
_LEAST = 30


class CompletedPatterns:
    """Finds what the last bar of a series completes.

    Parameters
    ----------
    series : mapping of str to GrowingBars
        By name, ``EURUSD-5m``; they grow.
    """

    def __init__(self, series: Mapping[str, GrowingBars]) -> None:
        self._series = series

    def __call__(self, series: str) -> list[Pattern]:
        """Return the patterns known since the last bar, by its bid prices; none of a series still short."""
        side, stop = self._series[series].bid, len(self._series[series])
        start = max(0, stop - WINDOW)
        if stop - start < _LEAST:
            return []
        columns = (side.open, side.high, side.low, side.close)
        prices = Prices(*(np.ascontiguousarray(one[start:stop]) for one in columns))
        return [one for one in find_patterns(prices) if one.confirmed_bar == stop - start - 1]
