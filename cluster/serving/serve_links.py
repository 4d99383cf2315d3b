"""Links from a gateway to engines and coordinator as Ray Serve's deployment handles.

Owns which of Ray's errors mean that the other end is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from aiopt.errors import AioptError
from aiopt.serving.backend import Operation, OperationKind, ServingStatus
from aiopt.serving.engines.links import LinkDownError
from aiopt.serving.engines.wire import WireAddress
from aiopt.serving.replies import Answered, Begun, ChatBody, Failed
from aiopt.serving.swap.records import RoutingTable

ENGINE_DEPLOYMENT = "EngineServer"
ANSWER_S = 30.0
"""Longest wait for the coordinator, but for the long poll of `sync`."""

T = TypeVar("T")


class ServeEngineLink:
    """An `EngineLink` by actor calls.

    Parameters
    ----------
    engine_id : str
        Name of the engine's application.
    """

    def __init__(self, engine_id: str) -> None:
        # Made once per link: each handle keeps a connection to Serve's controller.
        self._handle: DeploymentHandle = serve.get_deployment_handle(ENGINE_DEPLOYMENT, engine_id)

    async def answer(self, body: ChatBody) -> Answered | Failed:
        """As `EngineLink.answer`."""
        return await self._call("answer", body)

    async def stream(self, body: ChatBody) -> AsyncGenerator[Begun | Failed | bytes, None]:
        """As `EngineLink.stream`."""
        events = self._handle.options(stream=True).stream.remote(body)
        begun = ended = False
        try:
            async for event in events:
                begun = True
                yield event
            ended = True
        except (RayError, RayServeException) as error:
            if isinstance(error, RayTaskError) and not begun:
                raise  # a defect of the engine's code, not a death
            raise LinkDownError(type(error).__name__) from error
        finally:
            if not ended:
                events.cancel()

    async def instance(self) -> str:
        """As `EngineLink.instance`."""
        return await self._call("instance")

    async def wire(self) -> WireAddress:
        """As `EngineLink.wire`."""
        return msgspec.convert(await self._call("wire"), WireAddress)

    async def _call(self, method: str, *arguments: ChatBody) -> Any:
        """Call a method of the replica; what it returns is typed by its caller."""
        response = getattr(self._handle, method).remote(*arguments)
        try:
            return await response
        except RayTaskError:
            raise
        except (RayError, RayServeException) as error:
            raise LinkDownError(type(error).__name__) from error
        except asyncio.CancelledError:
            response.cancel()
            raise


class ServeCoordinatorLink:
    """A `CoordinatorLink` by actor calls.

    Parameters
    ----------
    handle : DeploymentHandle
        Of the coordinator's deployment.
    """

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def sync(
        self, gateway: str, version: str, in_flight: Mapping[str, int], wait_s: float
    ) -> RoutingTable:
        """As `CoordinatorLink.sync`."""
        call = self._handle.sync.remote(gateway, version, dict(in_flight), wait_s)
        try:
            return await _answer_of(call, wait_s + ANSWER_S)
        except RayTaskError as error:
            # It is asked again and again; a defect there must not end the asking.
            raise LinkDownError(type(error).__name__) from error

    async def begin(self, kind: OperationKind, slot: str, checkpoint: str, wait: bool) -> Operation:
        """As `CoordinatorLink.begin`."""
        return await _answer_of(self._handle.begin.remote(kind, slot, checkpoint, wait))

    async def operation(self, operation_id: str) -> Operation:
        """As `CoordinatorLink.operation`."""
        return await _answer_of(self._handle.operation.remote(operation_id))

    async def status(self) -> ServingStatus:
        """As `CoordinatorLink.status`."""
        return await _answer_of(self._handle.status.remote())


async def _answer_of(call: Coroutine[Any, Any, T], timeout_s: float = ANSWER_S) -> T:
    """Await a call: errors of ours as they were raised there, others as a link that is down."""
    try:
        return await asyncio.wait_for(call, timeout_s)
    except RayTaskError as error:
        if isinstance(error.cause, AioptError):
            raise error.cause from None
        raise
    except (RayError, RayServeException, TimeoutError) as error:
        raise LinkDownError(type(error).__name__) from error
