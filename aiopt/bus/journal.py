"""The journal of events: Parquet files by day, and a log in front of them that loses nothing.

Owns the files, their recovery and the order of reading.  Knows nothing of where events come from.

::

    FOLDER/log/000007.log              what came last, one event a line, on the disk before it is acknowledged
    FOLDER/2026-11-30/000006.parquet   log 6, as far as it is of this day (of the market, UTC)

A log that is long enough, or closed, becomes parts; each part takes its place at once and has the log's
number, so a process that dies in between writes the same parts again and nothing is there twice.  A part is
never changed.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.bus.codec import decode_event, encode_event
from aiopt.bus.events import EVENTS, Event
from aiopt.bus.failures import BusError, BusMessageError
from aiopt.bus.reader import EventReader
from aiopt.bus.repeats import Repeats
from aiopt.errors import ConfigError, DataError, did_you_mean
from aiopt.files import MIB, atomic_path, file_lock, remove_stale, storage_error
from aiopt.utc import day_number, day_text

_DAY_NS = 86_400_000_000_000

_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("ts_ns", pa.int64(), nullable=False),
        pa.field("wall_ns", pa.int64(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
    ],
    metadata={"format": "1"},
)


class JournalWriter:
    """Adds events to a journal; a context manager, one at a time for a folder.

    Parameters
    ----------
    folder : Path
        Made; what a process that died left in it is brought in order.
    part_bytes : int
        How long a log may become before it is written as parts.

    Raises
    ------
    BusError
        If another process writes to it.
    DataError
        If a log is damaged elsewhere than at its end.
    StorageError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, *, part_bytes: int = 16 * MIB) -> None:
        if part_bytes < 1:
            raise ConfigError(f"`part_bytes >= 1` must hold, but got {part_bytes}. Choose e.g. 16777216.")
        self.folder = Path(folder)
        self._part_bytes = part_bytes
        self._held = ExitStack()
        self._handle = -1
        self._size = 0
        self._rows: list[Event] = []
        self._repeats = Repeats()
        logs = self.folder / "log"
        try:
            logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(logs, error) or error from error
        busy = BusError(f"One process alone may write the journal {self.folder}, but another does. Stop it.")
        self._held.enter_context(file_lock(self.folder / "journal.lock", busy=busy))
        try:
            self._number = self._recover()
        except BaseException:
            self._held.close()
            raise

    def __repr__(self) -> str:
        return f"<JournalWriter {self.folder.name}, log {self._number} with {len(self._rows)} events>"

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def append(self, events: Sequence[Event]) -> int:
        """Add events and have them on the disk; return how many were not there already.

        Raises
        ------
        StorageError
            If the disk is full; then none of them was added.
        """
        new = [event for event in events if not self._repeats.seen(event.session, event.id)]
        if not new:
            return 0
        content = b"".join(_line(encode_event(event)) for event in new)
        try:
            self._write(content)
        except BaseException:
            for event in new:
                self._repeats.forget(event.session, event.id)
            raise
        self._rows += new
        if self._size >= self._part_bytes:
            self.seal()
        return len(new)

    def _write(self, content: bytes) -> None:
        path = _log_path(self.folder, self._number)
        try:
            if self._handle < 0:
                self._handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            done = 0
            try:
                while done < len(content):
                    done += os.pwrite(self._handle, content[done:], self._size + done)
                os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, self._size)
                raise
        except OSError as error:
            raise storage_error(path, error) or error from error
        self._size += len(content)

    def seal(self) -> None:
        """Write the log as parts and begin a new one.

        Raises
        ------
        StorageError
            If the disk is full; the log is then still there.
        """
        if not self._rows:
            return
        _write_parts(self.folder, self._number, self._rows)
        self._close_log()
        _log_path(self.folder, self._number).unlink()
        self._rows, self._size = [], 0
        self._number += 1

    def close(self) -> None:
        """Write what is left as parts, and let others have the folder."""
        try:
            self.seal()
        finally:
            self._close_log()
            self._held.close()

    def _close_log(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _recover(self) -> int:
        """Bring in order what a process that died left; return the number of the next log."""
        for folder in _day_folders(self.folder):
            remove_stale(folder)
        parts = _parts(self.folder)
        last = max([0, *(number for numbers in parts.values() for number in numbers)])
        for numbers in parts.values():
            if last in numbers:
                table = pq.read_table(numbers[last], columns=["session", "id"])
                for session, one in zip(*(column.to_pylist() for column in table.columns), strict=True):
                    self._repeats.seen(session, one)
        for number, path in _logs(self.folder):
            events = list(_events_of_log(path))
            for event in events:
                self._repeats.seen(event.session, event.id)
            if events:
                _write_parts(self.folder, number, events)
            path.unlink()
            last = max(last, number)
        return last + 1


async def record(reader: EventReader, writer: JournalWriter) -> None:
    """Write what a reader reads until cancelled: each batch is on the disk before it is acknowledged.

    Parameters
    ----------
    reader : EventReader
        Alone in its group, so that its order is the publisher's.
    writer : JournalWriter
        Open.
    """
    while True:
        received = await reader.read()
        events = [one.event for one in received if one.event is not None]
        # On a thread: a disk may take its time.
        writing = asyncio.ensure_future(asyncio.to_thread(writer.append, events))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The writer is closed next: not while it writes.
            await writing
            raise
        await reader.ack(received)


def read_journal(
    folder: Path,
    *,
    kinds: Sequence[str] = (),
    sessions: Sequence[str] = (),
    start_ns: int = 0,
    stop_ns: int = (1 << 63) - 1,
) -> Iterator[Event]:
    """Yield the events of a journal by day, and within a day as they came, each once; also while it grows.

    Parameters
    ----------
    folder : Path
        Of the journal.
    kinds, sessions : sequence of str
        Only these; all where there are none.
    start_ns, stop_ns : int
        Of the market, nanoseconds since 1970: ``start_ns <= ts_ns < stop_ns``.

    Raises
    ------
    ConfigError
        If a kind is unknown.
    DataError
        If the folder is no journal or a file of it is damaged.
    """
    folder = Path(folder)
    for kind in kinds:
        if kind not in EVENTS:
            raise ConfigError(f"There is no event {kind!r}.{did_you_mean(kind, EVENTS)}")
    _check_is_journal(folder)
    # Logs first: what becomes parts in between is left out by its number.
    logs = [(number, _log_rows(path)) for number, path in _logs(folder)]
    parts = _parts(folder)
    repeats = Repeats(window=1_000_000)
    days = set(parts) | {_day(event) for _, events in logs for event in events}
    for day in sorted(days):
        numbered = parts.get(day, {})
        rest = [event for n, events in logs if n not in numbered for event in events if _day(event) == day]
        for event in (*_events_of_parts(numbered, start_ns, stop_ns), *rest):
            wanted = start_ns <= event.ts_ns < stop_ns and (not kinds or event.kind in kinds)
            wanted = wanted and (not sessions or event.session in sessions)
            if wanted and not repeats.seen(event.session, event.id):
                yield event


def journal_files(folder: Path) -> list[Path]:
    """Return the files of a journal: its parts by day, then what is still in its log.

    Raises
    ------
    DataError
        If the folder is no journal.
    """
    folder = Path(folder)
    _check_is_journal(folder)
    parts = [numbers[number] for _, numbers in sorted(_parts(folder).items()) for number in sorted(numbers)]
    return [*parts, *(path for _, path in _logs(folder))]


def read_journal_file(path: Path) -> Iterator[Event]:
    """Yield the events of one file of a journal as they came; some may be in another file too.

    Raises
    ------
    DataError
        If it is damaged.
    """
    if path.suffix == ".log":
        yield from _log_rows(path)
    else:
        yield from _events_of_parts({0: path}, 0, (1 << 63) - 1)


async def replay(
    folder: Path, *, speed: float | None = None, kinds: Sequence[str] = (), sessions: Sequence[str] = ()
) -> AsyncIterator[Event]:
    """Yield a journal's events as a reader of the bus would get them: at the pace of the market, or at once.

    Parameters
    ----------
    folder : Path
        Of the journal.
    speed : float, optional
        1: as it was; 60: an hour in a minute; None: as fast as they are taken.  Pauses of more than an hour
        of the market (nights, weekends) are left out.
    kinds, sessions : sequence of str
        As in `read_journal`.

    Raises
    ------
    ConfigError
        If `speed` is not above 0.
    DataError
        As in `read_journal`.
    """
    if speed is not None and not speed > 0:
        raise ConfigError(f"`speed > 0` must hold, but got speed={speed}. Leave it out for no pauses.")
    before: int | None = None
    for event in read_journal(folder, kinds=kinds, sessions=sessions):
        if speed is not None and before is not None:
            step_s = (event.ts_ns - before) / 1e9
            if 0 < step_s < 3600:
                await asyncio.sleep(step_s / speed)
        before = event.ts_ns
        yield event


def _check_is_journal(folder: Path) -> None:
    if not (folder / "log").is_dir():
        raise DataError("The folder must be a journal, but has no `log` in it. Check the path.", file=folder)


def _write_parts(folder: Path, number: int, events: Sequence[Event]) -> None:
    days: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        days[_day(event)].append(event)
    for day, rows in days.items():
        columns = {name: [getattr(event, name) for event in rows] for name in _SCHEMA.names[:-1]}
        documents = [encode_event(event).decode() for event in rows]
        table = pa.table({**columns, "document": documents}, schema=_SCHEMA)
        with atomic_path(folder / day_text(day) / f"{number:06d}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        _fsync_folder(folder / day_text(day))
    _fsync_folder(folder)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _events_of_parts(numbered: dict[int, Path], start_ns: int, stop_ns: int) -> Iterator[Event]:
    for number in sorted(numbered):
        path = numbered[number]
        try:
            table = pq.read_table(
                path,
                columns=["document"],
                filters=[("ts_ns", ">=", start_ns), ("ts_ns", "<", stop_ns)],
            )
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"The part cannot be read: {error}. Restore it from a backup.", file=path
            ) from error
        for row, document in enumerate(table.column("document").to_pylist()):
            try:
                yield decode_event(document.encode())
            except BusMessageError as error:
                raise DataError(str(error), file=path, row=row) from error


def _log_rows(path: Path) -> list[Event]:
    try:
        return list(_events_of_log(path))
    except FileNotFoundError:
        return []  # it became parts a moment ago


def _events_of_log(path: Path) -> Iterator[Event]:
    """Yield the events of a log; a last line that is not whole was not acknowledged and does not count."""
    lines = path.read_bytes().splitlines(keepends=True)
    for row, line in enumerate(lines):
        crc, _, document = line.rstrip(b"\n").partition(b" ")
        whole = line.endswith(b"\n") and crc == f"{zlib.crc32(document):08x}".encode()
        if not whole:
            if row == len(lines) - 1:
                return
            raise DataError("The line is damaged. Restore the log from a backup.", file=path, row=row)
        try:
            yield decode_event(document)
        except (BusMessageError, msgspec.MsgspecError) as error:
            raise DataError(str(error), file=path, row=row) from error


def _line(document: bytes) -> bytes:
    return f"{zlib.crc32(document):08x} ".encode() + document + b"\n"


def _day(event: Event) -> int:
    return event.ts_ns // _DAY_NS


def _log_path(folder: Path, number: int) -> Path:
    return folder / "log" / f"{number:06d}.log"


def _logs(folder: Path) -> list[tuple[int, Path]]:
    return [(int(path.stem), path) for path in sorted((folder / "log").glob("[0-9]*.log"))]


def _day_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*-[0-9]*-[0-9]*") if path.is_dir())


def _parts(folder: Path) -> dict[int, dict[int, Path]]:
    """Return day → number → file."""
    return {
        day_number(path.name): {int(part.stem): part for part in sorted(path.glob("[0-9]*.parquet"))}
        for path in _day_folders(folder)
    }
