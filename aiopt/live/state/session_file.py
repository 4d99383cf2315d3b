"""The file of a session: everything it goes on from after any end, the most sudden one included.

One SQLite file in WAL mode with ``synchronous=FULL``.  Each `commit` is one transaction, so what is read back
is the session as it was behind one of its steps, never between two.  One process at a time has the file open.

=========  ===============================================================================================
table      rows
=========  ===============================================================================================
meta       what the session is: id, layout, configuration, feed; written once
state      the parts as they are: venue, cursor, cutter, each strategy
bars       every bar of every series since the warm-up: indicators are made of them anew
trades     finished round trips, in the order in which they ended
events     what happened, in order, as venue and session say it
outbox     the same as the bus is told it (`aiopt.bus.events`), under the numbers it is told by
readings   what the analyst read, by the number of its question
=========  ===============================================================================================
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError, StorageError
from aiopt.files import file_lock

NAME = "session.sqlite"
_LAYOUT = "1"
_BAR_COLUMNS = ", ".join(BarRow._fields)
_TABLES = f"""
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bars (
    series TEXT NOT NULL, number INTEGER NOT NULL, {_BAR_COLUMNS}, PRIMARY KEY (series, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trades (number INTEGER PRIMARY KEY, strategy TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, ts_ns INTEGER NOT NULL, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS readings (number INTEGER PRIMARY KEY, value TEXT NOT NULL);
"""


class SessionFile:
    """An open session file; use it with ``with``.

    Parameters
    ----------
    folder : Path
        Folder of the session; made if absent.

    Raises
    ------
    ConfigError
        If another process has the session open, or its file is of another layout.
    StorageError
        If the file cannot be opened or written, now or at any call.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        self._held = ExitStack()
        busy = ConfigError(
            f"One process runs a session at a time, but another runs {self.folder}. Stop it, or choose "
            "another folder (--out)."
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"The folder {self.folder} cannot be made ({error.strerror}).") from error
        self._held.enter_context(file_lock(self.folder / "session.lock", busy=busy))
        try:
            self._open()
        except BaseException:
            self._held.close()
            raise

    def _open(self) -> None:
        with self._explained():
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            self._held.callback(self._connection.close)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_TABLES)
        layout = self.meta().get("layout", _LAYOUT)
        if layout != _LAYOUT:
            msg = f"The session in {self.folder} is of layout {layout}, but this aiopt reads {_LAYOUT}."
            raise ConfigError(f"{msg} Go on with the aiopt that wrote it, or choose another folder.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SessionFile({self.folder})"

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._held.close()

    @property
    def is_new(self) -> bool:
        """Whether no session has begun in it."""
        return not self.meta()

    # --- writing --------------------------------------------------------------------------------------

    def begin(
        self, meta: Mapping[str, str], state: Mapping[str, str], bars: Iterable[tuple[str, int, BarRow]]
    ) -> None:
        """Begin a session: what it is, its first state, the bars of the warm-up; in one transaction."""
        rows = [*meta.items(), ("layout", _LAYOUT)]
        with self._transaction():
            self._connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            self._write(state, bars, (), (), ())

    def commit(
        self,
        state: Mapping[str, str],
        *,
        bars: Iterable[tuple[str, int, BarRow]] = (),
        trades: Iterable[tuple[str, str]] = (),
        events: Iterable[tuple[int, str]] = (),
        outbox: Iterable[tuple[int, str]] = (),
        readings: Iterable[tuple[int, str]] = (),
    ) -> None:
        """Write what has changed since the last commit, all or nothing.

        Parameters
        ----------
        state : mapping of str to str
            Parts that changed.
        bars : iterable of (str, int, BarRow)
            Series, number and bar.
        trades : iterable of (str, str)
            Strategy and record.
        events : iterable of (int, str)
            Time and record.
        outbox : iterable of (int, str)
            Number and event for the bus.
        readings : iterable of (int, str)
            Number of the question and record.
        """
        with self._transaction():
            self._write(state, bars, trades, events, outbox)
            self._connection.executemany("INSERT INTO readings VALUES (?, ?)", readings)

    def _write(
        self,
        state: Mapping[str, str],
        bars: Iterable[tuple[str, int, BarRow]],
        trades: Iterable[tuple[str, str]],
        events: Iterable[tuple[int, str]],
        outbox: Iterable[tuple[int, str]],
    ) -> None:
        execute = self._connection.executemany
        places = ", ".join("?" * (2 + len(BarRow._fields)))
        execute("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())
        execute(f"INSERT INTO bars VALUES ({places})", ((name, number, *row) for name, number, row in bars))
        execute("INSERT INTO trades (strategy, value) VALUES (?, ?)", trades)
        execute("INSERT INTO events (ts_ns, value) VALUES (?, ?)", events)
        execute("INSERT INTO outbox VALUES (?, ?)", outbox)

    # --- reading --------------------------------------------------------------------------------------

    def meta(self) -> dict[str, str]:
        """Return what the session is; empty before it has begun."""
        return dict(self._rows("SELECT key, value FROM meta"))

    def state(self) -> dict[str, str]:
        """Return all parts of the state."""
        return dict(self._rows("SELECT key, value FROM state"))

    def bars(self, series: str) -> Iterator[BarRow]:
        """Yield the bars of a series in order."""
        query = f"SELECT {_BAR_COLUMNS} FROM bars WHERE series = ? ORDER BY number"
        return (BarRow(*row) for row in self._rows(query, series))

    def trades(self) -> Iterator[tuple[str, str]]:
        """Yield strategy and record of every finished round trip."""
        return iter(self._rows("SELECT strategy, value FROM trades ORDER BY number"))

    def events(self, after: int = 0) -> Iterator[tuple[int, int, str]]:
        """Yield number, time and record of the events behind one."""
        return iter(
            self._rows("SELECT number, ts_ns, value FROM events WHERE number > ? ORDER BY number", after)
        )

    def outbox(self, after: int = 0, limit: int = -1) -> list[tuple[int, str]]:
        """Return number and event of what is told behind a number, at most so many (-1: all)."""
        query = "SELECT number, value FROM outbox WHERE number > ? ORDER BY number LIMIT ?"
        return self._rows(query, after, limit)

    @property
    def last_told(self) -> int:
        """The number of the last event for the bus; 0 before the first."""
        return int(self._rows("SELECT coalesce(max(number), 0) FROM outbox")[0][0])

    def readings(self) -> Iterator[str]:
        """Yield the record of every reading, in the order of the questions."""
        return (value for (value,) in self._rows("SELECT value FROM readings ORDER BY number"))

    def counts(self) -> dict[str, int]:
        """Return the number of bars, trades and events."""
        return {
            name: self._rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("bars", "trades", "events")
        }

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._explained():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            msg = (
                f"The session file {self.path} must be readable and writable, but is not ({error}). Free "
                "space or mend the folder, then run the same command again: the session goes on from its "
                "last commit."
            )
            raise StorageError(msg) from error


def read_session(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return meta and state of a session, whether a process runs it or not.

    Raises
    ------
    ConfigError
        If there is no session in the folder.
    """
    with _looking(folder) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        state = dict(connection.execute("SELECT key, value FROM state"))
        meta["trades"] = str(connection.execute("SELECT count(*) FROM trades").fetchone()[0])
    return meta, state


class SessionTables(NamedTuple):
    """The rows of a session, as they were behind one commit.

    Attributes
    ----------
    meta : dict of str to str
        What the session is.
    bars : dict of str to list of BarRow
        By series.
    trades : list of (str, str)
        Strategy and record.
    readings : list of str
        Records.
    """

    meta: dict[str, str]
    bars: dict[str, list[BarRow]]
    trades: list[tuple[str, str]]
    readings: list[str]


def read_tables(folder: Path) -> SessionTables:
    """Return the rows of a session, whether a process runs it or not; errors as `read_session`."""
    with _looking(folder) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        bars: dict[str, list[BarRow]] = {}
        for series, *row in connection.execute(
            f"SELECT series, {_BAR_COLUMNS} FROM bars ORDER BY series, number"
        ):
            bars.setdefault(series, []).append(BarRow(*row))
        trades = connection.execute("SELECT strategy, value FROM trades ORDER BY number").fetchall()
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'readings'").fetchone()
        readings = connection.execute("SELECT value FROM readings ORDER BY number") if there else ()
        return SessionTables(meta, bars, trades, [value for (value,) in readings])


def read_outbox(folder: Path, *, after: int = 0) -> list[tuple[int, str]]:
    """Return number and document of what a session told behind a number; errors as `read_session`."""
    with _looking(folder) as connection:
        query = "SELECT number, value FROM outbox WHERE number > ? ORDER BY number"
        return connection.execute(query, (after,)).fetchall()


def is_session(folder: Path) -> bool:
    """Return whether a folder is that of a session."""
    return (Path(folder) / NAME).is_file()


@contextmanager
def _looking(folder: Path) -> Iterator[sqlite3.Connection]:
    """Read a session's file as it was behind its last commit, and write nothing."""
    path = Path(folder) / NAME
    if not path.is_file():
        msg = f"A session's folder holds {NAME}, but {folder} does not. Name the folder given to --out."
        raise ConfigError(msg)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10.0)
    try:
        connection.execute("BEGIN")
        yield connection
    except sqlite3.DatabaseError as error:
        raise StorageError(f"The session file {path} cannot be read ({error}).") from error
    finally:
        connection.close()
