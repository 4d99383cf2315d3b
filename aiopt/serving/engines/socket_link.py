"""An engine reached on a socket of its own, instead of through Serve's actor calls.

Owns which replica listens where, and asks anew when a connection breaks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from aiopt.serving.engines.links import EngineLink, LinkDownError
from aiopt.serving.engines.wire import WireClient, WireError
from aiopt.serving.replies import Answered, Begun, ChatBody, Failed, Reply, read_reply


class SocketLink:
    """An `EngineLink` over connections that are kept.

    Parameters
    ----------
    engine : EngineLink
        The same engine by a slower way, which says where it listens.
    """

    def __init__(self, engine: EngineLink) -> None:
        self._engine = engine
        self._client: WireClient | None = None
        self.wire = engine.wire
        self.instance = engine.instance

    async def answer(self, body: ChatBody) -> Answered | Failed:
        """As `EngineLink.answer`."""
        found: Answered | Failed | None = None
        async with aclosing(self._items(body)) as items:
            async for item in items:  # to its end, so that the connection can be used again
                if isinstance(item, Answered | Failed):
                    found = item
        if found is None:
            raise LinkDownError("it ended without an answer")
        return found

    async def stream(self, body: ChatBody) -> AsyncGenerator[Begun | Failed | bytes, None]:
        """As `EngineLink.stream`."""
        async with aclosing(self._items(body)) as items:
            async for item in items:
                if isinstance(item, Answered):
                    raise LinkDownError("it gave a whole answer where a stream was asked for")
                yield item

    def close(self) -> None:
        """Close the connections; where the replica listens is asked anew."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _items(self, body: ChatBody) -> AsyncGenerator[Reply | bytes, None]:
        client = await self._connected()
        try:
            async with aclosing(client.ask(body)) as frames:
                async for frame in frames:
                    # An event of a stream begins with its field's name.
                    yield read_reply(frame) if frame[:1] == b"{" else frame
        except (WireError, msgspec.DecodeError) as failure:
            if self._client is client:
                self.close()
            raise LinkDownError(f"The engine's replica is gone: {failure}") from failure

    async def _connected(self) -> WireClient:
        known = self._client
        if known is None:
            address = await self._engine.wire()
            known = self._client  # another request may have asked at the same time
            if known is None or known.address != address:
                self.close()
                known = self._client = WireClient(address)
        return known
