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
import numpy as np
import openai
import pytest

from aiopt.analyst import AnalysisResult
from aiopt.serving.endpoint import read_token
from aiopt.strategy.spec import StrategySpec
from tests.serving.conftest import Served
from tests.unit.serving.gateway.chat_requests import check_error
from tests.unit.serving.gateway.test_gateway_analysis import market
from tests.unit.serving.gateway.test_gateway_contract import run_schemathesis
from tests.unit.serving.made_pictures import (
    DAMAGED_JPEGS,
    bad_filter,
    data_url,
    gradient,
    png,
    png_of,
    saved,
)

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"


def chat(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"model": "minicpm", "messages": [message], "max_tokens": 8, "temperature": 0, **fields}


def schema_chat(schema: dict[str, Any]) -> dict[str, Any]:
    return chat(
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}, max_tokens=64
    )


def picture_chat(*urls: str, **fields: Any) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content.append({"type": "text", "text": "What is this?"})
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
        assert len(chunks) > 3, "the answer did not come piece by piece"
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
        assert text == whole.json()["choices"][0]["message"]["content"]
        for answer in (whole, response):
            assert answer.headers["x-model-revision"] == revision
            assert answer.headers["x-request-id"]


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
    "JPEG with a broken Huffman table": (
        picture_chat(data_url(DAMAGED_JPEGS["broken Huffman table"](), "jpeg")),
        400,
        "must be whole",
    ),
    "lossless JPEG": (picture_chat(data_url(DAMAGED_JPEGS["lossless"](), "jpeg")), 400, "lossless"),
    "JPEG cut inside its pixels": (
        picture_chat(data_url(DAMAGED_JPEGS["pixels cut"](), "jpeg")),
        400,
        "must be whole",
    ),
    "PNG with an invalid filter": (
        picture_chat(data_url(bad_filter())),
        400,
        "filter that PNG does not have",
    ),
    "short interlaced PNG": (
        picture_chat(data_url(png_of(zlib.compress(bytes(6)), interlaced=1))),
        400,
        "must be whole",
    ),
    "more pictures than the engine takes": (picture_chat(*[data_url(png(64, 48))] * 8), 400, "image"),
    "schema in a circle": (schema_chat({"$ref": "#"}), 400, "refers to itself in a circle"),
    "schema without a branch": (schema_chat({"anyOf": []}), 400, "without a branch"),
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


def test_one_picture_in_many_files_has_one_answer(served: Served) -> None:
    """Whatever way pixels are written, the engine sees the same: also 16 bits, and BASE64 in capitals."""
    grey = (gradient(64, 48)[..., 0] // 2 + 60).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    transparent = np.dstack([rgb, np.full_like(grey, 255)])
    files = [saved(pixels, "PNG") for pixels in (grey, rgb, transparent, grey.astype(np.uint16) << 8 | 7)]
    urls = [data_url(file) for file in files]
    urls += [urls[0].replace("data:image/png;base64", "DATA:IMAGE/PNG;BASE64")]
    answers = set()
    for url in [*urls, data_url(png(64, 48))]:
        response = served.client.post(CHAT, json=picture_chat(url, max_tokens=24))
        assert response.status_code == 200, response.text
        answers.add((url in urls, response.json()["choices"][0]["message"]["content"]))
    assert sum(same for same, _ in answers) == 1
    photo = picture_chat(data_url(saved(rgb, quality=90), "jpeg"))
    assert served.client.post(CHAT, json=photo).status_code == 200


@pytest.mark.parametrize(
    "given", [None, b"fine-1", b"\xe9", b"a b", b"x" * 200], ids=["none", "good", "Latin-1", "space", "long"]
)
def test_every_answer_has_one_request_id(given: bytes | None, served: Served) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    for path, token, status in (
        ("/v1/models", served.token, 200),
        ("/healthz", "none", 200),
        ("/nowhere", served.token, 404),
        (CHAT, served.token, 405),
        (CHAT, "wrong", 401),
    ):
        known = {**headers, "Authorization": f"Bearer {token}".encode()}
        response = httpx.get(served.url + path, headers=known)
        assert response.status_code == status, response.text
        (found,) = response.headers.get_list("x-request-id")
        assert re.fullmatch("[A-Za-z0-9._-]{1,128}", found)
        if given == b"fine-1":
            assert found == "fine-1"


def test_what_the_request_type_allows_the_engine_keeps(served: Served) -> None:
    for fields in (
        {"stop": ["@@"] * 16},
        {"logprobs": True, "top_logprobs": 20},
        {"n": 8, "temperature": 2.0, "top_p": 1e-6, "top_k": 1_000_000, "min_p": 1.0},
        {"seed": -(2**63 - 1), "temperature": 1, "presence_penalty": -2, "frequency_penalty": 2},
        {"repetition_penalty": 10.0, "ignore_eos": True, "max_completion_tokens": 3},
        dict.fromkeys(("stop", "seed", "tools", "logit_bias", "response_format", "top_k", "n", "stream")),
    ):
        response = served.client.post(CHAT, json=chat(**fields))
        assert response.status_code == 200, (fields, response.text)
        assert len(response.json()["choices"]) == (fields.get("n") or 1)


def test_an_answer_is_taken_back(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.token, max_retries=0) as client:
        messages: list[Any] = [{"role": "user", "content": "Hi"}]
        for send_back in (lambda message: message, lambda message: message.model_dump()):
            answer = client.chat.completions.create(model="minicpm", messages=messages, max_tokens=4)
            messages += [send_back(answer.choices[0].message), {"role": "user", "content": "And?"}]
        assert client.chat.completions.create(model="minicpm", messages=messages, max_tokens=4).choices


def test_no_gateway_ever_imports_vllm(served: Served) -> None:
    """An exception of vLLM's that reached one would cost it seconds, in which nobody is answered."""
    schema = {"type": "object", "properties": {"a": {"type": "nope"}}}
    assert served.client.post(CHAT, json=schema_chat(schema)).status_code == 400
    gateways = served.processes("aiopt:Gateway")
    assert gateways
    for process in gateways:
        assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()


def test_tokens_are_asked_for(served: Served) -> None:
    for path, token, status in (
        (CHAT, "wrong-token-0123456789", 401),
        ("/admin/models", served.token, 403),
        ("/openapi.json", "wrong-token-0123456789", 401),
        ("/v1/models", "wrong-token-0123456789", 401),
        ("/admin/models", "wrong-token-0123456789", 401),
    ):
        method = "POST" if path == CHAT else "GET"
        headers = {"Authorization": f"Bearer {token}"}
        check_error(httpx.request(method, served.url + path, json=chat(), headers=headers), status, "token")
    assert httpx.get(served.url + "/healthz").json() == {"status": "ready"}


def disconnects(served: Served) -> float:
    found = re.search(
        r"^aiopt_client_disconnects_total (\S+)", served.client.get("/metrics").text, re.MULTILINE
    )
    assert found is not None
    return float(found[1])


def test_a_client_that_leaves_stops_the_engine(served: Served) -> None:
    """A long answer given up must not hold its slot until its last token."""
    before = disconnects(served)
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
    assert disconnects(served) == before + 1


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
