"""The audit journal: what was asked of a session and what became of it, one line each, never lost or changed.

Owns the format, the recovery and the refusals.  Knows nothing of what the lines say.

A line is ``HASH NUMBER PAYLOAD``: JSON behind the line's number from 0 and a SHA-256, in hexadecimal, of
the hash before and all that follows.  So a line that is changed, left out or put elsewhere breaks the
chain.  Beside the file ``NAME.end`` says how many lines it was known to have and the hash of the last: a
file that was cut off is told from one whose last line was being written when its process died.  Such a line
counts for nothing and is overwritten.  Each line is on the disk (fsync) before `append` returns.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import msgspec

from aiopt.bus.failures import BusError
from aiopt.errors import DataError
from aiopt.files import atomic_path, file_lock, storage_error, write_whole

_START = "0" * 64
_REMEDY = "Nothing of it may be dropped in silence: restore it from a backup, or begin with a new folder."


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the file is known to have reached."""

    lines: int
    hash: str


class AuditJournal:
    """The file, held by one process at a time; a context manager.

    Parameters
    ----------
    path : Path
        The file; its folder is made.

    Raises
    ------
    BusError
        If another process holds it: two nodes with one id.
    DataError
        If a line is missing or changed.
    StorageError
        If the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._end_path = self.path.with_name(f"{self.path.name}.end")
        self._held = ExitStack()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self.path, error) or error from error
        busy = BusError(
            f"One process alone may keep {self.path}, but another does: a session with this id is running. "
            "Stop it, or give this one another id."
        )
        self._held.enter_context(file_lock(self.path.with_name(f"{self.path.name}.lock"), busy=busy))
        try:
            self._payloads, self._size, self._hash = read_chain(self.path)
        except BaseException:
            self._held.close()
            raise
        self._lines = len(self._payloads)

    def __enter__(self) -> AuditJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AuditJournal {self.path.name}, {self._lines} lines>"

    def __len__(self) -> int:
        return self._lines

    def close(self) -> None:
        """Let others have the file."""
        self._held.close()

    def taken_up(self) -> list[bytes]:
        """Return the payloads that lay there when it was opened, oldest first; once."""
        payloads, self._payloads = self._payloads, []
        return payloads

    def append(self, payload: bytes) -> None:
        """Add one line and have it on the disk.

        Raises
        ------
        StorageError
            If the disk is full or the folder not writable; the file is then as it was before.
        """
        content, self_hash = _line(self._hash, self._lines, payload)
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.ftruncate(handle, self._size)  # of a torn line
                write_whole(handle, content, self._size)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise storage_error(self.path, error) or error from error
        self._size += len(content)
        self._lines += 1
        self._hash = self_hash
        with atomic_path(self._end_path) as temporary, temporary.open("wb") as stream:
            stream.write(msgspec.json.encode(_End(self._lines, self._hash)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())


def read_chain(path: Path) -> tuple[list[bytes], int, str]:
    """Read an audit journal to its end and prove it whole.

    Parameters
    ----------
    path : Path
        The file; it need not exist.

    Returns
    -------
    tuple of list of bytes, int, str
        The payloads, the bytes they take, and the hash of the last line.

    Raises
    ------
    DataError
        If a line is missing or changed; it is named with its row.
    """
    end_path = path.with_name(f"{path.name}.end")
    try:
        end = msgspec.json.decode(end_path.read_bytes(), type=_End)
    except FileNotFoundError:
        end = _End(0, _START)
    except msgspec.MsgspecError as error:
        raise DataError(f"The file is damaged: {error}. {_REMEDY}", file=end_path) from error
    content = path.read_bytes() if path.exists() else b""
    payloads: list[bytes] = []
    size, before = 0, _START
    for row, line in enumerate(content.splitlines(keepends=True)):
        if not line.endswith(b"\n") and row >= end.lines:
            break  # torn: its process died before it counted
        found, _, rest = line.rstrip(b"\n").partition(b" ")
        number, _, payload = rest.partition(b" ")
        if number != str(row).encode() or found.decode("ascii", "replace") != _hash(before, rest):
            msg = f"The line was changed, or lines before it were removed or exchanged. {_REMEDY}"
            raise DataError(msg, file=path, row=row)
        before = found.decode()
        payloads.append(payload)
        size += len(line)
        if len(payloads) == end.lines and before != end.hash:
            msg = f"The line is not the one that {end_path.name} beside it names. {_REMEDY}"
            raise DataError(msg, file=path, row=row)
    if len(payloads) < end.lines:
        msg = f"The file was cut off: it has {len(payloads)} lines and had {end.lines}. {_REMEDY}"
        raise DataError(msg, file=path)
    return payloads, size, before


def _line(before: str, number: int, payload: bytes) -> tuple[bytes, str]:
    if b"\n" in payload:
        msg = f"A line of an audit journal must have no line feed, but got {payload[:80]!r}."
        raise DataError(msg + " Write it as JSON on one line.")
    rest = f"{number} ".encode() + payload
    found = _hash(before, rest)
    return found.encode() + b" " + rest + b"\n", found


def _hash(before: str, rest: bytes) -> str:
    return hashlib.sha256(before.encode() + b" " + rest).hexdigest()
