"""Time bars: from ticks to partial bars of the smallest common length, and from these to every timeframe.

Owns `TimeReducer`; how partial bars add up is in `aiopt.bars.reducing.partial_bars`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.reducing.filling import fill_gaps
from aiopt.bars.reducing.partial_bars import empty_partial, finish_bars, merge_partials, reduce_runs
from aiopt.bars.reducing.reducer import NEVER, Batch, Columns, FinishedBars, FinishedStops
from aiopt.bars.reducing.time_kernels import cut_by_time
from aiopt.bars.request import BarRequest, base_timeframe
from aiopt.bars.rules import TimeRule
from aiopt.bars.stops.stop_ladders import RECORD_COLUMNS, make_ladder, records_of_runs
from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.utc import DAY_NS

_ALWAYS_BEGIN = np.array([-(2**63)], dtype=np.int64)
_ALWAYS_END = np.array([2**63 - 1], dtype=np.int64)
_EPOCH = np.array([0], dtype=np.int64)


class TimeReducer:
    """Reduces ticks in time order to the partial bars of all timeframes and prices of a request.

    Room for the edges of bars is kept between batches.  Not for use by several threads.

    Parameters
    ----------
    request : BarRequest
        Of time bars.
    item : Instrument
        What the ticks are of.
    """

    def __init__(self, request: BarRequest, item: Instrument) -> None:
        self._request = request
        self._item = item
        self.base = base_timeframe(request.timeframes)
        self.state: NDArray[Any] = np.empty(0, dtype=np.int64)
        self.first = NEVER
        self.outside = 0
        self._spread_scale = item.price_scale if request.spread_stats else 0
        self._edges = np.empty((3, 0), dtype=np.int64)

    def reduce(self, ticks: Batch) -> Columns:
        """Return the partial bars of a batch of ticks; only bars with ticks.

        Returns
        -------
        dict of str to ndarray of shape (n_bars,)
            The columns of `partial_columns`, and the records of stops where these are asked for.

        Raises
        ------
        DataError
            If the times decrease, or a price or size is not finite.  `row` counts within `ticks`.
        """
        ts = ticks["ts_event_ns"]
        if ts.size == 0:
            return self._nothing()
        if self._edges.shape[1] < ts.size:
            self._edges = np.empty((3, ts.size), dtype=np.int64)
        opens, starts, stops = self._edges
        found = cut_by_time(ts, *self._bounds(int(ts[0]), int(ts[-1])), opens, starts, stops)
        if found < 0:
            msg = f"Ticks must be in time order, but {ts[-found]} ns follows {ts[-found - 1]} ns."
            raise DataError(msg + " Import them again.", row=-found)
        opens, starts, stops = opens[:found].copy(), starts[:found], stops[:found]
        if self._request.session is not None:
            self.outside += int(ts.size - (stops - starts).sum())
        columns = reduce_runs(ticks, opens, starts, stops, self._request.prices, self._spread_scale)
        return columns | records_of_runs(ticks, starts, stops) if self._request.with_stops else columns

    def advance(self, ticks: Batch) -> None:
        """Do nothing: time bars depend on no tick before."""

    def merge(self, parts: Sequence[Columns]) -> Columns:
        """Return the partial bars of all parts, one row per bar of the smallest common length.

        Raises
        ------
        DataError
            If a part starts before the part in front of it ends.
        """
        return merge_partials(parts or [self._nothing()], self.base, self._request.session)

    def finish(self, rows: Columns) -> Iterator[FinishedBars | FinishedStops]:
        """Yield the bars of each timeframe, shortest first, and behind its prices its record quotes."""
        request = self._request
        for rule in sorted(TimeRule(timeframe) for timeframe in request.timeframes):
            for price in request.prices:
                bars = finish_bars(
                    rows,
                    price,
                    rule.timeframe,
                    request.empty,
                    session=request.session,
                    spread_scale=self._spread_scale,
                )
                bars = fill_gaps(
                    bars,
                    rule.timeframe,
                    request.fill,
                    session=request.session,
                    always_open=self._item.always_open,
                )
                yield FinishedBars(rule, price, bars)
            yield self._stops(rows, rule)

    def _stops(self, rows: Columns, rule: TimeRule) -> FinishedStops:
        """Return the stop ladder of one timeframe.

        Ticks off the instrument's price grid have none: a backtest then says what it assumes instead.
        """
        if not self._request.with_stops:
            return FinishedStops(rule, np.empty(0, dtype=np.int64), None)
        needed = {name: rows[name] for name in ("ts_open_ns", "ticks", *RECORD_COLUMNS)}
        merged = merge_partials([needed], rule.timeframe, self._request.session)
        return FinishedStops(rule, merged["ts_open_ns"], make_ladder(merged, self._item.price_scale))

    def _nothing(self) -> Columns:
        request = self._request
        return empty_partial(request.prices, spread=request.spread_stats, stops=request.with_stops)

    def _bounds(
        self, first_ns: int, last_ns: int
    ) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return what `cut_by_time` needs to know of bar length and sessions."""
        session, base = self._request.session, self.base
        if session is None:
            return base.ns, _ALWAYS_BEGIN, _ALWAYS_END, _EPOCH
        # Stamps out of order are found by the kernel; the span only has to hold those in order.
        spans = session.spans(min(first_ns, last_ns), max(first_ns, last_ns))
        # A session of a clock change is longer than a day: bars of a day and more take it whole.
        length_ns = base.ns if base.ns < DAY_NS else 2 * DAY_NS
        return length_ns, spans.begins, spans.ends, spans.begins
