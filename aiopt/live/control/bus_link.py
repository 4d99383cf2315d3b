"""A session's way to its bus: what was committed is published, what is asked there is obeyed.

Publishing follows the outbox of the session's file, so a bus that is down loses nothing and holds nothing up:
events wait in the file, and are published in their order from the last one that the bus has.

Owns when the bus is reached and from where on it is told.  Knows no event's meaning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiopt.bus.codec import decode_event
from aiopt.bus.commanding import obey, obey_waiting
from aiopt.bus.connecting import start_local, transport_of
from aiopt.bus.desk import CommandDesk, CommandHandler, Outcome
from aiopt.bus.failures import BusDownError, BusError
from aiopt.bus.local_server import LocalServer
from aiopt.bus.publisher import BusHealth, EventPublisher
from aiopt.bus.transport import Channel, Transport
from aiopt.live.state.session_file import SessionFile

PUBLISHED_KEY, BUS_KEY = "published", "bus"
"""Of a session's state: the last number that its bus is known to have, and that bus."""

_LOG = logging.getLogger(__name__)
_LOCAL = "local:"
_ROWS = 500
_RETRY_S = (0.1, 5.0)
_OPEN_S = 5.0
_STATES = {"ok": "ok", "down": "down", "full": "degraded", "failed": "down", "closed": "ok"}


class BusLink:
    """Joins a session to a bus.

    Parameters
    ----------
    url : str
        See `aiopt.bus.connecting`; the server of ``local:FOLDER`` is started if none runs there.
    session : str
        Its id.
    file : SessionFile
        Whose outbox is published.
    published : int
        The last number that was known to be published when the session was left.
    on_state : callable
        Told of each change: ``"ok"``, ``"degraded"`` or ``"down"``, and why.

    Raises
    ------
    BusError, ConfigError
        If the URL leads nowhere, or the server of a folder does not start.
    """

    def __init__(
        self,
        url: str,
        session: str,
        file: SessionFile,
        *,
        published: int,
        on_state: Callable[[str, str], None],
    ) -> None:
        self._server: LocalServer | None = None
        if url.startswith(_LOCAL):
            self._server = start_local(Path(url.removeprefix(_LOCAL)))
        self._transport: Transport = transport_of(url)
        self._session, self._file, self._on_state = session, file, on_state
        self._published = published
        self._publisher: EventPublisher | None = None
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_open = False

    def __repr__(self) -> str:
        return f"<BusLink {self._session} to {self._transport.url}, {self.published} published>"

    @property
    def published(self) -> int:
        """The number of the last event that the bus has, as far as is known."""
        known = -1 if self._publisher is None else self._publisher.health.published_seq
        return max(self._published, known)

    def news(self) -> None:
        """Say that something was committed."""
        self._news.set()

    async def open(self, *, must: bool) -> None:
        """Reach the bus.

        Parameters
        ----------
        must : bool
            Whether a bus that is down is an error; else it is tried again and again behind the session.

        Raises
        ------
        BusError
            If the bus refuses this client, or is down and must not be.
        """
        try:
            await self._transport.open(_OPEN_S)
            self._is_open = True
        except BusDownError as error:
            if must:
                raise
            self._on_state("down", str(error))

    async def take_waiting(
        self,
        desk: CommandDesk,
        handler: CommandHandler,
        answer: Callable[[Outcome], Awaitable[None]],
    ) -> None:
        """Carry out what was asked on the bus while no session ran, if the bus is reached.

        Parameters
        ----------
        desk, handler, answer
            As `aiopt.bus.commanding.obey` has them.
        """
        if not self._is_open:
            return
        try:
            await obey_waiting(self._transport, desk, handler, answer)
        except BusDownError as error:  # they are taken when it is back
            self._on_state("down", str(error))

    def start(
        self,
        desk: CommandDesk,
        handler: CommandHandler,
        answer: Callable[[Outcome], Awaitable[None]],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Publish and obey until `close`; a failure that trying again does not mend is told to `on_failure`.

        Parameters
        ----------
        desk, handler, answer
            As `aiopt.bus.commanding.obey` has them.
        on_failure : callable
            Told of what is no fault of the bus.
        """

        async def run() -> None:
            await self._reach()
            obeying = asyncio.create_task(obey(self._transport, desk, handler, answer))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._tell())
                    group.create_task(self._watch(obeying))
            finally:
                obeying.cancel()
                await asyncio.gather(obeying, return_exceptions=True)

        async def guarded() -> None:
            try:
                await run()
            except* BusError as errors:
                text = "; ".join(str(one) for one in errors.exceptions)
                _LOG.error("the bus of %s is left alone: %s", self._session, text)
                self._on_state("down", f"{text} It is not tried again before the next start.")
            except* Exception as errors:  # noqa: BLE001 - e.g. the journal cannot be written: the session ends
                on_failure(errors.exceptions[0])

        self._tasks.append(asyncio.create_task(guarded(), name=f"bus of {self._session}"))

    async def tell_rest(self, patience_s: float) -> int:
        """Publish what the file of a session that does not run holds, and leave; return how many were left.

        Raises
        ------
        BusError
            If the bus is down or refuses this client.
        """
        await self.open(must=True)
        self._tasks.append(asyncio.create_task(self._tell(), name=f"rest of {self._session}"))
        left = await self.close(patience_s)
        self._file.commit({PUBLISHED_KEY: str(self.published)})
        return left

    async def close(self, patience_s: float = 5.0) -> int:
        """Publish what was committed, for so long at most, and leave; return how many were left."""
        last = self._file.last_told
        due = asyncio.get_running_loop().time() + patience_s
        while self.published < last and self._may_publish and asyncio.get_running_loop().time() < due:
            self._news.set()
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = self._file.last_told - self.published
        self._published = self.published
        if self._publisher is not None:
            await self._publisher.close(timeout_s=0.0)
        await self._transport.close()
        if self._server is not None:
            self._server.stop()
        return max(left, 0)

    @property
    def _may_publish(self) -> bool:
        starts = self._publisher is None and self._is_open
        healthy = self._publisher is not None and self._publisher.health.state in ("ok", "full")
        return (starts or healthy) and any(not task.done() for task in self._tasks)

    async def _reach(self) -> None:
        wait, longest = _RETRY_S
        while not self._is_open:
            await asyncio.sleep(wait)
            wait = min(2 * wait, longest)
            try:
                await self._transport.open(_OPEN_S)
                self._is_open = True
                self._on_state("ok", "")
            except BusDownError:
                continue

    async def _watch(self, obeying: asyncio.Task[None]) -> None:
        await obeying

    async def _tell(self) -> None:
        """Publish the outbox from the last event on that the bus has."""
        channel = Channel(self._session, "events")
        there = await self._last_there(channel)
        last = self._published if there is None else there
        # One event is one message here: the session has merged already, and the bus holds what the file does.
        self._publisher = EventPublisher(
            self._transport, self._session, merge_for_s=None, on_change=self._changed
        )
        async with self._publisher as publisher:
            self._published = last
            while True:
                rows = self._file.outbox(last, _ROWS)
                for number, document in rows:
                    await publisher.put(decode_event(document.encode()))
                    last = number
                if not rows:
                    await self._news.wait()
                    self._news.clear()
                else:
                    await asyncio.sleep(0)

    async def _last_there(self, channel: Channel) -> int | None:
        wait, longest = _RETRY_S
        while True:
            try:
                return await self._transport.last_number(channel)
            except BusDownError as error:
                self._on_state("down", str(error))
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)

    def _changed(self, health: BusHealth) -> None:
        if health.state != "closed":
            self._on_state(_STATES[health.state], health.text)
