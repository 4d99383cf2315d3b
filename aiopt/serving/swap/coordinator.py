"""The coordinator of model swaps: one operation at a time, proved, and the old model serves until the flip.

Owns the order of phases and what is found again after a restart; steps that touch engines are `EngineRoom`'s.
What an engine is and how it is started, put to sleep or asked is behind `EngineHost`; this module imports
neither Ray nor vLLM and is tested with an engine host of plain objects.

Phases of a swap::

    validate ─ memory ─ reference ─ load ─ probe ─┐            a checkpoint that is not loaded
                             wake ─ probe ────────┼─ flip ─ drain ─ retire
                                                  │            a standby engine of that revision
    any failure before the flip: the candidate is removed, the route never changed

A training may borrow the memory (`park`: drain, sleep) and give it back (`wake`: wake, probe), see `parking`.

A flip is one assignment of the routing table.  Gateways fetch the table by long polling and say with each
fetch which version they hold and how many requests they have on each engine; the old engine is touched only
when every gateway holds the new table and none has a request on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from aiopt.errors import AioptError, did_you_mean
from aiopt.serving.backend import (
    EngineInfo,
    Operation,
    OperationKind,
    ServingStatus,
    SwapRefusedError,
    UnknownModelError,
)
from aiopt.serving.checkpoint.validation import Checkpoint
from aiopt.serving.profile import EngineSettings, ServingConfig, SlotConfig
from aiopt.serving.swap.engine_host import EngineHost
from aiopt.serving.swap.engine_room import EngineRoom
from aiopt.serving.swap.ledger import Ledger
from aiopt.serving.swap.parking import Parking, parked_reason
from aiopt.serving.swap.proof import EngineSpec, EngineStartError
from aiopt.serving.swap.records import EngineRecord, RoutingTable, ServingState, SlotRecord, read_state
from aiopt.serving.swap.routing import RouteBoard
from aiopt.serving.swap.slot_routes import SlotRoutes

_LOGGER = logging.getLogger("ray.serve")

OBSERVE_TIMEOUT_S = 2.0

Role = Literal["serving", "previous", "standby", "loading", "draining", "asleep"]

Validate = Callable[[str, Checkpoint | None, bool], Checkpoint]
"""Judge a checkpoint: what was asked for, what it replaces, whether it may bring code."""


class SwapCoordinator:
    """Decides which engine serves which name.

    Parameters
    ----------
    config : ServingConfig
        The profile.
    host : EngineHost
        Where engines live.
    validate : callable
        Judges a checkpoint.
    """

    def __init__(self, config: ServingConfig, host: EngineHost, validate: Validate) -> None:
        self._config = config
        self._slots = {slot.name: slot for slot in config.models}
        self._host = host
        self._validate = validate
        self._path = config.folder / "serving" / "models.json"
        # Nothing is routed before `start` has found which engines still exist.
        empty = ServingState(slots={slot.name: SlotRecord(configured="") for slot in config.models})
        self._ledger = Ledger(self._path, empty)
        self._board = RouteBoard()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._instances: dict[str, list[str]] = {}
        self._routes = SlotRoutes(config.models, self._ledger, self._board)
        self._room = EngineRoom(config, host, self._ledger, self._board, self._routes)
        self._parking = Parking(self._ledger, self._routes, self._enqueue)
        self._routes.publish()

    # Start and recovery

    async def start(self) -> None:
        """Find again what an earlier coordinator left, remove what nobody knows, load what is missing."""
        found = read_state(self._path)
        existing = await self._host.engines()
        known = {engine_id for engine_id in found.engines if engine_id in existing}
        for orphan in sorted(existing - known):
            await self._host.stop(orphan)
        slots: dict[str, SlotRecord] = {}
        wanted: dict[str, str] = {}
        outdated: set[str] = set()
        for slot in self._config.models:
            record = found.slots.get(slot.name)
            settings = _settings_hash(slot.engine)
            if record is not None and record.settings not in {"", settings}:
                # An engine keeps the settings it was started with.
                outdated.add(slot.name)
            if record is None or record.configured != slot.model:
                slots[slot.name] = SlotRecord(configured=slot.model, settings=settings)
                wanted[slot.name] = slot.model
            elif slot.name not in outdated and (record.active in known or _rests(found, record)):
                slots[slot.name] = msgspec.structs.replace(record, settings=settings)
            else:
                lost = found.engines.get(record.active)
                slots[slot.name] = msgspec.structs.replace(record, active="", settings=settings, parked={})
                wanted[slot.name] = slot.model if lost is None else lost.checkpoint.path
        kept = {
            engine_id: record
            for engine_id, record in found.engines.items()
            if record.slot in slots
            and record.slot not in outdated
            and (engine_id in known or (record.asleep and slots[record.slot].active == engine_id))
        }
        for engine_id in known - set(kept):
            await self._host.stop(engine_id)
        # What rests is woken by `observe` when nobody holds it.
        operations = [_interrupted(operation) for operation in found.operations]
        self._ledger.save(ServingState(slots=slots, engines=kept, operations=operations))
        self._parking.restore()
        self._routes.publish()
        for name, source in wanted.items():
            self._enqueue("swap", name, source)

    @property
    def table(self) -> RoutingTable:
        """The routes at this moment."""
        return self._board.table

    # What a gateway asks

    async def sync(
        self, gateway: str, version: str, in_flight: Mapping[str, int], wait_s: float
    ) -> RoutingTable:
        """As `RouteBoard.sync`."""
        return await self._board.sync(gateway, version, in_flight, wait_s)

    async def begin(
        self, kind: OperationKind, slot: str, checkpoint: str = "", wait: bool = True
    ) -> Operation:
        """As `Backend.begin`."""
        name = self._resolve(slot)
        if not wait and (
            self._lock.locked() or any(op.state == "waiting" for op in self._ledger.state.operations)
        ):
            running = next((op for op in self._ledger.state.operations if op.state == "running"), None)
            what = "another operation" if running is None else f"the {running.kind} {running.operation_id}"
            raise SwapRefusedError(
                f"Only one operation may run at a time, but {what} still does. Wait, or queue behind it."
            )
        if kind == "park":
            return self._parking.park(name, checkpoint)
        if kind == "wake":
            return self._parking.wake(name, checkpoint)
        if kind == "rollback" and self._ledger.state.slots[name].previous is None:
            raise SwapRefusedError(f"A rollback needs a previous model, but {name} had only one so far.")
        if kind != "rollback" and not checkpoint.strip():
            raise SwapRefusedError(
                f"A {kind} must name a checkpoint, but got none. Give a folder or a hub id."
            )
        return self._enqueue(kind, name, checkpoint)

    def operation(self, operation_id: str) -> Operation:
        """As `Backend.operation`."""
        return self._ledger.operation(operation_id)

    def status(self) -> ServingStatus:
        """As `Backend.status`; requests in flight as the gateways told last."""
        engines = []
        for record in self._ledger.state.engines.values():
            slot = self._ledger.state.slots[record.slot]
            role: Role = "standby"
            if self._board.is_draining(record.engine_id):
                role = "draining"
            elif record.asleep:
                role = "asleep"
            elif record.engine_id == slot.active:
                role = "serving"
            elif slot.previous is not None and slot.previous.revision == record.checkpoint.revision:
                role = "previous"
            engines.append(self._info(record, role))
        if self._room.loading is not None:
            engines.append(self._info(self._room.loading, "loading"))
        cards = tuple(route.card for route in self._board.table.routes if route.card is not None)
        return ServingStatus(
            cards=cards, engines=tuple(engines), operations=tuple(self._ledger.state.operations)
        )

    async def observe(self) -> None:
        """Note which engines live, to count restarts.  One that does not answer at once is left out."""
        for engine_id in list(self._ledger.state.engines):
            with contextlib.suppress(TimeoutError, EngineStartError):
                name = await asyncio.wait_for(self._host.instance(engine_id), OBSERVE_TIMEOUT_S)
                seen = self._instances.setdefault(engine_id, [])
                if name not in seen:
                    seen.append(name)
        for engine_id in set(self._instances) - set(self._ledger.state.engines):
            del self._instances[engine_id]
        self._parking.reclaim()

    async def settle(self) -> None:
        """Wait until no operation runs or waits."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    # Operations

    def _enqueue(self, kind: OperationKind, slot: str, checkpoint: str) -> Operation:
        operation = Operation(
            operation_id=uuid.uuid4().hex[:12],
            kind=kind,
            slot=slot,
            checkpoint=checkpoint,
            state="waiting",
            from_revision=self._ledger.revision(slot),
            started_s=time.time(),
        )
        self._ledger.add(operation)
        task = asyncio.get_running_loop().create_task(self._run(operation.operation_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    async def _run(self, operation_id: str) -> None:
        async with self._lock:
            operation = self.operation(operation_id)
            slot = operation.slot
            self._ledger.update(operation_id, state="running", from_revision=self._ledger.revision(slot))
            try:
                message = await self._execute(operation)
            except AioptError as error:
                self._refuse(operation, str(error))
            except Exception as error:
                _LOGGER.exception("operation %s failed", operation_id)
                self._refuse(operation, f"{type(error).__name__}: {error}")
            else:
                self._routes.recovered(slot)
                revision = self.operation(operation_id).to_revision
                self._ledger.update(
                    operation_id, state="done", phase=None, message=message, to_revision=revision
                )

    def _refuse(self, operation: Operation, reason: str) -> None:
        if operation.kind == "park":
            self._parking.give_up(operation.slot)
        if not self._ledger.state.slots[operation.slot].active:
            self._routes.fail(operation.slot, reason)
        self._ledger.update(operation.operation_id, state="refused", message=reason)

    async def _execute(self, operation: Operation) -> str:
        slot = self._slots[operation.slot]
        if operation.kind in ("park", "wake"):
            return await self._rest_or_wake(operation)
        self._parking.refuse_held(slot.name, operation.kind)
        source, wanted = operation.checkpoint, None
        if operation.kind == "rollback":
            wanted = self._ledger.state.slots[slot.name].previous
            if wanted is None:
                raise SwapRefusedError(f"A rollback needs a previous model, but {slot.name} has none.")
            source = wanted.path
            self._ledger.update(operation.operation_id, checkpoint=source)
        with self._ledger.phase(operation.operation_id, "validate"):
            checkpoint = await self._judge(slot, source, wanted)
            self._ledger.update(operation.operation_id, to_revision=checkpoint.revision)
        active = self._ledger.active(slot.name)
        if active is not None and active.checkpoint.revision == checkpoint.revision:
            return f"{checkpoint.model_id} ({checkpoint.revision[:12]}) serves already."
        loaded = self._ledger.loaded(slot.name, checkpoint.revision)
        if loaded is not None and operation.kind == "load":
            return f"{checkpoint.model_id} ({checkpoint.revision[:12]}) is loaded already."
        if loaded is None:
            loaded = await self._room.load(operation, slot, checkpoint)
        else:
            await self._room.wake(operation, loaded)
        if operation.kind == "load":
            with self._ledger.phase(operation.operation_id, "retire"):
                await self._room.retire(slot.name, keep=loaded.engine_id)
            return f"{checkpoint.model_id} ({checkpoint.revision[:12]}) is proved and stands by."
        with self._ledger.phase(operation.operation_id, "flip"):
            self._ledger.flip(slot.name, loaded.engine_id)
            self._routes.let_go(slot.name)
        with self._ledger.phase(operation.operation_id, "drain"):
            drained = active is None or await self._room.released(active.engine_id)
        with self._ledger.phase(operation.operation_id, "retire"):
            await self._room.retire(slot.name, busy=None if drained or active is None else active.engine_id)
        late = "" if drained else " Requests on the old engine took too long; it stays loaded beside."
        return f"{slot.name} is {checkpoint.model_id} ({checkpoint.revision[:12]}) now.{late}"

    async def _rest_or_wake(self, operation: Operation) -> str:
        holders = self._parking.holders(operation.slot)
        if operation.kind == "park":
            if not holders:
                return f"{operation.checkpoint} let go of it before it was drained."
            return await self._room.rest(operation, parked_reason(holders))
        if holders:
            return f"{operation.slot} stays parked for {', '.join(holders)}."
        return await self._room.bring_back(operation)

    async def _judge(self, slot: SlotConfig, source: str, wanted: Checkpoint | None) -> Checkpoint:
        active = self._ledger.active(slot.name)
        like = None if active is None else active.checkpoint
        checkpoint = await asyncio.to_thread(self._validate, source, like, slot.engine.remote_code)
        if wanted is not None and checkpoint.revision != wanted.revision:
            msg = (
                f"{source} must still hold the previous revision {wanted.revision[:12]}, but now holds "
                f"{checkpoint.revision[:12]}. Swap to the folder as it is now."
            )
            raise SwapRefusedError(msg)
        return checkpoint

    # State

    def _resolve(self, name: str) -> str:
        for slot in self._config.models:
            if name == slot.name or name in slot.aliases:
                return slot.name
        known = [name for slot in self._config.models for name in (slot.name, *slot.aliases)]
        raise UnknownModelError(f"There is no served name {name!r}.{did_you_mean(name, known)}")

    def _info(self, engine: EngineRecord | EngineSpec, role: Role) -> EngineInfo:
        engine_id = engine.engine_id
        return EngineInfo(
            engine_id=engine_id,
            slot=engine.slot,
            model_id=engine.checkpoint.model_id,
            revision=engine.checkpoint.revision,
            role=role,
            in_flight=self._board.in_flight(engine_id),
            restarts=max(0, len(self._instances.get(engine_id, ())) - 1),
        )


def _rests(found: ServingState, record: SlotRecord) -> bool:
    """Tell whether a slot's engine was put to rest, so that its absence is no loss."""
    engine = found.engines.get(record.active)
    return engine is not None and engine.asleep


def _settings_hash(settings: EngineSettings) -> str:
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()


def _interrupted(operation: Operation) -> Operation:
    if operation.state not in {"waiting", "running"}:
        return operation
    message = "The coordinator was restarted meanwhile; the model that served before still serves. Ask again."
    return msgspec.structs.replace(operation, state="refused", message=message)
