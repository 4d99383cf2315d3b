"""What can go wrong with the library.  Owns its errors, and what a database's errors mean for who uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiopt.errors import AioptError, StorageError

if TYPE_CHECKING:
    import psycopg

INSTALL = 'pip install "aiopt[library]"'


class LibraryError(AioptError):
    """The library cannot be used as it is."""


class LibraryDownError(LibraryError):
    """Its server cannot be reached at this moment."""


def check_installed() -> None:
    """Raise unless the extra `library` is installed.

    Raises
    ------
    LibraryError
        Names what is missing and the command that installs it.
    """
    try:
        import alembic  # noqa: F401
        import psycopg  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        msg = f"The library needs the package {error.name!r}, which is not installed. Run: {INSTALL}"
        raise LibraryError(msg) from error


@contextmanager
def said(place: str) -> Iterator[None]:
    """Run the block, and say in words what an error of the database means.

    Parameters
    ----------
    place : str
        Where the database is, without a password.

    Raises
    ------
    LibraryError, LibraryDownError, StorageError
        Instead of the errors of SQLAlchemy and psycopg.
    """
    import psycopg
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise meaning(error.orig, place) from error
        raise LibraryError(f"The database {place} refused: {error}.") from error
    except psycopg.Error as error:
        raise meaning(error, place) from error


def meaning(error: psycopg.Error, place: str) -> AioptError:
    """Return what an error of the database means for whoever uses the library."""
    import psycopg

    text = " ".join(str(error).split())[:300] or type(error).__name__
    state = error.sqlstate or ""
    if state in {"28P01", "28000"} or "authentication failed" in text or "no password supplied" in text:
        return LibraryError(
            f"The server {place} must accept user and password, but says: {text}. Mend AIOPT_LIBRARY_URL."
        )
    if state == "3D000" or ("database" in text and "does not exist" in text):
        return LibraryError(
            f"The database of {place} must exist, but does not ({text}). Create it, e.g. with createdb."
        )
    if state in {"53100", "58030"} or "No space left on device" in text:
        return StorageError(
            f"The disk of the database {place} is full ({text}). Free space, then run the command again. "
            "What was to be written was not written in part."
        )
    if state == "42501":
        return LibraryError(f"The user of {place} must be allowed to do this, but is not: {text}. Grant it.")
    if state == "25006":
        return LibraryError(f"The database {place} must be writable, but is not: {text}. Name the primary.")
    down = state[:2] in {"08", "57"} or state == "53300"
    if down or (not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)):
        return LibraryDownError(
            f"The server {place} cannot be reached: {text}. See whether it runs, then run the same command "
            "again: what was not finished was not written in part."
        )
    return LibraryError(f"The database {place} refused: {text}.")
