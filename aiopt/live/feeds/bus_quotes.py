"""The quotes that a session or another program publishes on a bus, as a feed.

Owns where it begins to read, what it takes for a hole, and what it says of publisher and bus.  A place is the
number behind an event's `seq`, so a session that was killed reads on where it was, as far as the bus goes
back.  It looks on: the publisher never waits for it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence

from aiopt.backtest.growing_bars import BarRow
from aiopt.bus.connecting import transport_of
from aiopt.bus.events import Health, Quote
from aiopt.bus.reader import EventReader, Received
from aiopt.bus.transport import Reader, Transport
from aiopt.live.feeds.feed_config import BusFeed
from aiopt.live.feeds.journal_quotes import batch_of, merged_note
from aiopt.live.feeds.past import PastOfStore
from aiopt.live.feeds.seam import SILENCE_S, Batch
from aiopt.market.instrument import Instrument, instrument
from aiopt.timeframe import Timeframe

_AT_ONCE = 1_000
_FIRST_SEQ = 1


class BusQuotes:
    """Quotes of one session on a bus.

    Parameters
    ----------
    config : BusFeed
        Which.
    transport : Transport, optional
        Not yet open; default: of the configured URL.
    clock : callable
        This machine's time, UTC nanoseconds.

    Raises
    ------
    ConfigError
        If the URL is none of a bus.
    BusError
        If its client is not installed, or no server runs in its folder.
    DataError
        If there is no such instrument.
    """

    total: int | None = None
    complete_from_ns: int | None = None

    def __init__(
        self,
        config: BusFeed,
        *,
        transport: Transport | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._config, self._clock = config, clock
        self.instrument: Instrument = instrument(config.instrument)
        self.is_live = not config.is_replayed
        self.history_until_ns = self.first_ns = clock()
        self._transport = transport or transport_of(config.url)
        self._past = PastOfStore(config.history, self.instrument)
        self._merged = self._taken = 0
        self._said: set[str] = set()
        self._is_over = False

    def __repr__(self) -> str:
        return f"BusQuotes({self._config.session} at {self._transport.url}, {self.instrument.symbol})"

    @property
    def identity(self) -> dict[str, object]:
        """What must be the same for a place to mean the same."""
        return {"kind": "bus", "session": self._config.session, "instrument": self.instrument.symbol}

    def history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        """Return bars of the tick store beside it, see `Feed`."""
        return self._past.history(timeframe, start_ns, stop_ns)

    def lost_since(self, place: int) -> bool:
        """Return False: whether the bus still has them is seen when it is read."""
        return False

    async def batches(self, place: int) -> AsyncGenerator[Batch]:
        """Yield what is published, see `Feed`.

        Raises
        ------
        BusDownError
            If the server cannot be reached at the beginning; later it is waited for.
        BusError
            If it refuses the password, or is none that can be used.
        """
        start = self._config.start if place == 0 else "oldest"
        is_first = True
        await self._transport.open()
        try:
            async with EventReader(self._transport, self._config.session, Reader(start=start)) as reader:
                while not self._is_over:
                    received = await reader.read(_AT_ONCE, SILENCE_S)
                    hole = ""
                    if is_first and received:
                        hole, is_first = self._hole_before(received, place, start), False
                    yield self._batch(received, place, hole, reader.is_down)
                    await reader.ack(received)
        finally:
            await self._transport.close()

    def _hole_before(self, received: Sequence[Received], place: int, start: str) -> str:
        """Return why quotes before the first ones that were read are missing."""
        seq = next((one.event.seq for one in received if one.event is not None), 0)
        if start == "new":
            return f"the session begins in the middle of what {self._config.session} publishes"
        if seq > max(place, _FIRST_SEQ):
            return f"the bus has no event of {self._config.session} before number {seq:,} any more"
        return ""

    def _batch(self, received: Sequence[Received], place: int, hole: str, is_down: bool) -> Batch:
        arrived_ns = None if self._config.is_replayed else self._clock()
        notes = self._news("bus", "the bus is not reached; it is tried again" if is_down else "")
        quotes: list[Quote] = []
        for one in received:
            event = one.event
            if event is None:
                notes += self._news("unreadable", f"a message was left out: {one.problem}")
            elif isinstance(event, Health) and event.part == "feed":
                bad = event.state not in ("ok", "degraded")
                text = f"the feed of {self._config.session} is {event.state}: {event.text}"
                notes += self._news("feed", text if bad else "")
                self._is_over = self._is_over or (self._config.is_replayed and event.state == "down")
            elif isinstance(event, Quote) and event.seq >= place:
                if event.instrument == self.instrument.symbol:
                    quotes.append(event)
                else:
                    text = f"{self._config.session} quotes {event.instrument} too, which is not traded here"
                    notes += self._news(f"other {event.instrument}", text)
        self._taken += len(quotes)
        merged = sum(one.merged > 1 for one in quotes)
        if merged and not self._merged:
            notes += (merged_note(merged, len(quotes)),)
        self._merged += merged
        batch = batch_of(quotes, [one.seq for one in quotes])
        return batch._replace(arrived_ns=arrived_ns, hole=hole, notes=notes)

    def _news(self, about: str, text: str) -> tuple[str, ...]:
        """Return a text once when it begins, and that it is over once."""
        if text and about not in self._said:
            self._said.add(about)
            return (text,)
        if not text and about in self._said:
            self._said.discard(about)
            return (f"over: {about}",)
        return ()
