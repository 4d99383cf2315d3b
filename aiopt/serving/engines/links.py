"""The ways from a gateway to the processes behind it: one to an engine, one to the coordinator.

Owns the two protocols and the one error all ways share, so that nothing in front of a link knows whether
Ray Serve, a socket or a test is behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from aiopt.errors import ClusterError
from aiopt.serving.backend import Operation, OperationKind, ServingStatus
from aiopt.serving.engines.wire import WireAddress
from aiopt.serving.replies import Answered, Begun, ChatBody, Failed
from aiopt.serving.swap.records import RoutingTable


class LinkDownError(ClusterError):
    """The process at the other end is gone or does not answer; the message says how one found out."""


class EngineLink(Protocol):
    """One engine.  A call that is cancelled, or a stream that is closed, stops the engine's work for it.

    Every method raises `LinkDownError` when the engine's process is gone.
    """

    async def answer(self, body: ChatBody) -> Answered | Failed:
        """Answer a chat as a whole."""
        ...

    def stream(self, body: ChatBody) -> AsyncGenerator[Begun | Failed | bytes, None]:
        """Answer a chat in server-sent events: `Begun` or `Failed` first, `Failed` perhaps once more."""
        ...

    async def instance(self) -> str:
        """Return the name of this life of the engine."""
        ...

    async def wire(self) -> WireAddress:
        """Return where the engine listens on a socket of its own."""
        ...


class CoordinatorLink(Protocol):
    """The coordinator of swaps.  Every method raises `LinkDownError` while it is away."""

    async def sync(
        self, gateway: str, version: str, in_flight: Mapping[str, int], wait_s: float
    ) -> RoutingTable:
        """As `aiopt.serving.swap.routing.RouteBoard.sync`."""
        ...

    async def begin(self, kind: OperationKind, slot: str, checkpoint: str, wait: bool) -> Operation:
        """As `aiopt.serving.backend.Backend.begin`."""
        ...

    async def operation(self, operation_id: str) -> Operation:
        """As `aiopt.serving.backend.Backend.operation`."""
        ...

    async def status(self) -> ServingStatus:
        """As `aiopt.serving.backend.Backend.status`."""
        ...
