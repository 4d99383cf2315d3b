"""A session that a person steers: a thread gives commands over its socket while it runs."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiopt.bus.commands import COMMANDS, Command
from aiopt.bus.desk import Outcome
from aiopt.errors import AioptError
from aiopt.live.control.control_socket import ask, read_door
from aiopt.live.feeds.store_feed import Pace
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.session_end import SessionEnd
from aiopt.live.session.status import status_of
from aiopt.live.state.session_file import SessionFile

WAIT_S = 240.0


class Hand:
    """Gives commands to the session of a folder, and holds its feed still while it does."""

    def __init__(self, folder: Path, session: LiveSession) -> None:
        self.folder, self._session = folder, session
        self._until: Callable[[Any], bool] | None = None
        self._held, self._since = threading.Event(), 0.0

    def hold(self, until: Callable[[Any], Any]) -> None:
        """Let the feed stand still as soon as something of the stepper is true, until `go`."""
        self._until = until
        assert self._held.wait(WAIT_S), "it does not come"

    def go(self) -> None:
        """Let the feed go on."""
        self._until = None

    def waits(self, pace: Pace) -> bool:
        """Return whether the feed stands still; asked in the session's thread before each quote."""
        until, parts = self._until, self._session.parts
        if not self._held.is_set():
            if until is None or parts is None or not until(parts.stepper):
                return False
            self._since = time.monotonic()
            self._held.set()
        if until is not None:
            return True
        self._held.clear()
        if pace._began is not None:  # what comes next is as far away as it was
            pace._began = pace._began[0] + time.monotonic() - self._since, pace._began[1]
        return False

    def command(self, name: str, **fields: Any) -> Command:
        door = read_door(self.folder)
        assert door is not None
        common = {"id": uuid.uuid4().hex, "session": door.session, "by": "me", "made_ns": time.time_ns()}
        return COMMANDS[name](**(common | fields))

    def send(self, name: str, **fields: Any) -> Outcome:
        return ask(self.folder, self.command(name, **fields), WAIT_S)

    def status(self) -> dict[str, Any]:
        return status_of(self.folder)

    def factor(self, strategy: str) -> float:
        """Return by what the sizes of a strategy are multiplied."""
        assert self._session.parts is not None
        return self._session.parts.node.strategies[strategy].source.size_factor

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


def holds(strategy: str) -> Callable[[Any], bool]:
    """Return what is true of a stepper while a strategy holds a position and its exits are in the market."""

    def it(stepper: Any) -> bool:
        return any(one.strategy == strategy for one in stepper.venue.positions()) and not any(
            one.order.kind == "market" for one in stepper.venue.orders()
        )

    return it


def steered(config: LiveConfig, out: Path, script: Callable[[Hand], None]) -> SessionEnd:
    """Run a session while a script gives commands; it is stopped at the script's end."""
    failures: list[BaseException] = []
    wait_s = Pace.wait_s

    def held_back(pace: Pace, ts_ns: int) -> float:
        return 0.005 if hand.waits(pace) else wait_s(pace, ts_ns)

    def act() -> None:
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
        hand = Hand(out, session)
        thread = threading.Thread(target=act)
        thread.start()
        try:
            with patch.object(Pace, "wait_s", held_back):
                return session.run()
        finally:
            thread.join(WAIT_S)
            if failures and not isinstance(failures[0], AioptError):
                raise failures[0]
            if failures:
                raise AssertionError(str(failures[0])) from failures[0]
