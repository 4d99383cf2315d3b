"""Packing tighter: many small files into one per day (or hour, or month), the same rows in the same order.

Owns the rewriting.  The old files go when the new ones are on the disk and hold the same rows, all at once
(`aiopt.folder_commit`): a kill at any moment loses nothing, and the same command finishes the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiopt.catalog.discovery import INDEX_NAME, FileIndex, Index, parquet_files, read_index
from aiopt.catalog.entries import Entry
from aiopt.catalog.rows import RowHash
from aiopt.errors import ConfigError, DataError, ManifestError, did_you_mean
from aiopt.featurelog import compact_stream
from aiopt.featurelog.schema import read_schemas, version_folder
from aiopt.featurelog.segments import Segment, segments_of
from aiopt.files import sha256_file
from aiopt.folder_commit import COMPACT, locked, publish, staged
from aiopt.ticks.manifest import MANIFEST_NAME, Manifest, Partition, read_manifest, write_manifest
from aiopt.ticks.schema import TICK_COLUMNS, TICK_SCHEMA, TickArrays
from aiopt.ticks.store import ROW_GROUP_ROWS, content_sha256, write_ticks

Period = Literal["hour", "day", "month"]
PERIODS: tuple[Period, ...] = ("hour", "day", "month")

TIME_COLUMNS = ("ts_event_ns", "ts_open_ns", "ts_ns", "ts_init_ns", "ts_event", "ts_init", "timestamp")
"""Columns taken for the time of a row if none is named, best first."""

Progress = Callable[[int, int], None]
"""Called with the rows done and all rows."""

_UNITS = {"hour": "h", "day": "D", "month": "M"}
_UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class Compaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `compact` did to an entry.

    Attributes
    ----------
    path, kind : str
        Of the entry.
    files_before, files_after : int
        Parquet files.
    row_groups_before, row_groups_after : int
        Parquet row groups.
    bytes_before, bytes_after : int
        Of those files.
    rows : int
        The same before and after.
    hash : str
        Of the rows, the same before and after: the data hash of a tick store, else `RowHash`.
    changed : bool
        False if there was nothing to do.
    """

    path: str
    kind: str
    files_before: int
    files_after: int
    row_groups_before: int
    row_groups_after: int
    bytes_before: int
    bytes_after: int
    rows: int
    hash: str
    changed: bool


def compact(
    entry: Entry,
    *,
    period: Period = "day",
    time_column: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Compaction:
    """Pack the files of an entry tighter.

    A tick store has one file per day already; days of many small row groups or another compression are
    rewritten.  Plain Parquet files become one file per `period`, in order of time, rows of equal time in the
    order of their files.  The small segments of a stream become large ones, whatever the period.

    Parameters
    ----------
    entry : Entry
        Of kind ``ticks``, ``parquet`` or ``stream``.
    period : {"hour", "day", "month"}
        What one file holds, of plain files.
    time_column : str, optional
        Integer nanoseconds or a date-time, of plain files; found among `TIME_COLUMNS` if absent.
    dry_run : bool
        Look, and change nothing; `files_after` is what it would be.
    progress : callable, optional
        See `Progress`.

    Raises
    ------
    DataError
        If a file is damaged, the files have different columns, or the kind cannot be packed.
    StorageError
        If the disk is full: old and new files need room at the same time.
    """
    if period not in PERIODS:
        msg = f"There is no period {period!r}."
        raise ConfigError(msg + did_you_mean(period, PERIODS))
    root = Path(entry.path)
    report = progress or _silent
    if entry.kind == "stream":
        # It has a lock and a way of its own: others go on writing to it.
        return _compact_stream(root, dry_run)
    with locked(root):
        if entry.kind == "ticks":
            return _compact_store(root, dry_run, report)
        if entry.kind == "parquet":
            return _Plain(root, entry, period, time_column, report).run(dry_run=dry_run)
    msg = f"This is of kind {entry.kind}. Only tick stores, streams and plain Parquet can be packed."
    raise DataError(f"{msg} Name another.", file=root)


# --- tick stores ------------------------------------------------------------------------------------------


def _compact_store(root: Path, dry_run: bool, progress: Progress) -> Compaction:
    manifest = read_manifest(root)
    loose: list[Partition] = []
    groups_before = groups_after = size = 0
    for part in manifest.partitions:
        footer = _footer(root / part.path)
        wanted = -(-part.rows // ROW_GROUP_ROWS)
        is_loose = footer.num_row_groups > wanted or _compression(footer) != {"ZSTD"}
        if is_loose:
            loose.append(part)
        groups_before += footer.num_row_groups
        groups_after += wanted if is_loose else footer.num_row_groups
        size += (root / part.path).stat().st_size
    saved = 0
    if loose and not dry_run:
        saved = _rewrite_days(root, manifest, loose, progress)
    return Compaction(
        path=str(root),
        kind="ticks",
        files_before=len(manifest.partitions),
        files_after=len(manifest.partitions),
        row_groups_before=groups_before,
        row_groups_after=groups_after,
        bytes_before=size,
        bytes_after=size - saved,
        rows=manifest.rows,
        hash=manifest.data_hash,
        changed=bool(loose),
    )


def _rewrite_days(root: Path, manifest: Manifest, loose: list[Partition], progress: Progress) -> int:
    """Write the days again, and a manifest that names the new files; return the bytes saved."""
    new: dict[str, Partition] = {}
    saved = done = 0
    total = sum(part.rows for part in loose)
    with staged(root, COMPACT) as staging:
        for part in loose:
            old = root / part.path
            if sha256_file(old) != part.sha256:
                msg = (
                    "A day that is written again must be the one imported, but its SHA-256 differs from the "
                )
                raise ManifestError(f"{msg}manifest. Look: `aiopt data verify`; import again.", file=old)
            table = pq.read_table(old, partitioning=None).cast(TICK_SCHEMA)
            path = staging / part.path
            path.parent.mkdir(parents=True)
            write_ticks(path, table)
            again = pq.read_table(path, partitioning=None)
            arrays = TickArrays(
                *(np.ascontiguousarray(again.column(name).to_numpy()) for name in TICK_COLUMNS)
            )
            if content_sha256(arrays) != part.content_sha256:
                raise DataError("A day must hold the same ticks after packing, but does not.", file=path)
            new[part.path] = msgspec.structs.replace(part, sha256=sha256_file(path))
            saved += old.stat().st_size - path.stat().st_size
            done += part.rows
            progress(done, total)
        parts = [new.get(part.path, part) for part in manifest.partitions]
        write_manifest(staging, msgspec.structs.replace(manifest, partitions=parts))
        publish(root, staging, remove=(), last=MANIFEST_NAME)
    return saved


def _compression(footer: pq.FileMetaData) -> set[str]:
    groups = (footer.row_group(number) for number in range(footer.num_row_groups))
    return {group.column(0).compression for group in groups} or {"ZSTD"}


# --- streams ----------------------------------------------------------------------------------------------


def _compact_stream(root: Path, dry_run: bool) -> Compaction:
    before = _segments(root)
    rows, digest = _hash_segments(before)
    groups = sum(_footer(segment.path).num_row_groups for segment in before)
    after = before
    if not dry_run:
        compact_stream(root.parent, root.name)
        after = _segments(root)
        rows_after, digest_after = _hash_segments(after)
        # A writer may have added rows meanwhile: then the two are of different rows.
        if rows_after == rows and digest_after != digest:
            raise DataError("A stream must hold the same rows after packing, but does not.", file=root)
        rows, digest = rows_after, digest_after
    return Compaction(
        path=str(root),
        kind="stream",
        files_before=len(before),
        files_after=len(after),
        row_groups_before=groups,
        row_groups_after=sum(_footer(segment.path).num_row_groups for segment in after),
        bytes_before=sum(segment.bytes for segment in before),
        bytes_after=sum(segment.bytes for segment in after),
        rows=rows,
        hash=digest,
        changed=len(after) < len(before),
    )


def _segments(root: Path) -> list[Segment]:
    """Return the segments of all versions that count, in order."""
    found: list[Segment] = []
    for version in read_schemas(root):
        found += segments_of(version_folder(root, version))[0]
    return found


def _hash_segments(segments: list[Segment]) -> tuple[int, str]:
    """Return rows and their hash; versions have schemas of their own, so each is hashed on its own."""
    digests: dict[Path, RowHash] = {}
    for segment in segments:
        with pq.ParquetFile(segment.path) as file:
            digest = digests.setdefault(segment.path.parent, RowHash(file.schema_arrow))
            for group in range(file.metadata.num_row_groups):
                digest.update(file.read_row_group(group, use_threads=False))
    whole = hashlib.sha256("\n".join(digest.hexdigest() for digest in digests.values()).encode())
    return sum(digest.rows for digest in digests.values()), whole.hexdigest()


# --- plain files ------------------------------------------------------------------------------------------


class _Plain:
    """Parquet files of one schema, packed by time."""

    def __init__(
        self, root: Path, entry: Entry, period: Period, time_column: str | None, progress: Progress
    ) -> None:
        self.root = root
        self.entry = entry
        self.period = period
        self._dtype = f"datetime64[{_UNITS[period]}]"
        self.progress = progress
        self.files = parquet_files(root)
        self.footers = [_footer(path) for path in self.files]
        self.schema = self._one_schema()
        self.time_column = self._find_time(time_column)
        self.rows = sum(footer.num_rows for footer in self.footers)
        self._check_folders()

    def run(self, *, dry_run: bool) -> Compaction:
        """Pack, unless it is packed."""
        groups = self._groups()
        before = read_index(self.root) if (self.root / INDEX_NAME).exists() else None
        if before is not None and self._is_packed(before, set(groups)):
            return self._result(len(self.files), before.content_sha256, changed=False)
        if dry_run or not self.rows:
            return self._result(len(groups), "", changed=bool(self.rows))
        size = self._size()
        with staged(self.root, COMPACT) as staging:
            index = self._write(staging, groups)
            text = msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n"
            (staging / INDEX_NAME).write_bytes(text)
            names = [path.relative_to(self.root).as_posix() for path in self.files]
            publish(self.root, staging, remove=names, last=INDEX_NAME)
        result = self._result(len(index.files), index.content_sha256, changed=True)
        paths = [self.root / file.path for file in index.files]
        return msgspec.structs.replace(
            result,
            bytes_before=size,
            bytes_after=sum(path.stat().st_size for path in paths),
            row_groups_after=sum(_footer(path).num_row_groups for path in paths),
        )

    def _write(self, staging: Path, groups: dict[str, list[tuple[int, int]]]) -> Index:
        """Write one file per period and check that they hold the rows read."""
        read, first, last = RowHash(self.schema), 0, 0
        files: list[FileIndex] = []
        for period in sorted(groups):
            table = self._rows_of(period, groups[period])
            if not table.num_rows:
                continue
            read.update(table)
            path = staging / self._name(period)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(
                table, path, compression="zstd", row_group_size=ROW_GROUP_ROWS, write_page_checksum=True
            )
            stamps = self._stamps(table)
            first = first if files else int(stamps[0])
            last = int(stamps[-1])
            files.append(FileIndex(path=self._name(period), rows=table.num_rows, sha256=sha256_file(path)))
            self.progress(read.rows, self.rows)
        written = RowHash(self.schema)
        for file in files:
            with pq.ParquetFile(staging / file.path) as found:
                for group in range(found.metadata.num_row_groups):
                    written.update(found.read_row_group(group, use_threads=False))
        if (read.rows, read.hexdigest()) != (self.rows, written.hexdigest()):
            msg = f"The packed files must hold the {self.rows} rows read, but hold {written.rows} or others."
            raise DataError(msg, file=self.root)
        return Index(
            kind=self.entry.kind,
            instrument=self.entry.instrument,
            source=self.entry.source,
            time_column=self.time_column,
            rows=self.rows,
            first_ts_ns=first,
            last_ts_ns=last,
            content_sha256=written.hexdigest(),
            provenance=self.entry.provenance,
            files=files,
        )

    def _rows_of(self, period: str, groups: list[tuple[int, int]]) -> pa.Table:
        """Return the rows of a period in order of time, of equal time in the order of the files."""
        parts: list[pa.Table] = []
        number = int(np.array([period], dtype=self._dtype).astype(np.int64)[0])
        for file, own in groupby(groups, key=lambda item: item[0]):
            path = self.files[file]
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as reader:
                    for _, group in own:
                        table = reader.read_row_group(group, use_threads=False).cast(self.schema)
                        inside = self._period_of(self._stamps(table)) == number
                        parts.append(table if inside.all() else table.filter(pa.array(inside)))
            except (pa.ArrowException, OSError) as failure:
                raise _unreadable(path, failure) from failure
        whole = pa.concat_tables(parts)
        stamps = self._stamps(whole)
        if (np.diff(stamps) < 0).any():
            whole = whole.take(pa.array(np.argsort(stamps, kind="stable")))
        return whole.combine_chunks()

    def _groups(self) -> dict[str, list[tuple[int, int]]]:
        """Return the periods with the files and row groups that may have rows of them, in their order."""
        found: dict[str, list[tuple[int, int]]] = {}
        for number, path in enumerate(self.files):
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    for group in range(file.metadata.num_row_groups):
                        table = file.read_row_group(group, columns=[self.time_column], use_threads=False)
                        for period in self._periods(table, path, group):
                            found.setdefault(period, []).append((number, group))
            except (pa.ArrowException, OSError) as failure:
                raise _unreadable(path, failure) from failure
        return found

    def _periods(self, table: pa.Table, path: Path, group: int) -> list[str]:
        if table.column(0).null_count:
            msg = f"Every row must have a time, but {self.time_column} is null in row group {group}."
            raise DataError(f"{msg} Name another --time-column.", file=path)
        numbers = np.unique(self._period_of(self._stamps(table)))
        return [str(period) for period in numbers.astype(self._dtype)]

    def _stamps(self, table: pa.Table) -> NDArray[np.int64]:
        column = table.column(self.time_column)
        if pa.types.is_timestamp(column.type):
            stamps = column.cast(pa.int64()).to_numpy() * _UNIT_NS[column.type.unit]
            return np.asarray(stamps, dtype=np.int64)
        return np.asarray(column.to_numpy(), dtype=np.int64)

    def _period_of(self, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(stamps.astype("datetime64[ns]").astype(self._dtype).astype(np.int64))

    def _name(self, period: str) -> str:
        return f"{self.period}={period}/rows.parquet"

    def _is_packed(self, index: Index, periods: set[str]) -> bool:
        names = {path.relative_to(self.root).as_posix() for path in self.files}
        recorded = {file.path for file in index.files}
        same = names == recorded == {self._name(period) for period in periods}
        return same and index.rows == self.rows and index.time_column == self.time_column

    def _one_schema(self) -> pa.Schema:
        if not self.files:
            raise DataError("There are no Parquet files to pack. Check the path.", file=self.root)
        first = self.footers[0].schema.to_arrow_schema()
        for path, footer in zip(self.files, self.footers, strict=True):
            found = footer.schema.to_arrow_schema()
            if not found.equals(first):
                msg = f"Files packed together must have the same columns, but this one has {found.names} "
                msg += f"({[str(kind) for kind in found.types]}) and {self.files[0].name} {first.names}."
                raise DataError(f"{msg} Move one kind elsewhere.", file=path)
        return first

    def _find_time(self, name: str | None) -> str:
        known = self.schema.names
        chosen = name or next((column for column in TIME_COLUMNS if column in known), None)
        if chosen is None:
            msg = f"A column must be the time, but none of {', '.join(TIME_COLUMNS)} is among {known}."
            raise DataError(f"{msg} Name it with --time-column.", file=self.root)
        if chosen not in known:
            raise DataError(f"There is no column {chosen!r}. The columns are {known}.", file=self.root)
        kind = self.schema.field(chosen).type
        if not (pa.types.is_int64(kind) or pa.types.is_timestamp(kind)):
            msg = f"A time must be int64 nanoseconds or a date-time, but {chosen} is {kind}."
            raise DataError(f"{msg} Name another --time-column.", file=self.root)
        return chosen

    def _check_folders(self) -> None:
        ours = tuple(f"{period}=" for period in PERIODS)
        for path in self.files:
            for part in path.relative_to(self.root).parts[:-1]:
                if not part.startswith(ours):
                    msg = (
                        f"The values of a partition are in its folder's name, but packing would lose {part}."
                    )
                    raise DataError(f"{msg} Pack each such folder on its own.", file=self.root)
        clash = self.period if self.period in self.schema.names else None
        if clash is not None:
            msg = f"Packed files lie in folders {clash}=…, but there is a column {clash} as well."
            raise DataError(f"{msg} Choose another period.", file=self.root)

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    def _result(self, files_after: int, digest: str, *, changed: bool) -> Compaction:
        groups = sum(footer.num_row_groups for footer in self.footers)
        size = 0 if changed and digest else self._size()
        return Compaction(
            path=str(self.root),
            kind=self.entry.kind,
            files_before=len(self.files),
            files_after=files_after,
            row_groups_before=groups,
            row_groups_after=groups,
            bytes_before=size,
            bytes_after=size,
            rows=self.rows,
            hash=digest,
            changed=changed,
        )


def _footer(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as failure:
        raise _unreadable(path, failure) from failure


def _unreadable(path: Path, failure: Exception) -> DataError:
    msg = f"A file must be readable Parquet to be packed, but: {str(failure).splitlines()[0]}."
    return DataError(f"{msg} Look: `aiopt data verify`.", file=path)


def _silent(done: int, total: int) -> None:
    del done, total
