"""Versions of the tables: which a database has, how it gets to another.  Owns the running of Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopt.library.failures import LibraryError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

_LOCK = 0x61696F7074
"""PostgreSQL's advisory lock under which tables are made: two that begin at once take turns."""


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    folder = Path(__file__).parent / "migrations"
    return ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])


def newest() -> str:
    """Return the version this code works with."""
    found = _scripts().get_current_head()
    assert found is not None
    return found


def versions() -> list[str]:
    """Return every version this code knows, the oldest first."""
    return [script.revision for script in _scripts().walk_revisions()][::-1]


def version_of(connection: Connection) -> str | None:
    """Return the version of a database's tables; None where it has none."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def bring_to(connection: Connection, wanted: str | None) -> bool:
    """Bring the tables to a version, up or down, inside the connection's transaction.

    Parameters
    ----------
    connection : Connection
        In a transaction; where it fails, nothing has changed.
    wanted : str or None
        One of `versions`; None: no table at all.

    Returns
    -------
    bool
        Whether anything was to be done.

    Raises
    ------
    LibraryError
        If the database is of a newer version: it is left as it is.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import text

    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    scripts, found = _scripts(), version_of(connection)
    check_known(found)
    if found == wanted:
        return False
    known = versions()
    up = wanted is not None and (found is None or known.index(wanted) > known.index(found))

    def steps(revision: Any, context: Any) -> Any:
        del context
        if up:
            return scripts._upgrade_revs(wanted or "head", revision)
        return scripts._downgrade_revs(wanted or "base", revision)

    context = MigrationContext.configure(connection, opts={"fn": steps, "script": scripts})
    with Operations.context(context):
        context.run_migrations()
    return True


def check_known(found: str | None) -> None:
    """Refuse a database whose tables are of a newer version.

    Raises
    ------
    LibraryError
        Names both versions.
    """
    if found is not None and found not in versions():
        msg = f"The library has tables of version {found}, and this version of aiopt knows up to {newest()}. "
        raise LibraryError(msg + "Nothing was touched. Use the newer aiopt that made it.")


def check_current(connection: Connection, place: str) -> None:
    """Refuse a database whose tables are not of this version.

    Raises
    ------
    LibraryError
        Says what to do: make them, bring them up, or use a newer aiopt.
    """
    found = version_of(connection)
    if found is None:
        raise LibraryError(f"There is no library in {place} yet. Make one: aiopt library init")
    check_known(found)
    if found != newest():
        msg = f"The library in {place} has tables of version {found}, but {newest()} is needed. "
        raise LibraryError(msg + "Make a backup, then bring it up: aiopt library init")
