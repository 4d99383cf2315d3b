"""Model lists, model operations, health, metrics, unknown paths."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.serving.backend import Operation, ServingStatus
from aiopt.serving.gateway import GatewaySettings, Tokens
from tests.unit.serving.conftest import ADMIN, API, Play
from tests.unit.serving.fake_backend import VISION, FakeBackend
from tests.unit.serving.gateway.chat_requests import chat, check_error

AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}


def test_models_are_listed_under_each_name(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        found = (await client.get("/v1/models")).json()
        assert [model["id"] for model in found["data"]] == ["minicpm", "gpt-4o", "text"]
        assert found["data"][1]["root"] == VISION.model_id
        assert found["data"][1]["images"] is True
        one = await client.get("/v1/models/gpt-4o")
        assert one.json() == found["data"][1]
        assert one.headers["x-model-revision"] == VISION.revision
        check_error(await client.get("/v1/models/a/b"), 404, r"'a/b'\. GET /v1/models lists them")

    play(scenario)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("load", {"checkpoint": "/models/a"}),
        ("swap", {"checkpoint": "o/n@r", "model": "minicpm", "wait": False}),
        ("rollback", {}),
    ],
)
def test_an_operation_is_accepted_and_can_be_asked_for(kind: str, body: dict[str, Any], play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        client.headers.update(AS_ADMIN)
        began = await client.post(f"/admin/models/{kind}", json=body)
        assert began.status_code == 202
        operation = msgspec.json.decode(began.content, type=Operation)
        assert (operation.kind, operation.slot) == (kind, "minicpm")
        assert operation.checkpoint == body.get("checkpoint", "")
        again = await client.get(began.headers["location"])
        assert msgspec.json.decode(again.content, type=Operation) == operation
        status = await client.get("/admin/models")
        assert msgspec.json.decode(status.content, type=ServingStatus).operations == (operation,)

    play(scenario)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/admin/models/swap", {}, 400, "missing required field `checkpoint`"),
        ("/admin/models/swap", {"checkpoint": ""}, 400, "length >= 1"),
        ("/admin/models/swap", {"checkpoint": "a/b", "modle": "x"}, 400, "Did you mean 'model'"),
        ("/admin/models/swap", {"checkpoint": "a/b", "model": "none"}, 404, "must be a served one"),
        ("/admin/models/swap", {"checkpoint": "a/b", "wait": False}, 409, "One operation runs at a time"),
        ("/admin/models/rollback", {"checkpoint": "a/b"}, 400, "'checkpoint'"),
    ],
)
def test_operations_that_are_not_accepted(
    path: str, body: dict[str, Any], status: int, message: str, play: Play
) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.running = True
        check_error(await client.post(path, json=body, headers=AS_ADMIN), status, message)
        assert backend.operations == {}

    play(scenario)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/models"),
        ("GET", "/admin/operations/op-0"),
        ("POST", "/admin/models/load"),
        ("POST", "/admin/models/swap"),
        ("POST", "/admin/models/rollback"),
    ],
)
def test_operations_need_the_admin_token(method: str, path: str, play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        body = {"checkpoint": "a/b"}
        refused = await client.request(method, path, json=body)
        check_error(refused, 403, "needs an admin token, but the token given is an api token")
        assert 'scope="admin"' in refused.headers["www-authenticate"]
        nobody = await client.request(method, path, json=body, headers={"Authorization": "x"})
        check_error(nobody, 401, "not a bearer token")
        assert backend.operations == {}

    play(scenario)


def test_an_operation_that_is_not_there(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        check_error(await client.get("/admin/operations/x", headers=AS_ADMIN), 404, "has the id 'x'")

    play(scenario)


def test_paths_and_methods_that_are_not_there(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        for path in ("/", "/docs", "/redoc", "/v1", "/v1/completions", "/analyze/", "/%00", "/admin/../x"):
            check_error(await client.get(path), 404, "must be one that /openapi.json lists")
        wrong = await client.get("/analyze")
        check_error(wrong, 405, "/analyze takes POST, but got GET")
        assert wrong.headers["allow"] == "POST"
        check_error(await client.request("BREW", "/v1/models"), 405, "got BREW")
        without = await client.get("/nothing", headers={"Authorization": ""})
        check_error(without, 401, "token is absent")

    play(scenario)


def test_metrics_count_requests_errors_and_operations(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        await client.post("/v1/chat/completions", json=chat())
        await client.post("/v1/chat/completions", json=chat(model="invented-name"))
        await client.get("/v1/models/other")
        await client.get("/made/up/path")
        await client.post("/admin/models/swap", json={"checkpoint": "a/b"}, headers=AS_ADMIN)
        for headers in (AS_ADMIN, {"Authorization": f"Bearer {API}"}):
            response = await client.get("/metrics", headers=headers)
        text = response.text
        assert response.headers["content-type"].startswith("text/plain")
        for line in (
            'aiopt_http_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0',
            'aiopt_http_requests_total{method="POST",route="/v1/chat/completions",status="404"} 1.0',
            'aiopt_http_requests_total{method="GET",route="/v1/models/{model}",status="404"} 1.0',
            'aiopt_http_requests_total{method="GET",route="other",status="404"} 1.0',
            'aiopt_http_request_seconds_count{route="/v1/chat/completions"} 2.0',
            'aiopt_rejected_requests_total{reason="model_not_found"} 2.0',
            'aiopt_rejected_requests_total{reason="not_found"} 1.0',
            'aiopt_tokens_total{kind="prompt",model="minicpm"} 7.0',
            "aiopt_http_in_flight 1.0",
            # Twice scraped, once counted.
            'aiopt_model_operations_total{kind="swap",result="done"} 1.0',
            'aiopt_model_operation_phase_seconds_sum{kind="swap",phase="probe"} 0.25',
            'aiopt_engine_restarts{engine="engine-1"} 1.0',
        ):
            assert line in text.splitlines(), line
        assert f'revision="{VISION.revision}"' in text
        assert "invented-name" not in text

    play(scenario)


def test_health_says_nothing_else(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        response = await client.get("/healthz", headers={"Authorization": "Bearer nonsense"})
        assert response.json() == {"status": "ready"}
        check_error(await client.post("/healthz"), 405, "takes GET")

    play(scenario)


@pytest.mark.parametrize(
    ("api", "admin", "message"),
    [
        ((), ("a" * 20,), "at least one api token"),
        (("a" * 20,), (), "at least one admin token"),
        (("short",), ("a" * 20,), "at least 16 printable ASCII characters, but an api token"),
        (("b" * 20,), ("ü" * 20,), "but an admin token"),
        (("a" * 20,), ("a" * 20,), "must not be an API token as well"),
    ],
)
def test_tokens_that_protect_nothing(api: tuple[str, ...], admin: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Tokens(api=api, admin=admin)
    for token in (*api, *admin):
        assert token not in str(caught.value)


def test_a_token_opens_its_realm() -> None:
    tokens = Tokens(api=("a" * 20, "b" * 20), admin=("c" * 20,))
    assert [tokens.realm(letter * 20) for letter in "abc"] == ["api", "api", "admin"]
    assert [tokens.realm(text) for text in ("", "a" * 19, "ü", "\ud800")] == [None] * 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": 0}, r"`1 <= gateway.max_tokens` must hold, but got 0"),
        ({"max_queue": -1}, r"`0 <= gateway.max_queue`"),
        ({"retry_after_s": 0.0}, "retry_after_s"),
        ({"request_timeout_s": float("nan")}, "request_timeout_s"),
        ({"default_model": ""}, "default_model"),
    ],
)
def test_settings_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GatewaySettings(**fields)
