"""The bus on Kafka: one topic per channel, all in partition 0, groups and positions kept by the brokers.

Owns the topics, the client's settings and what its errors mean.  Knows nothing of what messages say.

Kafka has no way to refuse a number that is there already, so a message that is published again after a cut
is there twice, with one id, and readers leave the second out.  How long messages are kept is a setting of
the topic.

The client is librdkafka's: its calls block, so each reader and the publisher have a thread of their own.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from aiopt.bus.failures import BusDownError, BusError, BusFullError
from aiopt.bus.streams import PASSWORD
from aiopt.bus.transport import Channel, Delivery, Message, Reader, ServerInfo, Subscription

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_PREFIX = "aiopt.v1"
_SLICE_S = 0.25

# What ends by itself: brokers change, groups are formed anew.
_PASSING = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._STATE,
    KafkaError._WAIT_COORD,
}
_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError._SSL,
}


class KafkaTransport:
    """A transport to a Kafka cluster.

    Parameters
    ----------
    servers : str
        ``host:port``, several with commas between.
    user : str, optional
        For SASL; its password is the environment's AIOPT_BUS_PASSWORD.
    mechanism : str
        Of SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    tls : bool
        Encrypt, and check the brokers' certificates.
    """

    def __init__(
        self,
        servers: str,
        *,
        user: str | None = None,
        mechanism: str = "SCRAM-SHA-512",
        tls: bool = False,
    ) -> None:
        self._servers, self._user, self._mechanism, self._tls = servers, user, mechanism, tls
        self._said: list[KafkaError] = []
        self._producer: Any = None
        self._topics: set[str] = set()
        self._subscriptions: list[_Consuming] = []
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="kafka-publish")
        self._open = False

    def __repr__(self) -> str:
        return f"<KafkaTransport {self.url}>"

    @property
    def url(self) -> str:
        """Where it leads, without a password."""
        user = f"{self._user}@" if self._user else ""
        return f"kafka{'s' if self._tls else ''}://{user}{self._servers}"

    async def open(self, timeout_s: float = 5.0) -> ServerInfo:
        """Reach the brokers; see `Transport.open`."""
        found = await self._asked(functools.partial(self._metadata, timeout_s))
        self._open = True
        count = len(found.brokers)
        note = (
            f"{count} broker(s). How long messages are kept, and whether they outlive a broker, is set there."
        )
        return ServerInfo(program="Kafka", version=str(found.cluster_id or ""), durable=None, note=note)

    def _metadata(self, timeout_s: float) -> Any:
        self._said.clear()
        return self._made().list_topics(timeout=timeout_s)

    async def publish(self, channel: Channel, messages: Sequence[Message]) -> int:
        """Add messages; see `Transport.publish`."""
        if messages:
            await self._asked(functools.partial(self._publish, topic_of(channel), messages))
        return len(messages)

    def _publish(self, topic: str, messages: Sequence[Message], timeout_s: float = 10.0) -> None:
        self._check_open()
        self.make_topic(topic, timeout_s)
        producer, failed, done = self._made(), [], 0

        def delivered(error: KafkaError | None, _: Any) -> None:
            nonlocal done
            done += 1
            if error is not None:
                failed.append(error)

        due = time.monotonic() + timeout_s
        try:
            for message in messages:
                headers = [] if message.number is None else [("number", str(message.number).encode())]
                producer.produce(
                    topic,
                    value=message.payload,
                    key=message.id.encode(),
                    headers=headers,
                    partition=0,
                    on_delivery=delivered,
                )
            while done < len(messages) and time.monotonic() < due:
                producer.poll(_SLICE_S)
        except BufferError as error:
            self._producer = None
            msg = f"The client's queue for {self.url} is full: {error}. It goes on when the brokers answer."
            raise BusFullError(msg) from error
        if done < len(messages) or failed:
            # What is under way may arrive yet; a new producer keeps it from arriving between later ones.
            self._producer = None
            if failed:
                raise KafkaException(failed[0])
            raise BusDownError(self._silent(timeout_s))

    def make_topic(self, topic: str, timeout_s: float) -> None:
        """Make a topic with one partition, unless it is there or the brokers make it themselves."""
        if topic in self._topics:
            return
        due = time.monotonic() + min(timeout_s, 2.0)
        while time.monotonic() < due:
            about = self._made().list_topics(topic, timeout=timeout_s).topics[topic]
            if about.error is None and about.partitions:
                self._topics.add(topic)
                return
            time.sleep(0.05)
        admin = AdminClient(self.settings())
        made = admin.create_topics([NewTopic(topic, num_partitions=1)], request_timeout=timeout_s)[topic]
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        self._topics.add(topic)

    async def subscribe(self, channel: Channel, reader: Reader) -> Subscription:
        """Begin to read; see `Transport.subscribe`."""
        found = _Consuming(self, channel, reader)
        await found.start()
        self._subscriptions.append(found)
        return found

    async def last_number(self, channel: Channel) -> int | None:
        """Return the number of the last message; see `Transport.last_number`."""
        return await self._asked(functools.partial(self._last_number, topic_of(channel)))

    def _last_number(self, topic: str, timeout_s: float = 10.0) -> int | None:
        self._check_open()
        self.make_topic(topic, timeout_s)
        consumer = Consumer(self.settings() | {"group.id": f"{_PREFIX}.look.{uuid.uuid4().hex}"})
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=timeout_s)
            if high <= low:
                return None
            consumer.assign([TopicPartition(topic, 0, high - 1)])
            due = time.monotonic() + timeout_s
            while time.monotonic() < due:
                message = consumer.poll(_SLICE_S)
                if message is not None and message.error() is None:
                    return _delivery(message).message.number
        finally:
            consumer.close()
        raise BusDownError(self._silent(timeout_s))

    async def trim(self, channel: Channel, keep: int) -> int:
        """Refuse: Kafka removes old messages itself."""
        del keep
        raise BusError(
            f"Kafka trims {topic_of(channel)} by the settings of the topic. Set its retention.ms or "
            "retention.bytes."
        )

    async def drop_group(self, channel: Channel, group: str) -> None:
        """Forget a group; see `Transport.drop_group`."""
        await self._asked(functools.partial(self._drop_group, group_of(channel, group)))

    def _drop_group(self, group: str) -> None:
        admin = AdminClient(self.settings())
        try:
            admin.delete_consumer_groups([group], request_timeout=10.0)[group].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise

    async def ping(self, timeout_s: float = 2.0) -> float:
        """Return how long an answer takes; see `Transport.ping`."""
        self._check_open()
        started = time.perf_counter()
        await self._asked(functools.partial(self._metadata, timeout_s))
        return (time.perf_counter() - started) * 1e3

    async def close(self) -> None:
        """Leave the brokers."""
        for subscription in self._subscriptions:
            await subscription.close()
        self._subscriptions.clear()
        self._open, self._producer = False, None
        await asyncio.to_thread(self._threads.shutdown)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="kafka-publish")

    def settings(self) -> dict[str, Any]:
        """Return what every client is told: brokers, user, where its words go."""
        found: dict[str, Any] = {
            "bootstrap.servers": self._servers,
            "error_cb": self._said.append,
            "logger": _LOG,
            "log_level": 4,
            "reconnect.backoff.max.ms": 2_000,
            "socket.connection.setup.timeout.ms": 5_000,
        }
        protocol = "SSL" if self._tls else "PLAINTEXT"
        if self._user:
            protocol = f"SASL_{protocol}"
            found |= {
                "sasl.mechanism": self._mechanism,
                "sasl.username": self._user,
                "sasl.password": os.environ.get(PASSWORD, ""),
            }
        return found | {"security.protocol": protocol}

    def _made(self) -> Any:
        if self._producer is None:
            self._producer = Producer(self.settings() | {"enable.idempotence": True, "linger.ms": 1})
        return self._producer

    def _check_open(self) -> None:
        if not self._open:
            raise BusDownError(f"The bus {self.url} is not open. Call open() first.")

    def _silent(self, timeout_s: float) -> str:
        said = f" ({self._said[-1].str()})" if self._said else ""
        return (
            f"The brokers {self.url} must answer within {timeout_s:g} s, but did not{said}. Are they alive?"
        )

    async def _asked(self, call: Callable[[], T]) -> T:
        return await self.in_thread(self._threads, call)

    async def in_thread(self, threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        """Make a call that blocks, and say in words what its errors mean."""
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, call)
        except KafkaException as error:
            raise self._translated(error.args[0]) from error

    def _translated(self, error: KafkaError) -> BusError:
        refused = next((one for one in (error, *self._said) if one.code() in _REFUSED), None)
        if refused is not None:
            return BusError(
                f"The brokers {self.url} must accept user and password, but say {refused.str()!r}. Name the "
                f"user in the URL and set {PASSWORD} in the environment; check tls and mechanism."
            )
        if error.code() in _PASSING or error.retriable():
            said = next((f"; {one.str()}" for one in reversed(self._said)), "")
            return BusDownError(
                f"At {self.url} Kafka's brokers must answer, but do not: {error.str()}{said}. Start them, or "
                "check that no other program is at the port."
            )
        return BusError(f"The brokers {self.url} refused: {error.str()}. See their log.")


class _Consuming:
    """Reads a channel, as one of a group or for itself."""

    def __init__(self, transport: KafkaTransport, channel: Channel, reader: Reader) -> None:
        self._transport = transport
        self._topic = topic_of(channel)
        self._reader = reader
        self._grouped = reader.group is not None
        self._group = group_of(channel, reader.group or f"look.{uuid.uuid4().hex}")
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="kafka-read")
        self._consumer: Any = None
        # Offset → whether it was acknowledged, of all that was given out and is not committed.
        self._given: dict[int, bool] = {}
        self._closed = False

    async def start(self) -> None:
        """Join the group, at the place the reader wants if it is new."""
        await self._transport.in_thread(self._threads, self._start)

    def _start(self, timeout_s: float = 10.0) -> None:
        self._transport.make_topic(self._topic, timeout_s)
        settings = self._transport.settings() | {
            "group.id": self._group,
            "client.id": self._reader.consumer,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            # Also how long an answer to joining is awaited; a reader that is slower joins anew and goes on.
            "max.poll.interval.ms": 60_000,
            "fetch.wait.max.ms": 100,
        }
        consumer = Consumer(settings)
        try:
            if not self._grouped:
                start = OFFSET_BEGINNING if self._reader.start == "oldest" else OFFSET_END
                if start == OFFSET_END:
                    # The place itself: "the end" would be looked up when the first message is asked for.
                    start = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=timeout_s)[
                        1
                    ]
                consumer.assign([TopicPartition(self._topic, 0, start)])
            else:
                self._take_place(consumer, timeout_s)
                consumer.subscribe([self._topic])
        except BaseException:
            consumer.close()
            raise
        self._consumer = consumer

    def _take_place(self, consumer: Any, timeout_s: float) -> None:
        """Commit where a new group begins, so that what comes before it first reads is not missed."""
        place = TopicPartition(self._topic, 0)
        (known,) = consumer.committed([place], timeout=timeout_s)
        if known.offset < 0:
            low, high = consumer.get_watermark_offsets(place, timeout=timeout_s)
            start = low if self._reader.start == "oldest" else high
            consumer.commit(offsets=[TopicPartition(self._topic, 0, start)], asynchronous=False)

    async def read(self, limit: int, timeout_s: float) -> list[Delivery]:
        """Return what came; see `Subscription.read`."""
        due = time.monotonic() + timeout_s
        while not self._closed:
            left = due - time.monotonic()
            call = functools.partial(self._read, limit, max(0.0, min(left, _SLICE_S)))
            # Once begun the call is waited for: what it took would be lost with who asked.
            found = await asyncio.shield(self._transport.in_thread(self._threads, call))
            if found or left <= 0:
                return found
        return []

    def _read(self, limit: int, timeout_s: float) -> list[Delivery]:
        if self._closed:
            return []
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        more = self._consumer.consume(limit - 1, 0.0) if limit > 1 else []
        found = []
        for message in (first, *more):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    continue
                raise KafkaException(error)
            if self._grouped:
                if message.offset() in self._given:
                    continue  # came again with a new forming of the group, and is in this process's hands
                self._given[message.offset()] = False
            found.append(_delivery(message))
        return found

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Commit up to the first message that is not acknowledged; see `Subscription.ack`."""
        if not self._grouped or not deliveries:
            return
        for delivery in deliveries:
            if int(delivery.position) in self._given:
                self._given[int(delivery.position)] = True
        await self._transport.in_thread(self._threads, self._commit)

    def _commit(self) -> None:
        through = []
        for offset in sorted(self._given):
            if not self._given[offset]:
                break
            through.append(offset)
        if through and self._consumer is not None:
            place = TopicPartition(self._topic, 0, through[-1] + 1)
            self._consumer.commit(offsets=[place], asynchronous=False)
            for offset in through:
                del self._given[offset]

    async def close(self) -> None:
        """Leave the group; its position stays."""
        if self._closed:
            return
        self._closed = True
        await self._transport.in_thread(self._threads, self._leave)
        self._threads.shutdown(wait=False)

    def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()


def topic_of(channel: Channel) -> str:
    """Return the topic of a channel."""
    return f"{_PREFIX}.{channel.session}.{channel.topic}"


def group_of(channel: Channel, group: str) -> str:
    """Return the name of a group among all groups of the cluster."""
    return f"{topic_of(channel)}.{group}"


def _delivery(message: Any) -> Delivery:
    headers = dict(message.headers() or [])
    number = headers.get("number")
    told = Message(
        (message.key() or b"").decode("utf-8", "replace"),
        message.value() or b"",
        int(number) if number is not None and number.isdigit() else None,
    )
    return Delivery(str(message.offset()), told)
