"""How engines come up, make room for each other, wake, and go: the steps of a swap that touch engines.

Owns the order of these steps and what is undone when one fails.  When they are taken is the coordinator's;
what an engine is, is behind `EngineHost`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

import msgspec

from aiopt.errors import AioptError
from aiopt.files import GIB
from aiopt.serving.backend import Operation, SwapRefusedError
from aiopt.serving.checkpoint.validation import Checkpoint
from aiopt.serving.profile import ServingConfig, SlotConfig
from aiopt.serving.swap.engine_host import ENGINE_PREFIX, EngineHost
from aiopt.serving.swap.ledger import Ledger
from aiopt.serving.swap.proof import EngineSpec, EngineStartError, ProbeMismatchError
from aiopt.serving.swap.records import EngineRecord
from aiopt.serving.swap.routing import RouteBoard
from aiopt.serving.swap.slot_routes import SlotRoutes

_LOGGER = logging.getLogger("ray.serve")

PROBE_TIMEOUT_S = 120.0


class EngineRoom:
    """The engines of one coordinator.

    Parameters
    ----------
    config : ServingConfig
        The profile.
    host : EngineHost
        Where engines live.
    ledger : Ledger
        What is loaded; written before it counts.
    board : RouteBoard
        Says when an engine is let go of.
    routes : SlotRoutes
        Told when a serving engine steps aside.

    Attributes
    ----------
    loading : EngineSpec or None
        The engine that comes up at the moment.
    """

    def __init__(
        self, config: ServingConfig, host: EngineHost, ledger: Ledger, board: RouteBoard, routes: SlotRoutes
    ) -> None:
        self._config = config
        self._slots = {slot.name: slot for slot in config.models}
        self._host = host
        self._ledger = ledger
        self._board = board
        self._routes = routes
        self.loading: EngineSpec | None = None

    async def load(self, operation: Operation, slot: SlotConfig, checkpoint: Checkpoint) -> EngineRecord:
        """Prove a checkpoint in an engine of its own; on failure nothing of it is left."""
        spec = EngineSpec(
            engine_id=_engine_id(slot.name, checkpoint),
            slot=slot.name,
            checkpoint=checkpoint,
            device=self._config.device,
            settings=slot.engine,
        )
        self.loading = spec
        beside = None
        try:
            with self._ledger.phase(operation.operation_id, "memory"):
                beside = await self._make_room(spec)
                if beside is not None:
                    await self._put_aside(beside)
            await self._start(operation, spec)
            if beside is not None and operation.kind == "load":
                await self._host.sleep(spec.engine_id)
        except BaseException:
            await self._host.stop(spec.engine_id)
            if beside is not None and self._routes.is_held(beside.slot):
                await self._bring_back(beside)
            raise
        finally:
            self.loading = None
        record = self._ledger.put(
            EngineRecord(
                engine_id=spec.engine_id,
                slot=slot.name,
                checkpoint=checkpoint,
                context_tokens=spec.context_tokens,
                asleep=beside is not None and operation.kind == "load",
                used_s=time.time(),
            )
        )
        if record.asleep and beside is not None:
            await self._bring_back(beside)
        return record

    async def _start(self, operation: Operation, spec: EngineSpec) -> None:
        timeout_s = self._config.load_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                with self._ledger.phase(operation.operation_id, "reference"):
                    reference = await self._host.reference(spec)
                with self._ledger.phase(operation.operation_id, "load"):
                    await self._host.start(spec, reference)
        except TimeoutError as error:
            msg = (
                f"{spec.checkpoint.model_id} was not loaded within {timeout_s:.0f} s. Raise "
                "`load_timeout_s`, or look into the engine's log (Ray dashboard)."
            )
            raise EngineStartError(msg) from error
        except ProbeMismatchError:
            self._ledger.update(operation.operation_id, phase="probe")
            raise
        with self._ledger.phase(operation.operation_id, "probe"):
            await self._probe(spec.engine_id)

    async def wake(self, operation: Operation, record: EngineRecord) -> None:
        """Prove a standby engine once more; one that fails is removed."""
        aside = None
        if record.asleep and not (await self._host.memory(self._spec(record))).fits:
            aside = self._ledger.active(record.slot)
        if aside is not None:
            with self._ledger.phase(operation.operation_id, "memory"):
                await self._put_aside(aside)
        try:
            with self._ledger.phase(operation.operation_id, "wake"):
                if record.asleep:
                    await self._host.wake(record.engine_id)
                    self._ledger.put(msgspec.structs.replace(record, asleep=False))
            with self._ledger.phase(operation.operation_id, "probe"):
                await self._probe(record.engine_id)
        except BaseException:
            await self._remove(record.engine_id)
            if aside is not None:
                await self._bring_back(aside)
            raise

    async def _probe(self, engine_id: str) -> None:
        try:
            await asyncio.wait_for(self._host.probe(engine_id), PROBE_TIMEOUT_S)
        except TimeoutError as error:
            msg = f"The engine did not answer the probe set within {PROBE_TIMEOUT_S:.0f} s."
            raise ProbeMismatchError(msg) from error

    async def _make_room(self, spec: EngineSpec) -> EngineRecord | None:
        """Check that the candidate fits; return the engine that has to sleep meanwhile, if any."""
        report = await self._host.memory(spec)
        for record in self._ledger.standby(spec.slot):
            if report.fits:
                return None
            if not record.asleep:
                await self._remove(record.engine_id)
                report = await self._host.memory(spec)
        if report.fits:
            return None
        active = self._ledger.active(spec.slot)
        if report.can_sleep and active is not None:
            return active
        way = (
            "its kind of device cannot put an engine to sleep"
            if active is not None
            else "no engine can make room"
        )
        msg = (
            f"Loading {spec.checkpoint.model_id} needs {report.needed_bytes / GIB:.1f} GiB, but "
            f"{report.available_bytes / GIB:.1f} GiB of {report.device} are free and {way}. Free memory, "
            "lower `kv_cache_gib` or `gpu_memory_share`, or serve fewer models."
        )
        raise SwapRefusedError(msg)

    async def _put_aside(self, record: EngineRecord) -> None:
        """Stop routing to the serving engine and put it to sleep, because both do not fit."""
        self._routes.hold(
            record.slot, "another model is being loaded in its place; both do not fit in memory"
        )
        if not await self.released(record.engine_id):
            self._routes.let_go(record.slot)
            raise SwapRefusedError(
                f"The serving engine must be idle to make room, but was not within "
                f"{self._config.drain_timeout_s:.0f} s. Try again when there is less load."
            )
        try:
            await self._host.sleep(record.engine_id)
        except BaseException:
            await self._bring_back(record)
            raise
        self._ledger.put(msgspec.structs.replace(record, asleep=True))

    async def _bring_back(self, record: EngineRecord) -> None:
        """Let the engine that made room serve again, proved; one that cannot is started anew."""
        try:
            await self._host.wake(record.engine_id)
            await self._probe(record.engine_id)
            self._ledger.put(msgspec.structs.replace(record, asleep=False))
        except AioptError:
            _LOGGER.exception("engine %s did not wake; it is started anew", record.engine_id)
            await self._start_anew(record)
        finally:
            self._routes.let_go(record.slot)

    async def rest(self, operation: Operation, reason: str) -> str:
        """Drain a slot's engine and free its memory and that of those beside it.

        Raises
        ------
        SwapRefusedError
            If it was not idle in time; then it serves on.
        """
        slot = operation.slot
        active = self._ledger.active(slot)
        sleeps = self._config.device == "gpu" and self._slots[slot].engine.sleep_mode
        with self._ledger.phase(operation.operation_id, "drain"):
            self._routes.hold(slot, reason)
            if active is not None and not active.asleep and not await self.released(active.engine_id):
                self._routes.let_go(slot)
                raise SwapRefusedError(
                    f"The engine of {slot} must be idle to make room, but was not within "
                    f"{self._config.drain_timeout_s:.0f} s. Try again when there is less load."
                )
        with self._ledger.phase(operation.operation_id, "sleep"):
            for record in self._ledger.standby(slot):
                if not record.asleep:
                    await self._remove(record.engine_id)
            if active is None:
                return f"{slot} served nothing; nothing is loaded meanwhile."
            if not active.asleep:
                # What is written first is found by a coordinator that is restarted in between.
                self._ledger.put(msgspec.structs.replace(active, asleep=True))
                await (self._host.sleep if sleeps else self._host.stop)(active.engine_id)
        way = "sleeps" if sleeps else "is stopped"
        return f"{slot} is drained, and its engine {way}, for {operation.checkpoint}."

    async def bring_back(self, operation: Operation) -> str:
        """Let a slot's engine that rests serve again, proved; a route is given only to one that is."""
        record = self._ledger.active(operation.slot)
        if record is None or not record.asleep:
            self._routes.let_go(operation.slot)
            return f"{operation.slot} was not parked."
        with self._ledger.phase(operation.operation_id, "wake"):
            if record.engine_id in await self._host.engines():
                try:
                    await self._host.wake(record.engine_id)
                    await self._probe(record.engine_id)
                    self._ledger.put(msgspec.structs.replace(record, asleep=False))
                except AioptError:
                    _LOGGER.exception("engine %s did not wake; it is started anew", record.engine_id)
                    await self._host.stop(record.engine_id)
                    await self._replace(record)
            else:
                await self._replace(record)
        active = self._ledger.active(operation.slot)
        assert active is not None
        with self._ledger.phase(operation.operation_id, "probe"):
            await self._probe(active.engine_id)
        self._routes.let_go(operation.slot)
        revision = record.checkpoint.revision[:12]
        return f"{operation.slot} is {record.checkpoint.model_id} ({revision}) again, proved."

    async def _replace(self, record: EngineRecord) -> None:
        """Start a fresh engine in the place of one that rests; on failure that one's record stays."""
        spec = msgspec.structs.replace(
            self._spec(record), engine_id=_engine_id(record.slot, record.checkpoint)
        )
        try:
            async with asyncio.timeout(self._config.load_timeout_s):
                await self._host.start(spec, await self._host.reference(spec))
        except BaseException:
            await self._host.stop(spec.engine_id)
            raise
        fresh = msgspec.structs.replace(record, engine_id=spec.engine_id, asleep=False)
        self._ledger.replace_active(record.slot, fresh)
        self._ledger.drop(record.engine_id)

    async def _start_anew(self, record: EngineRecord) -> None:
        """Replace the serving engine by a fresh one on the same checkpoint."""
        await self._remove(record.engine_id)
        spec = msgspec.structs.replace(
            self._spec(record), engine_id=_engine_id(record.slot, record.checkpoint)
        )
        await self._host.start(spec, await self._host.reference(spec))
        fresh = msgspec.structs.replace(record, engine_id=spec.engine_id, asleep=False)
        self._ledger.replace_active(record.slot, fresh)

    async def retire(self, slot: str, *, keep: str = "", busy: str | None = None) -> None:
        """Put engines that do not serve to sleep where that frees memory; remove the surplus."""
        standby = [record for record in self._ledger.standby(slot) if record.engine_id != busy]
        previous = self._ledger.state.slots[slot].previous
        first = {keep} | {
            record.engine_id
            for record in standby
            if previous is not None and record.checkpoint.revision == previous.revision
        }
        # The one just loaded and the previous one are the last to go, then the most recently used.
        standby.sort(key=lambda record: (record.engine_id in first, record.used_s), reverse=True)
        limit = max(self._config.standby_engines, 1 if keep else 0)
        for record in standby[limit:]:
            await self._remove(record.engine_id)
        if self._config.device == "gpu" and self._slots[slot].engine.sleep_mode:
            for record in standby[:limit]:
                if record.asleep:
                    continue
                try:
                    await self._host.sleep(record.engine_id)
                except AioptError:
                    # It does not serve and would hold memory: better gone.  The swap itself is done.
                    _LOGGER.exception("engine %s did not go to sleep and is removed", record.engine_id)
                    await self._remove(record.engine_id)
                else:
                    self._ledger.put(msgspec.structs.replace(record, asleep=True))

    def _spec(self, record: EngineRecord) -> EngineSpec:
        return EngineSpec(
            engine_id=record.engine_id,
            slot=record.slot,
            checkpoint=record.checkpoint,
            device=self._config.device,
            settings=self._slots[record.slot].engine,
        )

    async def _remove(self, engine_id: str) -> None:
        self._ledger.drop(engine_id)
        await self._host.stop(engine_id)

    async def released(self, engine_id: str) -> bool:
        """Wait until no request is on an engine; False when that took longer than `drain_timeout_s`."""
        return await self._board.released(engine_id, self._config.drain_timeout_s)


def _engine_id(slot: str, checkpoint: Checkpoint) -> str:
    name = "".join(letter if letter.isalnum() or letter == "-" else "-" for letter in slot)
    return f"{ENGINE_PREFIX}{name}-{checkpoint.revision[:8]}-{uuid.uuid4().hex[:6]}"
