"""Calls of an engine on its own socket, in the shape of Serve's: awaited, iterated or cancelled.

Owns which replica listens where and the translation of a broken connection into the error Serve would raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import Any

import msgspec
from ray.serve.exceptions import RayServeException

from aiopt.serving.wire import WireAddress, WireClient, WireError, answer_of


class Wires:
    """The connections of one gateway, by engine."""

    def __init__(self) -> None:
        self._clients: dict[str, WireClient] = {}

    async def client(self, engine_id: str, handle: Any) -> WireClient:
        """Return the way to an engine's replica, asked for through its handle where it is not known."""
        known = self._clients.get(engine_id)
        if known is not None:
            return known
        address = msgspec.convert(await handle.wire.remote(), WireAddress)
        # Another request may have asked at the same time.
        known = self._clients.get(engine_id)
        if known is None or known.address != address:
            self.forget(engine_id)
            known = self._clients[engine_id] = WireClient(address)
        return known

    def forget(self, engine_id: str) -> None:
        """Ask anew where the replica listens: this one is gone."""
        gone = self._clients.pop(engine_id, None)
        if gone is not None:
            gone.close()


class WireCall:
    """One request to one engine.

    Parameters
    ----------
    wires : Wires
        Known connections.
    engine_id : str
        The engine.
    handle : DeploymentHandle
        Says where its replica listens.
    body : dict
        The request.
    """

    def __init__(self, wires: Wires, engine_id: str, handle: Any, body: dict[str, Any]) -> None:
        self._wires = wires
        self._engine_id = engine_id
        self._items = self._run(handle, body)
        self._closing: asyncio.Task[None] | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        """Return the only item of a whole answer."""
        return self._whole().__await__()

    def __aiter__(self) -> WireCall:
        """Iterate over a stream's items."""
        return self

    async def __anext__(self) -> Any:
        """Return the next item: an object about the engine, or an event."""
        return await anext(self._items)

    def cancel(self) -> None:
        """Stop the engine's work.  A call that is being awaited stops with the task that awaits it."""
        if not self._items.ag_running:  # type: ignore[attr-defined]
            self._closing = asyncio.get_running_loop().create_task(self._items.aclose())  # type: ignore[attr-defined]

    async def _whole(self) -> Any:
        found = await anext(self._items)
        async for _ in self._items:  # to its end, so that the connection can be used again
            pass
        return found

    async def _run(self, handle: Any, body: dict[str, Any]) -> AsyncIterator[Any]:
        try:
            client = await self._wires.client(self._engine_id, handle)
            async with answer_of(client, body) as frames:
                async for frame in frames:
                    yield msgspec.json.decode(frame) if frame[:1] == b"{" else frame
        except WireError as failure:
            self._wires.forget(self._engine_id)
            raise RayServeException(f"The engine's replica is gone: {failure}") from failure
