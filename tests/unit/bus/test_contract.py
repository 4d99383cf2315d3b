"""What every transport promises, run through all of them with their real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from aiopt.bus.failures import BusDownError, BusError, BusFullError
from aiopt.bus.transport import Channel, Delivery, Message, Reader, Subscription, Transport
from tests.unit.bus.servers import Place, new_session

T = TypeVar("T")

PATIENCE_S = 120.0
FIRST, SECOND = Reader(group="desk", consumer="first"), Reader(group="desk", consumer="second")


def messages(count: int, start: int = 0) -> list[Message]:
    return [
        Message(f"m{number}", f'{{"n": {number}}}'.encode(), number) for number in range(start, start + count)
    ]


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [one.message.id for one in deliveries]


@asynccontextmanager
async def opened(place: Place, *, limit: int = 1_000_000) -> AsyncIterator[Transport]:
    transport = place.transport(limit=limit)
    await transport.open(30)
    try:
        yield transport
    finally:
        await transport.close()


async def read(subscription: Subscription, count: int, *, ack: bool = True) -> list[Delivery]:
    """Read until `count` messages are there."""
    found: list[Delivery] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            try:
                more = await subscription.read(100, 1.0)
                if ack:
                    await subscription.ack(more)
            except BusDownError:
                await asyncio.sleep(0.05)
                continue
            found += more
    return found


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Try again until the server is there."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await call()
            except BusDownError:
                await asyncio.sleep(0.05)


def run(test: Awaitable[None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(300):
            await test

    asyncio.run(within())


def test_a_server_says_what_it_is(place: Place) -> None:
    async def go() -> None:
        transport = place.transport()
        info = await transport.open(30)
        assert info.program == {"memory": "this process", "valkey": "Valkey", "kafka": "Kafka"}[place.name]
        assert info.durable in ({True} if place.name == "valkey" else {False, None})
        assert await transport.ping(30) >= 0
        assert transport.url in repr(transport)
        await transport.close()

    run(go())


def test_messages_come_in_order_and_are_those_that_were_published(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as transport:
            sent = messages(2_500)
            for start in range(0, len(sent), 500):
                assert await transport.publish(channel, sent[start : start + 500]) == 500
            got = await read(await transport.subscribe(channel, Reader()), 2_500)
            assert [one.message for one in got] == sent
            assert await transport.last_number(channel) == 2_499

    run(go())


def test_a_group_begins_at_the_oldest_or_with_what_is_new(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as transport:
            await transport.publish(channel, messages(3))
            old = await transport.subscribe(channel, Reader(group="old"))
            new = await transport.subscribe(channel, Reader(group="new", start="new"))
            look = await transport.subscribe(channel, Reader(start="new"))
            await transport.publish(channel, messages(2, 3))
            assert ids(await read(old, 5)) == ["m0", "m1", "m2", "m3", "m4"]
            assert ids(await read(new, 2)) == ["m3", "m4"]
            assert ids(await read(look, 2)) == ["m3", "m4"]

    run(go())


def test_a_channel_without_messages_gives_none_and_then_the_first(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "commands")
        async with opened(place) as transport:
            subscription = await transport.subscribe(channel, FIRST)
            assert await subscription.read(10, 0.05) == []
            assert await transport.last_number(channel) is None
            waiting = asyncio.create_task(read(subscription, 1))
            await asyncio.sleep(0.05)
            await transport.publish(channel, [Message("c1", b"{}")])
            assert ids(await waiting) == ["c1"]

    run(go())


def test_what_was_not_acknowledged_comes_again_after_a_restart_of_the_reader(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as keeper:
            await keeper.publish(channel, messages(10))
            async with opened(place) as transport:
                subscription = await transport.subscribe(channel, FIRST)
                got = await read(subscription, 10, ack=False)
                await subscription.ack(got[:4])
            async with opened(place) as transport:
                subscription = await transport.subscribe(channel, FIRST)
                await keeper.publish(channel, messages(2, 10))
                again = await read(subscription, 8)
                assert ids(again) == [f"m{number}" for number in range(4, 12)]
                if place.name != "kafka":  # its brokers do not say what was given out before
                    assert [one.again for one in again] == [True] * 6 + [False] * 2
            async with opened(place) as transport:
                assert await (await transport.subscribe(channel, FIRST)).read(10, 0.5) == []

    run(go())


def test_two_consumers_of_a_group_share_the_messages(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as one, opened(place) as two, opened(place) as publisher:
            subscriptions = [await one.subscribe(channel, FIRST), await two.subscribe(channel, SECOND)]
            seen: list[str] = []

            async def consume(subscription: Subscription) -> None:
                while len(seen) < 200:
                    got = await subscription.read(10, 0.2)
                    seen.extend(ids(got))
                    await subscription.ack(got)

            readers = [asyncio.create_task(consume(each)) for each in subscriptions]
            for start in range(0, 200, 20):
                await publisher.publish(channel, messages(20, start))
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*readers)
            # Each goes to one of them: none is missing, and none comes twice.
            assert sorted(seen) == sorted(f"m{number}" for number in range(200))

    run(go())


def test_what_a_dead_consumer_held_is_taken_over(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as keeper:
            await keeper.publish(channel, messages(5))
            async with opened(place) as transport:
                await read(await transport.subscribe(channel, FIRST), 5, ack=False)
            heir = Reader(group="desk", consumer="heir", claim_after_s=0.05)
            await asyncio.sleep(0.1)
            got = await read(await keeper.subscribe(channel, heir), 5)
            assert ids(got) == ["m0", "m1", "m2", "m3", "m4"]

    run(go())


def test_published_again_is_recognised(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as transport:
            await transport.publish(channel, messages(5))
            added = await transport.publish(channel, messages(7))
            got = await read(await transport.subscribe(channel, Reader()), 7 if place.refuses_repeats else 12)
            if place.refuses_repeats:
                assert added == 2
                assert ids(got) == [f"m{number}" for number in range(7)]
            else:
                # There twice, with one id: a reader leaves the second out (test_publishing.py).
                assert ids(got) == [f"m{number}" for number in [*range(5), *range(7)]]

    run(go())


def test_a_number_that_another_session_took_is_refused(place: Place) -> None:
    if not place.refuses_repeats:
        pytest.skip(
            "Kafka cannot refuse a number that is taken; a session's state file is what keeps two apart."
        )

    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as transport:
            await transport.publish(channel, messages(3))
            with pytest.raises(BusError, match="two sessions have one id"):
                await transport.publish(channel, [Message("other", b"{}", 1)])

    run(go())


def test_nothing_is_lost_while_the_server_is_frozen(place: Place) -> None:
    if not place.has_server:
        pytest.skip("There is no server to freeze.")

    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as publisher, opened(place) as reader:
            subscription = await reader.subscribe(channel, FIRST)
            await publisher.publish(channel, messages(50))
            got = await read(subscription, 20)
            place.freeze()
            try:
                with pytest.raises(BusDownError, match=r"must answer|do not"):
                    await publisher.ping(0.5)
                sending = asyncio.create_task(insist(lambda: publisher.publish(channel, messages(50, 50))))
                reading = asyncio.create_task(read(subscription, 100 - len(got)))
                await asyncio.sleep(3)
            finally:
                place.thaw()
            await sending
            got += await reading
            found = list(dict.fromkeys(ids(got)))
            assert found == [f"m{number}" for number in range(100)]

    run(go())


def test_nothing_is_lost_when_the_server_is_killed_and_started_again(place: Place) -> None:
    if not place.durable:
        pytest.skip("What lies there ends with it: the process itself, or librdkafka's mock cluster.")

    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as publisher, opened(place) as reader:
            subscription = await reader.subscribe(channel, FIRST)
            got: list[Delivery] = []
            for round_ in range(3):
                await publisher.publish(channel, messages(50, 100 * round_))
                got += await read(subscription, 20)
                place.kill()
                with pytest.raises(BusDownError, match=r"cannot be reached|must answer"):
                    await publisher.publish(channel, messages(50, 100 * round_ + 50))
                with pytest.raises(BusDownError):
                    await subscription.read(10, 0.1)
                place.start()
                await insist(lambda n=round_: publisher.publish(channel, messages(50, 100 * n + 50)))
                assert await publisher.last_number(channel) == 100 * round_ + 99
            got += await read(subscription, 300 - len(got))
            assert ids(got) == [f"m{number}" for number in range(300)]
            # And the position was kept too.
            assert await (await reader.subscribe(channel, FIRST)).read(10, 0.2) == []

    run(go())


def test_a_stream_that_is_full_says_so_and_keeps_what_was_not_read(place: Place) -> None:
    if not place.limits:
        pytest.skip("How much a topic of Kafka holds is set at its brokers.")

    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place, limit=100) as transport:
            slow = await transport.subscribe(channel, Reader(group="slow"))
            await transport.publish(channel, messages(100))
            with pytest.raises(BusFullError, match="group 'slow' has not read them"):
                await transport.publish(channel, messages(1, 100))
            got = await read(slow, 60)
            assert ids(got)[:60] == [f"m{number}" for number in range(60)]
            await transport.publish(channel, messages(30, 100))
            await transport.drop_group(channel, "slow")
            # Nobody waits any more: the oldest go.
            await transport.publish(channel, messages(100, 130))
            rest = await read(await transport.subscribe(channel, Reader()), 100)
            assert ids(rest)[-100:] == [f"m{number}" for number in range(130, 230)]

    run(go())


def test_trimming_spares_what_a_group_has_not_acknowledged(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        async with opened(place) as transport:
            subscription = await transport.subscribe(channel, FIRST)
            await transport.publish(channel, messages(3_000))
            if not place.limits:
                with pytest.raises(BusError, match=r"by the settings of the topic\. Set its retention"):
                    await transport.trim(channel, 10)
                return
            assert await transport.trim(channel, 10) == 0
            got = await read(subscription, 2_000, ack=False)
            await subscription.ack(got[:1_500])
            assert await transport.trim(channel, 10) == 1_500
            await subscription.ack(got[1_500:])
            rest = await read(subscription, 3_000 - len(got))
            assert ids([*got, *rest]) == [f"m{number}" for number in range(3_000)]
            assert await transport.trim(channel, 10) == 1_490
            assert ids(await read(await transport.subscribe(channel, Reader()), 10))[0] == "m2990"

    run(go())


def test_a_closed_transport_says_so(place: Place) -> None:
    async def go() -> None:
        channel = Channel(new_session(), "events")
        transport = place.transport()
        with pytest.raises(BusDownError, match=r"not open\. Call open"):
            await transport.publish(channel, messages(1))
        await transport.open(30)
        await transport.close()
        await transport.close()
        with pytest.raises(BusDownError, match="not open"):
            await transport.ping()

    run(go())
