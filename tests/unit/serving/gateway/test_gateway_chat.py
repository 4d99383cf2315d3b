"""Chats over HTTP: answers, streams, tokens, back-pressure, engines that die."""

from __future__ import annotations

import asyncio
import json
import re

import httpx
import msgspec
import pytest

from aiopt.serving.backend import EngineFailureError, EngineRequestError, ModelUnavailableError
from aiopt.serving.gateway.chat_types import ChatRequest
from aiopt.serving.patience import RETRY_S
from tests.unit.serving.conftest import ADMIN, API, Play
from tests.unit.serving.fake_backend import TEXT, VISION, FakeBackend
from tests.unit.serving.gateway.chat_requests import URL, chat, check_error


def test_an_answer_names_the_model_it_comes_from(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        response = await client.post(URL, json=chat(max_tokens=5, temperature=0, top_k=1, seed=3))
        assert response.status_code == 200
        assert response.json()["choices"][0]["message"]["content"] == "Hello there"
        assert response.headers["x-model-id"] == VISION.model_id
        assert response.headers["x-model-revision"] == VISION.revision
        sent = backend.bodies[0]
        assert sent == {**chat(), "max_tokens": 5, "temperature": 0, "top_k": 1, "seed": 3}
        by_alias = await client.post(URL, json=chat(model="gpt-4o"))
        assert by_alias.headers["x-model-revision"] == VISION.revision
        text = await client.post(URL, json=chat(model="text"))
        assert text.headers["x-model-revision"] == TEXT.revision

    play(scenario)


def test_a_request_id_is_kept_if_it_is_harmless(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        kept = await client.post(URL, json=chat(), headers={"X-Request-Id": "run-7.a_b"})
        assert kept.headers["x-request-id"] == "run-7.a_b"
        for bad in ("a b", "x" * 129, "a/../b", ""):
            made = await client.post(URL, json=chat(), headers={"X-Request-Id": bad})
            assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])

    play(scenario)


def test_a_stream_carries_the_headers_and_ends_with_done(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        for wants_usage in (False, True):
            options = {"stream_options": {"include_usage": True}} if wants_usage else {}
            async with client.stream("POST", URL, json=chat(stream=True, **options)) as response:
                assert response.status_code == 200
                assert response.headers["content-type"].startswith("text/event-stream")
                assert response.headers["x-model-revision"] == VISION.revision
                assert response.headers["x-request-id"]
                text = (await response.aread()).decode()
            events = [line[6:] for line in text.split("\n\n") if line]
            assert events[-1] == "[DONE]"
            chunks = [json.loads(event) for event in events[:-1]]
            words = [c["choices"][0]["delta"]["content"] for c in chunks if c["choices"]]
            assert words == ["Hello", "there"]
            assert any("usage" in chunk for chunk in chunks) == wants_usage
        metrics = (await client.get("/metrics")).text
        # Counted in both, whether the client wanted to see them or not.
        assert 'aiopt_tokens_total{kind="completion",model="minicpm"} 6.0' in metrics
        assert 'aiopt_time_to_first_token_seconds_count{model="minicpm"} 2.0' in metrics

    play(scenario)


def test_a_schema_reaches_the_engine(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
        assert (await client.post(URL, json=chat(response_format=form))).status_code == 200
        assert backend.bodies[0]["response_format"] == form

    play(scenario)


def test_what_says_nothing_is_accepted_and_left_out(play: Play) -> None:
    """Every field that may be left out may be null too; those that are not supported may be empty."""
    fields = {field.encode_name for field in msgspec.structs.fields(ChatRequest)} - {"model", "messages"}
    empty = {"tools": [], "functions": [], "modalities": [], "logit_bias": {}, "metadata": {}, "stop": []}

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        response = await client.post(URL, json=chat(max_tokens=5, **dict.fromkeys(fields - {"max_tokens"})))
        assert response.status_code == 200, response.text
        assert backend.bodies[-1] == chat(max_tokens=5)
        response = await client.post(URL, json=chat(max_tokens=5, tool_choice="none", **empty))
        assert response.status_code == 200, response.text
        assert backend.bodies[-1] == chat(max_tokens=5, stop=[])
        nested = {
            "stream_options": {"include_usage": None},
            "chat_template_kwargs": {"enable_thinking": None},
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "x",
                    "strict": None,
                    "description": None,
                    "schema": {"const": None, "default": None},
                },
            },
        }
        parts = [{"type": "text", "text": "Hi"}]
        told = [{"role": "user", "content": parts, "name": None}]
        response = await client.post(URL, json=chat(stream=True, max_tokens=5, messages=told, **nested))
        assert response.status_code == 200, response.text
        sent = backend.bodies[-1]
        assert sent["messages"] == [{"role": "user", "content": parts}]
        assert sent["response_format"]["json_schema"] == {
            "name": "x",
            "schema": {"const": None, "default": None},
        }

    play(scenario)


def test_an_answer_may_be_sent_back_as_it_came(play: Play) -> None:
    answered = {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning": None,
    }

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        question = chat()["messages"][0]
        for message in (answered, {**answered, "content": None, "tool_calls": None, "annotations": []}):
            response = await client.post(URL, json=chat(messages=[question, message, question]))
            assert response.status_code == 200, response.text
            shown = {"role": "assistant", "content": message["content"] or ""}
            assert backend.bodies[-1]["messages"] == [question, shown, question]

    play(scenario)


def test_an_answer_without_a_length_gets_the_limit(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        await client.post(URL, json=chat())
        assert backend.bodies[-1]["max_completion_tokens"] == 100
        await client.post(URL, json=chat(max_tokens=7))
        assert "max_completion_tokens" not in backend.bodies[-1]

    play(scenario, max_tokens=100)


TOKEN_CASES = [
    ({}, 401, "token is absent", 'Bearer realm="aiopt"'),
    ({"Authorization": "Bearer wrong-token-0123456789"}, 401, "unknown", 'error="invalid_token"'),
    ({"Authorization": "Basic dXNlcjpwdw=="}, 401, "not a bearer token", 'error="invalid_token"'),
    ({"Authorization": "Bearer "}, 401, "unknown", "invalid_token"),
    ({"Authorization": f"Bearer {API}x"}, 401, "unknown", "invalid_token"),
    ({"Authorization": f"Bearer {ADMIN}"}, 403, "needs an api token", 'error="insufficient_scope"'),
]


@pytest.mark.parametrize(("headers", "status", "message", "challenge"), TOKEN_CASES)
@pytest.mark.parametrize(("method", "path"), [("POST", URL), ("GET", "/v1/models"), ("POST", "/analyze")])
def test_models_need_an_api_token(
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    message: str,
    challenge: str,
    play: Play,
) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        del client.headers["Authorization"]
        response = await client.request(method, path, json=chat(), headers=headers)
        check_error(response, status, message)
        assert challenge in response.headers["www-authenticate"]
        assert backend.bodies == []

    play(scenario)


def test_what_has_no_slot_waits_and_what_cannot_wait_is_turned_away(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.release.clear()
        first = [asyncio.create_task(client.post(URL, json=chat())) for _ in range(2)]
        while backend.working < 2:
            await asyncio.sleep(0)
        second = [asyncio.create_task(client.post(URL, json=chat(stream=True))) for _ in range(3)]
        await asyncio.sleep(0.02)
        assert backend.working == 2
        refused = await client.post(URL, json=chat())
        error = check_error(refused, 429, "2 requests are worked on and 3 wait")
        assert error["code"] == "queue_full"
        assert refused.headers["retry-after"] == "2"
        metrics = (await client.get("/metrics")).text
        assert "aiopt_model_requests_in_flight 2.0" in metrics
        assert "aiopt_model_requests_waiting 3.0" in metrics
        assert 'aiopt_rejected_requests_total{reason="queue_full"} 1.0' in metrics
        backend.release.set()
        answers = await asyncio.gather(*first, *second)
        assert [answer.status_code for answer in answers] == [200] * 5
        assert backend.most == 2
        assert "aiopt_model_requests_in_flight 0.0" in (await client.get("/metrics")).text

    play(scenario, max_concurrency=2, max_queue=3, retry_after_s=1.5)


def test_a_wait_for_a_slot_ends(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.release.clear()
        first = asyncio.create_task(client.post(URL, json=chat()))
        while not backend.working:
            await asyncio.sleep(0)
        late = await client.post(URL, json=chat())
        assert check_error(late, 429, "may wait 0.05 s for its turn")["code"] == "queue_timeout"
        backend.release.set()
        assert (await first).status_code == 200
        assert (await client.post(URL, json=chat())).status_code == 200

    play(scenario, max_concurrency=1, max_queue=1, queue_timeout_s=0.05)


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_dies_before_it_answers_is_tried_again_while_the_patience_lasts(
    stream: bool, play: Play
) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.deaths = 1
        response = await client.post(URL, json=chat(stream=stream))
        assert response.status_code == 200
        assert "there" in response.text
        assert len(backend.bodies) == 2
        backend.deaths, backend.patience_s = 2, RETRY_S + 0.1
        response = await client.post(URL, json=chat(stream=stream))
        check_error(response, 503, "engine died")
        assert response.headers["retry-after"] == "3"
        assert 'aiopt_engine_retries_total{model="minicpm"} 2.0' in (await client.get("/metrics")).text

    play(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_faults_of_an_engine(stream: bool, play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.fault = EngineRequestError("The image is unusable. Send another.", status=422)
        check_error(await client.post(URL, json=chat(stream=stream)), 422, "unusable")
        backend.fault = ModelUnavailableError("Overloaded.", retry_after_s=0.2)
        response = await client.post(URL, json=chat(stream=stream))
        check_error(response, 503, "Overloaded")
        assert response.headers["retry-after"] == "1"
        asked = len(backend.bodies)
        backend.fault = EngineFailureError("secret detail of the engine")
        response = await client.post(URL, json=chat(stream=stream))
        check_error(response, 500, response.headers["x-request-id"])
        assert "secret" not in response.text
        assert len(backend.bodies) == asked + 1  # it is not tried again
        backend.fault = ZeroDivisionError("secret detail of the engine")
        response = await client.post(URL, json=chat(stream=stream))
        check_error(response, 500, response.headers["x-request-id"])
        assert "secret" not in response.text

    play(scenario)


def test_a_stream_that_breaks_ends_with_an_error_event(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.break_stream = True
        response = await client.post(URL, json=chat(stream=True))
        assert response.status_code == 200
        events = [line[6:] for line in response.text.split("\n\n") if line]
        assert events[-1] == "[DONE]"
        assert json.loads(events[-2])["error"]["code"] == "internal_error"
        assert "secret" not in response.text

    play(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_takes_too_long(stream: bool, play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.delay_s = 5.0
        check_error(await client.post(URL, json=chat(stream=stream)), 504, "may take 0.5 s")
        assert backend.aborted == 1

    play(scenario, request_timeout_s=0.5)


def test_nothing_serves_yet(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.ready = False
        response = await client.post(URL, json=chat())
        check_error(response, 503, "No engine serves yet")
        assert response.headers["retry-after"] == "3"
        health = await client.get("/healthz", headers={"Authorization": ""})
        assert (health.status_code, health.json()) == (503, {"status": "starting"})
        assert health.headers["retry-after"] == "5"
        backend.ready = True
        assert (await client.get("/healthz")).json() == {"status": "ready"}

    play(scenario)
