"""The door of a session: both kinds of socket, long paths, a wrong key, a door that was left behind."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from aiopt.bus.codec import decode_command
from aiopt.bus.commands import Kill
from aiopt.bus.desk import Outcome
from aiopt.errors import ConfigError, DataError
from aiopt.live.control.control_socket import DOOR, ControlSocket, Door, ask, read_door

KILL = Kill(id="k", session="S1", by="me", made_ns=1, reason="a test")


async def answered(document: bytes) -> Outcome:
    command = decode_command(document)
    return Outcome(command_id=command.id, command=command.name, status="applied", after={"by": command.by})


def with_door(
    folder: Path, use: Callable[[], Any], kind: Literal["unix", "tcp"] | None = None, handle: Any = answered
) -> Any:
    """Serve a folder in this thread while another uses it."""
    found: list[Any] = []

    async def serve() -> None:
        door = ControlSocket(folder, "S1", handle, kind=kind)
        await door.open()
        try:
            found.append(await asyncio.to_thread(use))
        finally:
            await door.close(0.2)

    asyncio.run(serve())
    assert not (folder / DOOR).exists()
    return found[0]


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_command_goes_in_and_an_outcome_comes_out(tmp_path: Path, kind: Literal["unix", "tcp"]) -> None:
    def use() -> tuple[Outcome, Outcome]:
        door = read_door(tmp_path)
        assert door is not None
        assert (door.kind, door.session, door.key in repr(door)) == (kind, "S1", False)
        assert (tmp_path / DOOR).stat().st_mode & 0o077 == 0
        return ask(tmp_path, KILL), ask(tmp_path, KILL)

    first, second = with_door(tmp_path, use, kind)
    assert first == second
    assert (first.command, first.after) == ("kill", {"by": "me"})


def test_a_path_that_is_too_long_for_a_socket_is_none(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()

    def use() -> tuple[Path, Outcome]:
        door = read_door(folder)
        assert door is not None
        return Path(door.address), ask(folder, KILL)

    place, outcome = with_door(folder, use, "unix")
    assert outcome.status == "applied"
    assert len(str(place)) < 100
    assert not place.parent.exists()


def test_who_has_no_key_is_not_answered(tmp_path: Path) -> None:
    def use() -> bytes:
        door = read_door(tmp_path)
        assert door is not None
        with socket.create_connection(("127.0.0.1", int(door.address)), 10) as link:
            link.sendall(b"guess\n" + msgspec.json.encode(KILL) + b"\n")
            return link.recv(100)

    assert with_door(tmp_path, use, "tcp") == b""


def test_a_door_left_behind_is_no_door(tmp_path: Path) -> None:
    (tmp_path / DOOR).write_bytes(
        msgspec.json.encode(Door("S1", 1, "unix", str(tmp_path / "control.sock"), "old"))
    )
    with pytest.raises(ConfigError, match=r"does not answer .* with the same id, k: it acts once"):
        ask(tmp_path, KILL, 0.2)
    assert with_door(tmp_path, lambda: ask(tmp_path, KILL)).status == "applied"
    (tmp_path / DOOR).write_text("{")
    with pytest.raises(DataError, match="The file is damaged"):
        ask(tmp_path, KILL)


def test_an_answer_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    gate = threading.Event()

    async def slow(document: bytes) -> Outcome:
        await asyncio.to_thread(gate.wait, 60)
        return await answered(document)

    def use() -> str:
        try:
            with pytest.raises(ConfigError, match="did not answer within") as found:
                ask(tmp_path, KILL, 0.3)
        finally:
            gate.set()
        return str(found.value)

    assert "Ask again with the same id, k" in with_door(tmp_path, use, handle=slow)
