"""A file of checksummed lines, appended to by several processes, that never loses a line unseen.

Owns the format, the recovery and the refusals.  Knows nothing of what the lines say.

A line is ``CRC NUMBER CRC-BEFORE PAYLOAD``: the CRC-32, in eight hexadecimal digits, of all that follows it,
the line's number from 0, the CRC-32 of the line before, and JSON.  So a line that is changed, left out or put
elsewhere breaks the chain.  Line 0 holds the format.  Beside it ``trials.end`` says how long the file was
when it was last appended to, so that a file that was cut off is told from one whose last line was being
written when its process died: such a line lies beyond that end and has no line feed.  It counts for nothing
and is overwritten.

The folder is locked while the file is read or written; the lock ends with the process.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from aiopt.errors import DataError, StorageError
from aiopt.files import atomic_path, file_lock, storage_error, write_whole

FORMAT = 1

NAME = "trials.ledger"
END_NAME = "trials.end"

_NO_CRC = "00000000"

_REMEDY = (
    "No trial may be dropped in silence, so nothing is counted until it is whole again: restore "
    f"{NAME} and {END_NAME} from a backup. Without one move the folder away; counting then begins at none, "
    "and what was tried before is no longer known."
)

Progress = Callable[[float, float], None]


class _Header(msgspec.Struct, frozen=True):
    format: int


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the file is known to have reached: bytes, lines, checksum of the last line."""

    bytes: int
    lines: int
    crc32: str


class ChainedFile:
    """The file in a folder, read as far as it was asked to.

    Parameters
    ----------
    folder : Path
        Holds the two files and nothing else; made when the first line is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        self._forget()

    def read(self, progress: Progress | None = None) -> tuple[bool, list[bytes]]:
        """Return the payloads that were added since the last call, and whether they are all there is.

        After an error the next call begins at the first line again.

        Raises
        ------
        DataError
            If the file is damaged, cut off, gone, or of a newer version.
        StorageError
            If the folder cannot be locked or read.
        """
        if not self.folder.exists():
            self._forget()
            return True, []
        if not self.folder.is_dir():
            msg = f"The ledger of all trials must be in a folder, but {self.folder} is a file. "
            raise StorageError(msg + "Set AIOPT_LEDGER_DIR to the folder it is in.")
        with file_lock(self.folder, exclusive=False):
            return self._read(progress)

    @contextmanager
    def appending(self) -> Iterator[Callable[[Sequence[bytes]], None]]:
        """Lock the file while the block runs, and yield what appends payloads; `read_locked` is for inside.

        Raises
        ------
        StorageError
            If the disk is full or the folder not writable; the file is then as it was before.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            reason = "" if os.access(self.folder, os.W_OK | os.X_OK) else "it is not writable"
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            msg = (
                f"The ledger of all trials cannot be kept in {self.folder}: {reason}. Set "
                "AIOPT_LEDGER_DIR to a folder that can be written, always the same."
            )
            raise StorageError(msg)
        with file_lock(self.folder):
            yield self._append

    def read_locked(self) -> tuple[bool, list[bytes]]:
        """As `read`, inside `appending`."""
        return self._read(None)

    def _forget(self) -> None:
        self._size = 0
        self._lines = 0
        self._crc = _NO_CRC
        self._inode = -1

    def _read(self, progress: Progress | None) -> tuple[bool, list[bytes]]:
        try:
            return self._added(progress)
        except BaseException:
            self._forget()
            raise

    def _added(self, progress: Progress | None) -> tuple[bool, list[bytes]]:
        end = self._end()
        try:
            with self.path.open("rb") as stream:
                known = os.fstat(stream.fileno())
                if known.st_ino != self._inode or known.st_size < self._size:
                    self._forget()
                anew = self._lines == 0
                if known.st_size < end.bytes:
                    msg = f"it was cut off: it has {known.st_size:,} bytes and had {end.bytes:,}. {_REMEDY}"
                    raise DataError(msg, file=self.path)
                self._inode = known.st_ino
                stream.seek(self._size)
                return anew, self._lines_of(stream.readline, known.st_size, end, progress)
        except FileNotFoundError:
            if end.lines:
                msg = f"it is gone, and {END_NAME} beside it says that it had {end.lines:,} lines. {_REMEDY}"
                raise DataError(msg, file=self.path) from None
            self._forget()
            return True, []
        except OSError as error:
            raise storage_error(self.path, error) or error from error

    def _lines_of(
        self, next_line: Callable[[], bytes], size: int, end: _End, progress: Progress | None
    ) -> list[bytes]:
        found = []
        while line := next_line():
            if not line.endswith(b"\n"):
                if self._size < end.bytes:
                    raise self._damaged("it was cut off")
                break  # torn: its process died before it counted
            payload = self._payload(line)
            if self._lines == 0:
                self._check_format(payload)
            else:
                found.append(payload)
            self._size += len(line)
            self._lines += 1
            self._crc = line[:8].decode()
            if self._size == end.bytes and (self._lines, self._crc) != (end.lines, end.crc32):
                raise self._damaged(f"the file is not the one that {END_NAME} beside it belongs to", back=1)
            if progress is not None:
                progress(self._size, size)
        return found

    def _payload(self, line: bytes) -> bytes:
        """Return what a line holds, proved to be whole and the next of the chain."""
        crc, _, rest = line[:-1].partition(b" ")
        if crc != _checksum(rest).encode():
            raise self._damaged("its checksum does not match")
        number, before, payload = rest.split(b" ", 2)
        if number != str(self._lines).encode() or before != self._crc.encode():
            raise self._damaged("it does not follow the line before: lines were removed or exchanged")
        return payload

    def _check_format(self, payload: bytes) -> None:
        found = msgspec.json.decode(payload, type=_Header).format
        if found != FORMAT:
            msg = (
                f"another version of aiopt keeps this ledger (format {found}, this version knows {FORMAT}). "
                "Use that version: without its trials this one would take luck for skill."
            )
            raise DataError(msg, file=self.path)

    def _damaged(self, what: str, *, back: int = 0) -> DataError:
        return DataError(f"line {self._lines + 1 - back} is damaged: {what}. {_REMEDY}", file=self.path)

    def _end(self) -> _End:
        path = self.folder / END_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=_End)
        except FileNotFoundError:
            return _End(0, 0, _NO_CRC)
        except msgspec.MsgspecError as error:
            raise DataError(f"it is damaged: {error}. {_REMEDY}", file=path) from error
        except OSError as error:
            raise storage_error(path, error) or error from error

    def _append(self, payloads: Sequence[bytes]) -> None:
        """Write payloads behind what was read; `read_locked` has read all there is."""
        lines, crc = [], self._crc
        for number, payload in enumerate(self._with_header(payloads), start=self._lines):
            rest = f"{number} {crc} ".encode() + payload
            crc = _checksum(rest)
            lines.append(crc.encode() + b" " + rest + b"\n")
        content = b"".join(lines)
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.ftruncate(handle, self._size)  # of a torn line
                write_whole(handle, content, self._size)
                os.fsync(handle)
                self._inode = os.fstat(handle).st_ino
            finally:
                os.close(handle)
        except OSError as error:
            raise storage_error(self.path, error) or error from error
        self._size += len(content)
        self._lines += len(lines)
        self._crc = crc
        with atomic_path(self.folder / END_NAME) as temporary, temporary.open("wb") as stream:
            stream.write(msgspec.json.encode(_End(self._size, self._lines, self._crc)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _with_header(self, payloads: Sequence[bytes]) -> list[bytes]:
        header = [] if self._lines else [msgspec.json.encode(_Header(FORMAT))]
        return [*header, *payloads]


def _checksum(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"
