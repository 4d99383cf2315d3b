"""Quotes read from a bus: in order, from the place a session was left at, every hole and silence said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aiopt.bus.codec import encode_event
from aiopt.bus.events import Event
from aiopt.bus.memory import MemoryTransport
from aiopt.bus.publisher import EventPublisher
from aiopt.bus.transport import Channel, Message
from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds import bus_quotes
from aiopt.live.feeds.bus_quotes import BusQuotes
from aiopt.live.feeds.feed_config import BusFeed
from aiopt.live.feeds.seam import Batch
from aiopt.timeframe import parse_timeframe
from tests.unit.live.feeds.bus_events import START_NS, health, quote

CONFIG = BusFeed(url="memory:feeds", session="pub", start="oldest")
FIVE = parse_timeframe("5m")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_quotes, "SILENCE_S", 0.02)


async def published(transport: MemoryTransport, events: list[Event]) -> None:
    await transport.open()
    messages = [Message(one.id, encode_event(one), one.seq) for one in events]
    await transport.publish(Channel("pub", "events"), messages)


async def first(feed: BusQuotes, place: int, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """Return batches until there are enough."""
    found: list[Batch] = []
    batches = feed.batches(place)
    async with asyncio.timeout(60):
        async for batch in batches:
            found.append(batch)
            if enough(found):
                break
    await batches.aclose()
    return found


def seqs(batches: list[Batch]) -> list[int]:
    return [place for one in batches for place in one.places]


def notes(batches: list[Batch]) -> list[str]:
    return [text for one in batches for text in one.notes]


def test_a_session_reads_on_where_it_was() -> None:
    async def body() -> None:
        server = MemoryTransport("feeds")
        await published(server, [quote(n) for n in range(20)])
        feed = BusQuotes(CONFIG, clock=lambda: START_NS + 5)
        batches = await first(feed, 0, lambda found: len(seqs(found)) == 20)
        assert seqs(batches) == list(range(20))
        assert {one.hole for one in batches} == {""}
        assert batches[0].arrived_ns == START_NS + 5
        assert batches[0].bid_size[3] == 30.0
        assert seqs(await first(BusQuotes(CONFIG), 12, lambda found: len(seqs(found)) == 8)) == [
            *range(12, 20)
        ]
        assert feed.history(FIVE, 0, START_NS) == []
        await server.close()

    asyncio.run(body())


def test_what_the_bus_has_no_more_is_a_hole() -> None:
    async def body() -> None:
        server = MemoryTransport("feeds")
        await published(server, [quote(n) for n in range(20)])
        await server.trim(Channel("pub", "events"), 5)
        (batch, *_) = await first(BusQuotes(CONFIG), 12, lambda found: bool(seqs(found)))
        assert list(batch.places) == [*range(15, 20)]
        assert "no event of pub before number 15 any more" in batch.hole
        (batch, *_) = await first(BusQuotes(CONFIG), 0, lambda found: bool(seqs(found)))
        assert "before number 15" in batch.hole
        (batch, *_) = await first(BusQuotes(CONFIG), 17, lambda found: bool(seqs(found)))
        assert (list(batch.places), batch.hole) == ([17, 18, 19], "")
        await server.close()

    asyncio.run(body())


def test_a_new_session_begins_with_what_comes_from_now_on() -> None:
    async def body() -> None:
        server = MemoryTransport("feeds")
        await published(server, [quote(n) for n in range(3)])
        feed = BusQuotes(BusFeed(url="memory:feeds", session="pub"))
        async with EventPublisher(server, "pub", merge_for_s=0) as publisher:
            batches = feed.batches(0)
            empty = await anext(batches)
            assert (list(empty.places), empty.hole) == ([], "")
            await publisher.put(quote(3))
            while not (batch := await anext(batches)).places:
                pass
            assert (list(batch.places), "in the middle" in batch.hole) == ([3], True)
            await batches.aclose()
        await server.close()

    asyncio.run(body())


def test_what_the_publisher_and_the_bus_are_like_is_said_once() -> None:
    async def body() -> None:
        server = MemoryTransport("feeds")
        events = [
            quote(0),
            health(1, "stale", "silent"),
            health(2, "stale", "silent"),
            health(3, "down", part="node"),
            health(4, "ok"),
            quote(5, instrument="GBPUSD"),
            quote(6, instrument="GBPUSD"),
            quote(9, merged=3),
        ]
        await published(server, events)
        await server.publish(Channel("pub", "events"), [Message("x", b'{"kind": "quote", "schema": 2}', 10)])
        await published(server, [quote(11)])
        batches = await first(BusQuotes(CONFIG), 0, lambda found: 11 in seqs(found))
        assert seqs(batches) == [0, 9, 11]
        assert [text[:34] for text in notes(batches)] == [
            "the feed of pub is stale: silent",
            "over: feed",
            "pub quotes GBPUSD too, which is no",
            "a message was left out: Schema 1 o",
            "1 of 3 quotes stand for several, o",
        ]
        await server.close()

    asyncio.run(body())


def test_a_replayed_publisher_ends() -> None:
    async def body() -> None:
        server = MemoryTransport("feeds")
        await published(server, [quote(0), quote(1), health(2, "down", "the end of its feed")])
        feed = BusQuotes(BusFeed(url="memory:feeds", session="pub", start="oldest", is_replayed=True))
        batches = await first(feed, 0, lambda found: False)
        assert (seqs(batches), feed.is_live, batches[0].arrived_ns) == ([0, 1], False, None)
        await server.close()

    asyncio.run(body())


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(ConfigError, match="A bus must be named as"):
        BusQuotes(BusFeed(url="carrier-pigeon:x", session="pub"))
    with pytest.raises(DataError, match="EURXXX"):
        BusQuotes(BusFeed(url="memory:x", session="pub", instrument="EURXXX"))
    with pytest.raises(ConfigError, match=r"`feed\.session` is 1 to 80 letters"):
        BusFeed(url="memory:x", session="a b")
