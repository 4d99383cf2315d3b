"""Quotes polled from a server: each once and in order, whatever it answers, whenever one comes back."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds import dukascopy_quotes
from aiopt.live.feeds.dukascopy_quotes import DukascopyQuotes
from aiopt.live.feeds.feed_config import DukascopyFeed
from aiopt.live.feeds.seam import Batch
from aiopt.live.feeds.warm_up import whole_bars
from aiopt.market.instrument import instrument
from aiopt.ticks.sources.dukascopy_json import decode
from aiopt.timeframe import parse_timeframe
from aiopt.utc import HOUR_NS, MINUTE_NS, hour_number, hour_text
from tests.unit.live.feeds.publishing_server import LATE_S, MONDAY, PublishingServer, answer_of, hour_ticks
from tests.unit.ticks.download.faulty_server import (
    Client,
    answer,
    garbage,
    hang,
    refuse,
    reset,
    reset_in_body,
    truncate,
)

COUNT = 60
FIVE = parse_timeframe("5m")
RECORDED = "dukascopy/json_api/ticks-EUR-USD-2026-7-13-12.json"


class Clock:
    """Time as the test sets it."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock(MONDAY * HOUR_NS + 20 * MINUTE_NS)


@pytest.fixture
def server(clock: Clock) -> Iterator[PublishingServer]:
    with PublishingServer(clock, COUNT) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.released.set()
        found.shutdown()
        thread.join(10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dukascopy_quotes, "SILENCE_S", 0.02)


def feed_of(server: PublishingServer, clock: Clock, **changes) -> DukascopyQuotes:
    fields = {"url": server.base, "poll_s": 0.01, "backoff_s": 0.01, "backoff_max_s": 0.02, "timeout_s": 5.0}
    return DukascopyQuotes(DukascopyFeed(**fields | changes), FIVE, clock=clock)


def until(feed: DukascopyQuotes, place: int, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """Return what comes until it is enough."""

    async def body() -> list[Batch]:
        found: list[Batch] = []
        batches = feed.batches(place)
        async with asyncio.timeout(60):
            async for batch in batches:
                found.append(batch)
                if enough(found):
                    break
        await batches.aclose()
        return found

    return asyncio.run(body())


def stamps(batches: list[Batch]) -> list[int]:
    return [ts_ns for one in batches for ts_ns in one.ts_ns]


def places(batches: list[Batch]) -> list[int]:
    return [place for one in batches for place in one.places]


def notes(batches: list[Batch]) -> list[str]:
    return [text for one in batches for text in one.notes]


def of_hours(*hours: int, until_ns: int) -> list[int]:
    found = [hour * HOUR_NS + ms * 1_000_000 for hour in hours for ms in hour_ticks(hour, COUNT)[0].tolist()]
    return [ts_ns for ts_ns in found if ts_ns <= until_ns - LATE_S * 1_000_000_000]


def test_what_is_published_comes_once_over_the_ends_of_hours(server: PublishingServer, clock: Clock) -> None:
    end_ns = (MONDAY + 2) * HOUR_NS + 30 * MINUTE_NS
    feed = feed_of(server, clock)
    assert feed.complete_from_ns == feed.history_until_ns == MONDAY * HOUR_NS

    def later(found: list[Batch]) -> bool:
        assert all(one.arrived_ns is not None for one in found)
        if not found[-1].places and clock.ns == end_ns:
            return stamps(found) == of_hours(MONDAY, MONDAY + 1, MONDAY + 2, until_ns=end_ns)
        clock.ns = min(clock.ns + MINUTE_NS, end_ns)
        return False

    found = until(feed, 0, later)
    known = places(found)
    assert known == sorted(set(known))
    assert notes(found) == []
    assert {one.hole for one in found} == {""}
    for number in (1, 17, COUNT, 2 * COUNT + 3):
        rest = until(
            feed_of(server, clock),
            known[number - 1] + 1,
            lambda one, n=number: len(stamps(one)) == len(known) - n,
        )
        assert places(rest) == known[number:]


@pytest.mark.parametrize(
    "fault", [refuse(503), refuse(429, Retry_After="0"), refuse(403), reset, reset_in_body]
)
def test_a_failure_is_said_once_and_loses_nothing(server: PublishingServer, clock: Clock, fault) -> None:
    server.script[f"json:{hour_text(MONDAY)}"] = [fault, fault, answer]
    expected = of_hours(MONDAY, until_ns=clock.ns)
    found = until(feed_of(server, clock), 0, lambda one: bool(stamps(one)))
    assert stamps(found) == expected
    first, second = notes(found)
    assert "asked again in 0 s, and so on" in first
    assert second.endswith("answers again after 2 failures")


@pytest.mark.parametrize("fault", [garbage, truncate])
def test_half_an_answer_is_none(server: PublishingServer, clock: Clock, fault) -> None:
    server.script[f"json:{hour_text(MONDAY)}"] = [fault, answer]
    found = until(feed_of(server, clock), 0, lambda one: bool(stamps(one)))
    assert stamps(found) == of_hours(MONDAY, until_ns=clock.ns)
    assert len(notes(found)) == 2


def test_answers_that_repeat_shrink_or_go_back_give_nothing_twice(
    server: PublishingServer, clock: Clock
) -> None:
    key = f"json:{hour_text(MONDAY)}"
    whole, half = answer_of(MONDAY, COUNT, 20), answer_of(MONDAY, COUNT, 9)
    server.bodies[key] = whole
    turned = json.loads(answer_of(MONDAY, COUNT, 30))
    turned["times"][25] = -60_000
    bodies = [whole, whole, half, whole, json.dumps(turned).encode()]

    def next_answer(found: list[Batch]) -> bool:
        server.bodies[key] = bodies[min(server.asked[key], len(bodies) - 1)]
        return len(stamps(found)) >= 24 and server.asked[key] > len(bodies) + 2

    found = until(feed_of(server, clock), 0, next_answer)
    known = places(found)
    assert known == sorted(set(known))
    texts = notes(found)
    assert any("9 quotes where 20 were" in text for text in texts)
    assert any("went back in time and were left out" in text for text in texts)


def test_an_absence_is_caught_up_with_or_is_a_hole(server: PublishingServer, clock: Clock) -> None:
    left = places(until(feed_of(server, clock), 0, lambda one: bool(stamps(one))))[-1] + 1
    clock.ns += 3 * HOUR_NS
    hours = range(MONDAY, MONDAY + 4)
    seen = len(of_hours(MONDAY, until_ns=clock.ns - 3 * HOUR_NS))
    expected = of_hours(*hours, until_ns=clock.ns)
    back = feed_of(server, clock)
    assert not back.lost_since(left)
    found = until(back, left, lambda one: len(stamps(one)) >= len(expected) - seen)
    assert stamps(found) == expected[seen:]
    late = feed_of(server, clock, catch_up_hours=1.0)
    assert late.lost_since(left)
    found = until(late, left, lambda one: bool(stamps(one)))
    assert stamps(found)[0] >= (MONDAY + 3) * HOUR_NS
    assert "nothing was asked for since 2024-05-06" in next(one.hole for one in found if one.places)


@pytest.mark.parametrize("opening", ["2024-03-10T21", "2024-11-03T22"])
def test_nothing_is_asked_for_while_the_market_is_closed(
    server: PublishingServer, clock: Clock, opening: str
) -> None:
    """New York changes its clocks on both days: the week begins an hour earlier in summer."""
    opens = hour_number(opening)
    clock.ns = (opens - 30) * HOUR_NS
    feed = feed_of(server, clock)
    found = until(feed, 0, lambda one: len(one) > 8)
    assert (server.asked, stamps(found)) == ({}, [])
    clock.ns = opens * HOUR_NS + 30 * MINUTE_NS
    found = until(feed_of(server, clock), 0, lambda one: bool(stamps(one)))
    assert set(server.asked) == {f"json:{hour_text(opens)}"}


def test_a_wrong_clock_takes_nothing_wrong(server: PublishingServer, clock: Clock) -> None:
    ahead = Clock(clock.ns + 5 * HOUR_NS)
    server.script = {f"json:{hour_text(MONDAY + n)}": [refuse(404)] for n in range(1, 12)}
    found = until(feed_of(server, ahead), 0, lambda one: len(one) > 20)
    assert (stamps(found), notes(found)) == ([], [])


def test_a_server_that_hangs_holds_nothing_up(server: PublishingServer, clock: Clock) -> None:
    server.script[f"json:{hour_text(MONDAY)}"] = [hang]
    found = until(feed_of(server, clock), 0, lambda one: len(one) > 4)
    assert stamps(found) == []
    server.released.set()


def test_history_is_hours_of_the_api(server: PublishingServer, clock: Clock, tmp_path: Path) -> None:
    stop_ns = MONDAY * HOUR_NS
    server.bodies = {f"json:{hour_text(hour)}": answer_of(hour, COUNT) for hour in range(MONDAY - 72, MONDAY)}
    server.script[f"json:{hour_text(MONDAY - 2)}"] = [refuse(503), answer]
    feed, shares = feed_of(server, clock), []
    feed.fetch_history(stop_ns - 6 * HOUR_NS, stop_ns, shares.append)
    asked = server.asked.total()
    rows = feed.history(FIVE, stop_ns - 6 * HOUR_NS, stop_ns)
    assert (len(shares), shares[-1], asked) == (6, 1.0, server.asked.total())
    Client(server, tmp_path)("json", span=(MONDAY - 6, MONDAY - 1))
    stored = whole_bars(tmp_path / "store", instrument("EURUSD"), FIVE, stop_ns - 6 * HOUR_NS, stop_ns)
    assert [row[:11] for row in rows] == [row[:11] for row in stored]
    assert len(rows) > 60
    kept = feed_of(server, clock, history=str(tmp_path / "store"))
    assert kept.history(FIVE, stop_ns - 6 * HOUR_NS, stop_ns) == stored
    with pytest.raises(ConfigError, match="Give a tick store"):
        feed_of(server, clock).history(FIVE, stop_ns - 100 * 24 * HOUR_NS, stop_ns)


def test_what_cannot_be_asked_for_is_said() -> None:
    with pytest.raises(DataError, match="EURXXX"):
        DukascopyQuotes(DukascopyFeed(instrument="EURXXX"), FIVE)
    with pytest.raises(ConfigError, match="A feed's address must be"):
        DukascopyQuotes(DukascopyFeed(url="ftp://x"), FIVE)
    with pytest.raises(ConfigError, match=r"0 < feed\.poll_s"):
        DukascopyFeed(poll_s=0.0)
    with pytest.raises(ConfigError, match="catch_up_hours"):
        DukascopyFeed(catch_up_hours=10_000.0)


def test_a_recorded_hour_published_bit_by_bit(
    server: PublishingServer, clock: Clock, shared_data: Path
) -> None:
    raw = (shared_data / RECORDED).read_bytes()
    hour, ticks = decode(raw, file=RECORDED)
    clock.ns = hour * HOUR_NS + 30 * MINUTE_NS
    key, document = f"json:{hour_text(hour)}", json.loads(raw)
    lists = [name for name, value in document.items() if isinstance(value, list)]
    server.bodies[key] = b""

    def publish(found: list[Batch]) -> bool:
        first = 400 * len(found)
        server.bodies[key] = json.dumps(document | {name: document[name][:first] for name in lists}).encode()
        return len(stamps(found)) == len(ticks)

    server.bodies[key] = json.dumps(document | {name: [] for name in lists}).encode()
    found = until(feed_of(server, clock), 0, publish)
    assert stamps(found) == ticks.ts_event_ns.tolist()
    assert np.array_equal([bid for one in found for bid in one.bid], ticks.bid)
    assert len(set(places(found))) == len(ticks)
