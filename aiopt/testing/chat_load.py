"""Clients that ask an OpenAI-compatible endpoint without pause, and remember every answer.

Owns the load of the swap tests and benchmarks: what was asked, what came back, under which model revision,
and how long it took.  Refused and failed requests are results like any other, never left out.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import httpx
import msgspec
import numpy as np

from aiopt.charts.png import encode_png

MAX_TOKENS = 8


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what became of it.

    Attributes
    ----------
    prompt : int
        Index into the prompts.
    status : int
        HTTP status; 0 where the connection failed.
    revision : str
        Header ``X-Model-Revision``.
    content : str
        The message, or the error's text.
    retry_after : str
        Header ``Retry-After``.
    begun_s, seconds : float
        When it was sent (monotonic clock) and how long it took.
    """

    prompt: int
    status: int
    revision: str
    content: str
    retry_after: str
    begun_s: float
    seconds: float


def text_prompt(text: str) -> list[dict[str, Any]]:
    """Return the messages of a question."""
    return [{"role": "user", "content": text}]


def image_prompt(text: str, *, seed: int) -> list[dict[str, Any]]:
    """Return the messages of a question about a picture: one strong colour, a few blocks of others."""
    random = np.random.default_rng(seed)
    blocks = np.where(random.random((6, 8)) < 0.1, random.integers(1, 4, size=(6, 8)), 0).astype(np.uint8)
    pixels = np.kron(blocks, np.ones((20, 20), dtype=np.uint8))
    palette = (255 * random.integers(0, 2, size=(4, 3))).astype(np.uint8)
    palette[0] = ((255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 255))[seed % 4]
    data = base64.b64encode(encode_png(pixels, palette)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]


def mixed_prompts(count: int = 6) -> list[list[dict[str, Any]]]:
    """Return prompts, every third with a picture."""
    return [
        image_prompt(f"What is in picture {index}?", seed=index)
        if index % 3 == 2
        else text_prompt(f"Question {index}: where is the trend going?")
        for index in range(count)
    ]


def ask(client: httpx.Client, model: str, prompts: Sequence[Any], index: int) -> Answer:
    """Send one greedy request and return what became of it; raises nothing the network may do."""
    body = {"model": model, "messages": prompts[index], "temperature": 0, "max_tokens": MAX_TOKENS}
    begun = time.monotonic()
    try:
        reply = client.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as error:
        return Answer(
            prompt=index,
            status=0,
            revision="",
            content=f"{type(error).__name__}: {error}",
            retry_after="",
            begun_s=begun,
            seconds=time.monotonic() - begun,
        )
    content = reply.json()["choices"][0]["message"]["content"] if reply.is_success else reply.text
    return Answer(
        prompt=index,
        status=reply.status_code,
        revision=reply.headers.get("x-model-revision", ""),
        content=content or "",
        retry_after=reply.headers.get("retry-after", ""),
        begun_s=begun,
        seconds=time.monotonic() - begun,
    )


class ChatLoad:
    """A number of clients that ask all the time; use as ``with``.

    Parameters
    ----------
    url, token : str
        The endpoint.
    model : str
        Served name.
    prompts : sequence
        Messages; each client goes round them from a place of its own.
    clients : int
        Requests in flight.
    """

    def __init__(self, url: str, token: str, model: str, prompts: Sequence[Any], *, clients: int = 8) -> None:
        self._url, self._token, self._model = url, token, model
        self._prompts = prompts
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(clients)]

    def __enter__(self) -> ChatLoad:
        """Start the clients."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let each client finish its request."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def answers(self) -> list[Answer]:
        """All answers so far, in the order they came."""
        with self._lock:
            return list(self._answers)

    def _run(self, client_index: int) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=180) as client:
            index = client_index
            while not self._stop.is_set():
                answer = ask(client, self._model, self._prompts, index % len(self._prompts))
                with self._lock:
                    self._answers.append(answer)
                index += 1
                if answer.status != httpx.codes.OK:
                    time.sleep(0.2)  # as a client that heeds Retry-After would, only sooner
