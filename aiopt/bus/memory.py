"""The bus within one process: no server, nothing to install, nothing that outlives the process.

Owns streams and groups in memory.  Knows nothing of what messages say.  All transports of one name share one
broker, for as long as one of them is open, in one event loop.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiopt.bus.failures import BusDownError, BusError, BusFullError
from aiopt.bus.transport import Channel, Delivery, Message, Reader, ServerInfo, Subscription

_BROKERS: dict[str, _Broker] = {}


@dataclass
class _Held:
    """A message that was given out and not acknowledged: to whom, and when."""

    consumer: str
    since: float


@dataclass
class _Group:
    """How far a group has read, and what it has not acknowledged."""

    next: int
    held: dict[int, _Held] = field(default_factory=dict)

    @property
    def floor(self) -> int:
        """The first place that is still needed."""
        return min([self.next, *self.held])


@dataclass
class _Stream:
    """Messages by place; `first` is the place of the oldest that is kept."""

    messages: list[Message] = field(default_factory=list)
    first: int = 0
    last_number: int | None = None
    groups: dict[str, _Group] = field(default_factory=dict)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def end(self) -> int:
        return self.first + len(self.messages)

    def trim(self, keep: int) -> int:
        """Remove the oldest messages beyond `keep` that no group needs."""
        floor = min([self.end, *(group.floor for group in self.groups.values())])
        count = max(0, min(len(self.messages) - keep, floor - self.first))
        del self.messages[:count]
        self.first += count
        return count


class _Broker:
    """What all transports of one name share."""

    def __init__(self) -> None:
        self.users = 0
        self.streams: dict[Channel, _Stream] = {}

    def stream(self, channel: Channel) -> _Stream:
        return self.streams.setdefault(channel, _Stream())


class MemoryTransport:
    """A transport without a server.

    Parameters
    ----------
    name : str
        Transports of one name see each other.
    limit : int
        Messages a channel holds; beyond it the oldest that all groups have acknowledged go.
    """

    def __init__(self, name: str = "", *, limit: int = 1_000_000) -> None:
        self._name = name
        self._limit = limit
        self._broker: _Broker | None = None

    def __repr__(self) -> str:
        return f"<MemoryTransport {self.url}>"

    @property
    def url(self) -> str:
        """Where it leads."""
        return f"memory:{self._name}"

    async def open(self, timeout_s: float = 5.0) -> ServerInfo:
        """Join the broker of this name."""
        del timeout_s
        if self._broker is None:
            self._broker = _BROKERS.setdefault(self._name, _Broker())
            self._broker.users += 1
        note = "Messages are in this process alone and end with it."
        return ServerInfo(program="this process", version="", durable=False, note=note)

    async def publish(self, channel: Channel, messages: Sequence[Message]) -> int:
        """Add messages; see `Transport.publish`."""
        stream = self._opened().stream(channel)
        added = 0
        try:
            for message in messages:
                added += self._add(channel, stream, message)
        finally:
            async with stream.grown:
                stream.grown.notify_all()
        return added

    def _add(self, channel: Channel, stream: _Stream, message: Message) -> int:
        last = stream.last_number
        if message.number is not None and last is not None and message.number <= last:
            _check_same(channel, stream, message)
            return 0
        if len(stream.messages) >= self._limit:
            stream.trim(self._limit - max(1, self._limit // 20))
        if len(stream.messages) >= self._limit:
            behind = min(stream.groups.items(), key=lambda item: item[1].floor)[0]
            msg = (
                f"At most {self._limit:,} messages must wait in {channel}, and group {behind!r} has not read "
                "them. Let it read on, or drop the group."
            )
            raise BusFullError(msg)
        stream.messages.append(message)
        if message.number is not None:
            stream.last_number = message.number
        return 1

    async def subscribe(self, channel: Channel, reader: Reader) -> Subscription:
        """Begin to read; see `Transport.subscribe`."""
        stream = self._opened().stream(channel)
        start = stream.first if reader.start == "oldest" else stream.end
        if reader.group is None:
            return _Look(self, stream, start)
        stream.groups.setdefault(reader.group, _Group(start))
        return _Member(self, stream, reader)

    async def last_number(self, channel: Channel) -> int | None:
        """Return the number of the last numbered message."""
        return self._opened().stream(channel).last_number

    async def trim(self, channel: Channel, keep: int) -> int:
        """Remove old messages; see `Transport.trim`."""
        return self._opened().stream(channel).trim(keep)

    async def drop_group(self, channel: Channel, group: str) -> None:
        """Forget a group."""
        self._opened().stream(channel).groups.pop(group, None)

    async def ping(self, timeout_s: float = 2.0) -> float:
        """Return 0: there is no way to go."""
        del timeout_s
        self._opened()
        return 0.0

    async def close(self) -> None:
        """Leave the broker; the last one to leave ends it."""
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.users -= 1
            if broker.users == 0:
                _BROKERS.pop(self._name, None)
            for stream in broker.streams.values():
                async with stream.grown:
                    stream.grown.notify_all()

    def is_open(self) -> bool:
        """Return whether messages can pass."""
        return self._broker is not None

    def _opened(self) -> _Broker:
        if self._broker is None:
            raise BusDownError(f"The bus {self.url} is not open. Call open() first.")
        return self._broker


class _Look:
    """Reads from a place on, and nobody waits for it."""

    def __init__(self, transport: MemoryTransport, stream: _Stream, place: int) -> None:
        self._transport = transport
        self._stream = stream
        self._place = place
        self._closed = False

    async def read(self, limit: int, timeout_s: float) -> list[Delivery]:
        """Return what came since."""
        await _wait(
            self._transport, self._stream, lambda: self._closed or self._stream.end > self._place, timeout_s
        )
        start = max(self._place, self._stream.first)
        found = self._stream.messages[start - self._stream.first :][:limit]
        self._place = start + len(found)
        return [Delivery(str(place), message) for place, message in enumerate(found, start=start)]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Do nothing: no position is kept."""

    async def close(self) -> None:
        """Stop reading."""
        self._closed = True


class _Member:
    """Reads as one of a group."""

    def __init__(self, transport: MemoryTransport, stream: _Stream, reader: Reader) -> None:
        self._transport = transport
        self._stream = stream
        self._reader = reader
        # What this consumer held before it was started again lies between these places.
        self._seen, self._until = -1, self._group().next
        self._closed = False

    async def read(self, limit: int, timeout_s: float) -> list[Delivery]:
        """Return what was not acknowledged before a restart, what others left, then what is new."""
        group = self._group()
        again = self._left_over(group, limit)
        if again:
            return again
        await _wait(
            self._transport, self._stream, lambda: self._closed or self._stream.end > group.next, timeout_s
        )
        group = self._group()
        start = max(group.next, self._stream.first)
        found = self._stream.messages[start - self._stream.first :][:limit]
        group.next = start + len(found)
        return [self._held(group, start + number, message) for number, message in enumerate(found)]

    def _left_over(self, group: _Group, limit: int) -> list[Delivery]:
        now, own = time.monotonic(), self._reader.consumer
        due = [
            place
            for place, held in sorted(group.held.items())
            if (held.consumer == own and self._seen < place < self._until)
            or (held.consumer != own and now - held.since >= self._reader.claim_after_s)
        ][:limit]
        self._seen = max([self._seen, *(place for place in due if group.held[place].consumer == own)])
        messages = {place: self._stream.messages[place - self._stream.first] for place in due}
        return [self._held(group, place, message, again=True) for place, message in messages.items()]

    def _held(self, group: _Group, place: int, message: Message, *, again: bool = False) -> Delivery:
        group.held[place] = _Held(self._reader.consumer, time.monotonic())
        return Delivery(str(place), message, again)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Let go of messages."""
        group = self._group()
        for delivery in deliveries:
            group.held.pop(int(delivery.position), None)

    async def close(self) -> None:
        """Stop reading."""
        self._closed = True

    def _group(self) -> _Group:
        name = self._reader.group or ""
        found = self._stream.groups.get(name)
        if found is None:
            raise BusError(f"The group {name!r} was dropped. Subscribe anew.")
        return found


def _check_same(channel: Channel, stream: _Stream, message: Message) -> None:
    """Refuse a number that another message has."""
    wanted = message.number or 0
    place = bisect_left(stream.messages, wanted, key=lambda one: -1 if one.number is None else one.number)
    if place < len(stream.messages) and stream.messages[place].number == wanted:
        there = stream.messages[place].id
        if there != message.id:
            raise another_publisher(channel, message, there)


def another_publisher(channel: Channel, message: Message, there: str) -> BusError:
    """Return the error of a number that another message has."""
    return BusError(
        f"One publisher alone must number {channel}, but number {message.number} is taken by message "
        f"{there!r} and wanted for {message.id!r}: two sessions have one id. Give one of them another."
    )


async def _wait(
    transport: MemoryTransport, stream: _Stream, done: Callable[[], bool], timeout_s: float
) -> None:
    if not transport.is_open():
        raise BusDownError(f"The bus {transport.url} is not open. Call open() first.")
    async with stream.grown:
        try:
            async with asyncio.timeout(timeout_s):
                await stream.grown.wait_for(lambda: done() or not transport.is_open())
        except TimeoutError:
            return
