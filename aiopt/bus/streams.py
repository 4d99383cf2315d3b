"""The bus on Valkey or Redis: one stream per channel, consumer groups, positions kept by the server.

Owns the keys, the mapping of messages to entries, and what the server's errors mean.  Knows nothing of what
messages say.

A numbered message has its number as its entry's id, and the server refuses an id that is not above the last
one: so a message that is published again after a cut is not added twice.  A batch is one transaction
(MULTI/EXEC).
"""

from __future__ import annotations

import asyncio
import builtins
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from aiopt.bus.failures import BusDownError, BusError, BusFullError
from aiopt.bus.memory import another_publisher
from aiopt.bus.transport import Channel, Delivery, Message, Reader, ServerInfo, Subscription

PASSWORD = "AIOPT_BUS_PASSWORD"

FORMAT = 1
_MARK = "aiopt:bus"
_OLDEST = (6, 2)

_SMALLER = "equal or smaller than the target stream top item"
_TRIMMED_AT_ONCE = 1_000


class RedisTransport:
    """A transport to a Valkey or Redis server.

    Parameters
    ----------
    host, port : str, int
        Where the server listens.
    user : str, optional
        Of its access list.
    password : str, optional
        None: the environment's AIOPT_BUS_PASSWORD, if it is set.
    tls : bool
        Encrypt, and check the server's certificate.
    limit : int
        Messages a channel holds; beyond it the oldest that all groups have acknowledged go.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 6379,
        *,
        user: str | None = None,
        password: str | None = None,
        tls: bool = False,
        limit: int = 1_000_000,
    ) -> None:
        self._host, self._port, self._user, self._tls = host, port, user, tls
        self._password = os.environ.get(PASSWORD) if password is None else password
        self._limit = limit
        self._lengths: dict[Channel, int] = {}
        self._client: Any = None
        self._subscriptions: list[_Member | _Look] = []

    def __repr__(self) -> str:
        return f"<RedisTransport {self.url}>"

    @property
    def url(self) -> str:
        """Where it leads, without a password."""
        user = f"{self._user}@" if self._user else ""
        return f"redis{'s' if self._tls else ''}://{user}{self._host}:{self._port}"

    def client(self, timeout_s: float | None) -> Any:
        """Return a client that asks once and waits for `timeout_s`; the caller decides about another try."""
        return redis.Redis(
            host=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            ssl=self._tls,
            socket_connect_timeout=timeout_s or 5.0,
            socket_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            health_check_interval=0,
        )

    async def open(self, timeout_s: float = 5.0) -> ServerInfo:
        """Reach the server and check it; see `Transport.open`."""
        if self._client is None:
            self._client = self.client(timeout_s)
        try:
            return await self._checked(timeout_s)
        except BaseException:
            await self.close()
            raise

    async def _checked(self, timeout_s: float) -> ServerInfo:
        async with self.said(timeout_s):
            about = await self._client.info("server")
            kept = await self._client.info("persistence")
            info = _server_info(about, kept, self.url)
            await self._client.set(_MARK, FORMAT, nx=True)
            mark = await self._client.get(_MARK)
        if mark != str(FORMAT).encode():
            shown = (mark or b"").decode("utf-8", "replace")
            msg = (
                f"Format {FORMAT} of the bus must be used, but {self.url} holds format {shown!r}: another "
                "version of aiopt keeps it. Use that version, or another server or database."
            )
            raise BusError(msg)
        return info

    async def publish(self, channel: Channel, messages: Sequence[Message]) -> int:
        """Add messages; see `Transport.publish`."""
        if not messages:
            return 0
        client, key = self._opened(), key_of(channel)
        await self._make_room(channel, len(messages))
        async with self.said(), client.pipeline(transaction=True) as pipe:
            for message in messages:
                fields: dict[Any, Any] = {"id": message.id, "payload": message.payload}
                pipe.xadd(key, fields, id=_entry_id(message))
            pipe.xlen(key)
            *answers, length = await pipe.execute(raise_on_error=False)
        added = 0
        for message, answer in zip(messages, answers, strict=True):
            if not isinstance(answer, Exception):
                added += 1
            elif message.number is not None and _SMALLER in str(answer):
                await self._check_same(channel, message)
            else:
                raise translated(answer, self.url) from answer
        self._lengths[channel] = int(length)
        return added

    async def _check_same(self, channel: Channel, message: Message) -> None:
        entry = _entry_id(message)
        async with self.said():
            there = await self._opened().xrange(key_of(channel), min=entry, max=entry)
        if there:
            found = there[0][1].get(b"id", b"").decode()
            if found != message.id:
                raise another_publisher(channel, message, found)

    async def _make_room(self, channel: Channel, count: int) -> None:
        if channel in self._lengths and self._lengths[channel] + count <= self._limit:
            return
        async with self.said():
            length = await self._opened().xlen(key_of(channel))
        if length + count > self._limit:
            # A twentieth at once, so that not every message looks for room.
            length -= await self.trim(channel, max(0, self._limit - max(count, self._limit // 20)))
        self._lengths[channel] = length
        if length + count > self._limit:
            behind = await self._behind(channel)
            msg = (
                f"At most {self._limit:,} messages must wait in {channel} at {self.url}, and {behind} not "
                "read them. Let it read on, or drop the group."
            )
            raise BusFullError(msg)

    async def _behind(self, channel: Channel) -> str:
        floors = await self._floors(channel)
        if not floors:
            return "this batch is larger: no group has"
        return f"group {min(floors, key=lambda name: floors[name])!r} has"

    async def _floors(self, channel: Channel) -> dict[str, tuple[int, int]]:
        """Return group → the first entry it still needs."""
        client, key = self._opened(), key_of(channel)
        floors = {}
        async with self.said():
            try:
                groups = await client.xinfo_groups(key)
            except ResponseError as error:
                if "no such key" in str(error).lower():
                    return {}
                raise
            for group in groups:
                name = group["name"]
                first, second = _place(group["last-delivered-id"])
                floor = (first, second + 1)
                if group["pending"]:
                    floor = min(floor, _place((await client.xpending(key, name))["min"]))
                floors[name.decode()] = floor
        return floors

    async def trim(self, channel: Channel, keep: int) -> int:
        """Remove old messages; see `Transport.trim`."""
        client, key = self._opened(), key_of(channel)
        floor = min((await self._floors(channel)).values(), default=None)
        removed = 0
        async with self.said():
            excess = await client.xlen(key) - keep
            while excess > 0:
                oldest = await client.xrange(key, count=min(excess, _TRIMMED_AT_ONCE) + 1)
                cut = _place(oldest[-1][0])
                if len(oldest) <= min(excess, _TRIMMED_AT_ONCE):
                    cut = (cut[0], cut[1] + 1)
                cut = cut if floor is None else min(cut, floor)
                gone = await client.xtrim(key, minid=f"{cut[0]}-{cut[1]}", approximate=False)
                removed += gone
                excess -= gone
                if gone == 0:
                    break
        self._lengths.pop(channel, None)
        return removed

    async def subscribe(self, channel: Channel, reader: Reader) -> Subscription:
        """Begin to read; see `Transport.subscribe`."""
        key = key_of(channel)
        found: _Member | _Look
        async with self.said():
            if reader.group is None:
                start = "0-0" if reader.start == "oldest" else await self._end(key)
                found = _Look(self, key, start)
            else:
                found = _Member(self, key, reader)
                await self.make_group(key, reader)
        self._subscriptions.append(found)
        return found

    async def make_group(self, key: str, reader: Reader) -> None:
        """Make a group where it is not yet, at the place the reader wants."""
        start = "0" if reader.start == "oldest" else "$"
        try:
            await self._opened().xgroup_create(key, reader.group or "", id=start, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _end(self, key: str) -> str:
        last = await self._opened().xrevrange(key, count=1)
        return last[0][0].decode() if last else "0-0"

    async def last_number(self, channel: Channel) -> int | None:
        """Return the number of the last numbered message; see `Transport.last_number`."""
        async with self.said():
            try:
                about = await self._opened().xinfo_stream(key_of(channel))
            except ResponseError as error:
                if "no such key" in str(error).lower():
                    return None
                raise
        first, second = _place(about["last-generated-id"])
        return first - 1 if first and not second else None

    async def drop_group(self, channel: Channel, group: str) -> None:
        """Forget a group."""
        async with self.said():
            if await self._opened().exists(key_of(channel)):
                await self._opened().xgroup_destroy(key_of(channel), group)

    async def ping(self, timeout_s: float = 2.0) -> float:
        """Return how long an answer takes; see `Transport.ping`."""
        started = time.perf_counter()
        async with self.said(timeout_s):
            await self._opened().ping()
        return (time.perf_counter() - started) * 1e3

    async def close(self) -> None:
        """Leave the server."""
        for subscription in self._subscriptions:
            await subscription.close()
        self._subscriptions.clear()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> Any:
        if self._client is None:
            raise BusDownError(f"The bus {self.url} is not open. Call open() first.")
        return self._client

    @asynccontextmanager
    async def said(self, timeout_s: float = 10.0) -> AsyncIterator[None]:
        """Give the block so long, and say in words what the server's errors mean."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except (RedisError, OSError, UnicodeDecodeError) as error:
            raise translated(error, self.url, timeout_s) from error


class _Look:
    """Reads from a place on, and nobody waits for it."""

    def __init__(self, transport: RedisTransport, key: str, place: str) -> None:
        self._transport = transport
        self._key = key
        self._place = place
        self._client = transport.client(None)

    async def read(self, limit: int, timeout_s: float) -> list[Delivery]:
        """Return what came since; see `Subscription.read`."""
        async with self._transport.said(timeout_s + 5.0):
            answer = await self._client.xread({self._key: self._place}, count=limit, block=_ms(timeout_s))
        entries = answer[0][1] if answer else []
        if entries:
            self._place = entries[-1][0].decode()
        return [_delivery(entry) for entry in entries]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Do nothing: no position is kept."""

    async def close(self) -> None:
        """Stop reading."""
        await self._client.aclose()


class _Member:
    """Reads as one of a group."""

    def __init__(self, transport: RedisTransport, key: str, reader: Reader) -> None:
        self._transport = transport
        self._key = key
        self._reader = reader
        self._group = reader.group or ""
        self._client = transport.client(None)
        # From here on what this consumer was given before; None: that was all.
        self._left: str | None = "0"
        self._unacked: set[str] = set()
        self._claimed_at = 0.0

    async def read(self, limit: int, timeout_s: float) -> list[Delivery]:
        """Return what was not acknowledged, what others left, then what is new; see `Subscription.read`."""
        try:
            async with self._transport.said(timeout_s + 5.0):
                found = await self._read(limit, timeout_s)
        except BaseException:
            # An answer that got lost on its way is among what is not acknowledged.
            self._left = "0"
            raise
        self._unacked.update(one.position for one in found)
        return found

    async def _read(self, limit: int, timeout_s: float) -> list[Delivery]:
        while self._left is not None:
            entries = await self._entries(limit, self._left, None)
            self._left = entries[-1][0].decode() if entries else None
            # What is in this process's hands is not given out twice.
            found = [_delivery(entry, again=True) for entry in entries if entry[1] is not None]
            found = [one for one in found if one.position not in self._unacked]
            if found:
                return found
        claimed = await self._claimed(limit)
        if claimed:
            return claimed
        return [_delivery(entry) for entry in await self._entries(limit, ">", _ms(timeout_s))]

    async def _entries(self, limit: int, place: str, block: int | None) -> list[Any]:
        try:
            answer = await self._client.xreadgroup(
                self._group, self._reader.consumer, {self._key: place}, count=limit, block=block
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            # The server lost the group: it keeps nothing over a restart, or somebody dropped it.
            reader = msgspec.structs.replace(self._reader, start="oldest")
            await self._transport.make_group(self._key, reader)
            return []
        return answer[0][1] if answer else []

    async def _claimed(self, limit: int) -> list[Delivery]:
        now = time.monotonic()
        idle = self._reader.claim_after_s
        if now - self._claimed_at < min(idle, 5.0):
            return []
        self._claimed_at = now
        answer = await self._client.xautoclaim(
            self._key, self._group, self._reader.consumer, min_idle_time=_ms(idle), count=limit
        )
        entries = [entry for entry in answer[1] if entry[1] is not None]
        found = [_delivery(entry, again=True) for entry in entries]
        return [one for one in found if one.position not in self._unacked]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Let go of messages; see `Subscription.ack`."""
        if not deliveries:
            return
        positions = [one.position for one in deliveries]
        async with self._transport.said():
            await self._client.xack(self._key, self._group, *positions)
        self._unacked.difference_update(positions)

    async def close(self) -> None:
        """Stop reading; the group's position stays."""
        await self._client.aclose()


def key_of(channel: Channel) -> str:
    """Return the key of a channel's stream."""
    return f"aiopt:{channel.session}:{channel.topic}"


def translated(error: BaseException, url: str, timeout_s: float = 10.0) -> BusError:
    """Return what an error of the client means for whoever uses the bus."""
    said = str(error).strip() or type(error).__name__
    if isinstance(error, BusError):
        return error
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return BusError(
            f"The server {url} must accept the password, but says {said!r}. Set {PASSWORD} in the "
            "environment, and name its user in the URL if it has one."
        )
    if isinstance(error, InvalidResponse | UnicodeDecodeError) or "Protocol" in said:
        return BusError(
            f"At {url} must be a Valkey or Redis server, but what answers is another program ({said[:120]}). "
            "Check host and port."
        )
    if isinstance(error, OutOfMemoryError) or said.startswith(("OOM", "MISCONF")):
        return BusFullError(
            f"The server {url} takes nothing more: {said[:200]}. Nothing was dropped; give it room, then it "
            "goes on."
        )
    if isinstance(error, ReadOnlyError):
        return BusError(f"The server {url} must take messages, but is a replica ({said}). Name the primary.")
    if isinstance(error, builtins.TimeoutError | TimeoutError):
        msg = f"The server {url} must answer within {timeout_s:g} s, but did not. See whether it is alive."
        return BusDownError(msg)
    if isinstance(error, ConnectionError | OSError) or said.startswith("LOADING"):
        return BusDownError(f"The server {url} cannot be reached: {said}. Start it, or check the address.")
    return BusError(f"The server {url} refused: {said}. Check that the stream is written by aiopt alone.")


def _server_info(about: dict[str, Any], kept: dict[str, Any], url: str) -> ServerInfo:
    valkey = about.get("valkey_version")
    text = str(about.get("redis_version", ""))
    parts = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if parts < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        msg = f"Valkey, or Redis {wanted} or newer, must run at {url}, but it is {text or 'of no version'}. "
        raise BusError(msg + "Update it.")
    durable = bool(kept.get("aof_enabled"))
    lost = "What it holds is lost, in whole or in part, when it is restarted. Set `appendonly yes`."
    note = "" if durable else lost
    program = "Valkey" if valkey else "Redis"
    return ServerInfo(program=program, version=str(valkey or text), durable=durable, note=note)


def _entry_id(message: Message) -> str:
    # 0-0 is no id: number 0 is 1-0.
    return "*" if message.number is None else f"{message.number + 1}-0"


def _delivery(entry: Any, *, again: bool = False) -> Delivery:
    position, fields = entry
    first, second = _place(position)
    number = first - 1 if second == 0 and first < 1 << 40 else None
    message = Message(fields.get(b"id", b"").decode("utf-8", "replace"), fields.get(b"payload", b""), number)
    return Delivery(position.decode(), message, again)


def _place(entry: bytes) -> tuple[int, int]:
    first, _, second = entry.partition(b"-")
    return int(first), int(second or 0)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1e3))
