"""However often engines die, a request waits for one as long as the profile says, and no longer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiopt.serving.engines.links import LinkDownError
from aiopt.serving.engines.routed_backend import PING_S
from aiopt.serving.gateway import GatewaySettings, build_gateway
from aiopt.serving.patience import RETRY_S
from tests.unit.serving.conftest import API, TOKENS, Play
from tests.unit.serving.fake_backend import FakeBackend
from tests.unit.serving.fake_engines import WAIT_S, Engine, World
from tests.unit.serving.fake_host import checkpoint
from tests.unit.serving.gateway.test_gateway_analysis import market
from tests.unit.serving.virtual_time import run_at_once

CHAT = {"model": "minicpm", "messages": [{"role": "user", "content": "Hi"}]}


class Endless(list[Any]):
    """Steps that never end: the engine dies at every request."""

    def pop(self, index: Any = 0) -> Any:
        return self[0]


def ask(folder: Path, prepare: Any, *, stream: bool) -> tuple[httpx.Response, float, World]:
    """Ask a gateway over a coordinator and engines on a clock that jumps; return what the client waited."""
    found: list[Any] = []

    async def main() -> None:
        world = World(folder)
        engine = await world.start()
        running = asyncio.create_task(prepare(world, engine))
        transport = httpx.ASGITransport(app=build_gateway(world.backend, GatewaySettings(), TOKENS))
        headers = {"Authorization": f"Bearer {API}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers=headers
        ) as client:
            await asyncio.sleep(0)
            begun = asyncio.get_running_loop().time()
            response = await client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
            found.extend([response, asyncio.get_running_loop().time() - begun, world])
        await running
        await world.backend.stop()

    run_at_once(main)
    return found[0], found[1], found[2]


@pytest.mark.parametrize("stream", [False, True])
def test_engines_that_keep_dying_cost_one_wait(tmp_path: Path, stream: bool) -> None:
    async def kill(world: World, engine: Engine) -> None:
        engine.steps = Endless([LinkDownError("RayActorError")])

    response, waited_s, world = ask(tmp_path, kill, stream=stream)
    assert response.status_code == 503
    assert "RayActorError" in response.json()["error"]["message"]
    assert int(response.headers["retry-after"]) > 0
    assert WAIT_S - 2 * RETRY_S <= waited_s <= WAIT_S
    (engine,) = world.engines.values()
    assert 3 < engine.asked <= WAIT_S / RETRY_S + 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_says_nothing_costs_one_wait_and_one_ping(tmp_path: Path, stream: bool) -> None:
    async def hang(world: World, engine: Engine) -> None:
        engine.gate, engine.alive = asyncio.Event(), False

    response, waited_s, world = ask(tmp_path, hang, stream=stream)
    assert response.status_code == 503
    assert waited_s == pytest.approx(WAIT_S + PING_S)
    assert [engine.asked for engine in world.engines.values()] == [1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_whose_engine_died_is_answered_by_the_one_the_route_names_next(
    tmp_path: Path, stream: bool
) -> None:
    async def swap_later(world: World, engine: Engine) -> None:
        engine.steps = Endless([LinkDownError("RayActorError")])
        await asyncio.sleep(WAIT_S / 4)
        await world.coordinator.begin("swap", "minicpm", "b")
        await world.coordinator.settle()

    response, _, _ = ask(tmp_path, swap_later, stream=stream)
    assert response.status_code == 200
    assert response.headers["x-model-revision"] == checkpoint("b").revision


def test_a_market_waits_once_for_an_engine_and_then_the_rules_read(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.ready = False
        backend.acquired = 0
        answer = await client.post("/analyze", json=market())
        assert answer.status_code == 200, answer.text
        assert answer.json()["analysis"]["source"] == "rules"
        assert "No engine serves yet" in answer.json()["analysis"]["fallback_reason"]
        assert backend.acquired == 1, "it waited for an engine again"

    play(scenario)
