"""What lies on a bus beside what a session's file says was told."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiopt.bus.codec import decode_event
from aiopt.bus.connecting import transport_of
from aiopt.bus.events import Event
from aiopt.bus.transport import Channel, Reader
from aiopt.live.state.session_file import SessionFile


def events_on(url: str, session: str, quiet_s: float = 1.0) -> list[Event]:
    """Return every event on a bus as it lies there, doubles too."""

    async def read() -> list[Event]:
        bus, found = transport_of(url), []
        await bus.open()
        subscription = await bus.subscribe(Channel(session, "events"), Reader())
        while deliveries := await subscription.read(1_000, quiet_s):
            found += [decode_event(one.message.payload) for one in deliveries]
        await subscription.close()
        await bus.close()
        return found

    return asyncio.run(read())


def events_told(out: Path) -> tuple[str, list[Event]]:
    """Return the session's id and the events its commits hold."""
    with SessionFile(out) as file:
        rows = file.outbox()
        told = [decode_event(document.encode()) for _, document in rows]
        assert [number for number, _ in rows] == [one.seq for one in told] == list(range(1, len(rows) + 1))
        return file.meta()["id"], told
