"""The door of a running session: a socket in its folder that takes commands and answers with outcomes.

One line of JSON in, one out, as often as one likes; the first line of a connection is the key that
``control.json`` beside it holds.  A unix-domain socket where the platform has them (in a private folder for
temporary files where the session's own path is too long for one), else a port of the loopback.

Owns door and file.  Knows no command's meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from aiopt.bus.codec import encode_command
from aiopt.bus.commands import Command
from aiopt.bus.desk import Outcome
from aiopt.errors import ConfigError, DataError
from aiopt.files import atomic_path

DOOR = "control.json"
_SOCKET = "control.sock"
_LONGEST_PATH = 100
"""Bytes; the least that platforms take is 104 with the closing zero."""
_LONGEST_LINE = 4 << 20
_PREFIX = "aiopt-"
_AGAIN_S = 0.05


class Door(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `control.json` holds: the session, its process, and how to reach it."""

    session: str
    pid: int
    kind: Literal["unix", "tcp"]
    address: str
    key: str

    def __repr__(self) -> str:
        return f"<door of {self.session}, {self.kind} {self.address}>"


class ControlSocket:
    """Serves a session's folder; in the event loop of the session.

    Parameters
    ----------
    folder : Path
        Of the session, which this process holds.
    session : str
        Its id.
    handle : callable
        Takes a document and returns what became of it.
    kind : str or None
        ``"unix"`` or ``"tcp"``; None: what the platform has.
    """

    def __init__(
        self,
        folder: Path,
        session: str,
        handle: Callable[[bytes], Awaitable[Outcome]],
        *,
        kind: Literal["unix", "tcp"] | None = None,
    ) -> None:
        self._folder, self._session, self._handle = Path(folder), session, handle
        self._kind = kind or ("unix" if hasattr(asyncio, "start_unix_server") else "tcp")
        self._key = secrets.token_urlsafe(24)
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._path: Path | None = None

    def __repr__(self) -> str:
        return f"<ControlSocket of {self._folder.name}, {len(self._talks)} talks>"

    async def open(self) -> None:
        """Begin to serve."""
        _remove(self._folder)
        if self._kind == "unix":
            self._path = self._place()
            self._server = await asyncio.start_unix_server(
                self._talk, path=str(self._path), limit=_LONGEST_LINE
            )
            self._path.chmod(0o600)
            address = str(self._path)
        else:
            self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=_LONGEST_LINE)
            address = str(self._server.sockets[0].getsockname()[1])
        door = Door(self._session, os.getpid(), self._kind, address, self._key)
        # Private from its first byte on: it holds the key.
        with atomic_path(self._folder / DOOR) as temporary:
            temporary.chmod(0o600)
            temporary.write_bytes(msgspec.json.encode(door) + b"\n")

    async def close(self, patience_s: float = 5.0) -> None:
        """Stop serving; those who wait for an answer get it, if it comes in time."""
        if self._server is None:
            return
        self._server.close()
        await asyncio.sleep(0)
        if self._talks:
            await asyncio.wait(set(self._talks), timeout=patience_s)
        for task in set(self._talks):
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        _remove(self._folder)
        self._server = None

    def _place(self) -> Path:
        near = self._folder.resolve() / _SOCKET
        if len(os.fsencode(near)) <= _LONGEST_PATH:
            return near
        return Path(tempfile.mkdtemp(prefix=_PREFIX)) / _SOCKET

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            key = (await reader.readline()).strip()
            if not secrets.compare_digest(key, self._key.encode()):
                return
            while line := await self._next_line(reader):
                outcome = await self._handle(line.strip())
                writer.write(msgspec.json.encode(outcome) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.LimitOverrunError):
            return  # who asked has gone, or sends what is no line: nobody is left to tell
        finally:
            self._talks.discard(task)
            writer.close()

    async def _next_line(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next line; empty at the end, and when the session ends and nothing is being asked."""
        read = asyncio.ensure_future(reader.readline())
        while not read.done():
            await asyncio.wait({read}, timeout=0.1)
            if not read.done() and (self._server is None or not self._server.is_serving()):
                read.cancel()
                await asyncio.gather(read, return_exceptions=True)
                return b""
        return read.result()


def read_door(folder: Path) -> Door | None:
    """Return how to reach the session of a folder; None where it has no door.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    path = Path(folder) / DOOR
    try:
        return msgspec.json.decode(path.read_bytes(), type=Door)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise DataError(f"The file is damaged: {error}. Start the session again.", file=path) from error


def ask(folder: Path, command: Command, timeout_s: float = 30.0) -> Outcome:
    """Give a running session a command and return what became of it.

    Parameters
    ----------
    folder : Path
        Of the session.
    command : Command
        For it.
    timeout_s : float
        For the answer.

    Raises
    ------
    ConfigError
        If the session does not answer in time.
    """
    due = time.monotonic() + timeout_s
    while True:
        try:
            return _ask_once(folder, command, due)
        except (FileNotFoundError, ConnectionError) as error:
            # It is just starting, or was asked while it ended.
            if time.monotonic() + _AGAIN_S > due:
                msg = f"The session in {folder} runs but does not answer ({error}). Ask again with the same"
                raise ConfigError(f"{msg} id, {command.id}: it acts once.") from error
            time.sleep(_AGAIN_S)
        except TimeoutError as error:
            msg = f"The session in {folder} did not answer within {timeout_s:g} s. Ask again with the same id"
            raise ConfigError(f"{msg}, {command.id}: it acts once.") from error


def _ask_once(folder: Path, command: Command, due: float) -> Outcome:
    door = read_door(folder)
    if door is None:
        raise FileNotFoundError(f"no {DOOR}")
    left = max(due - time.monotonic(), 0.01)
    if door.kind == "unix":
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        address: str | tuple[str, int] = door.address
    else:
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        address = ("127.0.0.1", int(door.address))
    with link:
        link.settimeout(left)
        link.connect(address)
        link.sendall(door.key.encode() + b"\n" + encode_command(command) + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            link.settimeout(max(due - time.monotonic(), 0.01))
            more = link.recv(65_536)
            if not more:
                raise ConnectionResetError("it ended before it answered")
            said += more
    return msgspec.json.decode(said, type=Outcome)


def _remove(folder: Path) -> None:
    """Remove the door of a session that does not run any more."""
    path = folder / DOOR
    with contextlib.suppress(DataError):
        door = read_door(folder)
        if door is not None and door.kind == "unix":
            place = Path(door.address)
            place.unlink(missing_ok=True)
            if place.parent.name.startswith(_PREFIX) and place.parent != folder.resolve():
                with contextlib.suppress(OSError):
                    place.parent.rmdir()
    path.unlink(missing_ok=True)
    (folder / _SOCKET).unlink(missing_ok=True)
