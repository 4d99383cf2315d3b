"""Downloading ticks from a server on this machine that misbehaves in every way servers do."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import lzma
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from aiopt.cli.ticks import command
from aiopt.errors import ConfigError, DataError
from aiopt.market.holidays import holiday_of
from aiopt.market.instrument import instrument
from aiopt.ticks.checks.validation import parse_rules
from aiopt.ticks.download import (
    DownloadReport,
    HourFeed,
    HttpClient,
    Politeness,
    download_ticks,
    downloaded_until,
    make_feed,
    parse_span,
)
from aiopt.ticks.download.feed import bi5_path
from aiopt.ticks.download.http import parse_retry_after
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.manifest import read_manifest, verify_store
from aiopt.ticks.sources import dukascopy, dukascopy_json
from aiopt.utc import HOUR_NS, hour_text

EURUSD = instrument("EURUSD")
TICKS = 40
NOW = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
FAST = Politeness(interval_s=0.0, backoff_s=0.01, attempts=3)


def hour_number(text: str) -> int:
    return int(np.datetime64(text, "h").astype(np.int64))


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


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.released.set()
        found.gate.set()
        found.shutdown()
        thread.join(10)


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
        return download_ticks(
            span,
            out or self.out,
            feeds=feeds
            or [make_feed(f"{kind}={self.server.base}", http) for kind in kinds or ("bi5", "json")],
            cache=self.cache,
            politeness=politeness,
            rules=parse_rules(rules),
            replace=replace,
            now=now,
        )


@pytest.fixture
def download(server: Server, tmp_path: Path) -> Client:
    return Client(server, tmp_path)


def keys(kind: str, span: tuple[int, int] = SPAN) -> list[str]:
    return [f"{kind}:{hour_text(hour)}" for hour in range(span[0], span[1] + 1)]


# --- a server that behaves --------------------------------------------------------------------------------


def test_a_span_becomes_a_store_with_every_hour_accounted_for(download: Client, server: Server) -> None:
    report = download()
    assert report.ok
    assert report.counts() == {"ticks": 4, "empty": 0, "closed": 0, "failed": 0}
    assert (report.fetched, report.reused, report.requests) == (4, 0, 4)
    assert server.asked == Counter(keys("bi5"))
    manifest = verify_store(download.out)
    assert manifest == report.manifest
    assert manifest.rows == 4 * TICKS
    assert manifest.hours == {hour_text(hour): "ticks" for hour in range(SPAN[0], SPAN[1] + 1)}
    assert download.cache.joinpath("EURUSD/2024/04/06/10h_ticks.bi5").read_bytes() == bi5_body(SPAN[0])


def test_both_feeds_give_the_same_ticks(download: Client, tmp_path: Path) -> None:
    raw = download("bi5").manifest
    download.cache = tmp_path / "other"
    api = download("json", out=tmp_path / "api").manifest
    assert raw is not None
    assert api is not None
    assert raw.data_hash == api.data_hash


def test_the_same_command_again_asks_for_nothing(download: Client, server: Server) -> None:
    first = download()
    server.asked.clear()
    second = download()
    assert server.asked == Counter()
    assert (second.fetched, second.reused, second.requests) == (0, 4, 0)
    assert second.manifest == first.manifest


def test_a_longer_span_asks_only_for_the_new_hours(download: Client, server: Server) -> None:
    download()
    server.asked.clear()
    report = download(span=(SPAN[0], SPAN[1] + 2))
    assert server.asked == Counter(keys("bi5", (SPAN[1] + 1, SPAN[1] + 2)))
    assert report.manifest is not None
    assert report.manifest.rows == 6 * TICKS


@pytest.mark.parametrize("step", [4, -4])
def test_a_store_is_extended_by_another_span_as_if_both_had_been_one(
    download: Client, server: Server, tmp_path: Path, step: int
) -> None:
    download()
    other = (SPAN[0] + step, SPAN[1] + step)
    report = download(span=other)
    assert (report.hours_before, report.not_asked, len(report.hours)) == (4, 0, 4)
    whole = download(span=(min(SPAN[0], other[0]), max(SPAN[1], other[1])), out=tmp_path / "whole")
    assert report.manifest == whole.manifest
    assert verify_store(download.out) == whole.manifest
    assert {path.name for path in download.out.iterdir()} == {"instrument=EURUSD", "manifest.json"}
    assert max(server.asked.values()) == 1
    server.asked.clear()
    assert download(span=other).manifest == report.manifest
    assert download().manifest == report.manifest
    assert not server.asked


def test_hours_between_two_downloads_are_named_not_taken_for_quiet(download: Client) -> None:
    download()
    report = download(span=(SPAN[1] + 3, SPAN[1] + 4))
    assert (report.ok, report.not_asked) == (True, 2)
    manifest = report.manifest
    assert manifest is not None
    assert [(hour.hour, hour.reason) for hour in manifest.silent_hours] == [
        (hour_text(SPAN[1] + 1), "not_asked"),
        (hour_text(SPAN[1] + 2), "not_asked"),
    ]
    assert manifest.notes == [
        "2 hour(s) of open market inside the span were never asked for: download them as well."
    ]
    filled = download(span=(SPAN[1] + 1, SPAN[1] + 2))
    assert filled.not_asked == 0
    assert filled.manifest is not None
    assert (filled.manifest.rows, filled.manifest.notes) == (8 * TICKS, [])


def test_a_failed_extension_leaves_the_store(download: Client, server: Server) -> None:
    before = download("bi5").manifest
    server.script[keys("bi5", (SPAN[1] + 1, SPAN[1] + 1))[0]] = [refuse(503)]
    report = download("bi5", span=(SPAN[1] + 1, SPAN[1] + 2))
    assert (report.ok, report.store) == (False, None)
    assert verify_store(download.out) == before


def test_without_its_cache_a_store_is_asked_for_again(download: Client, server: Server) -> None:
    before = download()
    shutil.rmtree(download.cache)
    server.asked.clear()
    report = download(span=(SPAN[1] + 1, SPAN[1] + 1))
    assert sum(server.asked.values()) == 5
    assert report.manifest is not None
    assert before.manifest is not None
    assert report.manifest.files[:4] == before.manifest.files


def test_replace_holds_the_new_span_alone(download: Client) -> None:
    download()
    report = download(span=(SPAN[1] + 1, SPAN[1] + 2), replace=True)
    assert (report.hours_before, report.manifest is not None and report.manifest.rows) == (0, 2 * TICKS)


def test_without_a_start_the_span_goes_on_where_the_store_ends(download: Client) -> None:
    assert downloaded_until(download.out, "EURUSD") is None
    download()
    assert downloaded_until(download.out, "EURUSD") == SPAN[1]
    assert downloaded_until(download.out, "GBPUSD") is None
    assert parse_span(None, None, now=NOW, since=SPAN[1])[0] == SPAN[1] + 1
    recent = hour_number("2024-05-30T23")
    assert hour_text(parse_span(None, None, now=NOW, since=recent)[0]) == "2024-05-18T00"
    assert parse_span("2024-05-20", None, now=NOW, since=SPAN[1])[0] == hour_number("2024-05-20T00")


def test_a_store_of_another_source_is_not_replaced_and_nothing_is_asked_for(
    download: Client, server: Server, tmp_path: Path
) -> None:
    source = tmp_path / "in" / "ticks.csv"
    source.parent.mkdir()
    source.write_text("time,bid,ask\n2024-05-06T10:00:00,1.1,1.1001\n")
    import_ticks(source, download.out)
    with pytest.raises(DataError, match="tick store of another source"):
        download()
    assert not server.asked
    report = download(replace=True)
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


def test_closed_hours_are_not_asked_for(download: Client, server: Server) -> None:
    friday = hour_number("2024-05-10T00")
    report = download(span=(friday + 19, friday + 72 + 1))
    assert report.counts() == {"ticks": 7, "empty": 0, "closed": 48, "failed": 0}
    assert sum(server.asked.values()) == 7
    assert report.hours["2024-05-10T20"] == "ticks"
    assert report.hours["2024-05-10T21"] == "closed"
    assert report.hours["2024-05-12T21"] == "ticks"


def test_a_span_of_closed_hours_only_is_refused(download: Client) -> None:
    saturday = hour_number("2024-05-11T00")
    with pytest.raises(DataError, match="only closed and quiet hours"):
        download(span=(saturday, saturday + 5))


# --- a server that does not -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        refuse(503),
        refuse(429),
        truncate,
        cut_unannounced,
        promise_less,
        promise_more,
        garbage,
        nothing_unannounced,
        reset,
        reset_in_body,
        zipped_and_cut,
    ],
)
def test_a_fault_is_retried(download: Client, server: Server, fault: Behaviour) -> None:
    server.script[keys("bi5")[1]] = [fault, fault, answer]
    report = download("bi5")
    assert report.ok
    assert report.requests == 6
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


@pytest.mark.parametrize(("fault", "message"), [(hang, "no answer within 0.3 s"), (drip, "too slow")])
def test_a_slow_server_is_cut_off(download: Client, server: Server, fault: Behaviour, message: str) -> None:
    server.script[keys("bi5")[0]] = [fault]
    started = time.monotonic()
    report = download("bi5", span=(SPAN[0], SPAN[0] + 1), timeout_s=0.3, deadline_s=0.4)
    assert time.monotonic() - started < 8
    assert list(report.failed) == [hour_text(SPAN[0])]
    assert len(report.failed[hour_text(SPAN[0])]) == FAST.attempts
    assert message in report.failed[hour_text(SPAN[0])][0]


@pytest.mark.parametrize("fault", [refuse(503), refuse(404), truncate, garbage, reset, nothing_unannounced])
def test_the_other_feed_steps_in(download: Client, server: Server, fault: Behaviour) -> None:
    server.script[keys("bi5")[2]] = [fault]
    report = download()
    assert report.ok
    assert server.asked[keys("json")[2]] == 1
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS
    assert download.cache.joinpath("EURUSD/2024/04/06/12h_ticks.json").is_file()


def test_a_404_is_not_asked_again_and_is_a_failure(download: Client, server: Server) -> None:
    server.script[keys("bi5")[0]] = [refuse(404)]
    report = download("bi5")
    assert server.asked[keys("bi5")[0]] == 1
    assert report.counts()["failed"] == 1
    assert "status 404" in report.failed[hour_text(SPAN[0])][0]


def test_an_answer_of_another_hour_is_a_failure(download: Client, server: Server) -> None:
    server.script[keys("json")[0]] = [other_hour]
    report = download("json")
    assert (
        "must be of the hour 2024-05-06T10, but is of 2024-05-06T03" in report.failed[hour_text(SPAN[0])][0]
    )


def test_the_bytes_of_another_hour_are_found_out_and_both_are_asked_for_again(
    download: Client, server: Server
) -> None:
    # A raw file does not say which hour it is of: the first hour gets the third one's, once.
    server.script[keys("bi5")[0]] = [wrong_hour(SPAN[0] + 2), answer]
    one = msgspec.structs.replace(FAST, parallel=1)
    report = download("bi5", politeness=one)
    assert report.ok
    assert report.manifest is not None
    assert verify_store(download.out).rows == 4 * TICKS
    for hour in range(SPAN[0], SPAN[1] + 1):
        path = download.cache / "EURUSD" / f"{bi5_path(hour)}.bi5"
        assert path.read_bytes() == bi5_body(hour)


def test_an_hour_that_keeps_coming_as_another_is_never_stored(download: Client, server: Server) -> None:
    download("bi5", span=(SPAN[0], SPAN[0] + 1))
    server.script[keys("bi5")[3]] = [wrong_hour(SPAN[0])]
    report = download("bi5")
    assert list(report.failed) == [hour_text(SPAN[1])]
    assert f"the same bytes as the answer for {hour_text(SPAN[0])}" in report.failed[hour_text(SPAN[1])][0]
    assert report.manifest is None
    report = download("bi5", "json")
    assert report.ok
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


def test_an_answer_in_gzip_is_unpacked(download: Client, server: Server) -> None:
    server.script |= {key: [zipped] for key in keys("bi5") + keys("json")}
    report = download("bi5")
    assert (report.ok, report.requests) == (True, 4)
    assert download.cache.joinpath("EURUSD/2024/04/06/10h_ticks.bi5").read_bytes() == bi5_body(SPAN[0])


def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off(
    download: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiopt.ticks.download.http.MAX_BODY_BYTES", 100_000)
    monkeypatch.setattr("aiopt.ticks.sources.dukascopy._MAX_BYTES", 100_000)
    server.script[keys("bi5")[0]] = [bomb]
    server.bodies[keys("bi5")[1]] = lzma.compress(bytes(200_000), format=lzma.FORMAT_ALONE)
    server.script[keys("bi5")[2]] = [zipped_differently]
    report = download("bi5")
    assert "gzip of more than 100000 bytes is no hour" in report.failed[hour_text(SPAN[0])][0]
    assert "must hold less than 100000 bytes" in report.failed[hour_text(SPAN[0] + 1)][0]
    assert "content encoding 'br' was not asked for" in report.failed[hour_text(SPAN[0] + 2)][0]
    assert len(report.failed) == 3


def test_a_redirect_is_followed_and_a_loop_or_another_protocol_is_not(
    download: Client, server: Server
) -> None:
    server.script[keys("bi5")[0]] = [redirect("{base}{path}?again"), answer]
    server.script[keys("bi5")[1]] = [redirect("{base}{path}")]
    server.script[keys("bi5")[2]] = [redirect("ftp://127.0.0.1{path}")]
    server.script[keys("bi5")[3]] = [redirect("{base}/EURUSD/2000/00/03/00h_ticks.bi5")]
    server.bodies["bi5:2000-01-03T00"] = b"<html>sign in to the hotel's network</html>"
    report = download("bi5")
    assert report.counts() == {"ticks": 1, "empty": 0, "closed": 0, "failed": 3}
    assert "must be LZMA-compressed" in report.failed[hour_text(SPAN[0] + 3)][0]
    assert "status 302" in report.failed[hour_text(SPAN[0] + 1)][0]
    assert "a redirect to ftp://127.0.0.1" in report.failed[hour_text(SPAN[0] + 2)][0]
    assert "is not followed" in report.failed[hour_text(SPAN[0] + 2)][0]


def test_no_more_requests_are_in_flight_than_allowed_and_they_keep_their_distance(
    download: Client, server: Server
) -> None:
    flying = threading.Lock()
    now, most = 0, 0

    def slowly(handler: Handler, body: bytes) -> None:
        nonlocal now, most
        with flying:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with flying:
            now -= 1
        answer(handler, body)

    span = (MONDAY, MONDAY + 23)
    server.script |= {key: [slowly] for key in keys("bi5", span)}
    assert download("bi5", span=span, politeness=msgspec.structs.replace(FAST, parallel=3)).ok
    assert most == 3
    server.asked_at.clear()
    spaced = msgspec.structs.replace(FAST, interval_s=0.05)
    assert download("bi5", span=(MONDAY + 24, MONDAY + 35), politeness=spaced).ok
    # The first may be late on the way; the twelve together cannot have been much faster.
    assert server.asked_at[-1] - server.asked_at[0] >= 6 * 0.05


def test_an_answer_of_another_instrument_is_a_failure(download: Client, server: Server) -> None:
    server.bodies[keys("json")[0]] = json_body(SPAN[0], ask=155.01, bid=155.0)
    report = download("json")
    assert "the median here is 155" in report.failed[hour_text(SPAN[0])][0]


def test_retry_after_is_waited_for_by_all(download: Client, server: Server) -> None:
    server.script[keys("bi5")[0]] = [refuse(503, Retry_After="1"), answer]
    one = msgspec.structs.replace(FAST, parallel=1)
    assert download("bi5", politeness=one).ok
    steps = np.diff(server.asked_at)
    assert steps[0] >= 0.95
    assert steps[1:].max() < 0.9


def test_a_retry_after_of_hours_ends_the_feeds_turn(download: Client, server: Server) -> None:
    server.script[keys("bi5")[0]] = [refuse(503, Retry_After="86400")]
    started = time.monotonic()
    assert download().ok
    assert time.monotonic() - started < 8
    assert server.asked[keys("bi5")[0]] == 1
    assert server.asked[keys("json")[0]] == 1


def test_retry_after_may_be_a_date() -> None:
    now = dt.datetime(2024, 5, 6, 10, tzinfo=dt.UTC)
    assert parse_retry_after("Mon, 06 May 2024 10:01:30 GMT", now=now) == 90
    assert parse_retry_after("Mon, 06 May 2024 09:00:00 GMT", now=now) == 0
    assert parse_retry_after("garbage") == 0
    assert parse_retry_after(None) == 0


def test_a_dead_feed_is_asked_last_and_a_dead_world_is_given_up(download: Client, server: Server) -> None:
    span = (MONDAY, MONDAY + 23)
    server.script |= {key: [refuse(503)] for key in keys("bi5", span)}
    one = msgspec.structs.replace(FAST, parallel=1, down_after=2)
    assert download(span=span, politeness=one).ok
    assert sum(count for key, count in server.asked.items() if key.startswith("bi5")) == 2 * FAST.attempts
    server.script |= {key: [refuse(503)] for key in keys("json", (MONDAY, MONDAY + 47))}
    server.script |= {key: [refuse(503)] for key in keys("bi5", (MONDAY, MONDAY + 47))}
    server.asked.clear()
    report = download(span=(MONDAY, MONDAY + 47), politeness=msgspec.structs.replace(one, give_up_after=3))
    assert report.counts() == {"ticks": 24, "empty": 0, "closed": 0, "failed": 24}
    assert len(server.asked) == 2 * 3
    assert "not tried" in report.failed[hour_text(MONDAY + 47)][0]


def test_a_server_that_is_not_there_fails_every_hour(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{probe.getsockname()[1]}"
        feeds = [make_feed(f"bi5={base}", HttpClient(proxy="", timeout_s=1))]
        report = download_ticks(
            SPAN, tmp_path / "out", feeds=feeds, cache=tmp_path / "c", politeness=FAST, now=NOW
        )
    assert report.counts()["failed"] == 4
    assert "ConnectionRefusedError" in report.failed[hour_text(SPAN[0])][0]


# --- quiet or failed --------------------------------------------------------------------------------------


def test_an_hour_is_empty_when_both_feeds_say_so(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing]
    server.bodies[keys("json")[1]] = json_body(SPAN[0] + 1, **EMPTY_JSON)
    report = download()
    assert report.hours[hour_text(SPAN[0] + 1)] == "empty"
    assert (server.asked[keys("bi5")[1]], server.asked[keys("json")[1]]) == (1, 1)
    assert report.manifest is not None
    assert [(hour.hour, hour.reason) for hour in report.manifest.silent_hours] == [
        (hour_text(SPAN[0] + 1), "empty_file")
    ]
    server.asked.clear()
    assert download().hours == report.hours
    assert not server.asked


def test_ticks_of_one_feed_beat_the_empty_answer_of_another(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing]
    report = download()
    assert report.hours[hour_text(SPAN[0] + 1)] == "ticks"
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


def test_an_empty_answer_of_one_feed_must_be_repeated(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing, answer]
    assert download("bi5").hours[hour_text(SPAN[0] + 1)] == "ticks"
    server.script[keys("bi5", (SPAN[0], SPAN[1] + 1))[4]] = [nothing, nothing]
    assert download("bi5", span=(SPAN[0], SPAN[1] + 1)).counts()["empty"] == 1


def test_empty_and_then_failing_is_failed(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing, refuse(503)]
    assert list(download("bi5").failed) == [hour_text(SPAN[0] + 1)]


CHRISTMAS = (hour_number("2023-12-24T22"), hour_number("2023-12-25T03"))


def test_a_holiday_without_a_file_is_closed_when_every_feed_says_so(download: Client, server: Server) -> None:
    both = keys("bi5", CHRISTMAS), keys("json", CHRISTMAS)
    server.script |= {key: [refuse(404)] for key in both[0] + both[1]}
    server.script[both[0][1]] = [answer]  # a provider that has ticks is believed
    server.script[both[1][2]] = [refuse(503)]  # one that is away has said nothing
    report = download(span=CHRISTMAS)
    assert [report.hours[hour_text(hour)] for hour in range(CHRISTMAS[0], CHRISTMAS[0] + 4)] == [
        "closed",
        "ticks",
        "failed",
        "closed",
    ]
    records = json.loads((download.cache / "EURUSD" / ".hours.json").read_bytes())["hours"]
    assert records[hour_text(CHRISTMAS[0])]["source"] == "Christmas Day"
    assert "status 404" in records[hour_text(CHRISTMAS[0])]["problems"][0]
    server.asked.clear()
    download(span=CHRISTMAS)
    assert set(server.asked) == {both[0][2], both[1][2]}


def test_only_the_two_holidays_are_holidays() -> None:
    year = range(hour_number("2024-01-01T00"), hour_number("2025-01-01T00"))
    found = Counter(holiday_of(hour) for hour in year)
    # 1 January from 17:00 New York on belongs to the 2nd; 31 December from then on to the next year.
    assert found["Christmas Day"] == 24
    assert found["New Year's Day"] == 22 + 2
    assert set(found) == {None, "Christmas Day", "New Year's Day"}
    assert holiday_of(hour_number("2024-12-25T21")) == "Christmas Day"
    assert holiday_of(hour_number("2024-12-25T22")) is None


def test_an_empty_hour_that_just_ended_is_not_published_yet(download: Client, server: Server) -> None:
    server.script[keys("bi5")[3]] = [nothing]
    soon = dt.datetime.fromtimestamp((SPAN[1] + 1) * 3600 + 600, tz=dt.UTC)
    report = download("bi5", now=soon)
    assert "may not be published yet" in report.failed[hour_text(SPAN[1])][-1]
    server.script.clear()
    assert download("bi5", now=soon).ok


def test_no_store_while_an_hour_failed_and_the_same_command_asks_only_for_it(
    download: Client, server: Server
) -> None:
    server.script[keys("bi5")[1]] = [refuse(503)]
    report = download("bi5")
    assert not report.ok
    assert (report.store, report.manifest) == (None, None)
    assert not download.out.exists()
    server.script.clear()
    server.asked.clear()
    report = download("bi5")
    assert server.asked == Counter([keys("bi5")[1]])
    assert report.ok
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


def test_failed_hours_are_marked_in_a_store_that_accepts_holes(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [refuse(503)]
    report = download("bi5", rules=("missing_hour=keep",))
    assert not report.ok
    manifest = read_manifest(download.out)
    assert manifest.hours[hour_text(SPAN[0] + 1)] == "failed"
    assert [hour.reason for hour in manifest.silent_hours] == ["missing_file"]
    server.script.clear()
    whole = download("bi5", rules=("missing_hour=keep",)).manifest
    assert whole is not None
    assert set(whole.hours.values()) == {"ticks"}


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_answer_in_the_cache_is_fetched_again(
    download: Client, server: Server, damage: bytes | None
) -> None:
    first = download("bi5")
    path = download.cache / "EURUSD" / f"{bi5_path(SPAN[0])}.bi5"
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    server.asked.clear()
    again = download("bi5")
    assert again.manifest == first.manifest
    assert server.asked == Counter(keys("bi5")[:1])


def test_a_damaged_record_is_rebuilt_from_the_answers(download: Client, server: Server) -> None:
    first = download()
    (download.cache / "EURUSD" / ".hours.json").write_bytes(b"{")
    server.asked.clear()
    assert download().manifest == first.manifest
    assert not server.asked


# --- killed -----------------------------------------------------------------------------------------------

# Imports once what takes seconds to import, then forks a process per command, which may be killed.
_LAUNCHER = """
import json, os, sys
from aiopt.cli.ticks import command
import aiopt.ticks.download
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        code = 70
        try:
            output = os.open(job["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(os.open(job["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            code = command(job["arguments"], standalone_mode=False)
            sys.stdout.flush()
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Run:
    """A running `aiopt ticks download` in a process of its own."""

    def __init__(self, launcher: subprocess.Popen[str], folder: Path, arguments: list[str]) -> None:
        self._launcher = launcher
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        job = {"arguments": arguments, "stdout": str(self._stdout), "stderr": str(self._stderr)}
        assert launcher.stdin is not None
        launcher.stdin.write(json.dumps(job) + "\n")
        launcher.stdin.flush()
        self._pid = int(self._line())

    def signal(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return exit code and stdout."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)
        return self.end()

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and stdout."""
        code = int(self._line())
        return code, self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def _line(self) -> str:
        assert self._launcher.stdout is not None
        return self._launcher.stdout.readline()


@pytest.fixture(scope="module")
def launcher() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"POLARS_MAX_THREADS": "1"},
    ) as process:
        yield process


@pytest.fixture
def spawn(launcher: subprocess.Popen[str], server: Server, tmp_path: Path) -> Callable[..., Run]:
    def start(first: str, last: str, *more: str) -> Run:
        arguments = ["download", "EURUSD", "--from", first, "--to", last, "--json"]
        arguments += ["--out", str(tmp_path / "store"), "--cache", str(tmp_path / "cache"), "--proxy", "none"]
        arguments += ["--feed", f"bi5={server.base}", "--interval", "0", "--backoff", "0.01"]
        return Run(launcher, tmp_path, [*arguments, "--parallel", "3", *more])

    return start


def test_kill_9_and_resume_fetch_every_hour_exactly_once(
    server: Server, spawn: Callable[..., Run], tmp_path: Path
) -> None:
    span = (MONDAY, MONDAY + 11)
    served = threading.Semaphore(5)

    def gated(handler: Handler, body: bytes) -> None:
        # Five answers, then silence: at the kill the client waits for three that never come.
        if served.acquire(blocking=False) or server.gate.wait(20):
            answer(handler, body)

    server.gate.clear()
    server.script |= {key: [gated] for key in keys("bi5", span)}
    run = spawn("2024-05-06T00", "2024-05-06T11")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if len(list((tmp_path / "cache").rglob("*.bi5"))) == 5 and sum(server.asked.values()) == 8:
            break
        time.sleep(0.02)
    assert run.signal(signal.SIGKILL) == (-signal.SIGKILL, "")
    assert sum(server.answered.values()) == 5
    assert len(list((tmp_path / "cache").rglob("*.bi5"))) == 5

    server.script.clear()
    run = spawn("2024-05-06T00", "2024-05-06T11")
    code, stdout = run.end()
    assert code == 0, run.stderr
    document = json.loads(stdout)
    assert (document["fetched"], document["reused"]) == (7, 5)
    assert server.answered == Counter(keys("bi5", span))
    server.gate.set()
    assert verify_store(tmp_path / "store").rows == 12 * TICKS


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(
    server: Server, spawn: Callable[..., Run], tmp_path: Path, download: Client
) -> None:
    span = (MONDAY, MONDAY + 47)
    days = ("2024-05-06", "2024-05-07")
    undisturbed = download("bi5", span=span, out=tmp_path / "calm")
    assert undisturbed.manifest is not None
    (tmp_path / "cache").rename(tmp_path / "calm-cache")
    server.answered.clear()

    def slowly(handler: Handler, body: bytes) -> None:
        time.sleep(0.06)
        answer(handler, body)

    server.script |= {key: [slowly] for key in keys("bi5", span)}
    moments = random.Random(4)
    killed = 0
    for _ in range(20):
        # Once all hours are there, the moments fall into the import.
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        run = spawn(*days)
        time.sleep(moments.random() * 0.5)
        killed += run.signal(signal.SIGKILL)[0] == -signal.SIGKILL
        if (tmp_path / "store" / "manifest.json").exists():
            assert verify_store(tmp_path / "store").data_hash == undisturbed.manifest.data_hash
    assert killed >= 10
    run = spawn(*days)
    code, stdout = run.end()
    assert code == 0, run.stderr
    assert json.loads(stdout)["store"]["data_hash"] == undisturbed.manifest.data_hash
    # Only answers that were on their way at a kill can have been asked for twice.
    assert 48 <= sum(server.answered.values()) <= 48 + 3 * killed


@pytest.mark.slow
def test_twenty_kills_of_an_extension_leave_the_old_store_or_the_new(
    server: Server, spawn: Callable[..., Run], tmp_path: Path, download: Client
) -> None:
    first, second = (MONDAY, MONDAY + 23), (MONDAY + 24, MONDAY + 47)
    old = download("bi5", span=first)
    assert old.manifest is not None
    shutil.copytree(download.out, tmp_path / "old")
    run = spawn("2024-05-07", "2024-05-07")
    started = time.perf_counter()
    assert run.end()[0] == 0, run.stderr
    whole_s = time.perf_counter() - started
    new = verify_store(download.out)
    assert new.rows == 48 * TICKS
    moments = random.Random(8)
    killed = 0
    for _ in range(60):
        # The answers are there by now: the moments fall into the judging, writing and committing.
        shutil.rmtree(download.out)
        shutil.copytree(tmp_path / "old", download.out)
        run = spawn("2024-05-07", "2024-05-07")
        time.sleep(moments.random() * whole_s)
        killed += run.signal(signal.SIGKILL)[0] == -signal.SIGKILL
        found = verify_store(download.out)
        assert found in (old.manifest, new)
        if killed == 20:
            break
        whole_s *= 0.97
    assert killed == 20
    run = spawn("2024-05-07", "2024-05-07")
    assert run.end()[0] == 0, run.stderr
    assert verify_store(download.out) == new
    assert {path.name for path in download.out.iterdir()} == {"instrument=EURUSD", "manifest.json"}
    assert server.answered == Counter(keys("bi5", (first[0], second[1])))


def test_an_interrupt_keeps_what_was_fetched(
    server: Server, spawn: Callable[..., Run], tmp_path: Path
) -> None:
    server.script |= {key: [hang] for key in keys("bi5", (MONDAY + 2, MONDAY + 11))}
    run = spawn("2024-05-06T00", "2024-05-06T11", "--timeout", "1")
    end = time.monotonic() + 30
    while sum(server.asked.values()) < 5 and time.monotonic() < end:
        time.sleep(0.02)
    started = time.monotonic()
    code, stdout = run.signal(signal.SIGINT)
    assert time.monotonic() - started < 4  # 5 attempts would take 5
    assert (code, stdout) == (70, "")
    assert run.stderr.endswith(("Abort \n", "KeyboardInterrupt \n"))
    kept = json.loads((tmp_path / "cache" / "EURUSD" / ".hours.json").read_bytes())["hours"]
    assert {hour: record["status"] for hour, record in kept.items()} == {
        "2024-05-06T00": "ticks",
        "2024-05-06T01": "ticks",
    }
    assert not (tmp_path / "store").exists()


# --- the command ------------------------------------------------------------------------------------------


def invoke(server: Server, tmp_path: Path, *more: str) -> Any:
    arguments = ["download", "EURUSD", "--from", "2024-05-06T10", "--to", "2024-05-06T13"]
    arguments += ["--out", str(tmp_path / "store"), "--cache", str(tmp_path / "cache"), "--proxy", "none"]
    arguments += ["--backoff", "0.01", "--attempts", "2", "--interval", "0", *more]
    environment = {"AIOPT_TICK_FEEDS": f"bi5={server.base} json={server.base}"}
    return CliRunner().invoke(command, arguments, env=environment, standalone_mode=False)


def test_the_command_exits_with_1_while_an_hour_is_failed(server: Server, tmp_path: Path) -> None:
    server.script |= {f"{kind}:2024-05-06T11": [refuse(503)] for kind in ("bi5", "json")}
    result = invoke(server, tmp_path)
    assert result.exception is None
    assert result.return_value == 1
    assert "failed: 2024-05-06T11" in result.stdout
    assert "asks only for the 1 failed hour(s)" in result.stdout
    result = invoke(server, tmp_path, "--json")
    assert result.return_value == 1
    document = json.loads(result.stdout)
    assert (document["ok"], document["store"]) == (False, None)
    assert list(document["failed"]) == ["2024-05-06T11"]
    server.script.clear()
    result = invoke(server, tmp_path, "--json")
    assert result.return_value == 0
    document = json.loads(result.stdout)
    assert document["hours"] == {"ticks": 4, "empty": 0, "closed": 0, "failed": 0}
    assert (document["fetched"], document["reused"], document["store"]["rows"]) == (1, 3, 4 * TICKS)


def test_requests_go_through_the_proxy(server: Server, tmp_path: Path) -> None:
    # The host does not exist; the server here answers for it, as a proxy does.
    proxied = ["--proxy", server.base, "--feed", "bi5=http://feed.invalid/datafeed"]
    result = invoke(server, tmp_path, *proxied, "--json")
    assert result.exception is None
    assert json.loads(result.stdout)["ok"] is True
    assert server.asked == Counter(keys("bi5"))


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2024-05-07", "2024-05-06", "`--from <= --to` must hold"),
        ("2024-05-07", "2024-06-01", "Every hour of the span must be over"),
        ("yesterday", None, "must be YYYY-MM-DD or YYYY-MM-DDTHH"),
    ],
)
def test_a_bad_span_is_refused(first: str, last: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_span(first, last, now=NOW)


def test_the_default_span_is_the_last_14_whole_days() -> None:
    first, last = parse_span(None, None, now=NOW + dt.timedelta(hours=15))
    assert (hour_text(first), hour_text(last)) == ("2024-05-18T00", "2024-05-31T23")


@pytest.mark.parametrize(
    "text",
    [
        "ftp",
        "bi5=ftp://host",
        "json=host/path",
        "bi5=",
        "bi5=http://me:secret@host",
        "dir",
        "dir=/no/such/folder",
        "python",
        "python=json",
        "python=no.such.module:feed",
        "python=json:nothing",
        "python=os.path:basename",
        "python=builtins:repr",
    ],
)
def test_a_bad_feed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="feed"):
        make_feed(text, HttpClient(proxy=""))


def test_hour_files_on_a_disk_are_a_feed_to_fall_back_on(
    download: Client, server: Server, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    for hour, suffix, body in ((SPAN[0], "bi5", bi5_body), (SPAN[1], "json", json_body)):
        path = archive / "EURUSD" / f"{bi5_path(hour)}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body(hour))
    server.script |= {key: [refuse(503)] for key in (keys("bi5")[0], keys("bi5")[2], keys("bi5")[3])}
    http = HttpClient(proxy="")
    feeds = [make_feed(f"bi5={server.base}", http), make_feed(f"dir={archive}", http)]
    report = download(feeds=feeds)
    assert list(report.failed) == [hour_text(SPAN[0] + 2)]
    assert report.failed[hour_text(SPAN[0] + 2)][-1].endswith("2024/04/06/12h_ticks: no such file")
    assert report.counts()["ticks"] == 3


def test_a_feed_of_ones_own_is_named_by_its_function(
    download: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_feed.py").write_text(
        "from aiopt.ticks.download import HourResult\n"
        "from tests.unit.ticks.test_download import bi5_body\n"
        "class Mine:\n"
        "    name = 'mine'\n"
        "    def fetch(self, instrument, hour):\n"
        "        return HourResult('ticks', bi5_body(hour), '.bi5', 40)\n"
        "def make(http):\n"
        "    return Mine()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    report = download(feeds=[make_feed("python=my_feed:make", HttpClient(proxy=""))])
    assert report.ok
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


# --- JSON answers as a format of import -------------------------------------------------------------------


def test_json_answers_are_imported_under_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, hour in enumerate(range(SPAN[1], SPAN[0] - 1, -1)):
        (folder / f"answer{number}.json").write_bytes(json_body(hour))
    (folder / "candles.json").write_text('{"timestamp": 0, "times": [], "opens": []}')
    manifest = import_ticks(folder, tmp_path / "out")
    assert (manifest.source_format, manifest.rows) == ("dukascopy_json", 4 * TICKS)
    assert manifest.notes == ["1 file(s) left aside: candles or descriptions, not ticks."]
    assert manifest.first_ts_ns == SPAN[0] * HOUR_NS + int(points(SPAN[0])[0][0]) * 1_000_000


def test_json_beside_other_ticks_is_a_description_of_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ticks.csv").write_text("time,bid,ask\n2024-05-06T10:00:00,1.1,1.1001\n")
    (tmp_path / "in" / "about.json").write_bytes(json_body(SPAN[0]))
    assert import_ticks(tmp_path / "in", tmp_path / "out").source_format == "csv"


def test_a_json_answer_cut_short_is_recognised_and_refused(tmp_path: Path) -> None:
    (tmp_path / "hour.json").write_bytes(json_body(SPAN[0])[:-30])
    with pytest.raises(DataError, match="must be the JSON of /v1/ticks, whole"):
        import_ticks(tmp_path / "hour.json", tmp_path / "out")


def test_json_prices_are_the_nearest_doubles_of_their_decimals() -> None:
    _, bid, ask, _ = points(SPAN[0])
    _, ticks = dukascopy_json.decode(json_body(SPAN[0]), file="x", hour=SPAN[0])
    assert ticks.bid.tolist() == [float(f"{int(value) // 100000}.{int(value) % 100000:05}") for value in bid]
    assert ticks.ask.tolist() == [float(f"{int(value) // 100000}.{int(value) % 100000:05}") for value in ask]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": [1, 2]}, "All lists must be equally long"),
        ({"timestamp": 5}, "start of an hour"),
        ({"multiplier": 3e-5}, "`multiplier` must be"),
        ({"ask": None}, "`ask` must be a whole number of points"),
        ({"bid": 1.080004}, "`bid` must be a whole number of points"),
        ({"times": [3_600_000] + [0] * (TICKS - 1)}, "must lie in its hour"),
        ({"asks": [2**40] * TICKS}, "JSON of /v1/ticks"),
        ({"asks": ["1"] * TICKS}, "JSON of /v1/ticks"),
    ],
)
def test_a_broken_json_answer_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dukascopy_json.decode(json_body(SPAN[0], **change), file="x")


# --- real answers -----------------------------------------------------------------------------------------


def test_real_hours_survive_a_misbehaving_server(
    shared_data: Path, download: Client, server: Server, tmp_path: Path
) -> None:
    tree = shared_data / "dukascopy"
    day = hour_number("2019-02-04T00")
    span = (day + 5, day + 8)
    for hour in range(span[0], span[1] + 1):
        path = tree / "EURUSD" / f"{bi5_path(hour)}.bi5"
        server.bodies[f"bi5:{hour_text(hour)}"] = path.read_bytes()
    faults = [refuse(503, Retry_After="0"), truncate, reset, garbage]
    for key, fault in zip(keys("bi5", span), faults, strict=True):
        server.script[key] = [fault, answer]
    report = download("bi5", span=span)
    assert report.ok
    for hour in range(span[0], span[1] + 1):
        target = tmp_path / "plain" / "EURUSD" / f"{bi5_path(hour)}.bi5"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(server.bodies[f"bi5:{hour_text(hour)}"])
    plain = import_ticks(tmp_path / "plain", tmp_path / "plain-store")
    assert report.manifest is not None
    assert report.manifest.data_hash == plain.data_hash


def test_the_real_json_answer_decodes_exactly(shared_data: Path, download: Client, server: Server) -> None:
    path = shared_data / "dukascopy" / "json_api" / "ticks-EUR-USD-2026-7-13-12.json"
    hour = hour_number("2026-07-13T12")
    found, ticks = dukascopy_json.decode(path.read_bytes(), file=path)
    assert (found, len(ticks)) == (hour, 3551)
    assert (ticks.bid[0], ticks.ask[0]) == (1.14273, 1.14277)
    assert (ticks.bid[1], ticks.ask[1]) == (1.14271, 1.14275)
    assert ticks.ts_event_ns[0] == hour * HOUR_NS + 93_000_000
    assert (ticks.ask > ticks.bid).all()
    server.bodies[f"json:{hour_text(hour)}"] = path.read_bytes()
    report = download("json", span=(hour, hour), now=dt.datetime(2026, 8, 1, tzinfo=dt.UTC))
    assert report.manifest is not None
    assert report.manifest.rows_read == 3551
