"""Publisher and reader together, through every transport: cuts, repetitions, back-pressure, health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import pytest

from aiopt.bus.codec import encode_event
from aiopt.bus.events import Event
from aiopt.bus.failures import BusError, BusMessageError
from aiopt.bus.memory import MemoryTransport
from aiopt.bus.publisher import BusHealth, EventPublisher
from aiopt.bus.reader import EventReader
from aiopt.bus.transport import Channel, Message, Reader
from aiopt.errors import ConfigError
from tests.unit.bus.made_events import one_of_each, quote, signal
from tests.unit.bus.servers import Place, ValkeyPlace, new_session

GROUP = Reader(group="readers")


def run(test: Awaitable[None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(within())


async def events_of(reader: EventReader, count: int) -> list[Event]:
    found: list[Event] = []
    async for event in reader:
        found.append(event)
        if len(found) == count:
            break
    return found


async def until(condition: object) -> None:
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.01)


def test_every_kind_of_event_arrives_whole_and_in_order(place: Place) -> None:
    async def go() -> None:
        transport, session = place.transport(), new_session()
        await transport.open(30)
        sent = one_of_each(session)
        async with EventPublisher(transport, session, merge_for_s=0) as publisher:
            for event in sent:
                await publisher.put(event)
            assert await publisher.flush(60)
            assert publisher.health.state == "ok"
            assert publisher.health.published_seq == sent[-1].seq
        async with EventReader(transport, session, GROUP) as reader:
            assert await events_of(reader, len(sent)) == sent
        await transport.close()

    run(go())


def test_a_publisher_that_starts_again_repeats_itself_and_readers_see_each_event_once(place: Place) -> None:
    async def go() -> None:
        transport, session = place.transport(), new_session()
        await transport.open(30)
        sent = [signal(seq, session) for seq in range(30)]
        for first, last in ((0, 20), (10, 30)):
            async with EventPublisher(transport, session) as publisher:
                for event in sent[first:last]:
                    await publisher.put(event)
                assert await publisher.flush(60)
        async with EventReader(transport, session, GROUP) as reader:
            assert await events_of(reader, 30) == sent
            assert await reader.read(10, 0.2) == []
            assert reader.repeated == (0 if place.refuses_repeats else 10)
        await transport.close()

    run(go())


def test_a_cut_of_some_seconds_loses_nothing_and_is_said(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    if not place.has_server:
        pytest.skip("There is no server to cut.")
    caplog.set_level(logging.WARNING, "aiopt.bus")

    async def go() -> None:
        transport, session = place.transport(), new_session()
        await transport.open(30)
        changes: list[BusHealth] = []
        sent = [signal(seq, session) for seq in range(120)]
        async with (
            EventReader(transport, session, GROUP) as reader,
            EventPublisher(transport, session, check_every_s=0.1, on_change=changes.append) as publisher,
        ):
            for event in sent[:40]:
                await publisher.put(event)
            await publisher.flush(60)
            before = await events_of(reader, 30)
            reading = asyncio.create_task(events_of(reader, 90))
            place.freeze()
            try:
                for event in sent[40:]:
                    assert publisher.offer(event)
                await until(lambda: publisher.health.state == "down")
                assert publisher.health.waiting >= 1
                assert "must answer" in publisher.health.text
            finally:
                place.thaw()
            assert await publisher.flush(120)
            assert [*before, *await reading] == sent
        assert [one.state for one in changes] == ["down", "ok", "closed"]
        await transport.close()

    run(go())
    assert any(" is down: " in record.message for record in caplog.records)
    assert any(" is back after down" in record.message for record in caplog.records)


def test_a_server_that_dies_while_nothing_is_published_is_noticed(
    valkey: ValkeyPlace, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        transport, session = valkey.transport(), new_session()
        await transport.open(30)
        async with EventPublisher(transport, session, check_every_s=0.05) as publisher:
            await until(lambda: publisher.health.ping_ms is not None)
            valkey.kill()
            await until(lambda: publisher.health.state == "down")
            assert repr(publisher.health).startswith("<bus down, 0 waiting: The server redis://127.0.0.1")
            valkey.start()
            await until(lambda: publisher.health.state == "ok")
        await transport.close()

    run(go())
    assert any("cannot be reached" in record.message for record in caplog.records)


def test_events_outlive_a_killed_server_readers_and_publisher_going_on(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport, session = valkey.transport(), new_session()
        await transport.open(30)
        sent = [signal(seq, session) for seq in range(300)]
        async with (
            EventReader(transport, session, GROUP) as reader,
            EventPublisher(transport, session, check_every_s=0.1) as publisher,
        ):
            reading = asyncio.create_task(events_of(reader, 300))
            for number, event in enumerate(sent):
                await publisher.put(event)
                if number in (80, 190):
                    await publisher.flush(60)
                    valkey.kill()
                    await asyncio.sleep(0.2)
                    valkey.start()
            assert await publisher.flush(120)
            assert await reading == sent
        await transport.close()

    run(go())


def test_a_full_stream_is_back_pressure_and_not_loss(place: Place) -> None:
    if not place.limits:
        pytest.skip("How much a topic of Kafka holds is set at its brokers.")

    async def go() -> None:
        transport, session = place.transport(limit=50), new_session()
        await transport.open(30)
        async with (
            EventReader(transport, session, Reader(group="slow")) as reader,
            EventPublisher(transport, session, capacity=20, retry_s=(0.01, 0.05)) as publisher,
        ):
            sent = [signal(seq, session) for seq in range(200)]
            refused = None
            for event in sent:
                if not publisher.offer(event):
                    refused = event.seq
                    break
                await asyncio.sleep(0.002)
            assert refused is not None
            await until(lambda: publisher.health.state == "full" and "'slow'" in publisher.health.text)
            # Quotes still find room: the later stands for the earlier.
            reading = asyncio.create_task(events_of(reader, 200))
            for event in sent[refused:]:
                await publisher.put(event)
            assert await publisher.flush(120)
            assert await reading == sent
            assert publisher.health.state == "ok"
        await transport.close()

    run(go())


def test_quotes_are_merged_while_the_transport_is_busy(place: Place) -> None:
    async def go() -> None:
        transport, session = place.transport(), new_session()
        await transport.open(30)
        async with (
            EventReader(transport, session, GROUP) as reader,
            EventPublisher(transport, session, merge_for_s=0.5) as publisher,
        ):
            for seq in range(100):
                assert publisher.offer(quote(seq, session))
            assert publisher.offer(signal(100, session))
            assert await publisher.flush(60)
            first, second = await events_of(reader, 2)
            assert (first.seq, first.merged, second.seq) == (99, 100, 100)  # type: ignore[attr-defined]
            assert publisher.health.merged == 99
        await transport.close()

    run(go())


def test_only_the_kinds_that_are_wanted_come_and_the_others_are_done_with(place: Place) -> None:
    async def go() -> None:
        transport, session = place.transport(), new_session()
        await transport.open(30)
        async with EventPublisher(transport, session, merge_for_s=0) as publisher:
            for event in one_of_each(session):
                await publisher.put(event)
            assert await publisher.flush(60)
        async with EventReader(transport, session, GROUP, kinds=["fill", "position"]) as reader:
            assert [event.kind for event in await events_of(reader, 2)] == ["fill", "position"]
            assert await reader.read(10, 0.5) == []
        async with EventReader(transport, session, GROUP) as reader:
            # Its reader went before it asked for the next: nobody said that this one was dealt with.
            last = (await reader.read(10, 30))[0].event
            assert last is not None
            assert last.kind == "position"
        await transport.close()

    run(go())


def test_a_message_that_cannot_be_read_stops_nobody(place: Place) -> None:
    async def go() -> None:
        transport, session = place.transport(), new_session()
        await transport.open(30)
        channel = Channel(session, "events")
        good = signal(1, session)
        later = encode_event(quote(2, session)).replace(b'"schema":1', b'"schema":2')
        await transport.publish(
            channel,
            [
                Message("x", b"\xffnot json", 0),
                Message(good.id, encode_event(good), 1),
                Message("y", later, 2),
            ],
        )
        async with EventReader(transport, session, GROUP) as reader:
            found = []
            while len(found) < 3:
                got = await reader.read(10, 1)
                await reader.ack(got)
                found += got
            assert [one.event for one in found] == [None, good, None]
            assert "must be a JSON object" in found[0].problem
            assert "another version of aiopt" in found[2].problem
            assert reader.unreadable == 2
            assert await reader.read(10, 0.2) == []
        await transport.close()

    run(go())


def test_two_sessions_with_one_id_end_the_publisher(valkey: ValkeyPlace) -> None:
    async def go() -> None:
        transport, session = valkey.transport(), new_session()
        await transport.open(30)
        await transport.publish(Channel(session, "events"), [Message("theirs", b"{}", 0)])
        async with EventPublisher(transport, session) as publisher:
            await publisher.put(signal(0, session))
            await until(lambda: publisher.health.state == "failed")
            assert "two sessions have one id" in publisher.health.text
            assert not await publisher.flush(5)
        await transport.close()

    run(go())


def test_what_a_publisher_may_not_take_is_refused() -> None:
    async def go() -> None:
        transport = MemoryTransport("refused")
        await transport.open()
        publisher = EventPublisher(transport, "paper-1", capacity=1)
        with pytest.raises(ConfigError, match="Events of 'paper-1' must come here, but got one of 'paper-2'"):
            publisher.offer(signal(0, "paper-2"))
        with pytest.raises(BusMessageError, match="breaks its schema"):
            publisher.offer(quote(0, bid=-1.0))
        await publisher.close()
        async with EventPublisher(transport, "paper-1", capacity=1) as closing:
            await transport.close()
            assert closing.offer(signal(0))
            waiting = asyncio.create_task(closing.put(signal(1)))
            await asyncio.sleep(0.05)
            await closing.close(0.1)
            with pytest.raises(BusError, match="1 events were not published"):
                await waiting
        assert repr(closing) == "<EventPublisher paper-1 to memory:refused, closed>"

    run(go())
