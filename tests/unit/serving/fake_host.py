"""Engines of plain objects for tests of the coordinator: fail where told, and count what may not happen."""

from __future__ import annotations

import asyncio
import hashlib

from aiopt.serving.checkpoint.validation import Checkpoint, CheckpointError
from aiopt.serving.swap.engine_host import MemoryReport
from aiopt.serving.swap.proof import EngineSpec, EngineStartError, Reference

GIB = 1 << 30


def checkpoint(name: str, *, images: bool = True) -> Checkpoint:
    return Checkpoint(
        path=f"/models/{name}",
        model_id=name,
        revision=hashlib.sha256(name.encode()).hexdigest(),
        architecture="MiniCPMV4_6ForConditionalGeneration",
        modality="images" if images else "text",
        max_context_tokens=4096,
        parameters=1,
        parameter_bytes=2,
        dtype="bfloat16",
        vocabulary=300,
        remote_code=False,
    )


def judge(source: str, like: Checkpoint | None, remote_code: bool) -> Checkpoint:
    name = source.removeprefix("/models/")
    if name.startswith("broken"):
        raise CheckpointError(f"{source}: model.safetensors is truncated")
    found = checkpoint(name, images=not name.startswith("text"))
    if like is not None and like.images and not found.images:
        raise CheckpointError(f"{source}: must read images")
    return found


class FakeHost:
    """An `EngineHost` in memory.

    `faults` maps a step (``reference``, ``start``, ``probe``, ``wake``, ``sleep``) to the error it raises
    next time.
    """

    def __init__(self, *, room: int = 3, can_sleep: bool = False) -> None:
        self.alive: dict[str, EngineSpec] = {}
        self.asleep: set[str] = set()
        self.room = room
        self.can_sleep = can_sleep
        self.faults: dict[str, BaseException] = {}
        self.calls: list[str] = []
        self.start_s = 0.0
        self.lives: dict[str, int] = {}
        self.busy = 0

    def _fault(self, step: str) -> None:
        fault = self.faults.pop(step, None)
        if fault is not None:
            raise fault

    def awake(self) -> set[str]:
        return set(self.alive) - self.asleep

    async def engines(self) -> set[str]:
        return set(self.alive)

    async def memory(self, spec: EngineSpec) -> MemoryReport:
        return MemoryReport(
            needed_bytes=GIB,
            available_bytes=(self.room - len(self.awake())) * GIB,
            device="the test",
            can_sleep=self.can_sleep,
        )

    async def reference(self, spec: EngineSpec) -> Reference:
        self.calls.append(f"reference {spec.checkpoint.model_id}")
        await asyncio.sleep(0)
        self._fault("reference")
        return Reference(key="k", revision=spec.checkpoint.revision, answers=((1,),))

    async def start(self, spec: EngineSpec, reference: Reference) -> None:
        assert reference.revision == spec.checkpoint.revision
        assert len(self.awake()) < self.room, "started although it does not fit"
        self.busy += 1
        assert self.busy == 1, "two engines are loaded at once"
        try:
            self.calls.append(f"start {spec.checkpoint.model_id}")
            self.alive[spec.engine_id] = spec
            await asyncio.sleep(self.start_s)
            self._fault("start")
        finally:
            self.busy -= 1

    async def stop(self, engine_id: str) -> None:
        self.alive.pop(engine_id, None)
        self.asleep.discard(engine_id)
        await asyncio.sleep(0)

    async def sleep(self, engine_id: str) -> None:
        self._need(engine_id)
        assert self.can_sleep
        self._fault("sleep")
        self.asleep.add(engine_id)

    async def wake(self, engine_id: str) -> None:
        self._need(engine_id)
        assert len(self.awake() - {engine_id}) < self.room, "woken although it does not fit"
        self._fault("wake")
        self.asleep.discard(engine_id)

    async def probe(self, engine_id: str) -> None:
        self._need(engine_id)
        assert engine_id not in self.asleep
        self.calls.append(f"probe {self.alive[engine_id].checkpoint.model_id}")
        await asyncio.sleep(0)
        self._fault("probe")

    async def instance(self, engine_id: str) -> str:
        self._need(engine_id)
        return f"{engine_id}/{self.lives.get(engine_id, 0)}"

    def _need(self, engine_id: str) -> None:
        if engine_id not in self.alive:
            raise EngineStartError(f"there is no engine {engine_id}")
