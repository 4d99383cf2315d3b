"""Frames between gateway and engine: whole answers, clients that leave, servers that die, strangers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from aiopt.serving.engines import wire
from aiopt.serving.engines.wire import WireAddress, WireClient, WireError, WireServer


class Engine:
    def __init__(self) -> None:
        self.closed = 0
        self.working = 0
        self.permits = asyncio.Semaphore(1_000_000)

    async def work(self, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        self.working += 1
        try:
            yield msgspec.json.encode({"asked": body["n"]})
            for number in range(body["n"]):
                await self.permits.acquire()
                yield f"part {number}".encode() * body.get("times", 1)
        finally:
            self.working -= 1
            self.closed += 1


Scenario = Callable[[Engine, WireServer, WireAddress], Awaitable[None]]


def play(scenario: Scenario) -> None:
    async def main() -> None:
        engine = Engine()
        server = WireServer(engine.work, host="127.0.0.1")
        address = await server.start()
        try:
            async with asyncio.timeout(20):
                await scenario(engine, server, address)
        finally:
            for client in clients:
                client.close()
            clients.clear()
            await server.stop()
            await asyncio.sleep(0.01)  # the loop closes what was aborted
        assert engine.working == 0

    asyncio.run(main())


clients: list[WireClient] = []


def connect(address: WireAddress) -> WireClient:
    clients.append(WireClient(address))
    return clients[-1]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def ask(client: WireClient, n: int, times: int = 1) -> list[bytes]:
    return [frame async for frame in client.ask({"n": n, "times": times})]


def test_answers_come_whole_and_connections_are_used_again() -> None:
    async def scenario(engine: Engine, server: WireServer, address: WireAddress) -> None:
        client = connect(address)
        assert await ask(client, 2) == [b'{"asked":2}', b"part 0", b"part 1"]
        assert await ask(client, 0) == [b'{"asked":0}']
        assert len(client._idle) == 1
        large = await ask(client, 2, times=500_000)
        assert [len(frame) for frame in large[1:]] == [3_000_000] * 2
        answers = await asyncio.gather(*(ask(client, n) for n in range(20)))
        assert [len(answer) for answer in answers] == [n + 1 for n in range(20)]
        assert len(client._idle) == 20

    play(scenario)


@pytest.mark.parametrize("after", [0, 1])
def test_a_client_that_leaves_stops_the_work(after: int) -> None:
    async def scenario(engine: Engine, server: WireServer, address: WireAddress) -> None:
        engine.permits = asyncio.Semaphore(after)
        client = connect(address)

        async def leave() -> None:
            async with aclosing(client.ask({"n": 3})) as frames:
                for _ in range(1 + after):
                    await anext(frames)
                await asyncio.sleep(60)

        task = asyncio.create_task(leave())
        await until(lambda: engine.working == 1)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: engine.closed == 1)
        assert client._idle == []  # half an answer may still be in that connection
        engine.permits = asyncio.Semaphore(9)
        assert len(await ask(client, 1)) == 2

    play(scenario)


def test_a_server_that_dies_is_told_apart_from_an_answer_that_ended() -> None:
    async def scenario(engine: Engine, server: WireServer, address: WireAddress) -> None:
        client = connect(address)
        await ask(client, 1)
        engine.permits = asyncio.Semaphore(0)
        frames = client.ask({"n": 5})
        assert await anext(frames) == b'{"asked":5}'
        await server.stop()
        with pytest.raises(WireError, match="ended inside an answer"):
            await anext(frames)
        with pytest.raises(WireError, match="Connect call failed"):
            await ask(client, 1)

    play(scenario)


def test_a_kept_connection_whose_server_is_gone_is_not_used() -> None:
    async def scenario(engine: Engine, server: WireServer, address: WireAddress) -> None:
        client = connect(address)
        await ask(client, 1)
        for task in list(server._connections):
            task.cancel()
        await asyncio.sleep(0.02)
        assert len(await ask(client, 1)) == 2

    play(scenario)


def test_strangers_get_no_answer() -> None:
    async def scenario(engine: Engine, server: WireServer, address: WireAddress) -> None:
        stranger = connect(msgspec.structs.replace(address, secret="guessed"))
        with pytest.raises(WireError):
            await ask(stranger, 1)
        for raw in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\5\0\0\0a"):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(raw)
            if len(raw) == 5:
                writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        assert engine.closed == 0
        assert len(await ask(connect(address), 1)) == 2

    play(scenario)


def test_a_failure_in_the_work_ends_the_connection_not_the_server() -> None:
    async def scenario(engine: Engine, server: WireServer, address: WireAddress) -> None:
        client = connect(address)
        with pytest.raises(WireError, match="ended inside an answer"):
            [frame async for frame in client.ask({"no n": 1})]
        assert len(await ask(client, 1)) == 2

    loop_errors: list[dict[str, Any]] = []

    async def quiet(engine: Engine, server: WireServer, address: WireAddress) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: loop_errors.append(context))
        await scenario(engine, server, address)

    play(quiet)
    assert [type(context["exception"]) for context in loop_errors] == [KeyError]


def test_frames_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FRAME_LIMIT", 1000)

    async def scenario(engine: Engine, server: WireServer, address: WireAddress) -> None:
        with pytest.raises(WireError, match="1 to 1,000 bytes"):
            [frame async for frame in connect(address).ask({"n": 1, "text": "x" * 2000})]

    play(scenario)
