"""The `Backend` inside a gateway replica: routes, leases, retries.

Owns which engine a request runs on and the count of requests on each.  A route is read and counted in one
step of the event loop, so a request is always on exactly one engine and counted there.  Knows nothing of
HTTP, nor how an engine comes to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from aiopt.errors import AioptError, did_you_mean
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
from aiopt.serving.profile import ServingConfig
from aiopt.serving.swap.records import Route, RoutingTable
from cluster.serving.wire_calls import WireCall, Wires

_LOGGER = logging.getLogger("ray.serve")

POLL_S = 5.0
STALE_POLL_S = 0.05
COORDINATOR_RETRY_S = 0.5
ENGINE_RETRY_S = 0.25
PING_S = 5.0
RETRY_AFTER_S = 5.0
DEPLOYMENT = "EngineServer"


class RayBackend:
    """What stands behind one gateway replica.

    Parameters
    ----------
    config : ServingConfig
        The profile.
    coordinator : DeploymentHandle
        Of the coordinator's deployment.
    """

    def __init__(self, config: ServingConfig, coordinator: Any) -> None:
        self._config = config
        self._coordinator = coordinator
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
        self._handles: dict[str, Any] = {}
        self._wires = Wires()
        self._follower: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the coordinator.  Call once, in the event loop that serves."""
        self._follower = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower

    # Backend

    async def cards(self) -> list[ModelCard]:
        """As `Backend.cards`."""
        return [route.card for route in self._table.routes if route.card is not None]

    async def acquire(self, model: str) -> RayLease:
        """As `Backend.acquire`."""
        deadline = time.monotonic() + self._config.ready_wait_s
        while True:
            route = self._route(model)
            if route.card is not None:
                # No await between reading the route and counting the request.
                self._in_flight[route.engine_id] += 1
                return RayLease(self, route.engine_id, route.card, deadline)
            changed = self._changed
            try:
                async with asyncio.timeout_at(
                    asyncio.get_running_loop().time() + deadline - time.monotonic()
                ):
                    await changed.wait()
            except TimeoutError as error:
                raise ModelUnavailableError(
                    f"{route.name} must be ready, but {route.reason}. Try again later.",
                    retry_after_s=RETRY_AFTER_S,
                ) from error

    async def status(self) -> ServingStatus:
        """As `Backend.status`."""
        await self._ask("sync", self._name, self._table.version, dict(self._in_flight), 0.0)
        return await self._ask("status")

    async def begin(
        self, kind: OperationKind, *, slot: str, checkpoint: str = "", wait: bool = True
    ) -> Operation:
        """As `Backend.begin`."""
        return await self._ask("begin", kind, slot, checkpoint, wait)

    async def operation(self, operation_id: str) -> Operation:
        """As `Backend.operation`."""
        return await self._ask("operation", operation_id)

    # For leases

    def handle(self, engine_id: str) -> Any:
        """Return the handle of an engine, made once: each keeps a connection to Serve's controller."""
        if engine_id not in self._handles:
            self._handles[engine_id] = serve.get_deployment_handle(DEPLOYMENT, engine_id)
        return self._handles[engine_id]

    def ask(self, engine_id: str, body: dict[str, Any]) -> Any:
        """Return a call of an engine: awaited if it is whole, iterated if streamed, cancelled to stop it.

        On the engine's own socket if the profile says so, through Serve otherwise.
        """
        if self._config.engine_sockets:
            return WireCall(self._wires, engine_id, self.handle(engine_id), body)
        if body.get("stream"):
            return self.handle(engine_id).options(stream=True).stream.remote(body)
        return self.handle(engine_id).answer.remote(body)

    async def lives(self, engine_id: str) -> bool:
        """Tell whether a replica of an engine answers at all."""
        ping = self.handle(engine_id).instance.remote()
        try:
            await asyncio.wait_for(ping, PING_S)
        except (RayError, RayServeException, TimeoutError):
            ping.cancel()
            return False
        return True

    def release(self, engine_id: str) -> None:
        """Count a request off."""
        self._in_flight[engine_id] -= 1
        if not self._in_flight[engine_id]:
            del self._in_flight[engine_id]

    def routes_to(self, engine_id: str) -> bool:
        """Tell whether an engine still serves."""
        return any(route.engine_id == engine_id for route in self._table.routes)

    def _route(self, model: str) -> Route:
        for route in self._table.routes:
            if model == route.name or model in route.aliases:
                return route
        known = [name for route in self._table.routes for name in (route.name, *route.aliases)]
        raise UnknownModelError(f"There is no model {model!r}.{did_you_mean(model, known)}")

    async def _follow(self) -> None:
        """Keep the table current, and tell the coordinator what is in flight."""
        while True:
            stale = any(not self.routes_to(engine_id) for engine_id in self._in_flight)
            wait_s = 0.0 if stale else POLL_S
            try:
                table = await self._coordinator.sync.remote(
                    self._name, self._table.version, dict(self._in_flight), wait_s
                )
            except (RayError, RayServeException) as error:
                # Restarting: requests go on by the table that is known.
                _LOGGER.warning("the coordinator does not answer (%s); asking again", type(error).__name__)
                await asyncio.sleep(COORDINATOR_RETRY_S)
                continue
            if table.version != self._table.version:
                self._adopt(table)
            elif stale:
                await asyncio.sleep(STALE_POLL_S)

    def _adopt(self, table: RoutingTable) -> None:
        self._table = table
        used = {route.engine_id for route in table.routes} | set(self._in_flight)
        for engine_id in set(self._handles) - used:
            del self._handles[engine_id]
            self._wires.forget(engine_id)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return await asyncio.wait_for(getattr(self._coordinator, method).remote(*arguments), 30.0)
        except RayTaskError as error:
            if isinstance(error.cause, AioptError):
                raise error.cause from None
            raise
        except (RayError, RayServeException, TimeoutError) as error:
            raise ModelUnavailableError(
                f"The coordinator must answer, but does not ({type(error).__name__}). It is being restarted.",
                retry_after_s=RETRY_AFTER_S,
            ) from error


class RayLease:
    """One request's hold on one engine.

    Parameters
    ----------
    backend : RayBackend
        Where it was taken.
    engine_id : str
        The engine.
    card : ModelCard
        What answers name.
    deadline : float
        Until when to wait for an engine that died to come back, on the monotonic clock.
    """

    def __init__(self, backend: RayBackend, engine_id: str, card: ModelCard, deadline: float) -> None:
        self.card = card
        self._backend = backend
        self._engine_id = engine_id
        self._deadline = deadline
        self._held = True

    async def __aenter__(self) -> RayLease:
        """Return itself; the request was counted when the lease was made."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count the request off, once."""
        if self._held:
            self._held = False
            self._backend.release(self._engine_id)

    async def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """As `Lease.chat`: tried again on the recovered engine while the configured wait lasts."""
        while True:
            answer = self._backend.ask(self._engine_id, body)
            try:
                found = await self._within(answer, answer)
                self._check(found)
                return found["response"]
            except _EngineDied as died:
                await self._before_retry(died)

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        """As `Lease.stream`: tried again only while nothing was answered."""
        body = {**body, "stream": True}
        while True:
            events = self._backend.ask(self._engine_id, body)
            begun = False
            try:
                self._check(await self._within(events, anext(events)))
                begun = True
                break
            except _EngineDied as died:
                await self._before_retry(died)
            finally:
                if not begun:
                    events.cancel()  # what it would still say is nobody's
        ended = False
        try:
            async for event in events:
                if isinstance(event, dict):
                    yield _error_event(event["error"]["message"])
                    return
                yield event
            ended = True
        except (RayError, RayServeException) as error:
            yield _error_event(f"The engine died while it answered ({type(error).__name__}). Ask again.")
        finally:
            if not ended:
                events.cancel()  # the client went away: the engine need not go on

    async def _within(self, call: Any, first: Any) -> Any:
        """Await what an engine says first, and tell its death from everything else.

        Without a replica Serve keeps a call waiting; so an engine that says nothing until the configured wait
        is over is asked whether it lives, and only then waited for as long as it takes.
        """

        async def result() -> Any:
            return await first

        task = asyncio.create_task(result())
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, self._deadline - time.monotonic()))
            if not done and not await self._backend.lives(self._engine_id):
                raise self._unavailable("it does not answer")
            return await task
        except StopAsyncIteration as error:
            raise _EngineDied("it ended without an answer") from error
        except RayTaskError:
            raise
        except (RayError, RayServeException) as error:
            raise _EngineDied(type(error).__name__) from error
        finally:
            if not task.done():
                task.cancel()
                call.cancel()

    def _check(self, found: dict[str, Any]) -> None:
        failure = found.get("error")
        if failure is not None:
            if failure["dead"] or failure["status"] == 503:
                raise _EngineDied(failure["message"])
            if failure["status"] >= 500:
                # It lives, and would fail again: another try would only keep the client waiting.
                raise EngineFailureError(failure["message"])
            raise EngineRequestError(failure["message"], status=failure["status"])
        if found["revision"] != self.card.revision:
            # Cannot happen while an engine checks its files at start; an answer is never given a wrong name.
            raise _EngineDied(f"it answered as revision {found['revision'][:12]}")

    async def _before_retry(self, died: _EngineDied) -> None:
        if time.monotonic() + ENGINE_RETRY_S >= self._deadline:
            raise self._unavailable(str(died)) from died
        await asyncio.sleep(ENGINE_RETRY_S)

    def _unavailable(self, reason: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"The engine of {self.card.name} must answer, but: {reason}. It is restarted; try again later.",
            retry_after_s=RETRY_AFTER_S,
        )


class _EngineDied(Exception):
    """Nothing was answered: the engine or its replica is gone."""


def _error_event(message: str) -> bytes:
    import json

    error = {"error": {"message": message, "type": "engine_error", "code": 503}}
    return f"data: {json.dumps(error)}\n\n".encode()
