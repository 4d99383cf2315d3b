"""A real HTTP server that answers chat completions as a test says, misbehaving on purpose."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server does with one request."""

    status: int = 200
    body: bytes | str | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False
    claimed_length: int | None = None


def completion(text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "x",
        "model": "some-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7},
        **more,
    }


@dataclass
class Endpoint:
    """A running server: its address and what it was asked."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0


@contextmanager
def serving(respond: Callable[[int, dict[str, Any]], Answer]) -> Iterator[Endpoint]:
    """Serve while the block runs; `respond` gets the number of the request and its JSON."""
    lock = threading.Lock()
    running = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal running
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(endpoint.asked)
                endpoint.asked.append(payload)
                endpoint.headers.append(dict(self.headers))
                running += 1
                endpoint.most_at_once = max(endpoint.most_at_once, running)
            try:
                answer = respond(number, payload)
                time.sleep(answer.delay_s)
            finally:
                # Before it is sent: the client may ask again while this thread still waits for a core.
                with lock:
                    running -= 1
            self._answer(answer)

        def do_GET(self) -> None:
            """Answer ``GET /models``; `respond` gets ``{"listing": true}``, which is no question counted."""
            self._answer(respond(-1, {"listing": True}))

        def _answer(self, answer: Answer) -> None:
            if answer.drop:
                self.close_connection = True
                self.connection.close()
                return
            body = answer.body
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            data = data.encode() if isinstance(data, str) else data
            self.send_response(answer.status)
            length = len(data) if answer.claimed_length is None else answer.claimed_length
            for name, value in {"Content-Length": str(length), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            if answer.claimed_length is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
