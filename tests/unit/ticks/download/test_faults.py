"""Downloading ticks from a server that misbehaves in every way servers do."""

from __future__ import annotations

import datetime as dt
import lzma
import socket
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.ticks.download import (
    DownloadOptions,
    HttpClient,
    download_ticks,
    make_feed,
)
from aiopt.ticks.download.feed import bi5_path
from aiopt.ticks.download.http import parse_retry_after
from aiopt.ticks.manifest import verify_store
from aiopt.utc import hour_text
from tests.unit.ticks.download.faulty_server import (
    FAST,
    MONDAY,
    NOW,
    SPAN,
    TICKS,
    Behaviour,
    Client,
    Handler,
    Server,
    answer,
    bi5_body,
    bomb,
    cut_unannounced,
    drip,
    garbage,
    hang,
    json_body,
    keys,
    nothing_unannounced,
    other_hour,
    promise_less,
    promise_more,
    redirect,
    refuse,
    reset,
    reset_in_body,
    truncate,
    wrong_hour,
    zipped,
    zipped_and_cut,
    zipped_differently,
)


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


@pytest.mark.parametrize(("fault", "message"), [(hang, "no answer within 1 s"), (drip, "too slow")])
def test_a_slow_server_is_cut_off(download: Client, server: Server, fault: Behaviour, message: str) -> None:
    server.script[keys("bi5")[0]] = [fault]
    started = time.monotonic()
    report = download("bi5", span=(SPAN[0], SPAN[0] + 1), timeout_s=1.0, deadline_s=1.5)
    assert time.monotonic() - started < 60
    assert list(report.failed) == [hour_text(SPAN[0])]
    assert len(report.failed[hour_text(SPAN[0])]) == FAST.attempts
    # Not each attempt: a starved server may take longer than that for the first byte of a drip.
    assert any(message in attempt for attempt in report.failed[hour_text(SPAN[0])])


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
    assert "is of the hour 2024-05-06T03, not of 2024-05-06T10" in report.failed[hour_text(SPAN[0])][0]


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
    assert "the gzip holds more than 100000 bytes" in report.failed[hour_text(SPAN[0])][0]
    assert "unpacks to more than 100000" in report.failed[hour_text(SPAN[0] + 1)][0]
    assert "packed as 'br', which was not asked for" in report.failed[hour_text(SPAN[0] + 2)][0]
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
    assert "is not LZMA-compressed" in report.failed[hour_text(SPAN[0] + 3)][0]
    assert "status 302" in report.failed[hour_text(SPAN[0] + 1)][0]
    assert "sends us on to ftp://127.0.0.1" in report.failed[hour_text(SPAN[0] + 2)][0]
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
        options = DownloadOptions(politeness=FAST, now=NOW)
        report = download_ticks(SPAN, tmp_path / "out", feeds, tmp_path / "c", options)
    assert report.counts()["failed"] == 4
    assert "ConnectionRefusedError" in report.failed[hour_text(SPAN[0])][0]
