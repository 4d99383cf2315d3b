"""The Serve application of the endpoint: gateways in front, one coordinator behind.

`build_app` is the import path of `serve_configs/*.yaml`, for `aiopt serve up` and for plain `serve deploy`.
The two deployments are thin shells: the gateway round `build_gateway` and `RoutedBackend`, the coordinator
round `SwapCoordinator` and `RayHost`.  Engines are applications of their own, started by the coordinator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from aiopt.serving.backend import Operation, OperationKind, ServingStatus
from aiopt.serving.checkpoint.sources import validator
from aiopt.serving.endpoint import create_token
from aiopt.serving.engines.routed_backend import RoutedBackend
from aiopt.serving.gateway import Tokens, build_gateway
from aiopt.serving.profile import ServingConfig, load_args
from aiopt.serving.swap.coordinator import SwapCoordinator
from aiopt.serving.swap.records import RoutingTable
from aiopt.torchvision_ops import sitecustomize
from cluster.resources import stage_options
from cluster.serving.ray_host import RayHost
from cluster.serving.serve_links import ServeCoordinatorLink, ServeEngineLink

OBSERVE_S = 5.0
UNBOUNDED = 100_000
"""Requests per replica: the gateway's own admission answers 429, and long polls must not queue."""


class Coordinator:
    """One replica round `SwapCoordinator`; restarted by Serve, it reads its state file."""

    # Serve awaits an asynchronous constructor.
    async def __init__(self, config: bytes) -> None:  # type: ignore[misc]
        settings = msgspec.json.decode(config, type=ServingConfig)
        host = RayHost(settings.folder / "serving")
        self._coordinator = SwapCoordinator(settings, host, validator(settings.folder))
        await self._coordinator.start()
        self._observer = asyncio.create_task(self._observe())

    async def _observe(self) -> None:
        while True:
            await asyncio.sleep(OBSERVE_S)
            await self._coordinator.observe()

    async def sync(
        self, gateway: str, version: str, in_flight: Mapping[str, int], wait_s: float
    ) -> RoutingTable:
        """As `SwapCoordinator.sync`."""
        return await self._coordinator.sync(gateway, version, in_flight, wait_s)

    async def begin(self, kind: OperationKind, slot: str, checkpoint: str, wait: bool) -> Operation:
        """As `SwapCoordinator.begin`."""
        return await self._coordinator.begin(kind, slot, checkpoint, wait)

    async def operation(self, operation_id: str) -> Operation:
        """As `SwapCoordinator.operation`."""
        return self._coordinator.operation(operation_id)

    async def status(self) -> ServingStatus:
        """As `SwapCoordinator.status`."""
        return self._coordinator.status()


@serve.ingress()
class Gateway:
    """One HTTP replica."""

    def __init__(self, config: bytes, coordinator: DeploymentHandle) -> None:
        self._config = msgspec.json.decode(config, type=ServingConfig)
        self._backend = RoutedBackend(self._config, ServeCoordinatorLink(coordinator), ServeEngineLink)

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the HTTP application in the event loop that serves it."""
        self._backend.start()
        folder = self._config.folder
        tokens = Tokens(api=(create_token(folder, "api"),), admin=(create_token(folder, "admin"),))
        # Serve adds the id to every answer, also to those it gives itself.
        return build_gateway(self._backend, self._config.gateway, tokens, names_requests=False)


def build_app(args: dict[str, Any]) -> serve.Application:
    """Build the endpoint from the ``args`` of a profile.

    Raises
    ------
    ConfigError
        If a key is unknown or a value out of range.
    """
    config = load_args(args, where="args of the serving profile")
    encoded = msgspec.json.encode(config)
    environment = {"env_vars": {"PYTHONPATH": sitecustomize.python_path()}}
    coordinator = serve.deployment(
        Coordinator,
        num_replicas=1,
        max_ongoing_requests=UNBOUNDED,
        health_check_period_s=2,
        ray_actor_options={**stage_options("coordinator"), "runtime_env": environment},
    ).bind(encoded)
    return serve.deployment(
        Gateway,
        num_replicas=config.gateways,
        max_ongoing_requests=UNBOUNDED,
        health_check_period_s=2,
        graceful_shutdown_wait_loop_s=0.2,
        ray_actor_options={**stage_options("gateway"), "runtime_env": environment},
    ).bind(encoded, coordinator)
