"""The library: strategies that accumulate, where they came from, and what they earned on unseen data.

Owns the Python interface; the statements are the other modules'.  Knows no Ray.

    with open_library() as library:
        library.add(spec, Origin(licence="own", origin="notebook"))
        library.find(Filter(instrument="EURUSD", survives=True))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aiopt.errors import InputError
from aiopt.library import schema
from aiopt.library.database import Database
from aiopt.library.failures import LibraryError
from aiopt.library.records import Added, Filter, ImportedRun, Order, Origin, Page, Status, Strategy

if TYPE_CHECKING:
    from aiopt.library.verifying import Rerun, Verification
    from aiopt.runs import RunFolder
    from aiopt.strategy.spec import StrategySpec

Progress = Callable[[float], None]

MOST_ROWS = 10_000
"""Rows of one page."""


class Library:
    """A library that is there; a context manager that lets go of it.  Made by `open_library`.

    Parameters
    ----------
    database : Database
        With tables of this version.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def __repr__(self) -> str:
        return f"<Library {self.database.place}>"

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database; a server of one's own stops with its last user."""
        self.database.close()

    def status(self) -> Status:
        """Return where it is and how much it holds."""
        from sqlalchemy import func, select, text

        from aiopt.library import tables

        counted = {
            "strategies": tables.strategy,
            "spellings": tables.spelling,
            "evaluations": tables.evaluation,
            "patterns": tables.pattern,
            "performance": tables.performance,
            "runs": tables.run,
        }
        with self.database.begin() as connection:
            counts = {
                name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for name, table in counted.items()
            }
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
            server = connection.execute(text("SHOW server_version")).scalar_one()
            version = schema.version_of(connection)
        return Status(
            place=self.database.place,
            embedded=self.database.server is not None,
            server=f"PostgreSQL {server}",
            version=version or "",
            bytes=size,
            **counts,
        )

    def add(self, spec: StrategySpec, origin: Origin) -> Added:
        """Add a strategy; see `add_all`."""
        return self.add_all([(spec, origin)])[0]

    def add_all(self, specs: Iterable[tuple[StrategySpec, Origin]]) -> list[Added]:
        """Add strategies in one transaction, and say of each whether it is new or the same as a known one.

        Parameters
        ----------
        specs : iterable of (StrategySpec, Origin)
            Licence and origin are required; they are kept as the first who added it gave them.

        Raises
        ------
        LibraryError, LibraryDownError, StorageError
            Then none of them is added.
        """
        from aiopt.library.strategies import add_strategy

        with self.database.begin() as connection:
            # In one order everywhere: two who add the same ones at once wait for each other, not in a circle.
            numbered = sorted(enumerate(specs), key=lambda one: one[1][0].spec_hash)
            found = {
                place: add_strategy(connection, spec, origin, "spec") for place, (spec, origin) in numbered
            }
        return [found[place] for place in sorted(found)]

    def find(
        self, wanted: Filter | None = None, *, order: Order = "added", limit: int = 50, offset: int = 0
    ) -> Page:
        """Return a page of the strategies that match.

        Parameters
        ----------
        wanted : Filter, optional
            Which; by default all.
        order : str
            ``"added"``: the newest first; ``"name"``; ``"sharpe"``, ``"deflated"``: by the newest evaluation,
            the best first, those without at the end.
        limit, offset : int
            At most so many rows, from that place on.

        Raises
        ------
        InputError
            If limit or offset is out of range.
        """
        from aiopt.library.strategies import list_strategies

        if not 1 <= limit <= MOST_ROWS or offset < 0:
            msg = f"`1 <= limit <= {MOST_ROWS}` and `offset >= 0` must hold, but got {limit=}, {offset=}."
            raise InputError(msg)
        with self.database.begin() as connection:
            return list_strategies(connection, wanted or Filter(), order, limit, offset)

    def show(self, key: str) -> Strategy:
        """Return all that is known of a strategy.

        Parameters
        ----------
        key : str
            Its id, at least six characters of it, a spec's hash, or a name that only one strategy has.

        Raises
        ------
        InputError
            If there is none, or more than one.
        """
        from aiopt.library.strategies import find_id, read_strategy

        with self.database.begin() as connection:
            return read_strategy(connection, find_id(connection, key))

    def import_run(self, folder: RunFolder, origin: Origin | None = None) -> ImportedRun:
        """Take in the ranked strategies of a finished run with their out-of-sample figures.

        Raises
        ------
        InputError
            If the run is not finished.
        """
        from aiopt.library.run_import import import_run

        with self.database.begin() as connection:
            return import_run(connection, folder, origin)

    def verify(
        self,
        rerun: Rerun | None = None,
        *,
        count: int = 0,
        seed: int = 1,
        progress: Progress = lambda done: None,
    ) -> Verification:
        """Check hashes and sums, and run some evaluations again; see `aiopt.library.verifying.verify`."""
        from aiopt.library.verifying import verify

        return verify(self.database, rerun, count=count, seed=seed, progress=progress)

    def export(self, out: Path, wanted: Filter | None = None, progress: Progress = lambda done: None) -> int:
        """Write strategies as JSON lines; see `aiopt.library.exporting.export`."""
        from aiopt.library.exporting import export

        return export(self.database, out, wanted, progress)

    def backup(self, out: Path) -> int:
        """Write all of it to a file, as it is at one moment; see `aiopt.library.backups.backup`."""
        from aiopt.library.backups import backup

        return backup(self.database, out)


def open_library(url: str | None = None, *, folder: Path | None = None) -> Library:
    """Return the library that is there; a server of one's own is started where it does not run.

    Parameters
    ----------
    url, folder : optional
        As of `Database`; by default what ``AIOPT_LIBRARY_URL`` names, else the folder in the state folder.

    Raises
    ------
    LibraryError
        If there is none, it is of another version, or the extra is not installed.
    LibraryDownError
        If its server cannot be reached.
    """
    database = Database(url, folder=folder)
    try:
        if not database.exists:
            raise LibraryError(f"There is no library in {database.place} yet. Make one: aiopt library init")
        with database.begin() as connection:
            schema.check_current(connection, database.place)
    except BaseException:
        database.close()
        raise
    return Library(database)


def init_library(url: str | None = None, *, folder: Path | None = None) -> tuple[Library, bool]:
    """Make the library, or bring an older one's tables up to this version; several at once do it once.

    Returns
    -------
    Library, bool
        And whether anything was to be done.

    Raises
    ------
    LibraryError
        If it is of a newer version: then nothing is touched.
    """
    database = Database(url, folder=folder)
    try:
        with database.begin() as connection:
            changed = schema.bring_to(connection, schema.newest())
    except BaseException:
        database.close()
        raise
    return Library(database), changed


def restore_library(file: Path, url: str | None = None, *, folder: Path | None = None) -> Library:
    """Return the library of a backup, read into an empty database.

    Raises
    ------
    DataError
        If the file is no whole backup, or of a newer version.
    LibraryError
        If the database is not empty: then nothing is touched.
    """
    from aiopt.library.backups import restore

    database = Database(url, folder=folder)
    try:
        restore(database, file)
    except BaseException:
        database.close()
        raise
    return Library(database)
