"""Memory lent to a training: engines are drained, sleep or stop, and come back proved when it ends.

Owns who holds a slot's memory and until when.  A holder renews its hold all the time; one that was killed
does not, so its hold expires and the engine is woken without anybody's doing.  Holds are in the coordinator's
state file: a restarted coordinator keeps them, and wakes what nobody holds.  How an engine comes to rest and
back is `EngineRoom`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiopt.serving.backend import Operation, OperationKind, SwapRefusedError
from aiopt.serving.swap.ledger import Ledger
from aiopt.serving.swap.slot_routes import SlotRoutes

HOLD_S = 90.0
"""How long a hold lasts without being renewed."""

RETRY_S = 30.0
"""Between two tries to wake an engine that does not come up."""

Enqueue = Callable[[OperationKind, str, str], Operation]


class Parking:
    """Holds on the memory of slots.

    Parameters
    ----------
    ledger : Ledger
        Where holds are written.
    routes : SlotRoutes
        Says to requests why nothing serves.
    enqueue : callable
        Starts an operation of a kind on a slot, for a holder.
    """

    def __init__(self, ledger: Ledger, routes: SlotRoutes, enqueue: Enqueue) -> None:
        self._ledger = ledger
        self._routes = routes
        self._enqueue = enqueue

    def park(self, slot: str, holder: str) -> Operation:
        """Hold a slot's memory, or renew the hold; the operation that drains it is started once."""
        if not holder.strip():
            raise SwapRefusedError("A slot must be parked for somebody, but the holder is empty. Name one.")
        held = self._ledger.state.slots[slot].parked
        self._ledger.hold(slot, {**held, holder: time.time() + HOLD_S})
        latest = self._latest("park", slot)
        if held and latest is not None and latest.state != "refused":
            return latest
        return self._enqueue("park", slot, holder)

    def wake(self, slot: str, holder: str) -> Operation:
        """End a hold (all holds for an empty holder) and wake the engine if nobody else has one."""
        held = self._ledger.state.slots[slot].parked
        self._ledger.hold(slot, {name: until for name, until in held.items() if holder not in ("", name)})
        return self._enqueue("wake", slot, holder)

    def holders(self, slot: str) -> list[str]:
        """Return who holds a slot's memory now."""
        now = time.time()
        return sorted(name for name, until in self._ledger.state.slots[slot].parked.items() if until > now)

    def refuse_held(self, slot: str, kind: OperationKind) -> None:
        """Raise if a slot's memory is lent.

        Raises
        ------
        SwapRefusedError
            Names the holder and the way out.
        """
        holders = self.holders(slot)
        if holders:
            raise SwapRefusedError(
                f"A {kind} needs the memory of {slot}, but {', '.join(holders)} holds it. Wait until that "
                f"ends, or take it back: aiopt model wake --name {slot}"
            )

    def give_up(self, slot: str) -> None:
        """Forget all holds on a slot: it could not be drained."""
        self._ledger.hold(slot, {})

    def reclaim(self) -> None:
        """Wake what rests although nobody holds it: a holder was killed, or an engine did not come up."""
        busy = {one.slot for one in self._ledger.state.operations if one.state in ("waiting", "running")}
        if busy:
            return
        for slot, record in list(self._ledger.state.slots.items()):
            active = self._ledger.active(slot)
            if active is None or not active.asleep or self.holders(slot):
                continue
            if record.parked:
                self._ledger.hold(slot, {})
            latest = self._latest("wake", slot)
            if latest is None or latest.state == "done" or time.time() - latest.started_s > RETRY_S:
                self._enqueue("wake", slot, "")

    def restore(self) -> None:
        """Say again why nothing serves, after a restart of the coordinator."""
        for slot in self._ledger.state.slots:
            active = self._ledger.active(slot)
            if active is not None and active.asleep:
                self._routes.hold(slot, parked_reason(self.holders(slot)))

    def _latest(self, kind: OperationKind, slot: str) -> Operation | None:
        found = [one for one in self._ledger.state.operations if (one.kind, one.slot) == (kind, slot)]
        return found[-1] if found else None


def parked_reason(holders: list[str]) -> str:
    """Return why a parked slot does not serve."""
    who = ", ".join(holders)
    return (
        f"its memory is lent to {who}, and it comes back after that" if who else "its engine is being woken"
    )
