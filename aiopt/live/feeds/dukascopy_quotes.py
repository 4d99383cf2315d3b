"""Quotes of Dukascopy's JSON API, asked again and again: late by minutes, but whole.

Owns which hour is asked for, when it counts as over, and what of an answer is new.  One request and its
answer are `aiopt.ticks.download`'s.  Orders nothing and knows no session.

An hour is over once the one after it has quotes, or `max_late_s` behind its end; until then it is asked for
again, and what lies behind the last place is new.  A place is made of a quote's stamp (milliseconds) and of
its number among those of the same stamp, so a session that was killed goes on where it was, without a hole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from threading import Event
from typing import NamedTuple

import numpy as np

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError
from aiopt.live.feeds.bar_cutter import BarCutter
from aiopt.live.feeds.feed_config import DukascopyFeed
from aiopt.live.feeds.past import PastOfStore
from aiopt.live.feeds.seam import SILENCE_S, Batch
from aiopt.market.calendar import open_hours
from aiopt.market.instrument import Instrument, instrument
from aiopt.ticks.download.feed import HourFeed, decode, make_feed
from aiopt.ticks.download.http import FeedError, HttpClient
from aiopt.ticks.schema import TickArrays
from aiopt.timeframe import Timeframe
from aiopt.utc import DAY_NS, HOUR_NS, SECOND_NS, hour_text, stamp_text

_PER_MS = 64
"""Places of one millisecond."""
_MS_NS = 1_000_000
_WEEK_H = 24 * 14
_HISTORY_DAYS = 31
_TRIES = 5
_LONGEST_WAIT_S = 3_600.0


class _Poll(NamedTuple):
    """What was found of an hour, and the hour to ask for next."""

    hour: int
    ticks: TickArrays
    next_hour: int


class DukascopyQuotes:
    """The quotes of one instrument, as they are published.

    Parameters
    ----------
    config : DukascopyFeed
        Which, and with what patience.
    longest : Timeframe
        A new session begins where a bar of this length does, so that its first bars are whole.
    clock : callable
        This machine's time, UTC nanoseconds.

    Raises
    ------
    ConfigError
        If the address is none.
    DataError
        If there is no such instrument.
    """

    is_live = True
    total: int | None = None

    def __init__(
        self, config: DukascopyFeed, longest: Timeframe, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._config, self._clock = config, clock
        self.instrument: Instrument = instrument(config.instrument)
        self._stop = Event()
        proxy = "" if config.proxy == "none" else config.proxy
        http = HttpClient(
            timeout_s=config.timeout_s, deadline_s=3 * config.timeout_s, proxy=proxy, stop=self._stop
        )
        self._source: HourFeed = make_feed("json" if config.url is None else f"json={config.url}", http)
        length = max(longest.ns, HOUR_NS)
        self.history_until_ns = self.first_ns = self.complete_from_ns = clock() // length * length
        self._past = PastOfStore(config.history, self.instrument)
        self._hours: dict[int, TickArrays] = {}
        self._failures = 0
        self._seen: tuple[int, int] = (-1, 0)

    def __repr__(self) -> str:
        return f"DukascopyQuotes({self.instrument.symbol}, {self._source.name})"

    @property
    def identity(self) -> dict[str, object]:
        """What must be the same for a place to mean the same."""
        return {"kind": "dukascopy", "instrument": self.instrument.symbol}

    def lost_since(self, place: int) -> bool:
        """Return whether the absence was longer than what is caught up with."""
        away_ns = self._clock() - place // _PER_MS * _MS_NS
        return place > 0 and away_ns > self._config.catch_up_hours * HOUR_NS

    # --- quotes -----------------------------------------------------------------------------------------

    async def batches(self, place: int) -> AsyncGenerator[Batch]:
        """Yield what is new, see `Feed`; failures are notes, and are tried again for ever."""
        place, hole = self._begin(place)
        hour = self._open_from(place // _PER_MS * _MS_NS // HOUR_NS)
        self._hours.clear()
        try:
            while True:
                if hour * HOUR_NS > self._clock():  # the market is closed, or this clock was set back
                    async for batch in self._pause(self._config.poll_s):
                        yield batch
                    continue
                asking = asyncio.ensure_future(asyncio.to_thread(self._poll, hour))
                try:
                    while not (await asyncio.wait({asking}, timeout=SILENCE_S))[0]:
                        yield Batch(arrived_ns=self._clock())
                    found = asking.result()
                except FeedError as failure:
                    wait_s = self._wait_s(failure)
                    notes = self._failed(failure, wait_s)
                    yield Batch(arrived_ns=self._clock(), notes=notes)
                    async for batch in self._pause(wait_s):
                        yield batch
                    continue
                finally:
                    if not asking.done():
                        self._stop.set()
                batch, place = self._new(found, place)
                yield batch._replace(hole=hole, complete_from_ns=self.history_until_ns if hole else None)
                hole = "" if batch.places else hole
                if found.next_hour == hour:
                    async for batch in self._pause(self._config.poll_s):
                        yield batch
                hour = found.next_hour
        finally:
            self._stop.set()

    def _begin(self, place: int) -> tuple[int, str]:
        """Return where to begin for who was left at a place, and why that is another; empty: it is not."""
        hole = ""
        if self.lost_since(place):
            since = stamp_text(place // _PER_MS * _MS_NS, "s")
            hole = f"nothing was asked for since {since}, longer than {self._config.catch_up_hours:g} hours"
        if place == 0 or hole:
            place = self.history_until_ns // _MS_NS * _PER_MS
        return place, hole

    async def _pause(self, seconds: float) -> AsyncGenerator[Batch]:
        due = time.monotonic() + seconds
        while (rest := due - time.monotonic()) > 0:
            await asyncio.sleep(min(rest, SILENCE_S))
            yield Batch(arrived_ns=self._clock())

    def _poll(self, hour: int) -> _Poll:
        """Ask for an hour, and whether it is over."""
        now_ns, end_ns = self._clock(), (hour + 1) * HOUR_NS
        following = self._open_from(hour + 1)
        is_over = now_ns >= end_ns + self._config.max_late_s * SECOND_NS
        if not is_over and now_ns >= following * HOUR_NS:
            # Asked before the hour itself: what comes late into that one is then there.
            is_over = len(self._ask(following)) > 0
        return _Poll(hour, self._ask(hour), following if is_over else hour)

    def _ask(self, hour: int) -> TickArrays:
        """Return the quotes of an hour; none where it is not published yet."""
        try:
            result = self._source.fetch(self.instrument, hour)
        except FeedError as failure:
            if not failure.absent:
                raise
            nothing = np.zeros(0)
            return TickArrays(np.zeros(0, dtype=np.int64), nothing, nothing, nothing, nothing)
        return decode(result.raw, result.suffix, self.instrument, hour, file=self._source.name)

    def _new(self, found: _Poll, place: int) -> tuple[Batch, int]:
        """Return what of an answer lies behind a place, and the place behind it."""
        notes: list[str] = []
        if self._failures:
            notes.append(f"over: {self._source.name} answers again after {self._failures} failures")
            self._failures = 0
        ticks = found.ticks
        stamps = ticks.ts_event_ns
        ordered = stamps >= np.maximum.accumulate(stamps) if len(stamps) else np.zeros(0, dtype=bool)
        if not ordered.all():
            count, of = int((~ordered).sum()), hour_text(found.hour)
            notes.append(f"{count} quotes of {of} went back in time and were left out")
            ticks = ticks.take(ordered)
        ms = ticks.ts_event_ns // _MS_NS
        same = np.arange(len(ms)) - np.searchsorted(ms, ms, side="left")
        places = ms * _PER_MS + np.minimum(same, _PER_MS - 1)
        known = int(np.searchsorted(places, place, side="left"))
        if self._seen[0] == found.hour and known != self._seen[1]:
            notes.append(
                f"{self._source.name} changed {hour_text(found.hour)}: {known} quotes where {self._seen[1]} "
                "were; what lies before the last one taken is not taken again"
            )
        self._seen = (found.hour, len(ms))
        new = ticks.take(slice(known, None))
        columns = [column.tolist() for _, column in new.columns()]
        batch = Batch(places[known:].tolist(), *columns)._replace(
            arrived_ns=self._clock(), notes=tuple(notes)
        )
        return batch, int(places[-1]) + 1 if len(new) else place

    def _failed(self, failure: FeedError, wait_s: float) -> tuple[str, ...]:
        """Count a failure; return what is said of the first."""
        self._failures += 1
        if self._failures > 1:
            return ()
        return (f"{failure}; asked again in {wait_s:.0f} s, and so on",)

    def _wait_s(self, failure: FeedError) -> float:
        """Return the wait behind a failure: what the server asks for, and longer from time to time."""
        config = self._config
        if not failure.retry:
            return config.backoff_max_s
        backoff_s = min(config.backoff_s * 2.0 ** min(self._failures, 30), config.backoff_max_s)
        return min(max(backoff_s, failure.retry_after_s), _LONGEST_WAIT_S)

    def _open_from(self, hour: int) -> int:
        """Return the first hour of open market, from one on."""
        if self.instrument.always_open:
            return hour
        return int(open_hours(hour, hour + _WEEK_H)[0])

    # --- history ----------------------------------------------------------------------------------------

    def history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        """Return bars of the tick store beside it, or of hours of the API, see `Feed`.

        Raises
        ------
        ConfigError
            If so many days are not to be asked for one by one.
        FeedError
            If an hour cannot be had.
        """
        if self._config.history is not None:
            return self._past.history(timeframe, start_ns, stop_ns)
        cutter = BarCutter([timeframe], complete_from_ns=start_ns)
        rows: list[BarRow] = []
        quote: list[float] = []
        for hour in self._hours_of(start_ns, stop_ns):
            ticks = self._past_hour(hour)
            for ts_ns, *quote in zip(*(column.tolist() for _, column in ticks.columns()), strict=True):
                if start_ns <= ts_ns < stop_ns:
                    rows += [row for _, row in cutter.push(ts_ns, *quote)]
        if quote:
            rows += [row for _, row in cutter.push(stop_ns, *quote)]
        return [row for row in rows if row.ts_open_ns + timeframe.ns <= stop_ns]

    def fetch_history(self, start_ns: int, stop_ns: int, progress: Callable[[float], None]) -> None:
        """Ask for the hours of a span, see `FetchesHistory`."""
        hours = [] if self._config.history is not None else self._hours_of(start_ns, stop_ns)
        for number, hour in enumerate(hours, start=1):
            self._past_hour(hour)
            progress(number / len(hours))

    def _hours_of(self, start_ns: int, stop_ns: int) -> list[int]:
        """Return the hours of open market of a span."""
        if stop_ns - start_ns > _HISTORY_DAYS * DAY_NS:
            days = (stop_ns - start_ns) / DAY_NS
            msg = f"Up to {_HISTORY_DAYS} days of history are asked for hour by hour, but got {days:,.0f}. "
            raise ConfigError(f"{msg}Give a tick store (aiopt ticks download) as feed.history.")
        hours = range(start_ns // HOUR_NS, -(-stop_ns // HOUR_NS))
        if self.instrument.always_open or not hours:
            return list(hours)
        return [int(hour) for hour in open_hours(hours[0], hours[-1])]

    def _past_hour(self, hour: int) -> TickArrays:
        """Return an hour of the past, asked for once for all timeframes."""
        for attempt in range(_TRIES):
            if hour in self._hours:
                break
            try:
                self._hours[hour] = self._ask(hour)
            except FeedError as failure:
                if not failure.retry or attempt == _TRIES - 1:
                    raise
                time.sleep(min(max(self._config.backoff_s * 2**attempt, failure.retry_after_s), 60.0))
        return self._hours[hour]
