"""The HTTP surface on real engines: what the contract tests hold over a fake, asked once of the real thing.

Uses the endpoint the tests of this folder share; starts nothing.
"""

from __future__ import annotations

import json
import re
import socket
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import openai
import pytest

from aiopt.analyst import AnalysisResult
from aiopt.strategy.spec import StrategySpec
from cluster.serving.endpoint import read_token
from tests.serving.conftest import Served
from tests.unit.serving.pictures import data_url, png
from tests.unit.serving.test_gateway_analysis import market
from tests.unit.serving.test_gateway_chat import check_error
from tests.unit.serving.test_gateway_contract import run_schemathesis

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"


def chat(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"model": "minicpm", "messages": [message], "max_tokens": 8, "temperature": 0, **fields}


def picture_chat(url: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is this?"}]
    return chat(messages=[{"role": "user", "content": content}], **fields)


def test_answers_whole_and_streamed_are_the_same_and_named(served: Served) -> None:
    revision = served.revision()
    for body in (chat("The trend"), picture_chat(data_url(png(64, 48)))):
        whole = served.client.post(CHAT, json=body)
        assert whole.status_code == 200, whole.text
        with served.client.stream("POST", CHAT, json={**body, "stream": True}) as response:
            events = [line[6:] for line in response.read().decode().split("\n\n") if line]
            assert response.status_code == 200
        assert events[-1] == "[DONE]"
        chunks = [json.loads(event) for event in events[:-1]]
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
        assert text == whole.json()["choices"][0]["message"]["content"]
        for answer in (whole, response):
            assert answer.headers["x-model-revision"] == revision
            assert answer.headers["x-request-id"]


def test_a_json_schema_is_obeyed(served: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"side": {"enum": ["long", "short"]}},
        "required": ["side"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "side", "schema": schema}}
    answer = served.client.post(CHAT, json=chat(response_format=form, max_tokens=64)).json()
    assert json.loads(answer["choices"][0]["message"]["content"])["side"] in ("long", "short")


def test_a_market_is_read_by_the_model_or_says_why_not(served: Served) -> None:
    response = served.client.post("/analyze", json=market())
    assert response.status_code == 200, response.text
    result = msgspec.json.decode(response.content, type=AnalysisResult)
    assert result.attempts
    for attempt in result.attempts:
        # A chart takes about 5,000 tokens, which the context of a profile may not have.
        refused = re.search("context|length|tokens", attempt.error) is not None and not attempt.model_revision
        assert refused or attempt.model_revision == served.revision(), attempt
    # The weights are random: an answer may break the facts of the chart, and then the rules read.
    assert (result.analysis.source == "model") or result.analysis.fallback_reason
    order = {"analysis": response.json()["analysis"], "timeframe": "5m", "reader": "rules"}
    answer = served.client.post("/strategy", json=order).json()
    if answer["outcome"] == "proposal":
        assert StrategySpec.from_json(json.dumps(answer["spec"])).spec_hash == answer["spec_hash"]
    else:
        assert answer["rule"]


def corrupt_pixels() -> bytes:
    """Return a PNG whose checksums are right and whose pixels cannot be inflated."""
    good = png(64, 48)
    start = good.index(b"IDAT")
    length = int.from_bytes(good[start - 4 : start], "big")
    data = b"IDAT" + bytes(length)
    return good[:start] + data + zlib.crc32(data).to_bytes(4, "big") + good[start + 8 + length :]


BAD: dict[str, tuple[Any, int, str]] = {
    "prompt longer than the context": (chat("word " * 20_000), 400, "context|length|tokens"),
    "pixels that cannot be inflated": (picture_chat(data_url(corrupt_pixels())), 400, "image"),
    "not an image": (picture_chat(data_url(b"hello world")), 400, "must be PNG or JPEG"),
    "20,000 pixels": (picture_chat(data_url(png(20_000, 20_000))), 400, "20000 x 20000"),
    "unknown model": (chat(model="nope"), 404, "nope"),
    "malformed": (b"{", 400, "must be JSON"),
    "schema that is none": (
        chat(
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}
        ),
        400,
        "",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_the_engine_goes_on(name: str, served: Served) -> None:
    body, status, message = BAD[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    for fields in ({}, {"stream": True}):
        if fields and not isinstance(body, bytes):
            content = json.dumps({**body, **fields}).encode()
        response = served.client.post(CHAT, content=content, headers={"Content-Type": "application/json"})
        check_error(response, status, message)
    assert served.client.post(CHAT, json=chat()).status_code == 200


def test_tokens_are_asked_for(served: Served) -> None:
    for path, token, status in (
        (CHAT, "wrong-token-0123456789", 401),
        ("/admin/models", served.token, 403),
        ("/openapi.json", "wrong-token-0123456789", 401),
    ):
        method = "POST" if path == CHAT else "GET"
        headers = {"Authorization": f"Bearer {token}"}
        check_error(httpx.request(method, served.url + path, json=chat(), headers=headers), status, "token")
    assert httpx.get(served.url + "/healthz").json() == {"status": "ready"}


def test_a_client_that_leaves_stops_the_engine(served: Served) -> None:
    """A long answer given up must not hold its slot until its last token."""
    address = urlsplit(served.url)
    body = json.dumps(chat(max_tokens=3000, ignore_eos=True, stream=True)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        assert b"200" in connection.recv(2000)
    deadline = time.monotonic() + 5
    while "aiopt_model_requests_in_flight 0.0" not in served.client.get("/metrics").text:
        assert time.monotonic() < deadline, "the slot is still held"
        time.sleep(0.1)


def test_openai_client(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.token, max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="minicpm", messages=[{"role": "user", "content": "Hi"}], max_tokens=4, stream=True
        )
        assert sum(len(chunk.choices) for chunk in chunks) >= 1
        assert "minicpm" in [model.id for model in client.models.list()]


def test_metrics_tell_of_models_and_engines(served: Served) -> None:
    text = served.client.get("/metrics").text
    assert f'revision="{served.revision()}"' in text
    for name in ("aiopt_http_requests_total", "aiopt_tokens_total", "aiopt_engine_requests_in_flight"):
        assert f"\n{name}{{" in text


def test_the_real_endpoint_keeps_to_its_schema(served: Served, tmp_path: Path) -> None:
    document = served.client.get("/openapi.json").json()
    kept = {path: methods for path, methods in document["paths"].items() if not path.startswith("/admin")}
    assert len(kept) < len(document["paths"])
    config = f"""
[auth.openapi.api]
bearer = "{served.token}"
[auth.openapi.admin]
bearer = "{read_token(served.folder, "admin")}"
[generation]
max-examples = 3
deterministic = true
[phases.coverage]
enabled = false
[phases.stateful]
enabled = false
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "413"]
"""
    done = run_schemathesis(tmp_path, {**document, "paths": kept}, served.url, config)
    assert done.returncode == 0, done.stdout[-6000:]
