"""Chats over HTTP: answers, streams, limits, bad input, tokens, back-pressure, engines that die."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import msgspec
import pytest

from aiopt.serving.backend import EngineFailureError, EngineRequestError, ModelUnavailableError
from aiopt.serving.gateway.chat_types import ChatRequest
from aiopt.serving.patience import RETRY_S
from tests.unit.serving.conftest import ADMIN, API, Play
from tests.unit.serving.fake_backend import TEXT, VISION, FakeBackend
from tests.unit.serving.made_pictures import data_url, jpeg, png

URL = "/v1/chat/completions"


def chat(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": "minicpm", "messages": [{"role": "user", "content": text}], **fields}


def picture_chat(*urls: str, **fields: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts.append({"type": "text", "text": "?"})
    return chat(**{"messages": [{"role": "user", "content": parts}], **fields})


def schema_chat(schema: dict[str, Any], **fields: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return chat(response_format=form, **fields)


def check_error(response: httpx.Response, status: int, message: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert re.search(message, error["message"]), error["message"]
    assert "Traceback" not in response.text
    return error


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


DEEP = "[" * 5000 + "]" * 5000
SECRET = "ftp://user:pw@host/x.png"
BAD: dict[str, tuple[Any, int, str]] = {
    "malformed": (b"{", 400, "must be JSON"),
    "not UTF-8": (b'{"model": "\xff"}', 400, "must be JSON"),
    "empty": (b"", 400, "must be JSON"),
    "a list": (b"[]", 400, r"\$: the request must follow its schema, but: Expected `object`"),
    "NaN": (b'{"model": "minicpm", "temperature": NaN}', 400, "JSON has no NaN: leave out"),
    "nested deep": (f'{{"model": {DEEP}}}'.encode(), 400, "may nest 64 levels"),
    "nested deep in a schema": (
        json.dumps(chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}))
        .replace('"schema": {}', '"schema": {"a": ' + "[" * 70 + "]" * 70 + "}")
        .encode(),
        400,
        "may nest 64 levels",
    ),
    "brackets in a text nest nothing": (chat("[{" * 500), 200, ""),
    "no model": ({"messages": [{"role": "user", "content": "x"}]}, 400, "missing required field `model`"),
    "unknown model": (chat(model="nope"), 404, "'nope'. Known: minicpm, text"),
    "unknown field": (chat(max_tokns=3), 400, "'max_tokns'. Did you mean 'max_tokens'"),
    "unknown field far inside": (
        chat(response_format={"type": "text", "x": 1}),
        400,
        r"\$\.response_format: a request may hold only fields",
    ),
    "no messages": (chat(messages=[]), 400, r"messages.*length >= 1"),
    "unknown role": (chat(messages=[{"role": "root", "content": "x"}]), 400, "Invalid value 'root'"),
    "tools": (chat(tools=[{"type": "function"}]), 400, r"tools: .*length <= 0"),
    "a bias": (chat(logit_bias={"5": 1}), 400, r"logit_bias: .*length <= 0"),
    "an unsupported option": (chat(reasoning_effort="low"), 400, r"reasoning_effort: .*`null`"),
    "a tool's call": (
        chat(messages=[{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]),
        400,
        r"tool_calls.*length <= 0",
    ),
    "a schema in a circle": (schema_chat({"$ref": "#"}), 400, "the schema at # refers to itself in a circle"),
    "a schema that never ends": (
        schema_chat({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}),
        400,
        "no answer to it ever ends",
    ),
    "a schema from elsewhere": (schema_chat({"$ref": "http://localhost/x"}), 400, "nothing is fetched"),
    "a schema that is not there": (schema_chat({"$ref": "#/$defs/a"}), 400, "which is not there"),
    "more stops than engines keep": (chat(stop=["x"] * 17), 400, r"stop: .*length <= 16"),
    "engine internals": (chat(kv_transfer_params={}), 400, "'kv_transfer_params'"),
    "too many tokens": (
        chat(max_tokens=9000),
        400,
        r"`max_tokens <= 8192` must hold, but got "
        "max_tokens=9000",
    ),
    "no tokens": (chat(max_tokens=0), 400, "max_tokens"),
    "tokens in words": (chat(max_tokens="five"), 400, r"max_tokens: .*Expected `int \| null`, got `str`"),
    "too many answers": (chat(n=9), 400, "`n <= 8`"),
    "too hot": (chat(temperature=3), 400, r"temperature: .*<= 2.0"),
    "logprobs forgotten": (chat(top_logprobs=3), 400, "needs logprobs=true"),
    "stream options without a stream": (
        chat(stream_options={"include_usage": True}),
        400,
        "needs stream=true",
    ),
    "prompt longer than the context": (chat("word " * 3000), 400, "must fit 2048 tokens, but the prompt has"),
    "picture for a text model": (picture_chat(data_url(png()), model="text"), 400, "reads text only"),
    "address of a picture": (picture_chat("http://169.254.169.254/x.png"), 400, "pattern|must be a data URL"),
    "address in disguise": (picture_chat("data:image/png,http://x"), 400, "must be a data URL"),
    "not a picture": (picture_chat(data_url(b"hello world, this is text")), 400, "must be PNG or JPEG"),
    "GIF": (picture_chat("data:image/gif;base64,R0lGODlh"), 400, "must be a data URL"),
    "SVG": (picture_chat("data:image/svg+xml;base64,PHN2Zz4="), 400, "must be a data URL"),
    "not base64": (picture_chat("data:image/png;base64,!!!!"), 400, "must be base64"),
    "base64 with line breaks": (
        picture_chat(data_url(png())[:60] + "\n" + data_url(png())[60:]),
        400,
        "base64",
    ),
    "20,000 pixels wide": (
        picture_chat(data_url(png(20_000, 20_000))),
        400,
        r"sides of 1 to 4096 pixels and at most 12,000,000 pixels, but has 20000 x 20000",
    ),
    "JPEG of 20,000 pixels": (picture_chat(data_url(jpeg(20_000, 3), "jpeg")), 400, "20000 x 3"),
    "many pixels within the sides": (picture_chat(data_url(png(4000, 4000))), 400, "at most 12,000,000"),
    "no pixels": (picture_chat(data_url(png(0, 5))), 400, "has 0 x 5"),
    "cut off": (picture_chat(data_url(png()[:-16])), 400, "damaged"),
    "flipped bit": (
        picture_chat(data_url(png()[:45] + bytes([png()[45] ^ 1]) + png()[46:])),
        400,
        "checksum of chunk b'IDAT'",
    ),
    "PNG without pixels": (picture_chat(data_url(png(pixels=False))), 400, "holds no pixels"),
    "JPEG cut off": (picture_chat(data_url(jpeg()[:-2], "jpeg")), 400, "ends before its end mark"),
    "JPEG of a start only": (picture_chat(data_url(b"\xff\xd8\xff\xe0\0\4", "jpeg")), 400, "damaged"),
    "named wrongly": (picture_chat(data_url(jpeg(), "png")), 400, "says png and holds jpeg"),
    "too many pictures": (picture_chat(*[data_url(png())] * 9), 400, "may have 8 images, but has 9"),
    "picture from the system": (
        chat(messages=[{"role": "system", "content": picture_chat("data:image/")["messages"][0]["content"]}]),
        400,
        "messages",
    ),
    "too many messages": (chat(messages=[{"role": "user", "content": "x"}] * 257), 400, "may have 256 mess"),
    "large schema": (
        chat(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"description": "x" * 70_000}},
            }
        ),
        400,
        "JSON schema may have 65,536 bytes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_what_to_mend(name: str, play: Play) -> None:
    body, status, message = BAD[name]

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await client.post(URL, content=content, headers={"Content-Type": "application/json"})
        if status == 200:
            assert response.status_code == 200
        else:
            check_error(response, status, message)
        # The same gateway answers the next request.
        assert (await client.post(URL, json=chat())).status_code == 200

    play(scenario)


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"Content-Type": "text/plain"}, 415, "must be application/json, but is 'text/plain'"),
        ({"Content-Type": ""}, 415, "but is 'absent'"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, "must not be compressed"),
        ({"Content-Type": "application/json", "Content-Length": "-1"}, 400, "must be a whole number"),
    ],
)
def test_headers_of_the_body(headers: dict[str, str], status: int, message: str, play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        check_error(await client.post(URL, content=b"{}", headers=headers), status, message)

    play(scenario)


def test_a_large_body_is_refused_by_its_length_and_by_what_arrives(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        headers = {"Content-Type": "application/json"}
        declared = await client.post(URL, content=b"x" * 2000, headers=headers)
        check_error(declared, 413, "may have 1,000 bytes, but has 2,000")

        async def drip() -> Any:
            for _ in range(50):
                yield b"x" * 100

        check_error(await client.post(URL, content=drip(), headers=headers), 413, "may have 1,000 bytes")

    play(scenario, max_body_bytes=1000)


def test_a_body_that_does_not_arrive(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        async def stall() -> Any:
            yield b"{"
            await asyncio.sleep(5)

        headers = {"Content-Type": "application/json"}
        check_error(await client.post(URL, content=stall(), headers=headers), 408, "within 0.05 s")

    play(scenario, body_timeout_s=0.05)


def test_an_image_larger_than_its_limit(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        for data in (png() + b"", b"\x89PNG\r\n\x1a\n" + bytes(200)):
            response = await client.post(URL, json=picture_chat(data_url(data)))
            check_error(response, 413, "may have 50 bytes")

    play(scenario, max_image_bytes=50)


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
        check_error(await client.post(URL, json=chat(stream=stream)), 504, "may take 0.05 s")
        assert backend.aborted == 1

    play(scenario, request_timeout_s=0.05)


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
