"""Bad chats over HTTP: each is refused with what to mend, and nothing of it reaches an engine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.unit.serving.conftest import Play
from tests.unit.serving.fake_backend import FakeBackend
from tests.unit.serving.gateway.chat_requests import URL, chat, check_error, picture_chat, schema_chat
from tests.unit.serving.made_pictures import data_url, jpeg, png

DEEP = "[" * 5000 + "]" * 5000
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
