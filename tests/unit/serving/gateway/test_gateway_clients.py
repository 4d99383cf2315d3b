"""OpenAI client and bare sockets against the gateway on loopback; the examples of docs/reference/http.md."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.unit.serving.conftest import ADMIN, API, Play
from tests.unit.serving.fake_backend import VISION, FakeBackend
from tests.unit.serving.gateway.test_gateway_analysis import market
from tests.unit.serving.live import Live, live_gateway
from tests.unit.serving.made_pictures import data_url, png

DOCS = Path(__file__).resolve().parents[4] / "docs" / "reference" / "http.md"


@pytest.fixture
def live() -> Iterator[Live]:
    with live_gateway(max_concurrency=2, max_queue=0) as found:
        yield found


@pytest.fixture
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=API, max_retries=0) as found:
        yield found


MESSAGES = [{"role": "user", "content": "Hi"}]


def test_openai_client_chats_streams_and_lists(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="minicpm", messages=MESSAGES)  # type: ignore[arg-type]
    assert raw.headers["x-model-revision"] == VISION.revision
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello there"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    chunks = list(
        client.chat.completions.create(
            model="minicpm",
            messages=MESSAGES,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
            temperature=0,
            max_completion_tokens=9,
            seed=1,
            stop=["x"],
            user="me",
        )
    )
    assert [c.choices[0].delta.content for c in chunks if c.choices] == ["Hello", "there"]
    assert chunks[-1].usage is not None
    assert [model.id for model in client.models.list()] == ["minicpm", "gpt-4o", "text"]
    assert client.models.retrieve("text").id == "text"


def test_openai_client_sends_pictures_and_schemas(client: openai.OpenAI, live: Live) -> None:
    answer = client.chat.completions.create(
        model="minicpm",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": data_url(png()), "detail": "high"}},
                    {"type": "text", "text": "What is this?"},
                ],
            }
        ],
        response_format={"type": "json_schema", "json_schema": {"name": "analysis", "schema": {}}},
        extra_body={"top_k": 1},
    )
    assert json.loads(answer.choices[0].message.content or "")["bias"] == "long"
    assert live.backend.bodies[-1]["top_k"] == 1


def test_openai_client_raises_its_own_errors(client: openai.OpenAI, live: Live) -> None:
    def ask(**fields: object) -> None:
        client.chat.completions.create(**{"model": "minicpm", "messages": MESSAGES, **fields})  # type: ignore[call-overload]

    with pytest.raises(openai.NotFoundError, match="must be a served one"):
        ask(model="nope")
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        ask(max_tokens=-1)
    with pytest.raises(openai.BadRequestError, match="reads text only"):
        picture = [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(png())}}]}
        ]
        ask(model="text", messages=picture)
    live.backend.ready = False
    with pytest.raises(openai.InternalServerError, match="No engine serves yet") as caught:
        ask()
    assert caught.value.status_code == 503
    live.backend.ready = True
    with pytest.raises(openai.AuthenticationError, match="token is unknown"):
        client.with_options(api_key="wrong").models.list()


def test_openai_client_waits_and_tries_again_when_it_is_told_to(live: Live) -> None:
    live.call(live.backend.release.clear)
    with (
        openai.OpenAI(base_url=f"{live.url}/v1", api_key=API, max_retries=3) as client,
        concurrent.futures.ThreadPoolExecutor(3) as pool,
    ):

        def ask() -> str | None:
            answer = client.chat.completions.create(model="minicpm", messages=MESSAGES)  # type: ignore[arg-type]
            return answer.choices[0].message.content

        asked = [pool.submit(ask) for _ in range(2)]
        live.wait_for(lambda: live.backend.working == 2)
        third = pool.submit(ask)  # 429 with Retry-After: 1
        headers = {"Authorization": f"Bearer {API}"}
        live.wait_for(lambda: 'reason="queue_full"' in httpx.get(f"{live.url}/metrics", headers=headers).text)
        live.call(live.backend.release.set)
        assert [future.result(20) for future in [*asked, third]] == ["Hello there"] * 3


def post(path: str, body: object) -> bytes:
    raw = json.dumps(body).encode()
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {API}",
        "Content-Type: application/json",
        f"Content-Length: {len(raw)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


@pytest.mark.parametrize(
    ("path", "body", "reads"),
    [
        ("/v1/chat/completions", {"model": "minicpm", "messages": MESSAGES}, False),
        ("/v1/chat/completions", {"model": "minicpm", "messages": MESSAGES, "stream": True}, False),
        ("/v1/chat/completions", {"model": "minicpm", "messages": MESSAGES, "stream": True}, True),
        ("/analyze", market(), False),
        ("/analyze", {"items": [market()]}, False),
    ],
)
def test_a_client_that_leaves_frees_its_slot_and_stops_the_engine(
    path: str, body: object, reads: bool, live: Live
) -> None:
    if reads:
        live.backend.delay_s = 0.5
    else:
        live.call(live.backend.release.clear)
    port = int(live.url.rpartition(":")[2])
    for round_ in range(1, 4):  # with two slots, a leak would show in the third
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(post(path, body))
            if reads:
                assert b"200 OK" in connection.recv(1000)
            else:
                live.wait_for(lambda: live.backend.working == 1)
        live.wait_for(lambda number=round_: live.backend.aborted == number)
        live.wait_for(lambda: live.backend.held == 0)
    metrics = httpx.get(f"{live.url}/metrics", headers={"Authorization": f"Bearer {API}"}).text
    assert "aiopt_client_disconnects_total 3.0" in metrics
    assert "aiopt_model_requests_in_flight 0.0" in metrics


def test_a_request_that_the_server_cancels_counts_as_left(play: Play) -> None:
    """Ray Serve ends the task of a client that has gone before it says so."""

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        backend.release.clear()
        for stream in (False, True):
            body = {"model": "minicpm", "messages": MESSAGES, "stream": stream}
            asked = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            while not backend.working:
                await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        metrics = (await client.get("/metrics")).text
        assert "aiopt_client_disconnects_total 2.0" in metrics
        assert re.search(r'aiopt_http_requests_total\{.*status="499"\} 2.0', metrics)
        assert "aiopt_model_requests_in_flight 0.0" in metrics

    play(scenario)


def test_openai_clients_messages_are_taken_back(client: openai.OpenAI, live: Live) -> None:
    """`messages.append(answer.choices[0].message)`, as OpenAI's own examples go on with a chat."""
    messages: list[Any] = list(MESSAGES)
    for send_back in (lambda message: message, lambda message: message.model_dump()):
        answer = client.chat.completions.create(model="minicpm", messages=messages)
        messages += [send_back(answer.choices[0].message), *MESSAGES]
    client.chat.completions.create(
        model="minicpm",
        messages=messages,
        tools=None,
        logit_bias=None,
        store=None,  # type: ignore[arg-type, call-overload]
    )
    told = live.backend.bodies[-1]["messages"]
    assert [message["role"] for message in told] == ["user", "assistant"] * 2 + ["user"]
    assert all(set(message) == {"role", "content"} for message in told)


def test_a_client_that_leaves_while_it_sends(live: Live) -> None:
    port = int(live.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(post("/analyze", market())[:-50])
    headers = {"Authorization": f"Bearer {API}"}
    live.wait_for(
        lambda: "aiopt_client_disconnects_total 1.0" in httpx.get(f"{live.url}/metrics", headers=headers).text
    )


def test_many_clients_at_once_get_an_answer_or_a_refusal(live: Live) -> None:
    live.backend.delay_s = 0.01
    headers = {"Authorization": f"Bearer {API}"}
    body = {"model": "minicpm", "messages": MESSAGES}

    def ask(_: int) -> int:
        return httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=headers).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(60)))
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) == len(live.backend.bodies)
    assert live.backend.most <= 2
    assert live.backend.held == 0


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_in_the_docs_run(live: Live, tmp_path: Path) -> None:
    (tmp_path / "chart.png").write_bytes(png(640, 400))
    (tmp_path / "market.json").write_text(json.dumps(market()))
    environment = {
        **os.environ,
        "AIOPT_URL": live.url,
        "AIOPT_TOKEN": API,
        "AIOPT_ADMIN_TOKEN": ADMIN,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    shell, python = blocks("sh"), blocks("python")
    assert len(shell) >= 4
    assert len(python) >= 2
    for code in shell:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    for code in python:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip()
