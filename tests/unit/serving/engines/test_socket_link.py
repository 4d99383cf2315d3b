"""An engine that answers on a socket of its own: whole, streamed, refused, dead, replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.serving.engines.links import LinkDownError
from aiopt.serving.engines.socket_link import SocketLink
from aiopt.serving.engines.wire import WireAddress, WireServer
from aiopt.serving.profile import load_args
from aiopt.serving.replies import Answered, Begun, ChatBody, Failed

REVISION = "a" * 64
HELLO = Answered(revision=REVISION, document=msgspec.Raw(b'{"text":"hello"}'))
EVENTS = [Begun(revision=REVISION), b'data: {"n": 1}\n\n', b"data: [DONE]\n\n"]
REFUSED = Failed(message="The prompt is longer than the context.", status=400)


class Replica:
    """What `EngineServer` does, without vLLM: a wire, and the slower link that says where it is."""

    def __init__(self) -> None:
        self.asked = self.closed = self.starts = self.lookups = 0
        self.die_before = self.die_after = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.server: WireServer | None = None

    async def wire(self) -> WireAddress:
        self.lookups += 1
        if self.server is None:
            self.starts += 1
            self.server = WireServer(self._work, host="127.0.0.1")
            self._address = await self.server.start()
        return self._address

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop()
            self.server = None

    async def instance(self) -> str:
        return str(self.starts)

    async def answer(self, body: ChatBody) -> Answered | Failed:
        raise AssertionError("asked by the slower way")

    def stream(self, body: ChatBody) -> AsyncGenerator[Begun | Failed | bytes, None]:
        raise AssertionError("asked by the slower way")

    async def _work(self, body: ChatBody) -> AsyncGenerator[bytes, None]:
        self.asked += 1
        try:
            if self.die_before:
                self.die_before = False
                raise ConnectionResetError("killed")
            if body["messages"] == "bad":
                yield msgspec.json.encode(REFUSED)
                return
            await self.hold.wait()
            for item in EVENTS if body.get("stream") else [HELLO]:
                yield item if isinstance(item, bytes) else msgspec.json.encode(item)
                if self.die_after and isinstance(item, bytes):
                    raise ConnectionResetError("killed")
        finally:
            self.closed += 1


Scenario = Callable[[SocketLink, Replica], Awaitable[None]]


def play(scenario: Scenario) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the deaths we made
        replica = Replica()
        link = SocketLink(replica)
        async with asyncio.timeout(20):
            await scenario(link, replica)
        link.close()
        await replica.stop()
        await asyncio.sleep(0.01)

    asyncio.run(main())


async def chat(link: SocketLink, messages: str = "good") -> Any:
    return await link.answer({"messages": messages})


async def stream(link: SocketLink, messages: str = "good") -> Any:
    return [item async for item in link.stream({"messages": messages, "stream": True})]


def test_answers_whole_and_streamed_over_one_connection() -> None:
    async def scenario(link: SocketLink, replica: Replica) -> None:
        for _ in range(3):
            assert await chat(link) == HELLO
            assert await stream(link) == EVENTS
        assert replica.lookups == 1
        assert len(link._client._idle) == 1  # type: ignore[union-attr]
        assert await link.instance() == "1"

    play(scenario)


def test_what_the_engine_refuses_arrives_as_it_was_said() -> None:
    async def scenario(link: SocketLink, replica: Replica) -> None:
        assert await chat(link, "bad") == REFUSED
        assert await stream(link, "bad") == [REFUSED]
        assert replica.asked == 2

    play(scenario)


@pytest.mark.parametrize("ask", [chat, stream])
def test_an_engine_that_dies_is_told_once_and_looked_up_again(ask: Callable[..., Any]) -> None:
    async def scenario(link: SocketLink, replica: Replica) -> None:
        replica.die_before = True
        with pytest.raises(LinkDownError, match="replica is gone: the connection ended inside an answer"):
            await ask(link)
        assert (replica.asked, replica.lookups) == (1, 1), "a link does not try again"
        assert await ask(link) in (HELLO, EVENTS)
        assert replica.lookups == 2

    play(scenario)


def test_a_replica_that_was_started_again_is_found() -> None:
    async def scenario(link: SocketLink, replica: Replica) -> None:
        await chat(link)
        await replica.stop()
        with pytest.raises(LinkDownError, match="replica is gone"):
            await chat(link)
        assert await chat(link) == HELLO
        assert replica.starts == 2

    play(scenario)


def test_a_stream_that_breaks_says_so_after_what_had_arrived() -> None:
    async def scenario(link: SocketLink, replica: Replica) -> None:
        replica.die_after = True
        arrived: list[Any] = []

        async def read() -> None:
            async for item in link.stream({"messages": "good", "stream": True}):
                arrived.append(item)

        with pytest.raises(LinkDownError, match="replica is gone"):
            await read()
        assert arrived == EVENTS[:2]

    play(scenario)


@pytest.mark.parametrize("ask", [chat, stream])
def test_a_request_that_is_given_up_stops_the_engine(ask: Callable[..., Any]) -> None:
    async def scenario(link: SocketLink, replica: Replica) -> None:
        replica.hold.clear()
        task = asyncio.create_task(ask(link))
        while not replica.asked:
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not replica.closed:
            await asyncio.sleep(0.002)

    play(scenario)


def test_sockets_need_one_replica_per_engine() -> None:
    slot = {"name": "minicpm", "model": "x", "engine": {"replicas": 2}}
    with pytest.raises(ConfigError, match="needs one replica per engine, but minicpm has more"):
        load_args({"device": "cpu", "engine_sockets": True, "models": [slot]}, where="test")
