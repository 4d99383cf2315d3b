"""The log of a session: ``session.log``, one line of JSON for each of its events, with the ids in it.

Owns the format and the file.  The lines are made of the events of the session's file, and each has its
number, so none is missing and none is there twice: what a process that died had not written is written by the
next.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

from aiopt.files import write_whole
from aiopt.utc import stamp_text

NAME = "session.log"
_BAD = frozenset({"strategy_broken", "node_error", "flatten_failed", "uncovered"})
_ODD = frozenset(
    {"rejected", "cancel_rejected", "modify_rejected", "refused", "breach", "kill", "warning", "feed"}
)
_IDS = {"order_id": "order", "position_id": "position", "strategy": "strategy", "seq": "seq"}


class EventSource(Protocol):
    """Where a session's events are."""

    def events(self, after: int = 0) -> Any:
        """Return number, time and record of the events behind one."""
        ...


class SessionLog:
    """The file, caught up with the events whenever it is asked to.

    Parameters
    ----------
    folder : Path
        Of the session.
    session : str
        Its id, in each line.

    Attributes
    ----------
    number : int
        Of the last event in it.
    failures : int
        Times a line could not be written; it is tried again at the next event.
    """

    def __init__(self, folder: Path, session: str) -> None:
        self.path = Path(folder) / NAME
        self._session = session
        self.failures = 0
        self.number, self._size = _end(self.path)

    def __repr__(self) -> str:
        return f"SessionLog({self.path}, {self.number} events)"

    def catch_up(self, source: EventSource) -> int:
        """Write the events that are not in it yet; return their number.

        A disk that is full costs the log nothing but time: what could not be written is tried again.
        """
        rows = list(source.events(self.number))
        if not rows:
            return 0
        text = "".join(
            json.dumps(line_of(self._session, number, ts_ns, json.loads(record)), ensure_ascii=False) + "\n"
            for number, ts_ns, record in rows
        ).encode()
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.ftruncate(handle, self._size)  # of a torn line
                write_whole(handle, text, self._size)
            finally:
                os.close(handle)
        except OSError:
            self.failures += 1  # the session goes on: its own file has the events
            return 0
        self._size += len(text)
        self.number = rows[-1][0]
        return len(rows)


def line_of(session: str, number: int, ts_ns: int, record: dict[str, Any]) -> dict[str, Any]:
    """Return an event as the log has it: time, level, session, number and ids, then what else it says."""
    kind = str(record.get("type", ""))
    level = "error" if kind in _BAD else "warning" if kind in _ODD else "info"
    line: dict[str, Any] = {
        "time": stamp_text(ts_ns, "ms") if ts_ns else None,
        "level": level,
        "session": session,
        "number": number,
        "event": kind,
    }
    for name, short in _IDS.items():
        if name in record:
            line[short] = record[name]
    line |= {
        name: value for name, value in record.items() if name not in _IDS and name not in ("type", "ts_ns")
    }
    return line


def _end(path: Path) -> tuple[int, int]:
    """Return the number of the last whole line of a log and where it ends."""
    if not path.is_file():
        return 0, 0
    number = size = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break  # torn: its process died
            try:
                number = int(json.loads(line)["number"])
            except (ValueError, KeyError, TypeError):
                break  # not of this log: it is written anew from here
            size += len(line)
    return number, size
