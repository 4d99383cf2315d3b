"""The board gateways read their routes from, and what they say about requests in flight.

Owns the current routing table and the rule when an engine is let go of: every gateway holds the current table
and none has a request on the engine.  Knows nothing of how engines come to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Mapping

import msgspec

from aiopt.serving.swap.records import Route, RoutingTable

GATEWAY_TIMEOUT_S = 15.0
"""A gateway that was not heard of for so long is gone, and its requests with it."""

RELEASE_POLL_S = 0.02


class _Gateway(msgspec.Struct):
    version: str
    in_flight: Mapping[str, int]
    heard_s: float


class RouteBoard:
    """The routing table of one life of the coordinator."""

    def __init__(self) -> None:
        self._gateways: dict[str, _Gateway] = {}
        self._changed = asyncio.Event()
        self._epoch, self._count = uuid.uuid4().hex[:8], 0
        self._draining: set[str] = set()
        self.table = RoutingTable(version=f"{self._epoch}-0", routes=())

    def publish(self, routes: tuple[Route, ...]) -> None:
        """Replace all routes at once and wake every gateway that waits."""
        self._count += 1
        self.table = RoutingTable(version=f"{self._epoch}-{self._count}", routes=routes)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def sync(
        self, gateway: str, version: str, in_flight: Mapping[str, int], wait_s: float
    ) -> RoutingTable:
        """Tell what a gateway holds and return the table, waiting up to `wait_s` for a newer one.

        Parameters
        ----------
        gateway : str
            Name of this life of the gateway.
        version : str
            Version of the table it routes by; empty at first.
        in_flight : mapping
            Requests it has on each engine.
        wait_s : float
            Longest wait.
        """
        self._gateways[gateway] = _Gateway(version, dict(in_flight), time.monotonic())
        if version == self.table.version and wait_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait_s)
        return self.table

    def in_flight(self, engine_id: str) -> int:
        """Return the requests on an engine, as the gateways told last."""
        return sum(gateway.in_flight.get(engine_id, 0) for gateway in self._alive())

    def is_draining(self, engine_id: str) -> bool:
        """Tell whether somebody waits for an engine to be let go of."""
        return engine_id in self._draining

    async def released(self, engine_id: str, timeout_s: float) -> bool:
        """Wait until every gateway routes by the current table and none has a request on this engine.

        Returns
        -------
        bool
            False when it took longer than `timeout_s`.
        """
        self._draining.add(engine_id)
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline:
                current = all(gateway.version == self.table.version for gateway in self._alive())
                if current and not self.in_flight(engine_id):
                    return True
                await asyncio.sleep(RELEASE_POLL_S)
            return False
        finally:
            self._draining.discard(engine_id)

    def _alive(self) -> list[_Gateway]:
        oldest = time.monotonic() - GATEWAY_TIMEOUT_S
        self._gateways = {name: gate for name, gate in self._gateways.items() if gate.heard_s >= oldest}
        return list(self._gateways.values())
