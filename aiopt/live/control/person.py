"""A person's place at a running session: one desk, and the two ways to it, socket and bus.

Owns that every command goes through the desk and its audit journal in the session's folder, and that every
outcome becomes an event.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from aiopt.bus.audit import AuditJournal
from aiopt.bus.desk import CommandDesk, Outcome
from aiopt.errors import StorageError
from aiopt.live.control.bus_link import BUS_KEY, PUBLISHED_KEY, BusLink
from aiopt.live.control.control_socket import ControlSocket
from aiopt.live.control.handler import SessionCommands
from aiopt.live.session.stepping import Stepper
from aiopt.live.state.session_file import SessionFile

JOURNAL = "commands.journal"


class Person:
    """Serves commands while a session runs.

    Parameters
    ----------
    file : SessionFile
        Of the session.
    stepper : Stepper
        Restored.
    handler : SessionCommands
        Carries commands out.
    bus : str or None
        URL of the session's bus.
    stop : callable
        Ends the session behind the present step.

    Raises
    ------
    BusError, ConfigError, DataError
        If the bus cannot be used, or the audit journal was tampered with.
    """

    def __init__(
        self,
        file: SessionFile,
        stepper: Stepper,
        handler: SessionCommands,
        *,
        bus: str | None,
        stop: Callable[[], None],
    ) -> None:
        self._stepper, self._handler, self._stop, self._bus = stepper, handler, stop, bus
        session = stepper.teller.session
        self._journal = AuditJournal(file.folder / JOURNAL)
        self.failure: BaseException | None = None
        """What ends the session: the file or the audit journal cannot be written."""
        try:
            self._desk = CommandDesk(session, self._journal)
            published = int(file.state().get(PUBLISHED_KEY, 0))
            self._link = None
            if bus is not None:
                on_state = self._bus_state
                self._link = BusLink(bus, session, file, published=published, on_state=on_state)
        except BaseException:
            self._journal.close()
            raise
        self._socket = ControlSocket(file.folder, session, self._handle)

    def __repr__(self) -> str:
        return f"<Person at {self._stepper.teller.session}>"

    def parts(self) -> dict[str, str]:
        """Return what the next commit has to hold."""
        if self._link is None or self._bus is None:
            return {}
        return {PUBLISHED_KEY: str(self._link.published), BUS_KEY: self._bus}

    def committed(self) -> None:
        """Take note of a commit."""
        self._handler.stop_when_flat()
        if self._link is not None:
            self._link.news()

    async def begin(self, *, must_reach_bus: bool) -> None:
        """Settle what was asked before, and begin to serve.

        Parameters
        ----------
        must_reach_bus : bool
            Whether a bus that is down is an error; else it is tried again behind the session.
        """
        if self._link is not None:
            await self._link.open(must=must_reach_bus)
        for outcome in await self._desk.recover(self._handler, time.time_ns()):
            await self._answer(outcome)
        if self._link is not None:
            await self._link.take_waiting(self._desk, self._handler, self._answer)
        self._raise()
        if self._link is not None:
            self._link.start(self._desk, self._handler, self._answer, self._fail)
        await self._socket.open()

    async def end(self) -> int:
        """Answer who waits, publish what was committed, and leave; return the events that were left."""
        try:
            await self._socket.close()
            return 0 if self._link is None else await self._link.close()
        finally:
            self._journal.close()

    def check(self) -> None:
        """Raise what ends the session, if something does."""
        self._raise()

    async def _handle(self, document: bytes) -> Outcome:
        try:
            outcome = await self._desk.handle(document, self._handler, time.time_ns())
        except StorageError as error:
            self._fail(error)
            raise
        if not outcome.again:
            await self._answer(outcome)
        return outcome

    async def _answer(self, outcome: Outcome) -> None:
        """Make an event of an outcome."""
        plain: dict[str, Any] = msgspec.to_builtins(outcome)
        self._stepper.note("command", **plain)
        try:
            self._stepper.commit()
        except StorageError as error:
            self._fail(error)

    def _bus_state(self, state: str, text: str) -> None:
        self._stepper.note("bus", state=state, text=text)

    def _fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self._stop()

    def _raise(self) -> None:
        failure = self.failure or self._handler.failure
        if failure is not None:
            raise failure
