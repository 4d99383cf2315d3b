"""The leaderboard's journal: one checksummed line per trial, only ever appended to.

Owns the file format and its recovery.  Knows nothing of scores.

The first line is JSON: the format and the walk-forward plan the rows belong to, with the CRC-32 of both.
Every further line is a row: its CRC-32 in eight hexadecimal digits, a space, and the packed row
(`aiopt.ranking.packing`) with line feeds and escapes escaped, so that a line feed ends a line and nothing
else does.  A line counts once its line feed is written.  A process that dies while writing leaves a last line
without one: it is cut off when the journal is opened again, and the trial runs again.  Any other damage is an
error, because lines are never changed.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import DataError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.files import storage_error
from aiopt.ranking.packing import unpack_head, unpack_row, unpack_whole
from aiopt.ranking.threads import in_order
from aiopt.ranking.trials import TrialRow

FORMAT = 2
"""1 held rows as JSON, of trials that failed as a whole where margin ran out anywhere."""

_DAMAGED = "The file was changed or the disk is faulty: restore it, or delete the run folder and run again."

_ESCAPE = b"\x1b"


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    plan: WalkForwardPlan


class _AnyHeader(msgspec.Struct, frozen=True):
    """What the headers of all formats have."""

    format: int


class JournalHead(msgspec.Struct, frozen=True):
    """What is known of a trial without its profits; fields as in `TrialRow`."""

    trial_id: str
    group: str
    error: str


class _HeaderLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    crc32: str
    data: msgspec.Raw


class Place(NamedTuple):
    """Where a line lies in the file."""

    start: int
    length: int


Take = Callable[[TrialRow, bytes, Place], None]
T = TypeVar("T")


class Journal:
    """An open journal.

    Parameters
    ----------
    path : Path
        File to append to; created with its folder if absent.
    plan : WalkForwardPlan
        What the rows are measured by.
    take : callable, optional
        Called with every row that is in the file already, its profits as arrays, with the row packed and with
        its place; in the order of the file.
    progress : callable, optional
        Called with the bytes read of those that are in the file, and their number.

    Raises
    ------
    DataError
        If a line other than a torn last one is damaged, or the file belongs to another plan or has another
        format.
    StorageError
        If the disk is full or the folder not writable.
    """

    def __init__(
        self,
        path: Path,
        plan: WalkForwardPlan,
        take: Take = lambda row, packed, place: None,
        progress: Callable[[float, float], None] = lambda done, total: None,
    ) -> None:
        self._path = Path(path)
        self._progress = progress
        self._size = 0
        self._take = take
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._recover(plan)
        except OSError as error:
            raise self._translated(error) from error

    def append(self, packed: Sequence[bytes]) -> list[Place]:
        """Write packed rows and return their places; when this returns, they are in the file.

        Raises
        ------
        StorageError
            If the disk is full; the file is then as it was before.
        """
        lines = [_line(one) for one in packed]
        starts = itertools.accumulate((len(line) for line in lines), initial=self._size)
        self._write(b"".join(lines))
        return [Place(start, len(line)) for start, line in zip(starts, lines, strict=False)]

    def read(self, place: Place) -> bytes:
        """Return the packed row at a place.

        Raises
        ------
        DataError
            If the file was changed since.
        """
        line = os.pread(self._file, place.length, place.start)
        try:
            return _packed_of(line)
        except ValueError as error:
            msg = f"the line at byte {place.start} is damaged: {error}. {_DAMAGED}"
            raise DataError(msg, file=self._path) from error

    def close(self) -> None:
        """Close the file.  The journal cannot be used afterwards."""
        os.close(self._file)

    def _recover(self, plan: WalkForwardPlan) -> None:
        """Read the file line by line: it is far larger than the rows it becomes."""
        total = self._path.stat().st_size
        with self._path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    break  # torn by a crash
                if number == 1:
                    self._check_header(line, plan)
                else:
                    packed, row = self._read(line, number, _proved_row)
                    if self._take is not None:
                        self._take(row, packed, Place(self._size, len(line)))
                self._size += len(line)
                self._progress(self._size, total)
        if self._size < self._path.stat().st_size:
            os.ftruncate(self._file, self._size)
        if self._size == 0:
            self._write(_header_line(plan))

    def _check_header(self, line: bytes, plan: WalkForwardPlan) -> None:
        data = self._read(line, 1, _header_data)
        found = msgspec.json.decode(data, type=_AnyHeader).format
        if found != FORMAT:
            msg = (
                f"another version of aiopt began this run (journal format {found}, here {FORMAT}), and its "
                f"trials cannot be mixed with new ones. Finish it with that version, or start over: "
                f"--force, or another run folder."
            )
            raise DataError(msg, file=self._path)
        if msgspec.json.decode(data, type=_Header).plan != plan:
            msg = (
                "this run began with other walk-forward segments. Repeat it with the configuration and "
                "data it began with, or use another run folder."
            )
            raise DataError(msg, file=self._path)

    def _read(self, line: bytes, number: int, decode: Callable[[bytes], T]) -> T:
        try:
            return decode(line)
        except ValueError as error:
            msg = f"line {number} is damaged: {error}. {_DAMAGED}"
            raise DataError(msg, file=self._path) from error

    def _write(self, lines: bytes) -> None:
        try:
            written = os.write(self._file, lines)
            if written < len(lines):
                os.write(self._file, lines[written:])
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise self._translated(error) from error
        self._size += len(lines)

    def _translated(self, error: OSError) -> Exception:
        return storage_error(self._path, error) or error


def read_journal(path: Path) -> tuple[WalkForwardPlan, Iterator[TrialRow]]:
    """Return a journal's plan and its rows, in the order in which the trials finished.

    Errors as of `read_journal_plan`; while the rows are taken, also if one of them is damaged.
    """
    return read_journal_plan(path), _rows(path)


def read_journal_plan(path: Path) -> WalkForwardPlan:
    """Return what the rows of a journal are measured by.

    Changes nothing, so it may be called while a run writes: a last line without its end is passed over.

    Raises
    ------
    DataError
        If the file is missing, or its first line is damaged or of another format.
    """
    try:
        with path.open("rb") as stream:
            first = stream.readline()
    except OSError as error:
        msg = f"cannot read the journal: {error.strerror}. Check the path and its permissions."
        raise DataError(msg, file=path) from error
    if not first.endswith(b"\n"):
        msg = "the journal holds no trial: the run was interrupted before the first. Run the command again."
        raise DataError(msg, file=path)
    try:
        data = _header_data(first)
        found = msgspec.json.decode(data, type=_AnyHeader).format
        if found != FORMAT:
            msg = (
                "this is the journal of an unfinished run that another version of aiopt began: it has format "
                f"{found}, and this version reads {FORMAT}. Finish the run with that version (state.json "
                "names it), or start it anew: the same command with --force."
            )
            raise DataError(msg, file=path)
        return msgspec.json.decode(data, type=_Header).plan
    except ValueError as error:
        raise DataError(f"line 1 is damaged: {error}. {_DAMAGED}", file=path) from error


def read_heads(path: Path) -> Iterator[JournalHead]:
    """Yield what is known of each trial without its profits; as `read_journal`, its errors too."""
    read_journal_plan(path)
    for _, head in _heads(path):
        yield head


def _heads(path: Path) -> Iterator[tuple[Place, JournalHead]]:
    at = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number > 1 and line.endswith(b"\n"):
                try:
                    yield Place(at, len(line)), unpack_head(_packed_of(line), JournalHead)
                except ValueError as error:
                    msg = f"line {number} is damaged: {error}. {_DAMAGED}"
                    raise DataError(msg, file=path) from error
            at += len(line)


class JournalIndex:
    """A finished journal, its rows found by trial id.

    Parameters
    ----------
    path : Path
        Read once; it must not grow meanwhile.
    progress : callable, optional
        Called with the rows found.

    Raises
    ------
    DataError
        As `read_journal`, of every line.
    """

    def __init__(self, path: Path, progress: Callable[[int], None] = lambda done: None) -> None:
        self._path = path
        self._places: dict[str, Place] = {}
        read_journal_plan(path)
        for place, head in _heads(path):
            self._places[head.trial_id] = place
            progress(len(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def rows(self) -> Iterator[TrialRow]:
        """Yield all rows by trial id, as `row` returns them; a few are in memory at a time."""
        return in_order(self._at, [self._places[trial_id] for trial_id in sorted(self._places)])

    def row(self, trial_id: str) -> TrialRow | None:
        """Return a row with its profits as arrays, or None where there is no such trial."""
        place = self._places.get(trial_id)
        return None if place is None else self._at(place)

    def _at(self, place: Place) -> TrialRow:
        with self._path.open("rb") as stream:
            stream.seek(place.start)
            return unpack_whole(_packed_of(stream.read(place.length)))


def _rows(path: Path) -> Iterator[TrialRow]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 or not line.endswith(b"\n"):
                continue
            try:
                row = unpack_row(_packed_of(line))
            except ValueError as error:
                msg = f"line {number} is damaged: {error}. {_DAMAGED}"
                raise DataError(msg, file=path) from error
            yield row


def _header_line(plan: WalkForwardPlan) -> bytes:
    payload = canonical_json(_Header(FORMAT, plan))
    return b'{"crc32":"' + _checksum(payload).encode() + b'","data":' + payload + b"}\n"


def _header_data(line: bytes) -> bytes:
    """Return the data of the first line, whatever its format."""
    outer = msgspec.json.decode(line, type=_HeaderLine)
    data = bytes(outer.data)
    if outer.crc32 != _checksum(data):
        raise ValueError("its checksum does not match")
    msgspec.json.decode(data, type=_AnyHeader)
    return data


def _line(packed: bytes) -> bytes:
    escaped = packed.replace(_ESCAPE, _ESCAPE + b"e").replace(b"\n", _ESCAPE + b"n")
    return _checksum(packed).encode() + b" " + escaped + b"\n"


def _proved_row(line: bytes) -> tuple[bytes, TrialRow]:
    """Return the packed row of a line, proved to be one by what it holds."""
    packed = _packed_of(line)
    return packed, unpack_whole(packed)


def _packed_of(line: bytes) -> bytes:
    """Return the packed row of a line whose checksum matches."""
    packed = line[9:-1].replace(_ESCAPE + b"n", b"\n").replace(_ESCAPE + b"e", _ESCAPE)
    if line[:9] != _checksum(packed).encode() + b" ":
        raise ValueError("its checksum does not match")
    return packed


def _checksum(payload: bytes) -> str:
    return f"{zlib.crc32(payload):08x}"
