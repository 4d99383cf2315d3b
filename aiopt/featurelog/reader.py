"""Reading streams: all versions as one table, and what there is.

Owns how versions are joined: a column that a version lacks is null there, an int column that became a float
one is float; a column whose kinds cannot be joined is an error that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import polars as pl

from aiopt.errors import DataError, did_you_mean
from aiopt.featurelog.schema import RowSchema, read_schemas, version_folder
from aiopt.featurelog.segments import Segment, segments_of, stream_lock

VERSION_COLUMN = "_version"
"""Column of the table read that holds the version each row was written with."""

_POLARS = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "str": pl.String}


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a stream.

    Attributes
    ----------
    version : int
        From 1.
    fields : dict of str to str
        Column to kind.
    rows, segments, bytes : int
        What is written.
    writers : int
        Logs that wrote it; those of compacted files count as one.
    first_ns, last_ns : int or None
        Times of the first row of the first and last segment, UTC.
    """

    version: int
    fields: dict[str, str]
    rows: int
    segments: int
    bytes: int
    writers: int
    first_ns: int | None
    last_ns: int | None


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One stream: its name and versions."""

    name: str
    versions: list[VersionInfo]

    @property
    def rows(self) -> int:
        """Rows of all versions."""
        return sum(version.rows for version in self.versions)


def list_streams(folder: Path) -> list[StreamInfo]:
    """Return what a log's folder holds, by name.

    Raises
    ------
    DataError
        If the folder does not exist, or holds a file the log did not write.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("There is no such folder. Check the path.", file=folder)
    return [
        StreamInfo(name=path.name, versions=_versions(path))
        for path in sorted(folder.iterdir())
        if path.is_dir() and read_schemas(path)
    ]


def read_stream(
    folder: Path, stream: str, *, version: int | None = None, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """Return the rows of a stream in the order of its segments.

    Parameters
    ----------
    folder : Path
        The log's folder.
    stream : str
        Name.
    version : int, optional
        One version only.
    columns : sequence of str, optional
        Columns to read; all by default.

    Returns
    -------
    polars.DataFrame
        The columns of all versions, in the order in which they appeared, and `VERSION_COLUMN`.

    Raises
    ------
    DataError
        If there is no such stream, version or column, or a column's kinds cannot be joined.
    """
    path = stream_folder(folder, stream)
    schemas = read_schemas(path)
    if version is not None:
        if version not in schemas:
            msg = f"There is no version {version}. The stream has {', '.join(map(str, schemas))}."
            raise DataError(msg + " Choose one of them.", file=path)
        schemas = {version: schemas[version]}
    kinds = _joined(schemas, path, columns)
    full = {name: _POLARS[kind] for name, kind in kinds.items()}
    frames = []
    with stream_lock(path, exclusive=False):
        for number, schema in schemas.items():
            wanted = [name for name in full if name in schema.fields]
            for segment in segments_of(version_folder(path, number))[0]:
                versions = pl.repeat(number, segment.rows, dtype=pl.Int64, eager=True).alias(VERSION_COLUMN)
                frame = pl.DataFrame([versions])
                if wanted:
                    frame = frame.hstack(pl.read_parquet(segment.path, columns=wanted).get_columns())
                frames.append(
                    frame.select(
                        *[
                            (pl.col(name) if name in wanted else pl.lit(None)).cast(dtype).alias(name)
                            for name, dtype in full.items()
                        ],
                        VERSION_COLUMN,
                    )
                )
    if not frames:
        return pl.DataFrame(schema=full | {VERSION_COLUMN: pl.Int64})
    return pl.concat(frames, rechunk=True)


def stream_folder(folder: Path, stream: str) -> Path:
    """Return the folder of a stream.

    Raises
    ------
    DataError
        If the log has no such stream.
    """
    path = Path(folder) / stream
    if not (stream and read_schemas(path)):
        known = [info.name for info in list_streams(folder)]
        hint = did_you_mean(stream, known) if known else " It has none."
        raise DataError(f"The log has no stream {stream!r}.{hint}", file=folder)
    return path


def _joined(schemas: dict[int, RowSchema], path: Path, columns: Sequence[str] | None) -> dict[str, str]:
    """Return the columns to read and the kind each gets."""
    kinds: dict[str, str] = {}
    for version, schema in schemas.items():
        for name, kind in schema.fields.items():
            if columns is not None and name not in columns:
                continue
            before = kinds.setdefault(name, kind)
            if before != kind:
                if {before, kind} != {"int", "float"}:
                    msg = (
                        f"Column {name!r} is {before}, but in version {version} it is {kind}, so they "
                        f"cannot be read together. Read one version, or leave the column out."
                    )
                    raise DataError(msg, file=path)
                kinds[name] = "float"
    missing = [name for name in columns or () if name not in kinds]
    if missing:
        known = {name for schema in schemas.values() for name in schema.fields}
        msg = f"The stream has no column {missing[0]!r}."
        raise DataError(msg + did_you_mean(missing[0], known), file=path)
    return kinds if columns is None else {name: kinds[name] for name in columns}


def _versions(path: Path) -> list[VersionInfo]:
    found = []
    with stream_lock(path, exclusive=False):
        for version, schema in read_schemas(path).items():
            segments: list[Segment] = segments_of(version_folder(path, version))[0]
            found.append(
                VersionInfo(
                    version=version,
                    fields=schema.fields,
                    rows=sum(segment.rows for segment in segments),
                    segments=len(segments),
                    bytes=sum(segment.bytes for segment in segments),
                    writers=len({segment.meta.writer for segment in segments}),
                    first_ns=segments[0].first_ns if segments else None,
                    last_ns=segments[-1].first_ns if segments else None,
                )
            )
    return found
