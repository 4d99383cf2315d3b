"""The `Backend` inside a gateway: routes, leases, and how many requests are on which engine.

A route is read and counted in one step of the event loop, so a request is always on exactly one engine and
counted there.  A lease asks its engine once; trying again is the gateway's.  Knows nothing of HTTP, nor how
an engine comes to be, nor what is behind a link.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from aiopt.errors import did_you_mean
from aiopt.serving.backend import (
    EngineFailureError,
    EngineRequestError,
    ModelCard,
    ModelUnavailableError,
    Operation,
    OperationKind,
    ServingStatus,
    UnknownModelError,
)
from aiopt.serving.engines.links import CoordinatorLink, EngineLink, LinkDownError
from aiopt.serving.engines.socket_link import SocketLink
from aiopt.serving.patience import Patience
from aiopt.serving.profile import ServingConfig
from aiopt.serving.replies import Answered, Begun, ChatBody, Failed
from aiopt.serving.swap.records import Route, RoutingTable

_LOGGER = logging.getLogger("ray.serve")

POLL_S = 5.0
STALE_POLL_S = 0.05
COORDINATOR_RETRY_S = 0.5
PING_S = 5.0
RETRY_AFTER_S = 5.0

T = TypeVar("T")
LinkTo = Callable[[str], EngineLink]
"""Makes the link to an engine, given its id."""


class RoutedBackend:
    """What stands behind one gateway.

    Parameters
    ----------
    config : ServingConfig
        The profile.
    coordinator : CoordinatorLink
        Says which engine serves which name.
    link_to : callable
        Makes the link to an engine.  Called once per engine while a route or a request needs it.
    """

    def __init__(self, config: ServingConfig, coordinator: CoordinatorLink, link_to: LinkTo) -> None:
        self._config = config
        self._coordinator = coordinator
        self._link_to = link_to
        self._name = uuid.uuid4().hex[:12]
        self._table = RoutingTable(
            version="",
            routes=tuple(
                Route(name=slot.name, aliases=slot.aliases, reason="the gateway has just started")
                for slot in config.models
            ),
        )
        self._changed = asyncio.Event()
        self._in_flight: Counter[str] = Counter()
        self._links: dict[str, EngineLink] = {}
        self._follower: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the coordinator.  Call once, in the event loop that serves."""
        self._follower = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        """Stop following and close every connection."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        for engine_id in list(self._links):
            self._forget(engine_id)

    # Backend

    def patience(self) -> Patience:
        """As `Backend.patience`."""
        return Patience(self._config.ready_wait_s)

    async def cards(self) -> list[ModelCard]:
        """As `Backend.cards`."""
        return [route.card for route in self._table.routes if route.card is not None]

    async def acquire(self, model: str, patience: Patience) -> RoutedLease:
        """As `Backend.acquire`."""
        while True:
            route = self._route(model)
            if route.card is not None:
                # No await between reading the route and counting the request.
                self._in_flight[route.engine_id] += 1
                return RoutedLease(self, route.engine_id, route.card, patience)
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), patience.remaining_s)
            except TimeoutError as error:
                raise ModelUnavailableError(
                    f"{route.name} is not ready: {route.reason}. Try again later.",
                    retry_after_s=RETRY_AFTER_S,
                ) from error

    async def status(self) -> ServingStatus:
        """As `Backend.status`."""
        await self._ask(self._coordinator.sync(self._name, self._table.version, dict(self._in_flight), 0.0))
        return await self._ask(self._coordinator.status())

    async def begin(
        self, kind: OperationKind, *, slot: str, checkpoint: str = "", wait: bool = True
    ) -> Operation:
        """As `Backend.begin`."""
        return await self._ask(self._coordinator.begin(kind, slot, checkpoint, wait))

    async def operation(self, operation_id: str) -> Operation:
        """As `Backend.operation`."""
        return await self._ask(self._coordinator.operation(operation_id))

    async def _ask(self, answer: Coroutine[Any, Any, T]) -> T:
        try:
            return await answer
        except LinkDownError as error:
            raise ModelUnavailableError(
                f"The coordinator does not answer ({error}). It is being restarted.",
                retry_after_s=RETRY_AFTER_S,
            ) from error

    # For leases

    def link(self, engine_id: str) -> EngineLink:
        """Return the link to an engine, made once: on the engine's own socket if the profile says so."""
        if engine_id not in self._links:
            link = self._link_to(engine_id)
            self._links[engine_id] = SocketLink(link) if self._config.engine_sockets else link
        return self._links[engine_id]

    async def lives(self, engine_id: str) -> bool:
        """Tell whether a replica of an engine answers at all."""
        try:
            await asyncio.wait_for(self.link(engine_id).instance(), PING_S)
        except (LinkDownError, TimeoutError):
            return False
        return True

    def release(self, engine_id: str) -> None:
        """Count a request off."""
        self._in_flight[engine_id] -= 1
        if not self._in_flight[engine_id]:
            del self._in_flight[engine_id]

    def _forget(self, engine_id: str) -> None:
        link = self._links.pop(engine_id)
        if isinstance(link, SocketLink):
            link.close()

    def _route(self, model: str) -> Route:
        for route in self._table.routes:
            if model == route.name or model in route.aliases:
                return route
        known = [name for route in self._table.routes for name in (route.name, *route.aliases)]
        raise UnknownModelError(f"There is no model {model!r}.{did_you_mean(model, known)}")

    # Following the coordinator

    async def _follow(self) -> None:
        """Keep the table current, and tell the coordinator what is in flight."""
        while True:
            routed = {route.engine_id for route in self._table.routes}
            stale = bool(set(self._in_flight) - routed)
            wait_s = 0.0 if stale else POLL_S
            try:
                table = await self._coordinator.sync(
                    self._name, self._table.version, dict(self._in_flight), wait_s
                )
            except LinkDownError as error:
                # Restarting: requests go on by the table that is known.
                _LOGGER.warning("the coordinator does not answer (%s); asking again", error)
                await asyncio.sleep(COORDINATOR_RETRY_S)
                continue
            if table.version != self._table.version:
                self._adopt(table)
            elif stale:
                await asyncio.sleep(STALE_POLL_S)

    def _adopt(self, table: RoutingTable) -> None:
        self._table = table
        used = {route.engine_id for route in table.routes} | set(self._in_flight)
        for engine_id in set(self._links) - used:
            self._forget(engine_id)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class RoutedLease:
    """One request's hold on one engine.

    Parameters
    ----------
    backend : RoutedBackend
        Where it was taken.
    engine_id : str
        The engine.
    card : ModelCard
        What answers name.
    patience : Patience
        How long an engine that says nothing is waited for before it is asked whether it lives.
    """

    def __init__(self, backend: RoutedBackend, engine_id: str, card: ModelCard, patience: Patience) -> None:
        self.card = card
        self._backend = backend
        self._engine_id = engine_id
        self._patience = patience
        self._held = True

    async def __aenter__(self) -> RoutedLease:
        """Return itself; the request was counted when the lease was made."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count the request off, once."""
        if self._held:
            self._held = False
            self._backend.release(self._engine_id)

    async def chat(self, body: ChatBody) -> Answered:
        """As `Lease.chat`."""
        found = await self._first(self._backend.link(self._engine_id).answer(body))
        if isinstance(found, Failed):
            raise self._error(found)
        self._check_revision(found.revision)
        return found

    async def stream(self, body: ChatBody) -> AsyncGenerator[bytes, None]:
        """As `Lease.stream`."""
        link = self._backend.link(self._engine_id)
        # However it ends, the engine stops working for it.
        async with aclosing(link.stream({**body, "stream": True})) as events:
            first = await self._first(_next(events))
            if isinstance(first, Failed):
                raise self._error(first)
            if not isinstance(first, Begun):
                raise self._unavailable("it ended without an answer")
            self._check_revision(first.revision)
            try:
                async for event in events:
                    if isinstance(event, bytes):
                        yield event
                    elif isinstance(event, Failed):
                        yield _error_event(event.message)
                        return
            except LinkDownError as error:
                yield _error_event(f"The engine died while it answered ({error}). Ask again.")

    async def _first(self, answer: Coroutine[Any, Any, T]) -> T:
        """Await what an engine says first.

        Without a replica Serve keeps a call waiting; so an engine that says nothing until the request's
        patience is over is asked whether it lives, and only then waited for as long as it takes.
        """
        task = asyncio.get_running_loop().create_task(answer)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._patience.remaining_s)
            if not done and not await self._backend.lives(self._engine_id):
                raise self._unavailable("it does not answer")
            return await task
        except LinkDownError as error:
            raise self._unavailable(str(error)) from error
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _error(self, failed: Failed) -> Exception:
        if failed.dead or failed.status == 503:
            return self._unavailable(failed.message)
        if failed.status >= 500:
            # It lives, and would fail again: another try would only keep the client waiting.
            return EngineFailureError(failed.message)
        return EngineRequestError(failed.message, status=failed.status)

    def _check_revision(self, revision: str) -> None:
        if revision != self.card.revision:
            # Cannot happen while an engine checks its files at start; an answer is never given a wrong name.
            raise self._unavailable(f"it answered as revision {revision[:12]}")

    def _unavailable(self, reason: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"The engine of {self.card.name} did not answer: {reason}. It is being restarted; try again "
            "later.",
            retry_after_s=RETRY_AFTER_S,
        )


async def _next(events: AsyncGenerator[Begun | Failed | bytes, None]) -> Begun | Failed | bytes | None:
    return await anext(events, None)


def _error_event(message: str) -> bytes:
    error = {"error": {"message": message, "type": "engine_error", "code": 503}}
    return b"data: " + msgspec.json.encode(error) + b"\n\n"
