"""Routes, leases and retries over a coordinator and engines of plain objects; no Ray runs."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError

with warnings.catch_warnings():
    # Ray Serve's configuration classes use what its pydantic deprecates.
    warnings.simplefilter("ignore")
    from cluster.serving import ray_backend
    from cluster.serving.ray_backend import RayBackend

from aiopt.serving.backend import (
    EngineFailureError,
    EngineRequestError,
    ModelUnavailableError,
    UnknownModelError,
)
from aiopt.serving.profile import ServingConfig, SlotConfig
from aiopt.serving.swap.coordinator import SwapCoordinator
from tests.unit.serving.fake_host import FakeHost, checkpoint, judge


class Call:
    """What a deployment handle returns: awaitable or iterable, and cancellable."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._made = make()
        self.cancelled = False

    def __await__(self) -> Any:
        return self._made.__await__()

    def __aiter__(self) -> Call:
        return self

    def __anext__(self) -> Any:
        return self._made.__anext__()

    def cancel(self) -> None:
        self.cancelled = True


class Method:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def remote(self, *arguments: Any) -> Call:
        return Call(lambda: self._function(*arguments))


class CoordinatorHandle:
    def __init__(self, coordinator: SwapCoordinator) -> None:
        async def status() -> Any:
            return coordinator.status()

        self.sync = Method(coordinator.sync)
        self.begin = Method(coordinator.begin)
        self.status = Method(status)


class Engine:
    """An engine's handle: plays one step per request, then answers as its revision."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.steps: list[Any] = []
        self.gate: asyncio.Event | None = None
        self.alive = True
        self.answer = Method(self._answer)
        self.stream = Method(self._stream)
        self.instance = Method(self._instance)

    def options(self, *, stream: bool) -> Engine:
        assert stream
        return self

    async def _play(self) -> dict[str, Any] | None:
        if self.gate is not None:
            await self.gate.wait()
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, BaseException):
            raise step
        return step

    async def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        step = await self._play()
        return step or {"revision": self.revision, "response": {"of": self.revision}}

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[Any]:
        assert body["stream"]
        step = await self._play()
        yield step or {"revision": self.revision}
        for _ in range(2):
            yield b"data: x\n\n"
            await asyncio.sleep(0)
            step = await self._play()

    async def _instance(self) -> str:
        if not self.alive:
            await asyncio.sleep(60)
        return "one"


class World:
    """A coordinator, one gateway's backend, and an engine behind every id."""

    def __init__(self, folder: Path) -> None:
        self.config = ServingConfig(
            device="cpu",
            models=(SlotConfig(name="minicpm", model="a", aliases=("v",)),),
            state_dir=str(folder),
            ready_wait_s=0.6,
            drain_timeout_s=5,
        )
        self.host = FakeHost()
        self.coordinator = SwapCoordinator(self.config, self.host, judge)
        self.backend = RayBackend(self.config, CoordinatorHandle(self.coordinator))
        self.engines: dict[str, Engine] = {}
        self.backend.handle = self.engine  # type: ignore[method-assign]

    def engine(self, engine_id: str) -> Engine:
        if engine_id not in self.engines:
            self.engines[engine_id] = Engine(self.host.alive[engine_id].checkpoint.revision)
        return self.engines[engine_id]

    async def start(self) -> Engine:
        self.backend.start()
        await self.coordinator.start()
        await self.coordinator.settle()
        while not await self.backend.cards():
            await asyncio.sleep(0.01)
        return self.engine(self.coordinator.table.routes[0].engine_id)


def run(folder: Path, scenario: Callable[[World, Engine], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World(folder)
        engine = await world.start()
        try:
            await scenario(world, engine)
        finally:
            await world.backend.stop()

    asyncio.run(asyncio.wait_for(whole(), 20))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_backend, "ENGINE_RETRY_S", 0.02)
    monkeypatch.setattr(ray_backend, "PING_S", 0.05)


def test_a_request_that_began_before_a_flip_ends_on_its_engine_and_holds_it(tmp_path: Path) -> None:
    async def scenario(world: World, old: Engine) -> None:
        old.gate = asyncio.Event()
        lease = await world.backend.acquire("v")
        early = asyncio.create_task(lease.chat({}))
        operation = await world.coordinator.begin("swap", "minicpm", "b")
        while (await world.backend.cards())[0].model_id != "b":
            await asyncio.sleep(0.01)
        async with await world.backend.acquire("minicpm") as late:
            assert (await late.chat({}))["of"] == checkpoint("b").revision == late.card.revision
        await asyncio.sleep(0.1)
        assert world.coordinator.operation(operation.operation_id).phase == "drain"
        status = await world.backend.status()
        assert {e.model_id: (e.role, e.in_flight) for e in status.engines} == {
            "a": ("draining", 1),
            "b": ("serving", 0),
        }
        old.gate.set()
        assert (await early)["of"] == checkpoint("a").revision == lease.card.revision
        await lease.__aexit__(None, None, None)
        await lease.__aexit__(None, None, None)  # counted off once only
        await world.coordinator.settle()
        assert world.coordinator.operation(operation.operation_id).state == "done"

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "death",
    [RayActorError(), {"error": {"message": "EngineCore is dead", "status": 500, "dead": True}}],
    ids=["replica", "engine"],
)
def test_a_request_whose_engine_dies_is_answered_by_the_recovered_one(tmp_path: Path, death: Any) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.steps = [death, death]
        async with await world.backend.acquire("minicpm") as lease:
            assert (await lease.chat({}))["of"] == engine.revision
        engine.steps = [death]
        async with await world.backend.acquire("minicpm") as lease:
            events = [event async for event in lease.stream({})]
        assert events == [b"data: x\n\n"] * 2

    run(tmp_path, scenario)


def test_an_engine_that_stays_dead_gives_503_within_the_wait(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.steps = [RayActorError()] * 1000
        async with await world.backend.acquire("minicpm") as lease:
            with pytest.raises(ModelUnavailableError, match="It is restarted; try again later") as failure:
                await lease.chat({})
        assert failure.value.retry_after_s > 0

    run(tmp_path, scenario)


def test_without_a_replica_a_request_is_given_up_but_a_slow_engine_is_waited_for(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.gate = asyncio.Event()
        engine.alive = False
        async with await world.backend.acquire("minicpm") as lease:
            with pytest.raises(ModelUnavailableError, match="it does not answer"):
                await lease.chat({})
        engine.alive = True
        async with await world.backend.acquire("minicpm") as lease:
            slow = asyncio.create_task(lease.chat({}))
            await asyncio.sleep(world.config.ready_wait_s + 0.3)
            assert not slow.done()
            engine.gate.set()
            assert (await slow)["of"] == engine.revision

    run(tmp_path, scenario)


def test_what_the_engine_refuses_is_not_tried_again(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        refusal = {"error": {"message": "prompt too long", "status": 400, "dead": False}}
        engine.steps = [refusal, refusal]
        async with await world.backend.acquire("minicpm") as lease:
            with pytest.raises(EngineRequestError, match="prompt too long"):
                await lease.chat({})
            with pytest.raises(EngineRequestError, match="prompt too long"):
                await anext(lease.stream({}))
        assert engine.steps == []

    run(tmp_path, scenario)


def test_an_engine_that_fails_at_a_request_and_lives_is_not_asked_again(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        failed = {"error": {"message": "The engine failed at this request.", "status": 500, "dead": False}}
        engine.steps = [failed, failed]
        async with await world.backend.acquire("minicpm") as lease:
            with pytest.raises(EngineFailureError, match="failed at this request"):
                await lease.chat({})
            with pytest.raises(EngineFailureError, match="failed at this request"):
                await anext(lease.stream({}))
        assert engine.steps == []

    run(tmp_path, scenario)


def test_an_answer_of_another_revision_is_never_passed_on(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.revision = "f" * 64
        async with await world.backend.acquire("minicpm") as lease:
            with pytest.raises(ModelUnavailableError, match="answered as revision ffffffffffff"):
                await lease.chat({})

    run(tmp_path, scenario)


def test_a_stream_cut_by_a_death_ends_with_an_error_event(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.steps = [None, RayActorError()]
        async with await world.backend.acquire("minicpm") as lease:
            events = [event async for event in lease.stream({})]
        assert events[0] == b"data: x\n\n"
        assert b"died while it answered" in events[-1]
        assert len(events) == 2

    run(tmp_path, scenario)


def test_unknown_names_and_models_not_ready_are_told_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        with pytest.raises(UnknownModelError, match="Did you mean 'minicpm'"):
            await world.backend.acquire("minicpn")
        with pytest.raises(ModelUnavailableError, match="the gateway has just started"):
            await world.backend.acquire("minicpm")
        waiting = asyncio.create_task(world.backend.acquire("minicpm"))
        await world.start()
        assert (await waiting).card.model_id == "a"
        await world.backend.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_coordinator_that_is_away_stops_no_request(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        async def away(*arguments: Any) -> Any:
            raise RayActorError

        world.backend._coordinator.sync = Method(away)
        async with await world.backend.acquire("minicpm") as lease:
            assert (await lease.chat({}))["of"] == engine.revision
        with pytest.raises(ModelUnavailableError, match="coordinator must answer"):
            await world.backend.status()

    run(tmp_path, scenario)
