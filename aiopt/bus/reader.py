"""Who reads a session's events: decoded, each once, going on by itself after a cut.

Owns what a reader sees of repetitions, cuts and messages that cannot be read.  Knows no server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from aiopt.bus.codec import decode_event
from aiopt.bus.events import Event
from aiopt.bus.failures import BusDownError, BusMessageError
from aiopt.bus.repeats import Repeats
from aiopt.bus.transport import Channel, Delivery, Reader, Subscription, Transport

_LOG = logging.getLogger(__name__)

_SLICE_S = 5.0


class Received(msgspec.Struct, frozen=True):
    """A message as it came: its event, or what is wrong with it."""

    event: Event | None
    problem: str
    delivery: Delivery


class EventReader:
    """Reads the events of one session; an asynchronous context manager and iterator.

    Iterating gives each event once and acknowledges it when the next one is asked for.

    Parameters
    ----------
    transport : Transport
        Open.
    session : str
        Whose events.
    reader : Reader
        Group and place; by default a look-on from the oldest on.
    kinds : sequence of str
        Only these; all where there are none.
    retry_s : tuple of float
        Wait between two tries after a cut: at first, and at most.
    """

    def __init__(
        self,
        transport: Transport,
        session: str,
        reader: Reader | None = None,
        *,
        kinds: Sequence[str] = (),
        retry_s: tuple[float, float] = (0.05, 2.0),
    ) -> None:
        self.channel = Channel(session, "events")
        self.repeated = 0
        self.unreadable = 0
        self._transport = transport
        self._reader = reader or Reader()
        self._kinds = frozenset(kinds)
        self._retry_s = retry_s
        self._subscription: Subscription | None = None
        self._repeats = Repeats()
        self._owed: list[Delivery] = []
        self._left: list[Received] = []
        self._down_since: float | None = None

    def __repr__(self) -> str:
        group = self._reader.group or "look-on"
        return f"<EventReader {self.channel.session} at {self._transport.url}, {group}>"

    @property
    def is_down(self) -> bool:
        """Whether the server was not reached when it was last asked."""
        return self._down_since is not None

    async def __aenter__(self) -> EventReader:
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Take the place in the stream.

        Raises
        ------
        BusDownError
            If the server cannot be reached.
        """
        if self._subscription is None:
            self._subscription = await self._transport.subscribe(self.channel, self._reader)

    async def read(self, limit: int = 500, timeout_s: float = _SLICE_S) -> list[Received]:
        """Return what came, as soon as there is something; nothing after `timeout_s`, cut or not.

        Repetitions are acknowledged and left out; kinds that are not wanted too.

        Raises
        ------
        BusError
            If trying again does not help.
        """
        if self._left:
            found, self._left = self._left[:limit], self._left[limit:]
            return found
        due = time.monotonic() + timeout_s
        wait, longest = self._retry_s
        while True:
            left = max(0.0, due - time.monotonic())
            try:
                await self.start()
                assert self._subscription is not None
                await self._pay_if_possible()
                deliveries = await self._subscription.read(limit, min(left, _SLICE_S))
                self._back()
                found = self._sorted_out(deliveries)
            except BusDownError as error:
                self._down(error)
                if left <= 0:
                    return []
                await asyncio.sleep(min(wait, left))
                wait = min(2 * wait, longest)
                continue
            if found or left <= 0:
                return found

    def _sorted_out(self, deliveries: Sequence[Delivery]) -> list[Received]:
        found = []
        for delivery in deliveries:
            message = delivery.message
            if not delivery.again and self._repeats.seen(self.channel.session, message.id):
                self.repeated += 1
                self._owed.append(delivery)
                continue
            if delivery.again:
                self._repeats.seen(self.channel.session, message.id)
            try:
                event = decode_event(message.payload)
            except BusMessageError as error:
                self.unreadable += 1
                _LOG.warning("%s at %s: %s", self.channel, delivery.position, error)
                found.append(Received(None, str(error), delivery))
                continue
            if self._kinds and event.kind not in self._kinds:
                self._owed.append(delivery)
            else:
                found.append(Received(event, "", delivery))
        return found

    async def ack(self, received: Sequence[Received]) -> None:
        """Say that these are dealt with.  During a cut that is said later."""
        self._owed += [one.delivery for one in received]
        await self._pay_if_possible()

    async def _pay_if_possible(self) -> None:
        """Acknowledge what is dealt with, or leave it for later: reading on must not wait for it."""
        try:
            await self._pay()
        except BusDownError as error:
            self._down(error)

    async def _pay(self) -> None:
        """Acknowledge what is dealt with."""
        if self._subscription is not None and self._owed:
            owed = list(self._owed)
            await self._subscription.ack(owed)
            del self._owed[: len(owed)]

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            # What is left of a batch when the loop is broken off comes first when it is begun again.
            self._left = await self.read()
            while self._left:
                received = self._left.pop(0)
                if received.event is not None:
                    yield received.event
                await self.ack([received])

    async def close(self) -> None:
        """Stop reading; the group's position stays."""
        await self._pay_if_possible()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    def _down(self, error: BusDownError) -> None:
        if self._down_since is None:
            self._down_since = time.monotonic()
            _LOG.error("reading %s broke off: %s", self.channel, error)

    def _back(self) -> None:
        if self._down_since is not None:
            _LOG.warning("reading %s goes on after %.1f s", self.channel, time.monotonic() - self._down_since)
            self._down_since = None
