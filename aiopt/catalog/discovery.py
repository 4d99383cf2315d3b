"""Finding what lies in a data root, by the manifests and metadata in the folders.

Owns the recognition of each kind.  Reads manifests and Parquet footers, never a column; knows nothing of
whether the content is whole.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.bars.files import read_bar_meta
from aiopt.bars.importing.bar_import import is_imported
from aiopt.bars.stops.stop_files import STOPS_NAME, read_stop_meta
from aiopt.catalog.entries import Entry, Provenance
from aiopt.errors import DataError, ManifestError
from aiopt.featurelog import list_streams
from aiopt.folder_commit import COMMIT, STAGING_PREFIXES, finish_pending
from aiopt.ticks.manifest import MANIFEST_NAME, is_tick_store, read_manifest
from aiopt.utc import stamp_text

"""Folders of work in progress, or of work that was killed."""

BUILT = frozenset({"bars", "dataset", "nautilus"})
"""Kinds that are built from ticks and name them by their data hash."""

INDEX_NAME = "catalog.json"
"""What `compact` writes beside plain Parquet files, and the exporter beside its catalog."""

_SKIPPED = {".git", ".venv", "node_modules", "__pycache__", COMMIT}
_TIME_COLUMNS = ("ts_event_ns", "ts_open_ns", "ts_ns", "ts_init_ns", "ts_event", "ts_init", "timestamp")
_HOURS_NAME = ".hours.json"
_STREAM_SCHEMAS = "[0-9][0-9][0-9][0-9]*.schema.json"

DATASET_NAME = "dataset.json"
"""Written last by a dataset build."""


class FileIndex(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of an `Index`."""

    path: str
    rows: int
    sha256: str


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``catalog.json``: what the files beside it are.

    Attributes
    ----------
    schema_version : int
        Of this type.
    kind : str
        ``"parquet"``, ``"stream"`` or ``"nautilus"``.
    instrument, source : str
        Empty where not known.
    time_column : str
        Column in whose order the rows are.
    rows : int
        Of all files.
    first_ts_ns, last_ts_ns : int
        Span.
    content_sha256 : str
        Of the rows in their order, whatever the files; of an export, the data hash of its source.
    provenance : str
        See `Entry`.
    files : list of FileIndex
        In order.
    """

    schema_version: int = 1
    kind: str = "parquet"
    instrument: str = ""
    source: str = ""
    time_column: str = ""
    rows: int
    first_ts_ns: int
    last_ts_ns: int
    content_sha256: str
    provenance: Provenance = "unknown"
    files: list[FileIndex]


def read_index(folder: Path) -> Index | None:
    """Return the index of a folder, None if it has none.

    Raises
    ------
    ManifestError
        If it cannot be read.
    """
    path = folder / INDEX_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Index)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        msg = f"The index must be one that aiopt wrote, but: {failure}. Remove it: `aiopt data compact` "
        raise ManifestError(msg + "writes it anew.", file=path) from failure


def find_entries(roots: Sequence[Path]) -> list[Entry]:
    """Return everything in the roots, in order of path.

    Parameters
    ----------
    roots : sequence of Path
        Folders; nested ones are looked at once.

    Raises
    ------
    DataError
        If a root is no folder.
    """
    found: dict[Path, Entry] = {}
    for root in roots:
        if not root.is_dir():
            msg = "There is no such folder. Check the path."
            raise DataError(msg, file=root)
        for entry in _entries(root):
            found.setdefault(Path(entry.path).resolve(), entry)
    return _connected([found[key] for key in sorted(found)])


def recognise(folder: Path) -> Entry | None:
    """Return what a folder is, None if it is only a folder of others."""
    for look in _RECOGNISERS:
        entry = look(folder)
        if entry is not None:
            return entry
    return None


def _entries(root: Path) -> Iterator[Entry]:
    """Yield the entries of a tree, from above; nothing below an entry but what is not of it."""
    for base, names, _ in os.walk(root):
        folder = Path(base)
        # What a killed process decided and did not finish would look like damage.
        finish_pending(folder)
        names[:] = sorted(
            name for name in names if name not in _SKIPPED and not name.startswith(STAGING_PREFIXES)
        )
        entry = recognise(folder)
        if entry is not None:
            # A stray Parquet file in a folder of data must not hide what lies below it.
            names[:] = [name for name in names if not _is_part(entry.kind, name)]
            yield entry


def _is_part(kind: str, name: str) -> bool:
    """Return whether a folder `name` in an entry belongs to it: of loose files, partitions alone."""
    return kind not in {"bars", "parquet"} or "=" in name


def _connected(entries: list[Entry]) -> list[Entry]:
    """Add which runs use an entry, and whether what it was built from is there."""
    origins = {entry.hash for entry in entries if _is_origin(entry) and not entry.problem}
    runs: dict[str, list[str]] = {}
    for entry in entries:
        if entry.kind == "run" and entry.hash:
            runs.setdefault(entry.hash, []).append(entry.path)
    return [
        msgspec.structs.replace(
            entry,
            used_by=[] if entry.kind == "run" else runs.get(entry.hash, []),
            current=entry.hash in origins
            if entry.hash and entry.kind in BUILT and not _is_origin(entry)
            else None,
        )
        for entry in entries
    ]


def _is_origin(entry: Entry) -> bool:
    """Return whether others are built from an entry, and it from nothing that could lie here."""
    return entry.kind == "ticks" or (entry.kind == "bars" and is_imported(entry.source))


# --- the kinds --------------------------------------------------------------------------------------------


def _tick_store(folder: Path) -> Entry | None:
    if not is_tick_store(folder) or not _is_tick_manifest(folder):
        return None
    base = _base(folder, "ticks")
    try:
        manifest = read_manifest(folder)
    except ManifestError as failure:
        return msgspec.structs.replace(base, problem=failure.reason)
    return msgspec.structs.replace(
        base,
        instrument=manifest.instrument,
        detail=f"{len(manifest.partitions)} days",
        first_ts_ns=manifest.first_ts_ns,
        last_ts_ns=manifest.last_ts_ns,
        rows=manifest.rows,
        source=f"{manifest.source} ({manifest.source_format})",
        hash=manifest.data_hash,
        provenance="synthetic" if manifest.synthetic else "market",
    )


def _is_tick_manifest(folder: Path) -> bool:
    """Return whether the manifest is a tick store's; a broken one is taken for one beside partitions."""
    if (folder / COMMIT).is_dir():
        return True
    try:
        found = msgspec.json.decode((folder / MANIFEST_NAME).read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return any(folder.glob("instrument=*"))
    return isinstance(found, dict) and {"partitions", "source_format"} <= found.keys()


def _run(folder: Path) -> Entry | None:
    if not ((folder / "config.json").is_file() and (folder / "state.json").is_file()):
        return None
    state, problem = _json(folder / "state.json")
    data: dict[str, Any] = {}
    if (folder / MANIFEST_NAME).is_file():
        data, broken = _json(folder / MANIFEST_NAME)
        problem = problem or broken
    return msgspec.structs.replace(
        _base(folder, "run"),
        instrument=str(data.get("instrument", "")),
        detail=f"{state.get('status', 'unknown')} {state.get('stage', '')}".strip(),
        first_ts_ns=_integer(data.get("first_ts_ns")),
        last_ts_ns=_integer(data.get("last_ts_ns")),
        source=str(data.get("source", "")),
        hash=str(data.get("data_hash", "")),
        provenance=_provenance(data.get("synthetic")),
        problem=problem,
    )


def _dataset(folder: Path) -> Entry | None:
    if not (folder / DATASET_NAME).is_file():
        return None
    facts, problem = _json(folder / DATASET_NAME)
    splits = facts.get("splits")
    splits = [one for one in splits.values() if isinstance(one, dict)] if isinstance(splits, dict) else []
    return msgspec.structs.replace(
        _base(folder, "dataset"),
        instrument=str(facts.get("instrument", "")),
        detail=f"{facts.get('timeframe', '')} {len(splits)} splits".strip(),
        first_ts_ns=_least(_integer(one.get("first_decision_ns")) for one in splits),
        last_ts_ns=_most(_integer(one.get("last_decision_ns")) for one in splits),
        rows=_integer(facts.get("rows")),
        source=f"bars {str(facts.get('bars_hash', ''))[:12]}",
        hash=str(facts.get("data_hash", "")),
        provenance=_provenance(facts.get("synthetic")),
        problem=problem,
    )


def _stream(folder: Path) -> Entry | None:
    if not any(folder.glob(_STREAM_SCHEMAS)):
        return None
    base = _base(folder, "stream")
    try:
        info = next(info for info in list_streams(folder.parent) if info.name == folder.name)
    except DataError as failure:
        return msgspec.structs.replace(base, problem=failure.reason)
    segments = sum(version.segments for version in info.versions)
    return msgspec.structs.replace(
        base,
        detail=f"{segments} segments, version {info.versions[-1].version}",
        first_ts_ns=_least(version.first_ns for version in info.versions),
        last_ts_ns=_most(version.last_ns for version in info.versions),
        rows=info.rows,
        source=", ".join(info.versions[-1].fields),
    )


def _downloads(folder: Path) -> Entry | None:
    if not (folder / _HOURS_NAME).is_file():
        return None
    document, problem = _json(folder / _HOURS_NAME)
    hours = document.get("hours")
    hours = hours if isinstance(hours, dict) else {}
    states = [str(record.get("status")) for record in hours.values() if isinstance(record, dict)]
    counts = (f"{states.count(name)} {name}" for name in ("ticks", "empty", "closed", "failed"))
    kept = sorted(hour for hour, record in hours.items() if isinstance(record, dict) and record.get("file"))
    return msgspec.structs.replace(
        _base(folder, "downloads"),
        instrument=folder.name,
        detail="hours: " + ", ".join(text for text in counts if not text.startswith("0 ")),
        first_ts_ns=_hour_ns(kept[0]) if kept else None,
        last_ts_ns=_hour_ns(kept[-1]) if kept else None,
        rows=len(hours),
        source="Dukascopy",
        provenance="market",
        problem=problem,
    )


def _indexed(folder: Path) -> Entry | None:
    if not (folder / INDEX_NAME).is_file():
        return None
    try:
        index = read_index(folder)
    except ManifestError as failure:
        return msgspec.structs.replace(_base(folder, "parquet"), problem=failure.reason)
    if index is None:
        return None
    return msgspec.structs.replace(
        _base(folder, index.kind),
        instrument=index.instrument,
        detail=f"in order of {index.time_column}" if index.time_column else "",
        first_ts_ns=index.first_ts_ns,
        last_ts_ns=index.last_ts_ns,
        rows=index.rows,
        source=index.source,
        hash=index.content_sha256,
        provenance=index.provenance,
    )


def _bars(folder: Path) -> Entry | None:
    paths = bar_files(folder)
    if not paths:
        return None
    metas = [read_bar_meta(path) for path in paths]
    if not any(metas):
        return None
    known = [meta for meta in metas if meta is not None]
    facts = [_facts(path, ("ts_open_ns",)) for path in paths]
    hashes = {meta.data_hash for meta in known}
    problem = next((fact.problem for fact in facts if fact.problem), "")
    if len(hashes) > 1:
        problem = problem or "its files were built from different ticks"
    prices = "/".join(sorted({meta.price for meta in known}))
    return msgspec.structs.replace(
        _base(folder, "bars"),
        instrument=known[0].instrument,
        detail=f"{known[0].timeframe} {prices}",
        first_ts_ns=_least(fact.first for fact in facts),
        last_ts_ns=_most(fact.last for fact in facts),
        rows=sum(fact.rows for fact in facts),
        source=known[0].source,
        hash=known[0].data_hash,
        provenance=_provenance(known[0].synthetic),
        problem=problem,
    )


def _plain(folder: Path) -> Entry | None:
    """Recognise Parquet files directly in a folder or in partitions ``name=value`` below it."""
    paths = parquet_files(folder)
    if not paths:
        return None
    facts = [_facts(path, _TIME_COLUMNS) for path in paths]
    return msgspec.structs.replace(
        _base(folder, "parquet"),
        detail=f"{len(paths)} Parquet files",
        first_ts_ns=_least(fact.first for fact in facts),
        last_ts_ns=_most(fact.last for fact in facts),
        rows=sum(fact.rows for fact in facts),
        problem=next((fact.problem for fact in facts if fact.problem), ""),
    )


_RECOGNISERS: tuple[Callable[[Path], Entry | None], ...] = (
    _run,
    _dataset,
    _stream,
    _tick_store,
    _downloads,
    _indexed,
    _bars,
    _plain,
)


def bar_files(folder: Path) -> list[Path]:
    """Return the Parquet files directly in a folder, by name, without the stop ladder beside bars."""
    found = (path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    return sorted(path for path in found if path.name != STOPS_NAME or read_stop_meta(path) is None)


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files directly in a folder and in its partitions ``name=value``, by name."""
    found = [path for path in folder.glob("*.parquet") if not path.name.startswith(".")]
    for partition in folder.glob("*=*"):
        if partition.is_dir():
            found += [path for path in partition.rglob("*.parquet") if not path.name.startswith(".")]
    return sorted(found)


# --- facts of files ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Facts:
    rows: int = 0
    first: int | None = None
    last: int | None = None
    problem: str = ""


def _facts(path: Path, time_columns: Sequence[str]) -> _Facts:
    """Return rows and span of a Parquet file, from its footer."""
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as failure:
        return _Facts(problem=f"{path.name} is not readable Parquet ({_first_line(failure)})")
    names = footer.schema.to_arrow_schema().names
    column = next((name for name in time_columns if name in names), None)
    if column is None:
        return _Facts(rows=footer.num_rows)
    index = footer.schema.names.index(column)
    lows: list[int] = []
    highs: list[int] = []
    for group in range(footer.num_row_groups):
        statistics = footer.row_group(group).column(index).statistics
        if statistics is not None and statistics.has_min_max and isinstance(statistics.min, int):
            lows.append(statistics.min)
            highs.append(statistics.max)
    return _Facts(rows=footer.num_rows, first=_least(lows), last=_most(highs))


def _base(folder: Path, kind: str) -> Entry:
    """Return what every entry has; hidden files count as bytes alone."""
    count, size, newest_ns = 0, 0, 0
    for base, below, names in os.walk(folder):
        if Path(base) == folder:
            below[:] = [name for name in below if _is_part(kind, name)]
        for name in names:
            try:
                status = (Path(base) / name).stat()
            except FileNotFoundError:
                continue
            count += not name.startswith(".")
            size += status.st_size
            newest_ns = max(newest_ns, status.st_mtime_ns)
    written = stamp_text(newest_ns, "s") if newest_ns else ""
    return Entry(path=str(folder), kind=kind, files=count, bytes=size, written_at=written)


def _json(path: Path) -> tuple[dict[str, Any], str]:
    """Return a JSON object, or nothing and why."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as failure:
        return {}, f"{path.name} cannot be read ({_first_line(failure)})"
    return (found, "") if isinstance(found, dict) else ({}, f"{path.name} holds no object")


def _provenance(synthetic: object) -> Provenance:
    if isinstance(synthetic, bool):
        return "synthetic" if synthetic else "market"
    return "unknown"


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _hour_ns(text: str) -> int | None:
    try:
        moment = dt.datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000_000


def _least(values: Any) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _most(values: Any) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _first_line(failure: Exception) -> str:
    return (str(failure).splitlines() or [type(failure).__name__])[0]
