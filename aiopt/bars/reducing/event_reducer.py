"""Tick, volume, range and Renko bars: from ticks to rows, one per run of ticks, and from rows to bars.

A bar of these types ends when something has happened, not when a time is over.  Rows know whether they begin
a bar; put below each other in order they give the bars of the unsharded ticks exactly, if each part was cut
from the state its predecessor left: `aiopt.bars.reducing.event_state`.

Owns `EventReducer` and the finished columns; knows nothing of files or Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.reducing.event_kernels import OUTSIDE, cut_by_amount, cut_by_range, cut_renko
from aiopt.bars.reducing.event_state import initial_state
from aiopt.bars.reducing.partial_bars import join_parts, merge_runs, reduce_runs
from aiopt.bars.reducing.reducer import NEVER, Batch, Columns, FinishedBars
from aiopt.bars.reducing.spread_columns import finish_spread
from aiopt.bars.rules import EventRule
from aiopt.bars.schema import BAR_SCHEMA
from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.market.sessions import TradingSession
from aiopt.ticks.schema import price_steps


class EventReducer:
    """Reduces ticks in time order to rows of one series of bars, one batch after the other.

    Parameters
    ----------
    rule : EventRule
        When a bar ends.
    price : {"bid", "ask", "mid"}
        Side: its prices make range and Renko bars, its sizes volume bars.
    item : Instrument
        Price steps.
    session : TradingSession, optional
        Bars begin anew with its days, and ticks outside it are left out.
    spread : bool
        Add the columns of spread statistics.
    state : ndarray, optional
        From `state` of the reducer of all ticks before; as if there were none if not given.

    Attributes
    ----------
    state : ndarray
        After the batches so far.
    first : int
        Session of the first tick in one, `NEVER` before it.
    outside : int
        Ticks in no session.
    """

    def __init__(
        self,
        rule: EventRule,
        price: str,
        item: Instrument,
        *,
        session: TradingSession | None = None,
        spread: bool = False,
        state: NDArray[Any] | None = None,
    ) -> None:
        self.rule = rule
        self.price = price
        self.outside = 0
        self.first: int = NEVER
        self._item = item
        self._session = session
        self._spread_scale = item.price_scale if spread else 0
        self._size = rule.half_steps(item) if rule.carry == "path" else 0
        self._done = 0
        self._last_ts: int | None = None
        self.state = initial_state(rule) if state is None else state.copy()

    def reduce(self, ticks: Batch) -> Columns:
        """Return the rows of a batch of ticks.

        Returns
        -------
        dict of str to ndarray of shape (n_runs,)
            ``fresh`` (the row begins a bar), ``at`` (ticks before it in all batches), ``level`` and
            ``direction`` (state of Renko at its begin, else 0), ``ts_open_ns`` and ``ts_close_ns`` (stamps of
            its first and last tick), ``ticks``, ``open … volume``, with Renko ``open_last``, ``close_last``
            and ``complete_last``, and the spread columns.

        Raises
        ------
        DataError
            If stamps decrease or a price or size is not finite.
        """
        starts, stops, fresh, bricks = self._cut(ticks)
        rows = self._sums(ticks, starts, stops)
        rows["fresh"] = fresh.copy()
        rows["at"] = starts + self._done
        if bricks is None:
            rows["level"], rows["direction"] = np.zeros((2, starts.size), dtype=np.int64)
        else:
            rows["level"], rows["direction"] = bricks[0].copy(), bricks[1].copy()
            scale = 2.0 * self._item.price_scale
            # Bricks that are not complete have no prices yet.
            complete = bricks[4] == 1
            rows["open_last"] = np.where(complete, bricks[2], 0) / scale
            rows["close_last"] = np.where(complete, bricks[3], 0) / scale
            rows["complete_last"] = bricks[4].copy()
        self._done += ticks["ts_event_ns"].size
        return rows

    def advance(self, ticks: Batch) -> None:
        """Take a batch of ticks into the state alone."""
        self._cut(ticks)

    def merge(self, parts: Sequence[Columns]) -> Columns:
        """Return one row per bar, bricks that were never completed among them.

        Parameters
        ----------
        parts : non-empty sequence of rows
            Of all ticks, in order.

        Raises
        ------
        DataError
            If a part starts before the part in front of it ends.
        """
        joined = join_parts(parts)
        fresh = joined.pop("fresh")
        for name in ("at", "level", "direction"):
            joined.pop(name)
        if (np.diff(joined["ts_open_ns"]) < 0).any():
            raise DataError("Parts of the ticks must be in time order, but are not. Import the ticks again.")
        return merge_runs(joined, np.flatnonzero(fresh)) if fresh.size else joined

    def finish(self, rows: Columns) -> list[FinishedBars]:
        """Return the bars: `BAR_SCHEMA`, ``ts_close_ns`` (stamp of the last tick) and the spread statistics.

        The last bar may be unfinished, but for Renko bars, which are complete bricks alone.

        Raises
        ------
        DataError
            If there is no bar, or volume bars are asked of ticks without sizes.
        """
        bars, left_over = dict(rows), 0
        if self.rule.type == "renko":
            complete = bars.pop("complete_last") == 1
            left_over = int(bars["ticks"][~complete].sum())
            bars = {name: values[complete] for name, values in bars.items()}
            bars["open"], bars["close"] = bars.pop("open_last"), bars.pop("close_last")
            bars["high"] = np.maximum(bars["open"], bars["close"])
            bars["low"] = np.minimum(bars["open"], bars["close"])
            if bars["ticks"].size == 0:
                msg = f"The {self.price} price must move by a brick of {self.rule.size:g} pips, but never "
                raise DataError(msg + "does. Choose a smaller size.")
        if bars["ticks"].size == 0:
            msg = f"Some ticks of {self._item.symbol} must lie in the session, but none does."
            raise DataError(msg + " Check times and timezone.")
        if self.rule.type == "volume" and bars["volume"].sum() == 0:
            msg = f"Volume bars need tick sizes, but those of {self.price} are all 0. Build tick bars."
            raise DataError(msg)
        columns = {name: bars[name] for name in (*BAR_SCHEMA.names(), "ts_close_ns")}
        if self._spread_scale:
            columns |= finish_spread(bars, self._item.price_scale)
        return [FinishedBars(self.rule, self.price, pl.DataFrame(columns), left_over)]

    def _cut(
        self, ticks: Batch
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64] | None]:
        """Return starts, stops and `fresh` of the runs of a batch, and what `cut_renko` says of bricks."""
        ts = ticks["ts_event_ns"]
        self._check_order(ts)
        numbers = _session_numbers(ts, self._session)
        inside = numbers != OUTSIDE
        self.outside += int(np.count_nonzero(~inside))
        if self.first == NEVER and inside.any():
            self.first = int(numbers[np.argmax(inside)])
        room = ts.size
        if self.rule.type in ("tick", "volume"):
            amount = np.ones(ts.size) if self.rule.type == "tick" else _sizes(ticks, self.price)
            starts, stops, fresh = _room(room)
            found = cut_by_amount(amount, numbers, float(self.rule.size), self.state, starts, stops, fresh)
            return starts[:found], stops[:found], fresh[:found], None
        price = _half_steps(ticks, self.price, self._item)
        if self.rule.type == "range":
            starts, stops, fresh = _room(room)
            found = cut_by_range(price, numbers, self._size, self.state, starts, stops, fresh)
            return starts[:found], stops[:found], fresh[:found], None
        # A tick completes at most one brick per size it moves away from the last.
        room += int(np.abs(np.diff(price)).sum()) // self._size + self._reach(price) + 2
        starts, stops, fresh = _room(room)
        bricks = np.empty((5, room), dtype=np.int64)
        found = cut_renko(price, numbers, self._size, self.state, starts, stops, fresh, bricks)
        return starts[:found], stops[:found], fresh[:found], bricks[:, :found]

    def _reach(self, price: NDArray[np.int64]) -> int:
        """Return how many bricks the first tick may complete from the state before."""
        if self.state[0] == NEVER or price.size == 0:
            return 0
        return int(abs(int(price[0]) - int(self.state[1]))) // self._size + 1

    def _check_order(self, ts: NDArray[np.int64]) -> None:
        if ts.size == 0:
            return
        before = ts[:-1] if self._last_ts is None else np.concatenate(([self._last_ts], ts[:-1]))
        after = ts[1:] if self._last_ts is None else ts
        backward = after < before
        if backward.any():
            at = int(np.argmax(backward))
            msg = f"Ticks must be in time order, but {after[at]} ns follows {before[at]} ns."
            raise DataError(msg + " Import them again.", row=at + (1 if self._last_ts is None else 0))
        self._last_ts = int(ts[-1])

    def _sums(self, ticks: Batch, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Columns:
        """Return sums and extremes of each run; of empty runs zeros, stamped with the tick before them."""
        ts = ticks["ts_event_ns"]
        if starts.size == 0:
            starts = stops = np.empty(0, dtype=np.int64)
        full = np.flatnonzero(stops > starts)
        found = reduce_runs(
            ticks, ts[starts[full]], starts[full], stops[full], (self.price,), self._spread_scale
        )
        rows: Columns = {}
        for name, values in found.items():
            column = np.zeros(starts.size, dtype=values.dtype)
            column[full] = values
            rows[name.removeprefix(f"{self.price}_")] = column
        last = np.maximum(stops, 1) - 1
        rows["ts_open_ns"] = np.where(stops > starts, rows["ts_open_ns"], ts[last])
        rows["ts_close_ns"] = ts[last]
        if self._spread_scale:
            for name in ("spread_from_us", "spread_until_us"):
                rows[name] = np.where(stops > starts, rows[name], ts[last] // 1000)
        return rows


def _session_numbers(ts: NDArray[np.int64], session: TradingSession | None) -> NDArray[np.int64]:
    """Return the number of the session of each tick: its local day since the epoch, or `OUTSIDE`."""
    if session is None or ts.size == 0:
        return np.zeros(ts.size, dtype=np.int64)
    spans = session.spans(int(ts.min()), int(ts.max()))
    at = spans.number(ts)
    return np.where(at < 0, OUTSIDE, spans.days[at])


def _half_steps(ticks: Batch, price: str, item: Instrument) -> NDArray[np.int64]:
    """Return prices in half price steps, in which a mid price is whole; others are rounded to whole steps."""
    for side in ("bid", "ask"):
        if side == price or price == "mid":
            _check_finite(ticks[side], side)
    if price == "mid":
        return price_steps(ticks["bid"], item) + price_steps(ticks["ask"], item)
    return 2 * price_steps(ticks[price], item)


def _room(rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    return np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.bool_)


def _sizes(ticks: Batch, price: str) -> NDArray[np.float64]:
    for side in ("bid", "ask"):
        if side == price or price == "mid":
            _check_finite(ticks[f"{side}_size"], f"{side}_size")
    if price == "mid":
        return np.asarray(ticks["bid_size"] + ticks["ask_size"])
    return np.asarray(ticks[f"{price}_size"])


def _check_finite(values: NDArray[np.float64], name: str) -> None:
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        msg = f"Ticks must be finite, but {name} is {values[row]}. Validate and import them again."
        raise DataError(msg, row=row)
