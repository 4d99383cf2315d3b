"""Segments: the Parquet files of a stream's version, each written once and never changed.

Owns their names, their metadata and which of them count.  A name is the time of the first row, the writer and
its running number, so that names sort by time and two writers never meet.  A file that compaction made names
those it replaces; the replaced ones are ignored from the moment it exists, so a kill between its appearance
and their deletion changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.config import canonical_json
from aiopt.errors import DataError, StorageError
from aiopt.files import atomic_path, file_lock

_KEY = b"aiopt_log"
_LOCK = ".lock"
_ROW_GROUP = 100_000


class SegmentMeta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a segment says of itself.

    Attributes
    ----------
    writer : str
        Who wrote it; "compaction" for a file made of others.
    first_row : int
        Rows this writer had written to this version before.
    replaces : list of str
        Names of the files it was made of.
    """

    writer: str
    first_row: int
    replaces: list[str] = []


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that counts.

    Attributes
    ----------
    path : Path
        The file.
    rows, bytes : int
        Size.
    first_ns : int
        Time of the first row, UTC.
    meta : SegmentMeta
        Origin.
    """

    path: Path
    rows: int
    bytes: int
    first_ns: int
    meta: SegmentMeta


def segment_name(first_ns: int, writer: str, number: int) -> str:
    """Return the name of a writer's segment."""
    return f"{first_ns:020d}-{writer}-{number:06d}.parquet"


def write_segment(path: Path, tables: list[pa.Table], meta: SegmentMeta) -> None:
    """Write a segment, atomically.

    Raises
    ------
    StorageError
        If the disk is full or the folder is not writable.
    """
    table = pa.concat_tables(tables).replace_schema_metadata({_KEY: canonical_json(meta)})
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", row_group_size=_ROW_GROUP, write_page_checksum=True
        )


@contextmanager
def stream_lock(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold a stream against a compaction that swaps files (shared), or against readers (exclusive).

    Writers take no lock: they only add files.  Where a reader may not create the lock file, nothing can
    compact either.
    """
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(folder / _LOCK, exclusive=exclusive))
        except StorageError:
            if exclusive:
                raise
        yield


def segments_of(folder: Path) -> tuple[list[Segment], list[Path]]:
    """Return the segments of a version in order, and the files a compaction has replaced.

    Raises
    ------
    DataError
        If a file is not one this package wrote.
    """
    found, replaced = [], set()
    for path in sorted(folder.glob("*.parquet")):
        segment = _read(path)
        found.append(segment)
        replaced.update(segment.meta.replaces)
    live = [segment for segment in found if segment.path.name not in replaced]
    return live, [segment.path for segment in found if segment.path.name in replaced]


def _read(path: Path) -> Segment:
    try:
        footer = pq.read_metadata(path)
        meta = msgspec.json.decode((footer.metadata or {})[_KEY], type=SegmentMeta)
        first_ns = int(path.name.partition("-")[0])
    except (pa.ArrowInvalid, KeyError, ValueError, msgspec.DecodeError) as failure:
        msg = "The log did not write this file. Move it out of the stream's folder."
        raise DataError(msg, file=path) from failure
    return Segment(path=path, rows=footer.num_rows, bytes=path.stat().st_size, first_ns=first_ns, meta=meta)
