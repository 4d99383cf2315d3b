"""Keeps a PostgreSQL server running as long as somebody uses it, then stops it.

Knows the standard library alone.  A process of its own, started by `aiopt.library.server`: it starts the
server, then waits for an exclusive lock of `users.lock`.  Every user holds a shared one, which the kernel
lets go of when the user ends, killed or not.  So the last user's end, of whatever kind, is what stops the
server; nobody counts and nothing polls.

It holds `keeper.lock` while it works, with its process's number in it.  Where the server ends first, it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

USERS = "users.lock"
KEEPER = "keeper.lock"
LOG = "postgres.log"
DATA = "data"

_STOP_S = 60.0
_LOOKED_AT_S = 3.0


class _ServerEnded(Exception):
    """The server ended by itself; breaks off waiting for its users."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


def main(arguments: list[str]) -> int:
    """Go to the background and keep the server; the process that was started ends at once.

    Parameters
    ----------
    arguments : list of str
        Folder, then the command that starts the server.
    """
    if os.fork():
        return 0
    os.setsid()
    os._exit(keep(Path(arguments[0]), arguments[1:]))


def keep(folder: Path, command: list[str]) -> int:
    """Start the server unless it runs, wait until nobody uses it, and stop it.

    Returns
    -------
    int
        0: stopped; 1: another keeper is at work, or the server ended by itself.
    """
    handle = os.open(folder / KEEPER, os.O_RDWR | os.O_CREAT, 0o600)
    if not _locked(handle):
        os.close(handle)
        return 1
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    users = os.open(folder / USERS, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        pid = server_pid(folder) or _start(folder, command)
        fcntl.flock(users, fcntl.LOCK_EX)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        stop_server(folder, pid)
    except _ServerEnded as ended:
        _reap(ended.pid)
        return 1
    finally:
        # The lock of the users last: who waits for it must find no server, or a whole one.
        os.close(handle)
        os.close(users)
    return 0


def _locked(handle: int) -> bool:
    """Take the keeper's lock; who only looks whether it is taken holds it for a moment."""
    due = time.monotonic() + _LOOKED_AT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > due:
                return False
            time.sleep(0.003)
        else:
            return True


def server_pid(folder: Path) -> int | None:
    """Return the process of the server that runs on a folder's data; None where there is none."""
    try:
        pid = int((folder / DATA / "postmaster.pid").read_text().split("\n", 1)[0])
        # A killed server leaves its file, and its number may be another process's by now.
        at_home = os.readlink(f"/proc/{pid}/cwd") == str((folder / DATA).resolve())  # noqa: PTH115
    except (OSError, ValueError):
        return None
    return pid if at_home else None


def stop_server(folder: Path, pid: int) -> None:
    """End a server in order (SIGINT: PostgreSQL's fast shutdown) and wait until it has."""
    due = time.monotonic() + _STOP_S
    if server_pid(folder) == pid:
        os.kill(pid, signal.SIGINT)
    while server_pid(folder) == pid:
        if time.monotonic() > due:
            os.kill(pid, signal.SIGQUIT)
            due += _STOP_S
        time.sleep(0.02)
    _reap(pid)


def _start(folder: Path, command: list[str]) -> int:
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )

    def ended(*_: object) -> None:
        raise _ServerEnded(process.pid)

    signal.signal(signal.SIGCHLD, ended)
    if process.poll() is not None:
        raise _ServerEnded(process.pid)
    return process.pid


def _reap(pid: int) -> None:
    """Let go of the server's process where it was this one's child."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
