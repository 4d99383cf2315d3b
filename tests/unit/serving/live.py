"""A gateway over the fake backend behind a real uvicorn on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from aiopt.serving.gateway import GatewaySettings, build_gateway
from tests.unit.serving.conftest import TOKENS
from tests.unit.serving.fake_backend import FakeBackend


class Live:
    def __init__(self, url: str, backend: FakeBackend, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.backend = backend
        self._loop = loop

    def wait_for(self, what: Any, seconds: float = 10.0) -> None:
        """Wait until `what()` holds, or fail."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.005)

    def call(self, function: Any) -> None:
        """Call a function in the server's loop."""
        self._loop.call_soon_threadsafe(function)


@contextlib.contextmanager
def live_gateway(**limits: Any) -> Iterator[Live]:
    # Named protocol: asyncio turns Nagle's algorithm off only for sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    started: list[Live] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        backend = FakeBackend()
        config = uvicorn.Config(
            build_gateway(backend, GatewaySettings(**limits), TOKENS), log_level="critical", lifespan="off"
        )
        server.append(uvicorn.Server(config))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started.append(Live(url, backend, asyncio.get_running_loop()))
        await server[0].serve(sockets=[listener])

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as failure:
            failures.append(failure)
            raise

    server: list[uvicorn.Server] = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not (server and server[0].started):
        assert not failures, failures
        assert time.monotonic() < end, "uvicorn did not start"
        time.sleep(0.01)
    try:
        yield started[0]
    finally:
        server[0].should_exit = True
        thread.join(20)
        assert not thread.is_alive()
