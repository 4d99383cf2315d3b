"""Who publishes a session's events: an outbox, a task that empties it, and a state others can see.

Owns the order of publishing, trying again after a cut, and when that is said.  Knows no server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from aiopt.bus.codec import encode_event
from aiopt.bus.events import Event
from aiopt.bus.failures import BusDownError, BusError, BusFullError
from aiopt.bus.outbox import Outbox
from aiopt.bus.transport import Channel, Message, Transport
from aiopt.errors import ConfigError

_LOG = logging.getLogger(__name__)

State = Literal["ok", "down", "full", "failed", "closed"]

_BATCH = 500


class BusHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a publisher is.

    Attributes
    ----------
    state : str
        ``"ok"``; ``"down"``: the server is not reached, events wait and it is tried again; ``"full"``: the
        server or the outbox has no room, whoever makes events has to wait; ``"failed"``: trying again does
        not help; ``"closed"``.
    text : str
        What is wrong and what to do; empty where nothing is.
    since_s : float
        For how long it has been so.
    waiting, published, merged : int
        Events that wait, that the server has, and that a later one stood for.
    published_seq : int
        The highest number the server has; -1 before the first.
    ping_ms : float or None
        What the last answer took.
    """

    state: State
    text: str
    since_s: float
    waiting: int
    published: int
    merged: int
    published_seq: int
    ping_ms: float | None

    def __repr__(self) -> str:
        return f"<bus {self.state}, {self.waiting} waiting{f': {self.text}' if self.text else ''}>"


class EventPublisher:
    """Publishes events of one session in the order of their numbers; an asynchronous context manager.

    Parameters
    ----------
    transport : Transport
        Open.
    session : str
        Whose events these are.
    capacity : int
        Events that may wait and cannot be merged.
    merge_for_s : float or None
        How long an event may wait for a later one to stand for it (quotes); 0: never on purpose; None: no
        event stands for another, each is published.
    check_every_s : float
        How often the server is asked whether it is there while there is nothing to publish.
    retry_s : tuple of float
        Wait between two tries: at first, and at most.
    on_change : callable, optional
        Called with the health whenever the state changes; it is logged in any case.
    """

    def __init__(
        self,
        transport: Transport,
        session: str,
        *,
        capacity: int = 10_000,
        merge_for_s: float | None = 0.2,
        check_every_s: float = 1.0,
        retry_s: tuple[float, float] = (0.05, 2.0),
        on_change: Callable[[BusHealth], None] | None = None,
    ) -> None:
        self.channel = Channel(session, "events")
        self._transport = transport
        self._outbox = Outbox(capacity, merge=merge_for_s is not None)
        self._merge_for_s, self._check_every_s, self._retry_s = merge_for_s or 0.0, check_every_s, retry_s
        self._on_change = on_change
        self._state: State = "ok"
        self._text = ""
        self._since = time.monotonic()
        self._published, self._published_seq = 0, -1
        self._ping_ms: float | None = None
        self._offered = asyncio.Event()
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<EventPublisher {self.channel.session} to {self._transport.url}, {self._state}>"

    async def __aenter__(self) -> EventPublisher:
        self._task = asyncio.create_task(self._run(), name=f"publish {self.channel}")
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    @property
    def health(self) -> BusHealth:
        """How it is at this moment."""
        return BusHealth(
            state=self._state,
            text=self._text,
            since_s=time.monotonic() - self._since,
            waiting=len(self._outbox),
            published=self._published,
            merged=self._outbox.merged,
            published_seq=self._published_seq,
            ping_ms=self._ping_ms,
        )

    def offer(self, event: Event) -> bool:
        """Take an event, if there is room; False: wait, then offer the same one again.

        Raises
        ------
        BusMessageError
            If a field breaks its rule.
        ConfigError
            If it is of another session, or its number is not above that of the last one.
        """
        if event.session != self.channel.session:
            msg = f"Events of {self.channel.session!r} must come here, but got one of {event.session!r}. "
            raise ConfigError(msg + "Use that session's publisher.")
        encode_event(event)
        taken = self._outbox.offer(event)
        if taken:
            self._offered.set()
        elif self._state == "ok":
            self._become("full", f"{len(self._outbox):,} events wait: readers or server are slow.")
        return taken

    async def put(self, event: Event) -> None:
        """Take an event, and wait for room where there is none.

        Raises
        ------
        BusError
            If the publisher has failed or is closed: no room will come.
        """
        while not self.offer(event):
            async with self._moved:
                await self._moved.wait_for(lambda: not self._outbox.full or self._ended())
            if self._ended():
                raise BusError(f"The event cannot be published: {self._text or 'the publisher is closed'}.")

    async def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; False if that took longer than `timeout_s`."""
        self._offered.set()
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: not len(self._outbox) or self._ended())
        except TimeoutError:
            return False
        return not len(self._outbox)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Publish what waits, for so long, and stop."""
        if self._task is None:
            return
        if self._state in {"ok", "full"}:
            await self.flush(timeout_s)
        task, self._task = self._task, None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        waiting = len(self._outbox)
        self._become("closed", f"{waiting:,} events were not published." if waiting else "")
        await self._wake()

    def _ended(self) -> bool:
        return self._state in {"failed", "closed"}

    async def _run(self) -> None:
        wait, longest = self._retry_s
        while True:
            try:
                await self._step()
                wait = self._retry_s[0]
            except (BusDownError, BusFullError) as error:
                self._become("full" if isinstance(error, BusFullError) else "down", str(error))
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)
            except BusError as error:
                self._become("failed", str(error))
                await self._wake()
                return

    async def _step(self) -> None:
        """Publish a batch, or ask the server whether it is there."""
        if not len(self._outbox):
            self._offered.clear()
            try:
                async with asyncio.timeout(self._check_every_s):
                    await self._offered.wait()
            except TimeoutError:
                self._ping_ms = await self._transport.ping()
                self._become("ok", "")
                return
        if not self._outbox.urgent and self._merge_for_s > 0:
            await self._merging()
        batch = self._outbox.take(_BATCH)
        if batch:
            started = time.perf_counter()
            messages = [Message(event.id, encode_event(event), event.seq) for event in batch]
            await self._transport.publish(self.channel, messages)
            self._ping_ms = (time.perf_counter() - started) * 1e3
            self._outbox.done(len(batch))
            self._published += len(batch)
            self._published_seq = batch[-1].seq
        self._become("ok", "")
        await self._wake()

    async def _merging(self) -> None:
        """Wait for what stands for the events that wait, no longer than agreed, and not if one is urgent."""
        due = time.monotonic() + self._merge_for_s
        while not self._outbox.urgent and (left := due - time.monotonic()) > 0:
            self._offered.clear()
            try:
                async with asyncio.timeout(left):
                    await self._offered.wait()
            except TimeoutError:
                return

    async def _wake(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    def _become(self, state: State, text: str) -> None:
        changed, before = state != self._state, self._state
        self._text = text
        if not changed:
            return
        self._state, self._since = state, time.monotonic()
        if state == "ok":
            _LOG.warning(
                "bus %s is back after %s; %d events wait", self._transport.url, before, len(self._outbox)
            )
        elif state != "closed" or text:
            _LOG.error("bus %s is %s: %s", self._transport.url, state, text)
        if self._on_change is not None:
            self._on_change(self.health)
