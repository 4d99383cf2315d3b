"""The route of each served name: its engine, or why it has none.

Owns the reasons that are told while nothing serves, and what the routing table says.  Decides nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from aiopt.serving.backend import ModelCard
from aiopt.serving.checkpoint.validation import CALIBRATION_FILE
from aiopt.serving.profile import SlotConfig
from aiopt.serving.swap.ledger import Ledger
from aiopt.serving.swap.records import Route
from aiopt.serving.swap.routing import RouteBoard

_LOGGER = logging.getLogger("ray.serve")


class SlotRoutes:
    """Publishes the routes that follow from the ledger.

    Parameters
    ----------
    slots : sequence of SlotConfig
        Served names.
    ledger : Ledger
        Says what serves.
    board : RouteBoard
        Where gateways read.
    """

    def __init__(self, slots: Sequence[SlotConfig], ledger: Ledger, board: RouteBoard) -> None:
        self._slots = slots
        self._ledger = ledger
        self._board = board
        self._held: dict[str, str] = {}
        self._failed: dict[str, str] = {}

    def hold(self, slot: str, reason: str) -> None:
        """Stop routing to a slot's engine, and say why."""
        self._held[slot] = reason
        self.publish()

    def is_held(self, slot: str) -> bool:
        """Tell whether the slot's engine is not routed to for a while."""
        return slot in self._held

    def let_go(self, slot: str) -> None:
        """Route to the slot's engine again."""
        self._held.pop(slot, None)
        self.publish()

    def fail(self, slot: str, reason: str) -> None:
        """Say why a slot without an engine has none."""
        self._failed[slot] = reason
        self.publish()

    def recovered(self, slot: str) -> None:
        """Forget why the slot had no engine."""
        self._failed.pop(slot, None)

    def publish(self) -> None:
        """Replace all routes at once."""
        self._board.publish(tuple(self._route(slot) for slot in self._slots))

    def _route(self, slot: SlotConfig) -> Route:
        active = self._ledger.active(slot.name)
        if active is None or slot.name in self._held:
            reason = self._held.get(slot.name) or self._failed.get(slot.name) or "its engine is being loaded"
            return Route(name=slot.name, aliases=slot.aliases, reason=reason)
        checkpoint = active.checkpoint
        card = ModelCard(
            name=slot.name,
            aliases=slot.aliases,
            model_id=checkpoint.model_id,
            revision=checkpoint.revision,
            architecture=checkpoint.architecture,
            images=checkpoint.images,
            max_context_tokens=active.context_tokens,
            created=self._ledger.state.slots[slot.name].since_s,
            calibration=_calibration(Path(checkpoint.path)),
        )
        return Route(name=slot.name, aliases=slot.aliases, engine_id=active.engine_id, card=card)


def _calibration(folder: Path) -> str:
    """Return how sure a checkpoint may be, as its folder says; a model serves without as well."""
    try:
        return (folder / CALIBRATION_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as failure:
        _LOGGER.warning("%s of %s cannot be read: %s", CALIBRATION_FILE, folder, failure)
        return ""
