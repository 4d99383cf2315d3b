"""Load for the serving benchmark: chats against an OpenAI-compatible address, every failure counted.

Owns the client side.  Knows neither what serves nor how it was started.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

TOKENS = 32
"""Tokens of each answer; `ignore_eos` makes every engine write all of them."""


@dataclass(frozen=True)
class Target:
    """One address under test."""

    name: str
    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Mode:
    """One way of asking."""

    stream: bool
    image: bool
    clients: int

    @property
    def name(self) -> str:
        kind = "image" if self.image else "text"
        return f"{kind}_{'stream' if self.stream else 'whole'}_{self.clients}"


@dataclass
class Measured:
    """What one mode gave on one target."""

    rates: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    request_ms: list[float] = field(default_factory=list)
    completed: int = 0
    failed: int = 0
    texts: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def chat_body(number: int, mode: Mode, picture: bytes) -> bytes:
    """Return a chat that no other number asks: no target can answer it from a cached prefix alone."""
    content: Any = f"Question {number}: which way does this market go?"
    if mode.image:
        url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": content}]
    body = {
        "model": "minicpm",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": mode.stream,
    }
    return json.dumps(body).encode()


async def run_round(
    target: Target, mode: Mode, bodies: list[bytes], into: Measured, *, session: aiohttp.ClientSession
) -> None:
    """Send all bodies, `mode.clients` at a time, and add what was seen."""
    waiting = iter(bodies)

    async def client() -> None:
        for body in waiting:
            await _ask(target, mode, body, into, session)

    started = time.perf_counter()
    before = into.completed
    await asyncio.gather(*(client() for _ in range(mode.clients)))
    into.rates.append((into.completed - before) / (time.perf_counter() - started))


async def _ask(
    target: Target, mode: Mode, body: bytes, into: Measured, session: aiohttp.ClientSession
) -> None:
    started = time.perf_counter()
    try:
        async with session.post(
            f"{target.url}/v1/chat/completions", data=body, headers=target.headers
        ) as answer:
            if mode.stream and answer.status == 200:
                first, text = None, b""
                async for part in answer.content.iter_any():
                    first = time.perf_counter() - started if first is None else first
                    text += part
                if not text.rstrip().endswith(b"data: [DONE]") or b'"error"' in text:
                    into.failed += 1
                    return
                into.first_ms.append((first or 0.0) * 1e3)
                into.texts.append(_streamed_text(text))
            else:
                document = await answer.json()
                if answer.status != 200 or document["usage"]["completion_tokens"] != TOKENS:
                    into.failed += 1
                    return
                into.texts.append(document["choices"][0]["message"]["content"])
    except (aiohttp.ClientError, TimeoutError):
        into.failed += 1
        return
    into.completed += 1
    into.request_ms.append((time.perf_counter() - started) * 1e3)


def _streamed_text(events: bytes) -> str:
    found = []
    for event in events.decode().split("\n\n"):
        if event.startswith("data: {"):
            for choice in json.loads(event[6:])["choices"]:
                found.append(choice["delta"].get("content") or "")
    return "".join(found)
