"""A server of ticks on this machine that misbehaves in every way servers do.  For tests alone."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import lzma
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from aiopt.market.instrument import instrument
from aiopt.ticks.checks.validation import parse_rules
from aiopt.ticks.download import (
    DownloadOptions,
    DownloadReport,
    HourFeed,
    HttpClient,
    Politeness,
    download_ticks,
    make_feed,
)
from aiopt.ticks.sources import dukascopy
from aiopt.utc import hour_number, hour_text

EURUSD = instrument("EURUSD")
TICKS = 40
NOW = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
FAST = Politeness(interval_s=0.0, backoff_s=0.01, attempts=3)


MONDAY = hour_number("2024-05-06T00")
SPAN = (MONDAY + 10, MONDAY + 13)


# --- generated hours: the same ticks in both forms --------------------------------------------------------


def points(hour: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return milliseconds, bid and ask points, and sizes in units."""
    rng = np.random.default_rng(hour)
    ms = np.sort(rng.choice(3_600_000, TICKS, replace=False)).astype(np.int64)
    bid = 108_000 + np.cumsum(rng.integers(-5, 6, TICKS))
    return ms, bid, bid + rng.integers(1, 9, TICKS), rng.integers(1, 90, TICKS) * 10_000


def bi5_body(hour: int) -> bytes:
    ms, bid, ask, size = points(hour)
    records = np.zeros(TICKS, dtype=dukascopy.TICK_RECORD)
    records["ms"], records["bid"], records["ask"] = ms, bid, ask
    records["bid_size"], records["ask_size"] = size / 1e6, size[::-1] / 1e6
    return lzma.compress(records.tobytes(), format=lzma.FORMAT_ALONE)


def json_body(hour: int, **changes: Any) -> bytes:
    ms, bid, ask, size = points(hour)
    answer = {
        "timestamp": hour * 3_600_000,
        "multiplier": 1e-5,
        "ask": ask[0] / 1e5,
        "bid": bid[0] / 1e5,
        "times": np.diff(ms, prepend=0).tolist(),
        "asks": np.diff(ask, prepend=ask[0]).tolist(),
        "bids": np.diff(bid, prepend=bid[0]).tolist(),
        "askVolumes": size[::-1].astype(float).tolist(),
        "bidVolumes": size.astype(float).tolist(),
    }
    return json.dumps(answer | changes).encode()


EMPTY_JSON: dict[str, Any] = {
    "ask": None,
    "bid": None,
    "times": [],
    "asks": [],
    "bids": [],
    "askVolumes": [],
    "bidVolumes": [],
}


# --- the server -------------------------------------------------------------------------------------------

Behaviour = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        key = self.server.key_of(self.path)
        with self.server.lock:
            self.server.asked[key] += 1
            self.server.asked_at.append(time.monotonic())
            queue = self.server.script.get(key, [])
            behave = queue.pop(0) if len(queue) > 1 else queue[0] if queue else answer
        body = self.server.body_of(self.path)
        behave(self, body)

    def give(self, body: bytes, *, length: int | None = -1, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Serves generated hours of any date, or `bodies`; `script` says how each hour is answered in turn."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.asked_at: list[float] = []
        self.script: dict[str, list[Behaviour]] = {}
        self.bodies: dict[str, bytes] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.released = threading.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        assert isinstance(error, OSError), error  # a client that went away

    @staticmethod
    def key_of(path: str) -> str:
        """Return ``bi5:2024-05-06T10`` or ``json:…`` for an address; months from 0 and from 1."""
        parts = path.split("?")[0].strip("/").split("/")
        if parts[0] == "v1":
            year, month, day, hour = (int(part) for part in parts[3:7])
            return f"json:{year:04}-{month:02}-{day:02}T{hour:02}"
        year, month, day = (int(part) for part in parts[-4:-1])
        return f"bi5:{year:04}-{month + 1:02}-{day:02}T{parts[-1][:2]}"

    def body_of(self, path: str) -> bytes:
        key = self.key_of(path)
        if key in self.bodies:
            return self.bodies[key]
        kind, _, hour = key.partition(":")
        return (json_body if kind == "json" else bi5_body)(hour_number(hour))


def answer(handler: Handler, body: bytes) -> None:
    handler.give(body)
    with handler.server.lock:
        handler.server.answered[handler.server.key_of(handler.path)] += 1


def refuse(status: int, **headers: str) -> Behaviour:
    return lambda handler, body: handler.give(b"no", status=status, **headers)


def truncate(handler: Handler, body: bytes) -> None:
    handler.give(body[: len(body) // 2], length=len(body))


def cut_unannounced(handler: Handler, body: bytes) -> None:
    handler.give(body[: len(body) // 2], length=None)


def garbage(handler: Handler, body: bytes) -> None:
    handler.give(b"<html>sign in to the hotel's network</html>")


def nothing(handler: Handler, body: bytes) -> None:
    handler.give(b"")


def nothing_unannounced(handler: Handler, body: bytes) -> None:
    handler.give(b"", length=None)


def reset(handler: Handler, body: bytes) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def reset_in_body(handler: Handler, body: bytes) -> None:
    handler.give(body[:20], length=len(body))
    handler.wfile.flush()
    reset(handler, body)


def hang(handler: Handler, body: bytes) -> None:
    handler.server.released.wait(10)


def drip(handler: Handler, body: bytes) -> None:
    handler.give(b"", length=len(body))
    with contextlib.suppress(OSError):
        for byte in body:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            if handler.server.released.wait(0.02):
                return


def other_hour(handler: Handler, body: bytes) -> None:
    handler.give(json_body(MONDAY + 3))


def wrong_hour(hour: int) -> Behaviour:
    return lambda handler, body: handler.give(bi5_body(hour))


def promise_less(handler: Handler, body: bytes) -> None:
    handler.give(body, length=len(body) // 2)


def promise_more(handler: Handler, body: bytes) -> None:
    handler.give(body, length=len(body) + 7)


def redirect(target: str) -> Behaviour:
    return lambda handler, body: handler.give(
        b"moved", status=302, Location=target.format(base=handler.server.base, path=handler.path)
    )


def zipped(handler: Handler, body: bytes) -> None:
    handler.give(gzip.compress(body), Content_Encoding="gzip")


def zipped_and_cut(handler: Handler, body: bytes) -> None:
    handler.give(gzip.compress(body)[:-9], Content_Encoding="gzip")


def zipped_differently(handler: Handler, body: bytes) -> None:
    handler.give(body, Content_Encoding="br")


def bomb(handler: Handler, body: bytes) -> None:
    handler.give(gzip.compress(bytes(200_000)), Content_Encoding="gzip")


class Client:
    """Downloads from the server into folders of the test."""

    def __init__(self, server: Server, tmp_path: Path) -> None:
        self.server = server
        self.out = tmp_path / "store"
        self.cache = tmp_path / "cache"

    def __call__(
        self,
        *kinds: str,
        span: tuple[int, int] = SPAN,
        politeness: Politeness = FAST,
        timeout_s: float = 5.0,
        deadline_s: float = 5.0,
        now: dt.datetime = NOW,
        rules: tuple[str, ...] = (),
        out: Path | None = None,
        replace: bool = False,
        feeds: list[HourFeed] | None = None,
    ) -> DownloadReport:
        http = HttpClient(timeout_s=timeout_s, deadline_s=deadline_s, proxy="")
        options = DownloadOptions(politeness=politeness, rules=parse_rules(rules), replace=replace, now=now)
        asked = feeds or [make_feed(f"{kind}={self.server.base}", http) for kind in kinds or ("bi5", "json")]
        return download_ticks(span, out or self.out, asked, self.cache, options)


def keys(kind: str, span: tuple[int, int] = SPAN) -> list[str]:
    return [f"{kind}:{hour_text(hour)}" for hour in range(span[0], span[1] + 1)]
