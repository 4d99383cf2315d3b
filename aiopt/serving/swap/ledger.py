"""What serves, stands by and happened, kept in a file so that a restarted coordinator goes on.

Owns ``serving/models.json``; every change is written before it counts.  Decides nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from aiopt.errors import did_you_mean
from aiopt.serving.backend import Operation, Phase, PhaseTime, UnknownModelError
from aiopt.serving.swap.records import HISTORY, EngineRecord, ServingState, write_state


class Ledger:
    """The state of serving.

    Parameters
    ----------
    path : Path
        The file.
    state : ServingState
        What it holds at first; not written.
    """

    def __init__(self, path: Path, state: ServingState) -> None:
        self._path = path
        self.state = state

    def save(self, state: ServingState) -> None:
        """Write a whole new state."""
        write_state(self._path, state)
        self.state = state

    # Engines

    def active(self, slot: str) -> EngineRecord | None:
        """Return the serving engine."""
        return self.state.engines.get(self.state.slots[slot].active)

    def revision(self, slot: str) -> str:
        """Return what serves; empty while nothing does."""
        active = self.active(slot)
        return "" if active is None else active.checkpoint.revision

    def standby(self, slot: str) -> list[EngineRecord]:
        """Return the slot's engines that do not serve, longest unused first."""
        active = self.state.slots[slot].active
        records = self.state.engines.values()
        found = [record for record in records if record.slot == slot and record.engine_id != active]
        return sorted(found, key=lambda record: record.used_s)

    def loaded(self, slot: str, revision: str) -> EngineRecord | None:
        """Return an engine of this revision that stands by."""
        return next((each for each in self.standby(slot) if each.checkpoint.revision == revision), None)

    def put(self, record: EngineRecord) -> EngineRecord:
        """Add or replace an engine."""
        engines = self.state.engines | {record.engine_id: record}
        self.save(msgspec.structs.replace(self.state, engines=engines))
        return record

    def drop(self, engine_id: str) -> None:
        """Forget an engine."""
        engines = {name: record for name, record in self.state.engines.items() if name != engine_id}
        self.save(msgspec.structs.replace(self.state, engines=engines))

    def replace_active(self, slot: str, record: EngineRecord) -> None:
        """Let another engine of the same checkpoint serve."""
        entry = msgspec.structs.replace(self.state.slots[slot], active=record.engine_id)
        engines = self.state.engines | {record.engine_id: record}
        slots = self.state.slots | {slot: entry}
        self.save(msgspec.structs.replace(self.state, slots=slots, engines=engines))

    def flip(self, slot: str, engine_id: str) -> None:
        """Let another engine serve, and remember what served before: one write."""
        old, now = self.active(slot), time.time()
        engines = dict(self.state.engines)
        engines[engine_id] = msgspec.structs.replace(engines[engine_id], used_s=now)
        previous = self.state.slots[slot].previous
        if old is not None:
            engines[old.engine_id] = msgspec.structs.replace(engines[old.engine_id], used_s=now)
            previous = old.checkpoint
        entry = msgspec.structs.replace(
            self.state.slots[slot], active=engine_id, previous=previous, since_s=int(now)
        )
        slots = self.state.slots | {slot: entry}
        self.save(msgspec.structs.replace(self.state, slots=slots, engines=engines))

    def hold(self, slot: str, parked: dict[str, float]) -> None:
        """Write who holds the memory of a slot's engines, and until when."""
        entry = msgspec.structs.replace(self.state.slots[slot], parked=parked)
        self.save(msgspec.structs.replace(self.state, slots=self.state.slots | {slot: entry}))

    # Operations

    def operation(self, operation_id: str) -> Operation:
        """Return an operation.

        Raises
        ------
        UnknownModelError
            If there is none of that id.
        """
        for operation in self.state.operations:
            if operation.operation_id == operation_id:
                return operation
        known = [operation.operation_id for operation in self.state.operations[-10:]]
        raise UnknownModelError(f"There is no operation {operation_id!r}.{did_you_mean(operation_id, known)}")

    def add(self, operation: Operation) -> None:
        """Record a new operation."""
        operations = [*self.state.operations, operation][-HISTORY:]
        self.save(msgspec.structs.replace(self.state, operations=operations))

    def update(self, operation_id: str, **changes: Any) -> None:
        """Change fields of an operation."""
        operations = [
            msgspec.structs.replace(each, **changes) if each.operation_id == operation_id else each
            for each in self.state.operations
        ]
        self.save(msgspec.structs.replace(self.state, operations=operations))

    @contextlib.contextmanager
    def phase(self, operation_id: str, phase: Phase) -> Iterator[None]:
        """Record a phase of an operation and its time; one that fails stays the operation's phase."""
        self.update(operation_id, phase=phase)
        begun = time.monotonic()
        yield
        took = PhaseTime(phase=phase, seconds=round(time.monotonic() - begun, 4))
        self.update(operation_id, phases=(*self.operation(operation_id).phases, took))
