"""A session's file as others read it, whether a process runs the session or not.

Owns reading: one transaction, so all that is read is of one commit.  Never writes, never waits for the
session's lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError, StorageError
from aiopt.live.state.session_file import NAME

_WAIT_S = 10.0
_BAR_COLUMNS = ", ".join(BarRow._fields)


class SessionReader:
    """A session at its last commit; use it with ``with``.

    Parameters
    ----------
    folder : Path
        Of the session.

    Raises
    ------
    ConfigError
        If there is no session in the folder.
    StorageError
        If the file cannot be read, now or at any call.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        if not self.path.is_file():
            msg = f"A session's folder holds {NAME}, but {folder} does not. Name the folder given to --out."
            raise ConfigError(msg)
        with self._explained():
            self._connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=_WAIT_S)
            self._connection.isolation_level = None
            self._connection.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SessionReader({self.folder})"

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def meta(self) -> dict[str, str]:
        """Return what the session is."""
        return dict(self._rows("SELECT key, value FROM meta"))

    def state(self) -> dict[str, str]:
        """Return all parts of the state."""
        return dict(self._rows("SELECT key, value FROM state"))

    def trades(self) -> list[str]:
        """Return the records of all finished round trips, in the order in which they ended."""
        return [row[0] for row in self._rows("SELECT value FROM trades ORDER BY number")]

    def events(self, after: int = 0) -> list[tuple[int, int, str]]:
        """Return number, time and record of the events behind one."""
        return self._rows("SELECT number, ts_ns, value FROM events WHERE number > ? ORDER BY number", after)

    def last_events(self, count: int) -> list[tuple[int, int, str]]:
        """Return the newest events, the oldest of them first."""
        query = "SELECT number, ts_ns, value FROM events ORDER BY number DESC LIMIT ?"
        return self._rows(query, count)[::-1]

    def series(self) -> list[str]:
        """Return the names of the series that have bars."""
        return [row[0] for row in self._rows("SELECT DISTINCT series FROM bars ORDER BY series")]

    def bars(self, series: str, start_ns: int = 0) -> list[BarRow]:
        """Return the bars of a series that opened at or after a time, in order."""
        query = f"SELECT {_BAR_COLUMNS} FROM bars WHERE series = ? AND ts_open_ns >= ? ORDER BY number"
        return [BarRow(*row) for row in self._rows(query, series, start_ns)]

    def counts(self) -> dict[str, int]:
        """Return the number of bars, trades and events."""
        return {
            name: self._rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("bars", "trades", "events")
        }

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._explained():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise ConfigError(
                    f"The session in {self.folder} has not begun yet. Ask again in a moment."
                ) from error
            raise StorageError(f"The session file {self.path} cannot be read ({error}).") from error
        except sqlite3.DatabaseError as error:
            raise StorageError(f"The session file {self.path} cannot be read ({error}).") from error
