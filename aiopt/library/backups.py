"""Backups: the whole library in one file, as it was at one moment, and back into an empty database.

Owns the calls of PostgreSQL's own programs.  A backup is a snapshot: who writes meanwhile neither waits nor
is half in it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from aiopt.errors import DataError, StorageError
from aiopt.files import atomic_path
from aiopt.library import schema
from aiopt.library.database import Database
from aiopt.library.failures import LibraryDownError, LibraryError
from aiopt.library.server import binaries

_MAGIC = b"PGDMP"
_VERSIONS = "alembic_version"
_TABLES = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


def backup(database: Database, out: Path) -> int:
    """Write all of the library to a file; return its bytes.

    Parameters
    ----------
    database : Database
        With a library; others may write to it meanwhile.
    out : Path
        Replaced as a whole, or left as it was.

    Raises
    ------
    LibraryError, LibraryDownError, StorageError
        Nothing is left then.
    """
    with database.begin() as connection:
        schema.check_current(connection, database.place)
    with atomic_path(out) as temporary:
        _run(database, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={temporary}")
        return temporary.stat().st_size


def restore(database: Database, file: Path) -> None:
    """Read a backup into an empty database, all of it or nothing, and bring older tables up.

    Parameters
    ----------
    database : Database
        Without a table.
    file : Path
        From `backup`.

    Raises
    ------
    DataError
        If the file is no backup, is cut off, or is of a newer version.
    LibraryError
        If the database is not empty: nothing of it is touched.
    """
    found = version_in(file)
    try:
        schema.check_known(found)
    except LibraryError as error:
        raise DataError(str(error), file=file) from error
    with database.begin() as connection:
        tables = connection.exec_driver_sql(_TABLES).scalar_one()
    if tables:
        msg = f"A backup must be read into an empty database, but {database.place} has {tables} tables. "
        raise LibraryError(
            msg + "Nothing was touched. Name another with AIOPT_LIBRARY_URL or AIOPT_STATE_DIR."
        )
    # Not the extension's comment, which only its owner may set.
    _run(
        database,
        "pg_restore",
        *("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments"),
        str(file),
    )
    with database.begin() as connection:
        schema.bring_to(connection, schema.newest())


def version_in(file: Path) -> str:
    """Return the version of the tables in a backup.

    Raises
    ------
    DataError
        If it is none, or is cut off.
    """
    if not file.is_file():
        raise DataError("there is no such file. Check the path.", file=file)
    with file.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise DataError("it must be a file that `aiopt library backup` wrote, but is not.", file=file)
    program = str(binaries() / "pg_restore")
    done = subprocess.run(
        [program, "--data-only", f"--table={_VERSIONS}", "--file=-", str(file)],
        capture_output=True,
        check=False,
    )
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith("COPY ") and _VERSIONS in line]
    if done.returncode or not starts:
        words = done.stderr.decode("utf-8", "replace").strip()[-300:]
        msg = f"the backup is damaged or cut off: {words or 'it names no version'}. Take another."
        raise DataError(msg, file=file)
    return lines[starts[0] + 1].strip()


def _run(database: Database, program: str, *arguments: str) -> None:
    place, environment = database.client()
    done = subprocess.run(
        [str(binaries() / program), *arguments, *place],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode == 0:
        return
    words = " ".join(done.stderr.decode("utf-8", "replace").split())[-400:]
    if "No space left on device" in words:
        raise StorageError(f"The disk is full ({words}). Free space, then run the same command again.")
    if "connection to server" in words:
        raise LibraryDownError(
            f"The server {database.place} cannot be reached: {words}. See whether it runs."
        )
    raise LibraryError(f"{program} must succeed on {database.place}, but says: {words}.")
