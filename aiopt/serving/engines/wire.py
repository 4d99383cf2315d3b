"""A socket between a gateway and an engine replica: one request per connection at a time, answered in frames.

Owns the frames, the server and the pooled client.  Knows neither HTTP nor Ray nor vLLM.

A token passed through an actor call costs a gateway more than reading it from a socket costs the whole
endpoint, so answers take this way; everything else (start, health, proof, swap) stays with Serve.  A frame is
its length (4 bytes, little-endian) and its bytes; length 0 ends an answer.  The first frame of a connection
is the server's secret, the first frame of a request its JSON body, the first frame of an answer a JSON
object: `aiopt.serving.replies.Reply`.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from aiopt.errors import ClusterError
from aiopt.serving.replies import ChatBody

FRAME_LIMIT = 192 << 20
"""Longest frame: a request's largest body with its decoded images, and then some."""

_LENGTH = 4
_END = (0).to_bytes(_LENGTH, "little")

Answer = AsyncGenerator[bytes, None]
Work = Callable[[ChatBody], Answer]
"""Answers a request: first a `Reply` as JSON, then a stream's events."""


class WireError(ClusterError):
    """The other side is gone or does not speak this protocol."""


class WireAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica listens.

    Attributes
    ----------
    host : str
        Address of its node.
    port : int
        TCP port.
    secret : str
        Proves that the address was given by the replica, not guessed.
    """

    host: str
    port: int
    secret: str


class WireServer:
    """Listens in an engine replica.

    Parameters
    ----------
    work : callable
        Answers one request; closed when the client leaves.
    host : str
        Address to listen on.
    """

    def __init__(self, work: Work, *, host: str) -> None:
        self._work = work
        self._host = host
        self._secret = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> WireAddress:
        """Listen, and return where."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind((self._host, 0))
        self._server = await asyncio.get_running_loop().create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(limit=FRAME_LIMIT), self._connected), sock=listener
        )
        return WireAddress(host=self._host, port=listener.getsockname()[1], secret=self._secret)

    async def stop(self) -> None:
        """Stop listening and drop what is being answered."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            secret = await read_frame(reader, limit=256)
            if secret is None or not hmac.compare_digest(secret, self._secret.encode()):
                return
            while (body := await read_frame(reader)) is not None:
                await self._answer(msgspec.json.decode(body), reader, writer)
        except (WireError, OSError, msgspec.DecodeError):
            return  # the client left, or is none of ours: nobody to tell
        except asyncio.CancelledError:
            return  # `stop`; asyncio 3.11 would log a cancelled connection as a failure
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _answer(
        self, body: ChatBody, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send the parts as they come; stop working when the client leaves."""
        assert isinstance(reader, _Reader)
        sending = asyncio.ensure_future(self._send(body, writer))
        leaving = asyncio.ensure_future(reader.left.wait())
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise WireError("the client left")
            await sending
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, body: ChatBody, writer: asyncio.StreamWriter) -> None:
        async with aclosing(self._work(body)) as parts:
            async for part in parts:
                write_frame(writer, part)
                await writer.drain()
        writer.write(_END)
        await writer.drain()


class _Reader(asyncio.StreamReader):
    """A stream that tells that the other side left without reading: its next request must stay unread."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit)
        self.left = asyncio.Event()

    def feed_eof(self) -> None:
        """Note the end."""
        super().feed_eof()
        self.left.set()

    def set_exception(self, exc: Exception) -> None:
        """Note the loss of the connection."""
        super().set_exception(exc)
        self.left.set()


class WireClient:
    """Asks one replica, over connections that are kept.

    Parameters
    ----------
    address : WireAddress
        Where it listens.
    """

    def __init__(self, address: WireAddress) -> None:
        self.address = address
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, body: ChatBody) -> AsyncGenerator[bytes, None]:
        """Yield the frames of an answer.  Closing the generator before its end stops the work.

        Raises
        ------
        WireError
            If the replica is gone.
        """
        reader, writer = await self._connection()
        whole = False
        try:
            write_frame(writer, msgspec.json.encode(body))
            await writer.drain()
            while (frame := await read_frame(reader)) is not None:
                if not frame:
                    whole = True
                    return
                yield frame
            msg = "the connection ended inside an answer"
            raise WireError(msg)
        except OSError as failure:
            raise WireError(str(failure)) from failure
        finally:
            if whole:
                self._idle.append((reader, writer))
            else:
                writer.transport.abort()

    def close(self) -> None:
        """Close the connections that wait."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.transport.abort()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.transport.abort()
        try:
            reader, writer = await asyncio.open_connection(
                self.address.host, self.address.port, limit=FRAME_LIMIT
            )
        except OSError as failure:
            raise WireError(str(failure)) from failure
        write_frame(writer, self.address.secret.encode())
        return reader, writer


def write_frame(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write a frame.

    Raises
    ------
    WireError
        If it is empty or too long.
    """
    if not 0 < len(data) <= FRAME_LIMIT:
        msg = f"A frame must have 1 to {FRAME_LIMIT:,} bytes, but has {len(data):,}."
        raise WireError(msg)
    writer.write(len(data).to_bytes(_LENGTH, "little") + data)


async def read_frame(reader: asyncio.StreamReader, *, limit: int = FRAME_LIMIT) -> bytes | None:
    """Return a frame's bytes, ``b""`` for an answer's end, None if the connection ended between frames.

    Raises
    ------
    WireError
        If it ended inside one, or the frame is too long.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH), "little")
        if length > limit:
            msg = f"A frame may have {limit:,} bytes, but announces {length:,}."
            raise WireError(msg)
        return await reader.readexactly(length) if length else b""
    except asyncio.IncompleteReadError as failure:
        if not failure.partial and failure.expected == _LENGTH:
            return None
        msg = "the connection ended inside a frame"
        raise WireError(msg) from failure
    except OSError as failure:
        raise WireError(str(failure)) from failure
