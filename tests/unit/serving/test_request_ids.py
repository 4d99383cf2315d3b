"""One harmless request id per answer, whatever the client sends and whoever adds the header."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiopt.serving.gateway import GatewaySettings, build_gateway
from aiopt.serving.request_ids import CALLBACK, CALLBACK_VARIABLE, HarmlessHeaders, harmless_id, middlewares
from cluster.node_process import node_environment
from tests.unit.serving.conftest import TOKENS
from tests.unit.serving.fake_backend import FakeBackend

NEW = re.compile("[0-9a-f]{32}")


def passed_on(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers behind the middleware."""
    found: list[tuple[bytes, bytes]] = []

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        found.extend(scope["headers"])

    scope = {"type": "http", "headers": list(headers)}
    asyncio.run(HarmlessHeaders(app)(scope, None, None))
    assert scope["headers"] == list(headers)
    return found


@pytest.mark.parametrize("given", [b"\xe9", b"a b", b"", b"x" * 129, b"a\xff", "ü".encode(), b"a\0b"])
def test_an_id_that_is_none_is_replaced(given: bytes) -> None:
    ((name, value),) = passed_on((b"x-request-id", given))
    assert name == b"x-request-id"
    assert NEW.fullmatch(value.decode())


def test_an_id_is_kept_made_or_chosen() -> None:
    assert passed_on((b"a", b"\xe9"), (b"x-request-id", b"run-7.a_b")) == [
        (b"a", b"\xe9"),
        (b"x-request-id", b"run-7.a_b"),
    ]
    ((_, made),) = passed_on()
    assert NEW.fullmatch(made.decode())
    ((_, chosen),) = passed_on((b"x-request-id", b"one"), (b"x-request-id", b"two"))
    assert NEW.fullmatch(chosen.decode())
    assert harmless_id("a.b") == "a.b"


@pytest.mark.parametrize(
    "name", [b"x-session-id", b"serve_multiplexed_model_id", b"serve-multiplexed-model-id"]
)
def test_what_serve_would_fail_to_read_is_left_out(name: bytes) -> None:
    assert [n for n, _ in passed_on((name, b"\xe9"))] == [b"x-request-id"]
    assert passed_on((name, b"fine"))[0] == (name, b"fine")


def test_the_node_names_the_middleware_that_serve_asks_for(tmp_path: Path) -> None:
    assert node_environment(tmp_path, "id", tmp_path)[CALLBACK_VARIABLE] == CALLBACK
    module, _, function = CALLBACK.partition(":")
    assert (module, function) == (middlewares.__module__, middlewares.__name__)
    # Read by Ray itself, in a process of its own: its constants are set at import.
    code = (
        "from ray.serve._private.http_util import configure_http_middlewares\n"
        "from ray.serve.config import HTTPOptions\n"
        "print([m.cls.__name__ for m in configure_http_middlewares(HTTPOptions()).middlewares])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, CALLBACK_VARIABLE: CALLBACK},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip().endswith("['HarmlessHeaders']")


def test_a_gateway_inside_serve_adds_no_second_id() -> None:
    async def main() -> None:
        for names, expected in ((True, 1), (False, 0)):
            app = build_gateway(FakeBackend(), GatewaySettings(), TOKENS, names_requests=names)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app), base_url="http://gateway"
            ) as client:
                for path in ("/healthz", "/v1/models", "/nowhere"):
                    answer = await client.get(path)
                    assert len(answer.headers.get_list("x-request-id")) == expected

    asyncio.run(main())
