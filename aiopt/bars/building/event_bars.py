"""Tick, volume, range and Renko bars: their definitions, their state, and how parts of them are put together.

A bar of these types ends when something has happened, not when a time is over, so what a shard of the ticks
gives depends on the state its predecessor left.  Parts are rows, one per run of ticks, that know whether they
begin a bar; put below each other in order they give the bars of the unsharded ticks exactly:

* tick and volume bars depend on the amount before the shard alone, which adds up (`after_amounts`);
* range and Renko bars are sequential.  A shard is cut as if nothing came before it, and `splice` cuts its
  first ticks again from the true state, until both agree on where a bar begins and with what state.  From
  there on they are the same.  Where they never agree, the whole shard is cut again.

Owns that algebra and the finished columns; knows nothing of Ray, and of files only what a shard yields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.building.event_kernels import NEVER, OUTSIDE, cut_by_amount, cut_by_range, cut_renko
from aiopt.bars.building.partial_bars import Columns, join_parts, merge_runs, reduce_runs
from aiopt.bars.building.spread_columns import finish_spread
from aiopt.bars.schema import BAR_SCHEMA
from aiopt.errors import ConfigError, DataError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.market.sessions import TradingSession

EventType = Literal["tick", "volume", "range", "renko"]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)

Batch = Mapping[str, NDArray[Any]]

_SIZE = re.compile(r"^\d{1,15}(\.\d{1,9})?$")


class EventRule(msgspec.Struct, frozen=True, order=True):
    """When a bar ends.

    Attributes
    ----------
    type : {"tick", "volume", "range", "renko"}
        What is measured.
    size : float
        Ticks; units of the base currency; pips.  Positive, whole for ticks.

    Raises
    ------
    ConfigError
        If the type is unknown or the size is not positive, or not whole for ticks.
    """

    type: str
    size: float

    def __post_init__(self) -> None:
        if self.type not in EVENT_TYPES:
            msg = f"The type of a bar must be time or one of {', '.join(EVENT_TYPES)}, but got {self.type!r}."
            raise ConfigError(msg + did_you_mean(self.type, EVENT_TYPES))
        if not 0 < self.size < 1e15:
            raise ConfigError(f"The size of a {self.type} bar must be positive, but got {self.size:g}.")
        if self.type == "tick" and self.size != int(self.size):
            raise ConfigError(f"The size of a tick bar must be a whole number, but got {self.size:g}.")

    @property
    def label(self) -> str:
        """Return the name of the folder of such bars, e.g. ``"range-2.5"``."""
        return f"{self.type}-{np.format_float_positional(self.size, trim='-')}"

    def half_steps(self, item: Instrument) -> int:
        """Return the size of a range or Renko bar in half price steps.

        Raises
        ------
        ConfigError
            If it is not a whole number of price steps of the instrument.
        """
        steps = self.size * item.pip_size / item.tick_size
        whole = round(steps)
        if whole < 1 or abs(steps - whole) > 1e-6:
            step = item.tick_size / item.pip_size
            msg = (
                f"The size of a {self.type} bar of {item.symbol} must be a multiple of {step:g} pips, but got"
            )
            raise ConfigError(f"{msg} {self.size:g}. Change it.")
        return 2 * whole


def parse_rules(type_: str, sizes: str) -> tuple[EventRule, ...]:
    """Parse a comma-separated list of sizes.

    Raises
    ------
    ConfigError
        If there is none, or one is not a number.

    Examples
    --------
    >>> [rule.label for rule in parse_rules("range", "5,2.50")]
    ['range-5', 'range-2.5']
    """
    names = [text.strip() for text in sizes.split(",") if text.strip()]
    for text in names:
        if not _SIZE.match(text):
            raise ConfigError(f"The size of a bar must be a plain number, but got {text!r}. Use e.g. 100.")
    if not names:
        raise ConfigError(f"Bars of type {type_} need a size, but got none. Give e.g. --size 100.")
    return tuple(dict.fromkeys(EventRule(type_, float(text)) for text in names))


class EventCutter:
    """Cuts ticks in time order into rows of one series of bars, one batch after the other.

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
        From `state` of the cutter of all ticks before; as if there were none if not given.

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
        self._size = rule.half_steps(item) if rule.type in ("range", "renko") else 0
        self._done = 0
        self._last_ts: int | None = None
        self.state = initial_state(rule) if state is None else state.copy()

    def cut(self, ticks: Batch) -> Columns:
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
        rows = self._reduce(ticks, starts, stops)
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

    def _cut(
        self, ticks: Batch
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64] | None]:
        """Return starts, stops and `fresh` of the runs of a batch, and what `cut_renko` says of bricks."""
        ts = ticks["ts_event_ns"]
        self._check_order(ts)
        numbers = session_numbers(ts, self._session)
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
        price = half_steps(ticks, self.price, self._item)
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

    def _reduce(self, ticks: Batch, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Columns:
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


# --- state ------------------------------------------------------------------------------------------------


def initial_state(rule: EventRule) -> NDArray[Any]:
    """Return the state before the first tick."""
    if rule.type in ("tick", "volume"):
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
    rows : rows of `EventCutter`
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


# --- finished bars ----------------------------------------------------------------------------------------


def finish_event_bars(
    parts: Sequence[Columns], rule: EventRule, item: Instrument, *, spread: bool = False
) -> tuple[pl.DataFrame, int]:
    """Return the bars of rows in order, and how many ticks are in no bar.

    Parameters
    ----------
    parts : non-empty sequence of rows
        Of all ticks, in order.
    rule : EventRule
        Theirs.
    item : Instrument
        Theirs.
    spread : bool
        Whether they have spread columns.

    Returns
    -------
    bars : polars.DataFrame
        `BAR_SCHEMA`, ``ts_close_ns`` (stamp of the last tick) and the spread statistics.
    left_over : int
        Ticks after the last brick of a session of Renko bars; 0 for the other types, whose last bar may be
        unfinished.
    """
    joined = join_parts(parts)
    fresh = joined.pop("fresh")
    for name in ("at", "level", "direction"):
        joined.pop(name)
    if fresh.size == 0:
        return pl.DataFrame(schema=dict(BAR_SCHEMA) | {"ts_close_ns": pl.Int64}), 0
    if (np.diff(joined["ts_open_ns"]) < 0).any():
        raise DataError("Parts of the ticks must be in time order, but are not. Import the ticks again.")
    bars = merge_runs(joined, np.flatnonzero(fresh))
    left_over = 0
    if rule.type == "renko":
        complete = bars.pop("complete_last") == 1
        left_over = int(bars["ticks"][~complete].sum())
        bars = {name: values[complete] for name, values in bars.items()}
        bars["open"], bars["close"] = bars.pop("open_last"), bars.pop("close_last")
        bars["high"] = np.maximum(bars["open"], bars["close"])
        bars["low"] = np.minimum(bars["open"], bars["close"])
    columns = {name: bars[name] for name in (*BAR_SCHEMA.names(), "ts_close_ns")}
    if spread:
        columns |= finish_spread(bars, item.price_scale)
    return pl.DataFrame(columns), left_over


# --- ticks ------------------------------------------------------------------------------------------------


def session_numbers(ts: NDArray[np.int64], session: TradingSession | None) -> NDArray[np.int64]:
    """Return the number of the session of each tick: its local day since the epoch, or `OUTSIDE`."""
    if session is None or ts.size == 0:
        return np.zeros(ts.size, dtype=np.int64)
    spans = session.spans(int(ts.min()), int(ts.max()))
    at = spans.number(ts)
    return np.where(at < 0, OUTSIDE, spans.days[at])


def half_steps(ticks: Batch, price: str, item: Instrument) -> NDArray[np.int64]:
    """Return prices in half price steps, in which a mid price is whole; others are rounded to whole steps."""
    for side in ("bid", "ask"):
        if side == price or price == "mid":
            _check_finite(ticks[side], side)
    if price == "mid":
        total = np.rint(ticks["bid"] * item.price_scale) + np.rint(ticks["ask"] * item.price_scale)
    else:
        total = 2.0 * np.rint(ticks[price] * item.price_scale)
    return total.astype(np.int64)


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
