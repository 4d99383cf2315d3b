"""Where the library's database is, and connections to it.  Owns the choice of server; knows no table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from aiopt.errors import ConfigError
from aiopt.library.failures import check_installed, meaning, said
from aiopt.library.server import EmbeddedServer

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection, Engine

URL_VARIABLE = "AIOPT_LIBRARY_URL"
STATE_VARIABLE = "AIOPT_STATE_DIR"

_SCHEMES = ("postgresql", "postgres")
_TIMEOUT_S = 10


def library_folder() -> Path:
    """Return where a server of one's own lies: ``AIOPT_STATE_DIR/library``, else ``~/.aiopt/library``."""
    state = os.environ.get(STATE_VARIABLE)
    return (Path(state) if state else Path("~/.aiopt")).expanduser().absolute() / "library"


def without_password(url: str) -> str:
    """Return a URL as it may be printed."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return urlunsplit((parts.scheme, f"{user}@{host}" if user else host, parts.path, "", ""))


class Database:
    """The library's database; a context manager that lets go of it.

    Parameters
    ----------
    url : str, optional
        ``postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE``.  None: what `URL_VARIABLE` names, else the
        server of `folder`.
    folder : Path, optional
        Of a server of one's own; by default `library_folder`.

    Raises
    ------
    ConfigError
        If the URL is none of PostgreSQL's.
    LibraryError
        If the extra `library` is not installed.
    """

    def __init__(self, url: str | None = None, *, folder: Path | None = None) -> None:
        check_installed()
        if url is None and folder is None:
            url = os.environ.get(URL_VARIABLE) or None
        if url is not None and urlsplit(url).scheme not in _SCHEMES:
            shown = without_password(url) if "://" in url else url.partition(":")[0]
            form = "postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE"
            raise ConfigError(f"{URL_VARIABLE} must be {form}, but got {shown!r}. Mend it.")
        self._url = url
        self.server = EmbeddedServer(folder or library_folder()) if url is None else None
        self._engine: Engine | None = None

    def __repr__(self) -> str:
        return f"<Database {self.place}>"

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @property
    def place(self) -> str:
        """Where it is, for people: no password."""
        return str(self.server.folder) if self.server is not None else without_password(self._url or "")

    @property
    def exists(self) -> bool:
        """Whether there is a server to ask; one of one's own that was never made is not made to be asked."""
        return self.server is None or self.server.exists

    def connect(self) -> psycopg.Connection[Any]:
        """Return a new connection; a server of one's own is started where it does not run.

        Raises
        ------
        LibraryError, LibraryDownError, StorageError
            If it cannot be reached.
        """
        import psycopg

        try:
            if self._url is not None:
                return psycopg.connect(self._url, connect_timeout=_TIMEOUT_S)
            assert self.server is not None
            # Also where it was in use and is gone: then it was killed, and is started again.
            if not self.server.in_use or self.server.pid is None:
                self.server.start()
            return psycopg.connect(**self.server.connection(), connect_timeout=_TIMEOUT_S)
        except psycopg.Error as error:
            raise meaning(error, self.place) from error

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Run the block in a transaction; errors in words of the project, and then nothing of it is kept.

        Raises
        ------
        LibraryError, LibraryDownError, StorageError
            As `aiopt.library.failures.said`.
        """
        with said(self.place), self.engine.begin() as connection:
            yield connection

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine; a connection that broke is replaced before it is used."""
        import sqlalchemy

        if self._engine is None:
            self._engine = sqlalchemy.create_engine(
                "postgresql+psycopg://", creator=self.connect, pool_pre_ping=True, pool_size=2
            )
        return self._engine

    def client(self) -> tuple[list[str], dict[str, str]]:
        """Return arguments and environment by which PostgreSQL's own programs reach it.

        The password is in the environment: a command line is everybody's to read.
        """
        if self.server is not None:
            found = self.server.connection()
            names = {"PGHOST": found["host"], "PGUSER": found["user"]}
            return [f"--dbname={found['dbname']}"], {**os.environ, **names}
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        settings: dict[str, Any] = conninfo_to_dict(self._url or "")
        password = settings.pop("password", None)
        secret = {} if password is None else {"PGPASSWORD": str(password)}
        return [f"--dbname={make_conninfo('', **settings)}"], {**os.environ, **secret}

    def close(self) -> None:
        """Close every connection; a server of one's own is stopped with its last user."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()
        if self.server is not None:
            self.server.leave()
