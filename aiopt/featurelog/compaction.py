"""Compaction: many small segments of a stream into few large ones, while others write and read.

Owns what is merged and in which order files appear and go.  The merged file is complete before anything is
deleted and names what it replaces; readers are kept out only while files change.
"""

from __future__ import annotations

import itertools
import time
import uuid
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from aiopt.featurelog.reader import stream_folder
from aiopt.featurelog.schema import read_schemas, version_folder
from aiopt.featurelog.segments import (
    Segment,
    SegmentMeta,
    segment_name,
    segments_of,
    stream_lock,
    write_segment,
)

TARGET_ROWS = 1_000_000
"""Rows of a merged segment."""

STALE_S = 3_600.0
"""Age of a temporary file that no living writer can still be writing."""


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction did.

    Attributes
    ----------
    stream : str
        Name.
    segments_before, segments_after : int
        Files that count.
    bytes_before, bytes_after : int
        Their size.
    rows : int
        Rows, the same before and after.
    """

    stream: str
    segments_before: int
    segments_after: int
    bytes_before: int
    bytes_after: int
    rows: int


def compact_stream(folder: Path, stream: str, *, target_rows: int = TARGET_ROWS) -> Compaction:
    """Merge the small segments of every version of a stream.

    Parameters
    ----------
    folder : Path
        The log's folder.
    stream : str
        Name.
    target_rows : int
        Rows of a merged segment.  Segments of at least half as many are left alone.

    Raises
    ------
    DataError
        If there is no such stream.
    StorageError
        If the disk is full or the folder is not writable.  Nothing is lost then.
    """
    path = stream_folder(folder, stream)
    before: list[Segment] = []
    after: list[Segment] = []
    with stream_lock(path, exclusive=True):
        for version in read_schemas(path):
            place = version_folder(path, version)
            live, replaced = segments_of(place)
            # What a killed compaction or writer left.
            _delete(replaced)
            _delete([path for path in place.glob(".*.tmp") if _is_old(path)])
            before += live
            for group in _groups(live, target_rows):
                _merge(place, group)
            after += segments_of(place)[0]
    return Compaction(
        stream=stream,
        segments_before=len(before),
        segments_after=len(after),
        bytes_before=sum(segment.bytes for segment in before),
        bytes_after=sum(segment.bytes for segment in after),
        rows=sum(segment.rows for segment in after),
    )


def _groups(live: list[Segment], target_rows: int) -> list[list[Segment]]:
    """Return runs of small neighbours that fit one segment; the order of rows stays."""
    groups = []
    for small, run in itertools.groupby(live, key=lambda segment: segment.rows < target_rows / 2):
        group: list[Segment] = []
        for segment in run if small else ():
            if group and sum(other.rows for other in group) + segment.rows > target_rows:
                groups.append(group)
                group = []
            group.append(segment)
        groups.append(group)
    return [group for group in groups if len(group) > 1]


def _merge(place: Path, group: list[Segment]) -> None:
    tables = [pq.read_table(segment.path) for segment in group]
    meta = SegmentMeta(writer="compaction", first_row=0, replaces=[segment.path.name for segment in group])
    # The name of the first, so that it takes its place in the order.
    name = segment_name(group[0].first_ns, f"c{uuid.uuid4().hex[:11]}", 0)
    write_segment(place / name, tables, meta)
    _delete([segment.path for segment in group])


def _is_old(path: Path) -> bool:
    """Tell whether a temporary file was left behind; one that its writer renames meanwhile was not."""
    try:
        return time.time() - path.stat().st_mtime > STALE_S
    except FileNotFoundError:
        return False


def _delete(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
