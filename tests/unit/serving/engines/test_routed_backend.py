"""Routes and leases over a coordinator and engines of plain objects, on a clock that jumps; no Ray runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aiopt.serving.backend import (
    EngineFailureError,
    EngineRequestError,
    ModelUnavailableError,
    UnknownModelError,
)
from aiopt.serving.engines.links import LinkDownError
from aiopt.serving.engines.routed_backend import PING_S
from aiopt.serving.replies import Failed
from tests.unit.serving.fake_engines import WAIT_S, Engine, World
from tests.unit.serving.fake_host import checkpoint
from tests.unit.serving.virtual_time import run_at_once

DEATHS = (LinkDownError("RayActorError"), Failed(message="EngineCore is dead", status=500, dead=True))


def run(folder: Path, scenario: Callable[[World, Engine], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World(folder)
        engine = await world.start()
        try:
            await scenario(world, engine)
            assert all(each.working == 0 for each in world.engines.values()), "an engine still works"
        finally:
            await world.backend.stop()

    run_at_once(whole)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_request_that_began_before_a_flip_ends_on_its_engine_and_holds_it(tmp_path: Path) -> None:
    async def scenario(world: World, old: Engine) -> None:
        old.gate = asyncio.Event()
        lease = await world.backend.acquire("v", world.backend.patience())
        early = asyncio.create_task(lease.chat({}))
        operation = await world.backend.begin("swap", slot="minicpm", checkpoint="b")
        while (await world.backend.cards())[0].model_id != "b":
            await asyncio.sleep(0.01)
        assert await world.chat() == checkpoint("b").revision
        await asyncio.sleep(0.1)
        assert (await world.backend.operation(operation.operation_id)).phase == "drain"
        status = await world.backend.status()
        assert {e.model_id: (e.role, e.in_flight) for e in status.engines} == {
            "a": ("draining", 1),
            "b": ("serving", 0),
        }
        old.gate.set()
        assert (await early).revision == checkpoint("a").revision == lease.card.revision
        await lease.__aexit__(None, None, None)
        await lease.__aexit__(None, None, None)  # counted off once only
        await world.coordinator.settle()
        assert world.coordinator.operation(operation.operation_id).state == "done"

    run(tmp_path, scenario)


@pytest.mark.parametrize("death", DEATHS, ids=["replica", "engine"])
def test_a_lease_asks_its_engine_once_and_says_that_it_died(tmp_path: Path, death: Any) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        begun = now()
        for ask in (world.chat, world.stream):
            engine.steps = [death]
            with pytest.raises(
                ModelUnavailableError, match="It is being restarted; try again later"
            ) as failure:
                await ask()
            assert failure.value.retry_after_s > 0
        assert engine.asked == 2
        assert now() == begun, "a lease has no patience of its own"
        assert await world.stream() == [b"data: x\n\n"] * 2

    run(tmp_path, scenario)


def test_without_a_replica_a_request_is_given_up_but_a_slow_engine_is_waited_for(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.gate = asyncio.Event()
        engine.alive = False
        begun = now()
        with pytest.raises(ModelUnavailableError, match="it does not answer"):
            await world.chat()
        assert now() - begun == pytest.approx(WAIT_S + PING_S)
        assert engine.working == 0, "the call was not cancelled"
        engine.alive = True
        slow = asyncio.create_task(world.chat())
        await asyncio.sleep(10 * WAIT_S)
        assert not slow.done()
        engine.gate.set()
        assert await slow == engine.revision

    run(tmp_path, scenario)


def test_the_wait_for_a_route_and_for_an_answer_come_from_one_patience(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        begun = now()
        patience = world.backend.patience()
        waiting = asyncio.create_task(world.backend.acquire("minicpm", patience))
        await asyncio.sleep(WAIT_S - 1)
        engine = await world.start()
        engine.gate, engine.alive = asyncio.Event(), False
        async with await waiting as lease:
            with pytest.raises(ModelUnavailableError, match="it does not answer"):
                await lease.chat({})
        assert now() - begun == pytest.approx(WAIT_S + PING_S)
        await world.backend.stop()

    run_at_once(scenario)


@pytest.mark.parametrize(
    ("failed", "error"),
    [
        (Failed(message="prompt too long", status=400), EngineRequestError),
        (Failed(message="prompt too long", status=500), EngineFailureError),
    ],
    ids=["refused", "failed and lives"],
)
def test_whose_fault_a_failure_is(tmp_path: Path, failed: Failed, error: type[Exception]) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        for ask in (world.chat, world.stream):
            engine.steps = [failed]
            with pytest.raises(error, match="prompt too long"):
                await ask()

    run(tmp_path, scenario)


def test_an_answer_of_another_revision_is_never_passed_on(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.revision = "f" * 64
        for ask in (world.chat, world.stream):
            with pytest.raises(ModelUnavailableError, match="answered as revision ffffffffffff"):
                await ask()

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (LinkDownError("RayActorError"), b"died while it answered"),
    ],
)
def test_a_stream_cut_by_a_death_ends_with_an_error_event(tmp_path: Path, step: Any, message: bytes) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        engine.steps = [None, step]
        events = await world.stream()
        assert events[0] == b"data: x\n\n"
        assert message in events[-1]
        assert len(events) == 2

    run(tmp_path, scenario)


def test_a_request_that_is_given_up_stops_the_engine(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        for ask in (world.chat, world.stream):
            engine.gate = asyncio.Event()
            task = asyncio.create_task(ask())
            while not engine.working:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert engine.working == 0

    run(tmp_path, scenario)


def test_unknown_names_and_models_not_ready_are_told_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        with pytest.raises(UnknownModelError, match="Did you mean 'minicpm'"):
            await world.backend.acquire("minicpn", world.backend.patience())
        begun = now()
        with pytest.raises(ModelUnavailableError, match="the gateway has just started"):
            await world.backend.acquire("minicpm", world.backend.patience())
        assert now() - begun == pytest.approx(WAIT_S)
        waiting = asyncio.create_task(world.backend.acquire("minicpm", world.backend.patience()))
        await world.start()
        assert (await waiting).card.model_id == "a"
        await world.backend.stop()

    run_at_once(scenario)


def test_a_coordinator_that_is_away_stops_no_request(tmp_path: Path) -> None:
    async def scenario(world: World, engine: Engine) -> None:
        world.link.away = True
        assert await world.chat() == engine.revision
        with pytest.raises(ModelUnavailableError, match="coordinator does not answer"):
            await world.backend.status()
        await asyncio.sleep(60)
        world.link.away = False
        operation = await world.backend.begin("swap", slot="minicpm", checkpoint="b")
        await world.coordinator.settle()
        await asyncio.sleep(10)
        assert (await world.backend.operation(operation.operation_id)).state == "done"
        assert await world.chat() == checkpoint("b").revision, "the gateway no longer follows"

    run(tmp_path, scenario)
