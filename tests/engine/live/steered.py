"""A session that a person steers: a thread gives commands over its socket while it runs."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiopt.bus.commands import COMMANDS, Command
from aiopt.bus.desk import Outcome
from aiopt.errors import AioptError
from aiopt.live.control.control_socket import ask, read_door
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession, SessionEnd
from aiopt.live.session.status import status_of
from aiopt.live.state.session_file import SessionFile

WAIT_S = 240.0


class Hand:
    """Gives commands to the session of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, name: str, **fields: Any) -> Command:
        door = read_door(self.folder)
        assert door is not None
        common = {"id": uuid.uuid4().hex, "session": door.session, "by": "me", "made_ns": time.time_ns()}
        return COMMANDS[name](**(common | fields))

    def send(self, name: str, **fields: Any) -> Outcome:
        return ask(self.folder, self.command(name, **fields), WAIT_S)

    def status(self) -> dict[str, Any]:
        return status_of(self.folder)

    def wait(self, until: Callable[[dict[str, Any]], Any]) -> Any:
        """Wait until something of the status is true, and return it."""
        deadline = time.monotonic() + WAIT_S
        while not (found := until(self.status())):
            assert time.monotonic() < deadline, "it does not come"
            time.sleep(0.01)
        return found

    def bars(self, count: int) -> None:
        """Wait for the end of some bars."""
        start = self.wait(lambda status: status["last_quote"])["ts_ns"]
        self.wait(lambda status: status["last_quote"]["ts_ns"] > start + count * 60 * 10**9)


def steered(config: LiveConfig, out: Path, script: Callable[[Hand], None]) -> SessionEnd:
    """Run a session while a script gives commands; it is stopped at the script's end."""
    failures: list[BaseException] = []

    def act() -> None:
        hand = Hand(out)
        try:
            deadline = time.monotonic() + WAIT_S
            while read_door(out) is None:
                assert time.monotonic() < deadline, "the session does not begin"
                time.sleep(0.01)
            script(hand)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)
        finally:
            session.stop()

    with SessionFile(out) as file:
        session = LiveSession(config, file)
        thread = threading.Thread(target=act)
        thread.start()
        try:
            return session.run()
        finally:
            thread.join(WAIT_S)
            if failures and not isinstance(failures[0], AioptError):
                raise failures[0]
            if failures:
                raise AssertionError(str(failures[0])) from failures[0]
