"""The leaderboard's journal: one checksummed JSON line per trial, only ever appended to.

Owns the file format and its recovery.  Knows nothing of scores.

The first line names the walk-forward plan the rows belong to; every further line is a row.  A line counts
once its newline is written.  A process that dies while writing leaves a last line without newline: it is cut
off when the journal is opened again, and the trial runs again.  Any other damage is an error, because lines
are never changed.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TypeVar

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import DataError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.files import storage_error
from aiopt.ranking.trials import TrialRow

T = TypeVar("T")

FORMAT = 1


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    plan: WalkForwardPlan


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    crc32: str
    data: msgspec.Raw


class Journal:
    """An open journal.

    Parameters
    ----------
    path : Path
        File to append to; created with its folder if absent.
    plan : WalkForwardPlan
        What the rows are measured by.

    Raises
    ------
    DataError
        If a line other than a torn last one is damaged, or the file belongs to another plan.
    StorageError
        If the disk is full or the folder not writable.
    """

    def __init__(self, path: Path, plan: WalkForwardPlan) -> None:
        self._path = Path(path)
        self._size = 0
        self._rows: list[TrialRow] = []
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._recover(plan)
        except OSError as error:
            raise self._translated(error) from error

    @property
    def recovered(self) -> list[TrialRow]:
        """Rows that were in the file when it was opened, in file order."""
        return self._rows

    def append(self, row: TrialRow) -> None:
        """Write one row; when this returns, the row is in the file.

        Raises
        ------
        StorageError
            If the disk is full; the file is then as it was before.
        """
        self._write(_line(canonical_json(row)))

    def close(self) -> None:
        """Close the file.  The journal cannot be used afterwards."""
        os.close(self._file)

    def _recover(self, plan: WalkForwardPlan) -> None:
        data = self._path.read_bytes()
        # What follows the last newline was torn by a crash.
        self._size = data.rfind(b"\n") + 1
        if self._size < len(data):
            os.ftruncate(self._file, self._size)
        lines = data[: self._size].splitlines()
        if not lines:
            self._write(_line(canonical_json(_Header(FORMAT, plan))))
            return
        header = self._decode(lines[0], 1, _Header)
        if header.format != FORMAT:
            msg = f"the journal must have format {FORMAT}, but has {header.format}. Delete the run folder."
            raise DataError(msg, file=self._path)
        if header.plan != plan:
            msg = (
                "the journal must belong to this walk-forward plan, but its segments are others. "
                "Use another run folder, or repeat the run with the configuration and data it began with."
            )
            raise DataError(msg, file=self._path)
        self._rows = [self._decode(line, i, TrialRow) for i, line in enumerate(lines[1:], start=2)]

    def _decode(self, line: bytes, number: int, type_: type[T]) -> T:
        try:
            outer = msgspec.json.decode(line, type=_Line)
            payload = bytes(outer.data)
            if outer.crc32 != _checksum(payload):
                raise ValueError("its checksum does not match")
            return msgspec.json.decode(payload, type=type_)
        except ValueError as error:
            msg = (
                f"line {number} must be as it was written, but {error}. The file was changed or the disk is "
                "faulty: restore it, or delete the run folder and run again."
            )
            raise DataError(msg, file=self._path) from error

    def _write(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line)
            if written < len(line):
                os.write(self._file, line[written:])
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise self._translated(error) from error
        self._size += len(line)

    def _translated(self, error: OSError) -> Exception:
        return storage_error(self._path, error) or error


def _line(payload: bytes) -> bytes:
    return b'{"crc32":"' + _checksum(payload).encode() + b'","data":' + payload + b"}\n"


def _checksum(payload: bytes) -> str:
    return f"{zlib.crc32(payload):08x}"
