"""A gateway over the fake backend, asked in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from aiopt.serving.gateway import GatewaySettings, Tokens, build_gateway
from tests.unit.serving.fake_backend import FakeBackend

API, ADMIN = "api-token-0123456789", "admin-token-0123456789"
TOKENS = Tokens(api=(API,), admin=(ADMIN,))

Scenario = Callable[[httpx.AsyncClient, FakeBackend], Coroutine[Any, Any, None]]
Play = Callable[..., None]


@pytest.fixture
def play() -> Play:
    """Run a coroutine with a client and the backend behind it; afterwards nothing may be held."""

    def run(scenario: Scenario, **limits: Any) -> None:
        async def main() -> None:
            backend = FakeBackend()
            app = build_gateway(backend, GatewaySettings(**limits), TOKENS)
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
            headers = {"Authorization": f"Bearer {API}"}
            async with httpx.AsyncClient(
                transport=transport, base_url="http://gateway", headers=headers
            ) as client:
                await scenario(client, backend)
            assert backend.held == 0, "a lease was not given back"
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            await asyncio.sleep(0)
            assert [task for task in left if not task.done()] == []

        asyncio.run(main())

    return run
