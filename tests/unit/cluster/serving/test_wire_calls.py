"""Leases on engines that answer on sockets of their own: whole, streamed, refused, dead, replaced."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

with warnings.catch_warnings():
    # Ray Serve's configuration classes use what its pydantic deprecates.
    warnings.simplefilter("ignore")
    from cluster.serving.ray_backend import RayBackend, RayLease

from aiopt.errors import ConfigError
from aiopt.serving.backend import EngineRequestError, ModelUnavailableError
from aiopt.serving.profile import load_args
from aiopt.serving.swap.records import Route, RoutingTable
from aiopt.serving.wire import WireServer
from tests.unit.serving.fake_backend import VISION

ENGINE = "engine-1"


class Replica:
    """What `EngineServer` does, without vLLM: a wire, and a handle's method that says where it is."""

    def __init__(self, revision: str = VISION.revision) -> None:
        self.revision = revision
        self.starts = 0
        self.asked = 0
        self.closed = 0
        self.die_before = self.die_after = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.server: WireServer | None = None

    async def start(self) -> None:
        self.starts += 1
        self.server = WireServer(self.work, host="127.0.0.1")
        self.address = msgspec.to_builtins(await self.server.start())

    async def work(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        self.asked += 1
        try:
            if self.die_before:
                self.die_before = False
                raise ConnectionResetError("killed")
            if body["messages"] == "bad":
                error = {"message": "The prompt is longer than the context.", "status": 400, "dead": False}
                yield msgspec.json.encode({"error": error})
                return
            await self.hold.wait()
            if body.get("stream"):
                yield msgspec.json.encode({"revision": self.revision})
                yield b'data: {"n": 1}\n\n'
                if self.die_after:
                    raise ConnectionResetError("killed")
                yield b"data: [DONE]\n\n"
            else:
                yield msgspec.json.encode({"revision": self.revision, "response": {"text": "hello"}})
        finally:
            self.closed += 1


class Method:
    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        self._function = function

    def remote(self) -> Awaitable[Any]:
        return self._function()


class Handle:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.wire = Method(self._where)
        self.times = 0

    async def _where(self) -> dict[str, Any]:
        self.times += 1
        if self._replica.server is None:
            await self._replica.start()
        return dict(self._replica.address)


Scenario = Callable[[RayBackend, Replica, Handle], Awaitable[None]]


def play(scenario: Scenario, *, revision: str = VISION.revision, wait_s: float = 3.0) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the deaths we made
        args = {
            "device": "cpu",
            "engine_sockets": True,
            "models": [{"name": "minicpm", "model": "x"}],
            "ready_wait_s": wait_s,
        }
        backend = RayBackend(load_args(args, where="test"), None)
        replica = Replica(revision)
        handle = Handle(replica)
        backend._handles[ENGINE] = handle
        route = Route(name="minicpm", aliases=(), engine_id=ENGINE, card=VISION)
        backend._adopt(RoutingTable(version="1", routes=(route,)))
        async with asyncio.timeout(20):
            await scenario(backend, replica, handle)
        backend._wires.forget(ENGINE)
        if replica.server is not None:
            await replica.server.stop()
        await asyncio.sleep(0.01)
        assert backend._in_flight == {}

    asyncio.run(main())


async def lease_of(backend: RayBackend) -> RayLease:
    return await backend.acquire("minicpm")


async def chat(backend: RayBackend, messages: str = "good") -> Any:
    async with await lease_of(backend) as lease:
        return await lease.chat({"messages": messages})


async def stream(backend: RayBackend, messages: str = "good") -> list[bytes]:
    async with await lease_of(backend) as lease:
        return [event async for event in lease.stream({"messages": messages})]


def test_answers_whole_and_streamed_over_one_connection() -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        for _ in range(3):
            assert await chat(backend) == {"text": "hello"}
            assert await stream(backend) == [b'data: {"n": 1}\n\n', b"data: [DONE]\n\n"]
        assert handle.times == 1
        assert len(backend._wires._clients[ENGINE]._idle) == 1

    play(scenario)


def test_what_the_engine_refuses_is_not_tried_again() -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        for ask in (chat, stream):
            with pytest.raises(EngineRequestError, match="longer than the context") as caught:
                await ask(backend, "bad")
            assert caught.value.status == 400
        assert replica.asked == 2

    play(scenario)


@pytest.mark.parametrize("ask", [chat, stream])
def test_an_engine_that_dies_before_it_answers_is_asked_again(ask: Callable[..., Any]) -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        replica.die_before = True
        assert await ask(backend)
        assert (replica.asked, handle.times) == (2, 2)

    play(scenario)


def test_a_replica_that_was_started_again_is_found() -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        await chat(backend)
        assert replica.server is not None
        await replica.server.stop()
        replica.server = None
        assert await chat(backend) == {"text": "hello"}
        assert replica.starts == 2

    play(scenario)


def test_an_engine_that_stays_dead_is_told_in_time() -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        await replica.start()
        assert replica.server is not None
        await replica.server.stop()
        with pytest.raises(ModelUnavailableError, match="must answer, but"):
            await chat(backend)

    play(scenario, wait_s=0.6)


def test_a_stream_that_breaks_ends_with_an_error_event() -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        replica.die_after = True
        events = await stream(backend)
        assert events[0] == b'data: {"n": 1}\n\n'
        assert "died while it answered" in json.loads(events[1][6:])["error"]["message"]

    play(scenario)


def test_an_answer_of_another_revision_is_never_given() -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        for ask in (chat, stream):
            with pytest.raises(ModelUnavailableError, match="answered as revision ffffffffffff"):
                await ask(backend)

    play(scenario, revision="f" * 64, wait_s=0.3)


@pytest.mark.parametrize("ask", [chat, stream])
def test_a_request_that_is_given_up_stops_the_engine(ask: Callable[..., Any]) -> None:
    async def scenario(backend: RayBackend, replica: Replica, handle: Handle) -> None:
        replica.hold.clear()
        task = asyncio.create_task(ask(backend))
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
