"""Links to engines and a coordinator of plain objects, and a gateway's backend over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import msgspec

from aiopt.serving.backend import Operation, OperationKind, ServingStatus
from aiopt.serving.engines.links import LinkDownError
from aiopt.serving.engines.routed_backend import RoutedBackend
from aiopt.serving.engines.wire import WireAddress
from aiopt.serving.profile import ServingConfig, SlotConfig
from aiopt.serving.replies import Answered, Begun, ChatBody, Failed
from aiopt.serving.swap.coordinator import SwapCoordinator
from aiopt.serving.swap.records import RoutingTable
from tests.unit.serving.fake_host import FakeHost, judge

WAIT_S = 20.0


class Coordinator:
    """A `CoordinatorLink` without a process in between."""

    def __init__(self, coordinator: SwapCoordinator) -> None:
        self._coordinator = coordinator
        self.away = False

    def _reach(self) -> SwapCoordinator:
        if self.away:
            raise LinkDownError("RayActorError")
        return self._coordinator

    async def sync(
        self, gateway: str, version: str, in_flight: Mapping[str, int], wait_s: float
    ) -> RoutingTable:
        return await self._reach().sync(gateway, version, in_flight, wait_s)

    async def begin(self, kind: OperationKind, slot: str, checkpoint: str, wait: bool) -> Operation:
        return await self._reach().begin(kind, slot, checkpoint, wait)

    async def operation(self, operation_id: str) -> Operation:
        return self._reach().operation(operation_id)

    async def status(self) -> ServingStatus:
        return self._reach().status()


class Engine:
    """An `EngineLink`: plays one step per request, then answers as its revision."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.steps: list[BaseException | Failed | None] = []
        self.gate: asyncio.Event | None = None
        self.alive = True
        self.working = self.asked = 0

    async def _play(self) -> Failed | None:
        if self.gate is not None:
            await self.gate.wait()
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, BaseException):
            raise step
        return step

    async def answer(self, body: ChatBody) -> Answered | Failed:
        self.asked += 1
        self.working += 1
        try:
            document = msgspec.json.encode({"choices": [{"message": {"content": self.revision}}]})
            return await self._play() or Answered(revision=self.revision, document=msgspec.Raw(document))
        finally:
            self.working -= 1

    async def stream(self, body: ChatBody) -> AsyncGenerator[Begun | Failed | bytes, None]:
        assert body["stream"]
        self.asked += 1
        self.working += 1
        try:
            yield await self._play() or Begun(revision=self.revision)
            for _ in range(2):
                yield b"data: x\n\n"
                await self._play()
        finally:
            self.working -= 1

    async def instance(self) -> str:
        if not self.alive:
            await asyncio.sleep(600)
        return "one"

    async def wire(self) -> WireAddress:
        raise AssertionError("nobody asked for sockets")


class World:
    """A coordinator, one gateway's backend, and an engine behind every id."""

    def __init__(self, folder: Path) -> None:
        self.config = ServingConfig(
            device="cpu",
            models=(SlotConfig(name="minicpm", model="a", aliases=("v",)),),
            state_dir=str(folder),
            ready_wait_s=WAIT_S,
            drain_timeout_s=5,
        )
        self.host = FakeHost()
        self.coordinator = SwapCoordinator(self.config, self.host, judge)
        self.link = Coordinator(self.coordinator)
        self.engines: dict[str, Engine] = {}
        self.backend = RoutedBackend(self.config, self.link, self.engine)

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

    async def chat(self, model: str = "minicpm") -> str | None:
        async with await self.backend.acquire(model, self.backend.patience()) as lease:
            return (await lease.chat({})).read().choices[0].message.content

    async def stream(self) -> list[bytes]:
        async with await self.backend.acquire("minicpm", self.backend.patience()) as lease:
            return [event async for event in lease.stream({})]
