"""FeatureLog: rows into buffers, buffers into segments, by a thread of its own.

Owns when a buffer is written: when it is full, when its oldest row is old, when memory runs low, and when
told to.  What a kill can cost: rows that were appended but are in no segment yet.  Those are at most the rows
of the last `LogConfig.max_age_s` plus one write, and never more than `MAX_PENDING` + 1 full buffers and the
ones that are filling: whoever appends faster than the disk takes waits.  Rows reach the files in the order in
which they were appended.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiopt.errors import ConfigError, DataError, StorageError
from aiopt.featurelog.memory import available_memory_bytes
from aiopt.featurelog.schema import (
    ARROW_TYPES,
    INT_MAX,
    INT_MIN,
    RowSchema,
    Value,
    array_of,
    check_stream_name,
    claim_version,
    kinds_of,
    read_schemas,
    version_folder,
)
from aiopt.featurelog.segments import SegmentMeta, segment_name, write_segment
from aiopt.utc import DAY_S

MIB = 1 << 20

MAX_PENDING = 2
"""Buffers that wait for the writer thread before `append` waits for it."""

_SIGNATURES_KEPT = 1_024
_MEMORY_CHECK_S = 0.5


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When buffers are written.

    Attributes
    ----------
    max_buffer_rows : int
        Rows of a stream's version that are written together.
    max_buffer_mib : float
        Estimated memory of a buffer that is written together.
    max_age_s : float
        Seconds after which a row is handed to the writer, full buffer or not.
    min_available_mib : float
        When the machine or cgroup has less memory available than this, all buffers are written every half
        second.
    """

    max_buffer_rows: int = 50_000
    max_buffer_mib: float = 32.0
    max_age_s: float = 5.0
    min_available_mib: float = 512.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("max_buffer_rows", 1, 10_000_000),
            ("max_buffer_mib", 0.001, 65_536),
            ("max_age_s", 0.01, DAY_S),
            ("min_available_mib", 0, 1 << 30),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"`{low:g} <= {name} <= {high:g}` must hold, but got {value}. Choose one in that range."
                raise ConfigError(msg)


@dataclass
class _Buffer:
    """Rows of one version that no segment holds yet, as tuples and tables in order."""

    schema: RowSchema
    version: int
    parts: list[list[tuple[Value, ...]] | pa.Table] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    first_ns: int = 0
    born: float = 0.0


@dataclass(frozen=True)
class _Signature:
    """How rows of one form enter a buffer."""

    buffer: _Buffer
    order: tuple[str, ...] | None  # None: the row has the schema's order
    ints: tuple[str, ...]
    texts: tuple[str, ...]
    cost: int


class _Stream:
    """The buffers of one stream."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buffers: dict[int, _Buffer] = {}
        self.signatures: dict[tuple[Any, ...], _Signature] = {}
        self.admitted: dict[tuple[Any, ...], _Buffer] = {}
        self.written: dict[int, int] = {}  # version: rows handed to the writer thread
        self.number = 0
        self.last_ns = 0

    def admit(self, kinds: Mapping[str, str | None]) -> _Buffer:
        """Return the buffer of the newest version that takes rows of these kinds, or of a new one."""
        form = tuple(kinds.items())
        if form not in self.admitted:
            if len(self.admitted) >= _SIGNATURES_KEPT:
                self.admitted.clear()
            self.admitted[form] = self._find(kinds)
        return self.admitted[form]

    def _find(self, kinds: Mapping[str, str | None]) -> _Buffer:
        known = read_schemas(self.folder)
        for version in sorted(known, reverse=True):
            if known[version].accepts(kinds):
                return self._buffer(version, known[version])
        unknown = [name for name, kind in kinds.items() if kind is None]
        if unknown:
            msg = (
                f"The first row sets the kind of every column, but {', '.join(unknown)} is None. Call "
                f"declare first, or log NaN."
            )
            raise DataError(msg)
        schema = RowSchema({name: kind for name, kind in kinds.items() if kind is not None})
        version = claim_version(self.folder, schema)
        # Another process may have the columns in another order: its file counts.
        return self._buffer(version, read_schemas(self.folder)[version])

    def _buffer(self, version: int, schema: RowSchema) -> _Buffer:
        if version not in self.buffers:
            self.buffers[version] = _Buffer(schema, version)
            # Rows that fit the new version too, ints where it has floats, shall follow it.
            self.signatures.clear()
            self.admitted.clear()
        return self.buffers[version]


class FeatureLog:
    """Append rows to streams below a folder.

    Any number of logs, in one process or many, may write to one folder.  Several threads may use one log.  It
    does not survive a fork: open one per process.

    Parameters
    ----------
    folder : Path
        Folder of all streams; created when first written.
    config : LogConfig, optional
        When buffers are written.
    available_memory : callable, optional
        Returns available bytes; the operating system's figure by default.

    Raises
    ------
    StorageError
        From `append`, `extend`, `flush` and `close`, when a segment could not be written.  Its rows are kept
        and tried again; no further rows are taken until it succeeds.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> with FeatureLog(folder) as log:
    ...     log.append("predictions", {"ts_ns": 1, "model": "rules", "confidence": 0.7})
    >>> from aiopt.featurelog import read_stream
    >>> read_stream(folder, "predictions")["confidence"].to_list()
    [0.7]
    """

    def __init__(
        self,
        folder: Path,
        config: LogConfig | None = None,
        *,
        available_memory: Callable[[], int] = available_memory_bytes,
    ) -> None:
        self.folder = Path(folder)
        self.config = config or LogConfig()
        self.writer = uuid.uuid4().hex[:12]
        self.flushed_rows = 0
        """Rows in segments, of all streams."""
        self._available_memory = available_memory
        self._streams: dict[str, _Stream] = {}
        self._changed = threading.Condition()
        self._pending: deque[tuple[Path, list[pa.Table], SegmentMeta, int]] = deque()
        self._writing = 0
        self._failure: StorageError | None = None
        self._closed = False
        self._pid = os.getpid()
        self._max_bytes = int(self.config.max_buffer_mib * MIB)
        self._thread = threading.Thread(target=self._write_forever, name="aiopt-feature-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- adding rows --------------------------------------------------------------------------------------

    def append(self, stream: str, row: Mapping[str, Value]) -> None:
        """Add one row.

        A row with other columns, or values of another kind, than any version of the stream has starts a new
        version.  An int is also a float; None fits every column.

        Parameters
        ----------
        stream : str
            Name, created on first use.
        row : mapping of str to int, float, bool, str or None
            Column to value.

        Raises
        ------
        DataError
            If a value is of another type, or the first row of a schema has a None.
        """
        with self._changed:
            self._check_open()
            target = self._streams.get(stream) or self._open(stream)
            signature = target.signatures.get((*row, *map(type, row.values())))
            if signature is None:
                signature = self._learn(target, row)
            buffer, order = signature.buffer, signature.order
            size = signature.cost
            if signature.ints or signature.texts:
                size += _check(row, signature)
            values = tuple(row.values()) if order is None else tuple([row[name] for name in order])
            if not buffer.rows:
                self._begin(target, buffer)
            if not buffer.parts or not isinstance(buffer.parts[-1], list):
                buffer.parts.append([])
            buffer.parts[-1].append(values)
            buffer.rows += 1
            buffer.bytes += size
            if buffer.rows >= self.config.max_buffer_rows or buffer.bytes >= self._max_bytes:
                self._hand_over(target, buffer)

    def extend(self, stream: str, columns: Mapping[str, NDArray | Sequence[Value]]) -> None:
        """Add rows given as columns of equal length; otherwise as `append`.

        Raises
        ------
        DataError
            If lengths differ or a column is of several kinds.
        """
        arrays = {name: array_of(name, values) for name, values in columns.items()}
        lengths = {len(array) for _, array in arrays.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{name} {len(array)}" for name, (_, array) in arrays.items())
            raise DataError(f"Columns must be of equal length, but are {sizes}. Log whole rows.")
        if lengths in (set(), {0}):
            return
        with self._changed:
            self._check_open()
            target = self._streams.get(stream) or self._open(stream)
            buffer = target.admit({name: kind for name, (kind, _) in arrays.items()})
            fields = buffer.schema.fields
            table = pa.table(
                {name: arrays[name][1].cast(ARROW_TYPES[kind], safe=False) for name, kind in fields.items()}
            )
            if not buffer.rows:
                self._begin(target, buffer)
            buffer.parts.append(table)
            buffer.rows += table.num_rows
            buffer.bytes += table.nbytes
            if buffer.rows >= self.config.max_buffer_rows or buffer.bytes >= self._max_bytes:
                self._hand_over(target, buffer)

    def declare(self, stream: str, fields: Mapping[str, str]) -> None:
        """Fix the kinds of columns before the first row, where that may have None.

        Parameters
        ----------
        stream : str
            Name.
        fields : mapping of str to str
            Column to ``"int"``, ``"float"``, ``"bool"`` or ``"str"``.
        """
        schema = RowSchema(dict(fields))
        with self._changed:
            self._check_open()
            target = self._streams.get(stream) or self._open(stream)
            target.admit(dict(schema.fields))

    # --- writing ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write everything appended so far and wait for it."""
        with self._changed:
            self._failure = None
            self._hand_over_all()
            while (self._pending or self._writing) and self._failure is None:
                if not self._thread.is_alive():
                    raise StorageError("Nothing can be flushed: the log's writer has ended. Open a new log.")
                self._changed.wait(timeout=1.0)
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Flush and stop; further rows are refused.  Closing twice does nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        try:
            self.flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join(timeout=60)
            atexit.unregister(self.close)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("This log is closed. Open a new one.")
        if os.getpid() != self._pid:
            raise ConfigError("A log belongs to the process that opened it. Open one in each process.")
        # Rows that wait for a slow disk are bounded: the caller waits instead.
        self._wait_until(lambda: len(self._pending) < MAX_PENDING)

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait for the writer thread; raise what keeps it from getting there."""
        while self._failure is None and not reached():
            if not self._thread.is_alive():
                raise StorageError("The log's writer has ended. Open a new log.")
            self._changed.wait(timeout=1.0)
        if self._failure is not None:
            raise self._failure

    def _open(self, name: str) -> _Stream:
        check_stream_name(name)
        stream = self._streams[name] = _Stream(self.folder / name)
        return stream

    def _learn(self, target: _Stream, row: Mapping[str, Value]) -> _Signature:
        """Return how rows of this form enter the stream; remembered, so that the next one costs little."""
        buffer = target.admit(kinds_of(row))
        names = tuple(buffer.schema.fields)
        cost = sys.getsizeof(names) + sum(sys.getsizeof(v) for v in row.values() if not isinstance(v, str))
        signature = _Signature(
            buffer=buffer,
            order=None if tuple(row) == names else names,
            ints=tuple(name for name, value in row.items() if isinstance(value, int | np.integer)),
            texts=tuple(name for name, value in row.items() if isinstance(value, str)),
            cost=cost,
        )
        if len(target.signatures) >= _SIGNATURES_KEPT:
            target.signatures.clear()
        target.signatures[(*row, *map(type, row.values()))] = signature
        return signature

    def _begin(self, target: _Stream, buffer: _Buffer) -> None:
        """Stamp the first row of a buffer; stamps of a writer never go back."""
        target.last_ns = max(time.time_ns(), target.last_ns + 1)
        buffer.first_ns = target.last_ns
        buffer.born = time.monotonic()

    def _hand_over(self, target: _Stream, buffer: _Buffer) -> None:
        """Give a buffer's rows to the writer thread."""
        if not buffer.rows:
            return
        schema = buffer.schema.arrow()
        tables = [part if isinstance(part, pa.Table) else _table(part, schema) for part in buffer.parts]
        before = target.written.get(buffer.version, 0)
        path = version_folder(target.folder, buffer.version) / segment_name(
            buffer.first_ns, self.writer, target.number
        )
        self._pending.append((path, tables, SegmentMeta(writer=self.writer, first_row=before), buffer.rows))
        target.written[buffer.version] = before + buffer.rows
        target.number += 1
        buffer.parts, buffer.rows, buffer.bytes = [], 0, 0
        self._changed.notify_all()

    def _hand_over_all(self, *, older_than: float | None = None) -> None:
        for stream in self._streams.values():
            for buffer in stream.buffers.values():
                if older_than is None or (buffer.rows and buffer.born <= older_than):
                    self._hand_over(stream, buffer)

    def _write_forever(self) -> None:
        step = min(_MEMORY_CHECK_S, self.config.max_age_s / 2)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed, timeout=step)
                if self._closed:
                    return
                low = self._available_memory() < self.config.min_available_mib * MIB
                self._hand_over_all(
                    older_than=None if low else time.monotonic() - self.config.max_age_s + step
                )
                if not self._pending:
                    continue
                path, tables, meta, rows = self._pending.popleft()
                self._writing += 1
            failure = _try_write(path, tables, meta)
            with self._changed:
                self._writing -= 1
                self._failure = failure
                if failure is None:
                    self.flushed_rows += rows
                else:
                    self._pending.appendleft((path, tables, meta, rows))
                self._changed.notify_all()
            if failure is not None:
                time.sleep(step)


def _check(row: Mapping[str, Value], signature: _Signature) -> int:
    """Refuse what no file can hold, before it is in a buffer with others; return the bytes of the texts."""
    for name in signature.ints:
        value = row[name]
        if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
            raise DataError(f"An int must fit 64 bits, but {name!r} is {value}. Log it as a float or str.")
    size = 0
    for name in signature.texts:
        try:
            size += 49 + len(row[name].encode())  # type: ignore[union-attr]
        except UnicodeEncodeError as failure:
            msg = f"The text of {name!r} is not valid Unicode: {failure}. Replace the surrogates."
            raise DataError(msg) from failure
    return size


def _table(rows: list[tuple[Value, ...]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table, column by column."""
    columns = []
    for values, kind in zip(zip(*rows, strict=True), schema.types, strict=True):
        try:
            columns.append(pa.array(values, type=kind))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            # Arrow takes no int of more than 53 bits and no NumPy int for a float; Python does.
            columns.append(pa.array([None if v is None else float(v) for v in values], type=kind))
    return pa.table(columns, schema=schema)


def _try_write(path: Path, tables: list[pa.Table], meta: SegmentMeta) -> StorageError | None:
    try:
        write_segment(path, tables, meta)
    except StorageError as failure:
        return failure
    except (OSError, MemoryError, pa.ArrowException) as failure:
        return StorageError(f"Cannot write {path}: {failure}. Free space, or make the folder writable.")
    return None
