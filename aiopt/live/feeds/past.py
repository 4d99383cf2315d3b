"""History of a feed that has none of its own: a tick store beside it.

Owns where such a feed's bars come from.  Knows no feed.
"""

from __future__ import annotations

from pathlib import Path

from aiopt.backtest.growing_bars import BarRow
from aiopt.live.feeds.warm_up import whole_bars
from aiopt.market.instrument import Instrument
from aiopt.timeframe import Timeframe


class PastOfStore:
    """Bars of what was quoted before a feed began, if a tick store has it.

    Parameters
    ----------
    store : str or None
        Folder; None: nothing is known.
    instrument : Instrument
        What it must be of.
    """

    def __init__(self, store: str | None, instrument: Instrument) -> None:
        self._store, self._instrument = store, instrument

    def history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        """Return the whole bars in a span, see `aiopt.live.feeds.seam.Feed`."""
        if self._store is None:
            return []
        return whole_bars(Path(self._store), self._instrument, timeframe, start_ns, stop_ns)
