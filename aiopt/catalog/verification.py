"""Is what lies there what was written: hashes again, and the row group at fault where it can be named.

Owns the comparison of an entry with what its manifest or metadata says.  Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.bars.files import read_bars, values_hash
from aiopt.bars.stops.stop_files import STOPS_NAME, read_stop_table
from aiopt.catalog.discovery import DATASET_NAME, parquet_files, read_index
from aiopt.catalog.entries import Entry, Fault
from aiopt.catalog.rebuilding import compare_with_ticks
from aiopt.errors import DataError, ManifestError
from aiopt.files import sha256_file
from aiopt.ticks.download.cache import RECORD_NAME
from aiopt.ticks.manifest import Partition, read_manifest
from aiopt.ticks.schema import TICK_COLUMNS, TICK_SCHEMA, TickArrays
from aiopt.ticks.store import content_sha256
from aiopt.utc import DAY_NS, HOUR_NS, day_number

Progress = Callable[[int, int], None]
"""Called with the bytes looked at and all to look at; those of bars built again count twice."""


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `verify` found.

    Attributes
    ----------
    entries : int
        Looked at.
    files : int
        Files read.
    bytes : int
        Of the entries.
    faults : list of Fault
        In order of entry and file.
    unproven : list of str
        Entries without recorded hashes: they could be read, which is all that is known.
    rebuilt : list of str
        Bars that were built again from their ticks, and equal them unless among the faults.
    """

    entries: int
    files: int
    bytes: int
    faults: list[Fault]
    unproven: list[str]
    rebuilt: list[str] = []

    @property
    def ok(self) -> bool:
        """True if nothing is at fault."""
        return not self.faults


def verify(
    entries: Sequence[Entry],
    *,
    values: bool = False,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Read the files of entries and compare them with what is recorded.

    Parameters
    ----------
    entries : sequence of Entry
        From `find_entries`.
    values : bool
        Decode the values of tick stores too and compare their content hashes: proves that the manifest's
        file hash and content hash speak of the same ticks.
    rebuild : bool
        Build bars again where their ticks are among the entries, whole, and compare them value by value.
    progress : callable, optional
        See `Progress`.
    """
    total = sum(entry.bytes for entry in entries)
    work = total + (sum(entry.bytes for entry in entries if entry.kind == "bars") if rebuild else 0)
    done, files = 0, 0
    faults: list[Fault] = []
    unproven: list[str] = []
    rebuilt: list[str] = []

    def finished(entry: Entry) -> None:
        nonlocal done
        done += entry.bytes
        if progress is not None:
            progress(done, max(work, 1))

    for entry in entries:
        check = _Check(entry, values)
        check.run()
        faults += check.faults
        files += check.files
        if not check.hashed:
            unproven.append(entry.path)
        finished(entry)
    if rebuild:
        at_fault = {fault.entry for fault in faults}
        whole = {entry.hash: Path(entry.path) for entry in entries if entry.kind == "ticks"}
        whole = {key: path for key, path in whole.items() if str(path) not in at_fault}
        for entry in (entry for entry in entries if entry.kind == "bars"):
            if entry.path not in at_fault and entry.hash in whole:
                differing, all_compared = compare_with_ticks(Path(entry.path), whole[entry.hash])
                faults += differing
                if all_compared:
                    unproven.remove(entry.path)
                    rebuilt.append(entry.path)
            finished(entry)
    return Verification(
        entries=len(entries), files=files, bytes=total, faults=faults, unproven=unproven, rebuilt=rebuilt
    )


def damaged_row_groups(path: Path) -> Iterator[tuple[int | None, str]]:
    """Yield the row groups of a Parquet file that cannot be read or fail their page checksums.

    The first of a pair is None where the file cannot be opened at all.  A file written without page checksums
    shows only damage that breaks the encoding.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as failure:
        yield None, f"not readable Parquet ({_line(failure)})"
        return
    with file:
        for group in range(file.metadata.num_row_groups):
            try:
                file.read_row_group(group, use_threads=False)
            except (pa.ArrowException, OSError) as failure:
                yield group, f"not readable ({_line(failure)})"


class _Check:
    """One entry being looked at."""

    def __init__(self, entry: Entry, values: bool) -> None:
        self.entry = entry
        self.root = Path(entry.path)
        self.values = values
        self.faults: list[Fault] = []
        self.files = 0
        self.hashed = True

    def run(self) -> None:
        if self.entry.problem:
            self.fault(".", self.entry.problem)
        steps = {
            "ticks": self.ticks,
            "bars": self.bars,
            "downloads": self.downloads,
            "run": self.run_folder,
            "dataset": self.dataset,
            "parquet": self.indexed,
            "nautilus": self.indexed,
        }
        steps.get(self.entry.kind, self.readable)()

    def fault(self, file: str, problem: str, row_group: int | None = None) -> None:
        found = Fault(entry=self.entry.path, file=file, row_group=row_group, problem=problem)
        if not any(known.file == file and known.row_group == row_group for known in self.faults):
            self.faults.append(found)

    # --- kinds ---

    def ticks(self) -> None:
        try:
            manifest = read_manifest(self.root)
        except ManifestError as failure:
            self.fault("manifest.json", failure.reason)
            return
        for part in manifest.partitions:
            path = self.root / part.path
            self.files += 1
            if not path.is_file():
                self.fault(part.path, "missing")
            elif sha256_file(path) != part.sha256:
                self._locate(part)
            elif self.values and _content(path) != part.content_sha256:
                self.fault(part.path, "the file is the one imported, but the manifest names other values")
        known = {part.path for part in manifest.partitions}
        for path in parquet_files(self.root):
            name = path.relative_to(self.root).as_posix()
            if name not in known:
                self.fault(name, "not in the manifest")

    def _locate(self, part: Partition) -> None:
        """Name what differs in a day whose bytes do: the row group, else the hour, else the file."""
        path = self.root / part.path
        broken = list(damaged_row_groups(path))
        for group, problem in broken:
            self.fault(part.path, f"SHA-256 differs from the manifest; {problem}", group)
        if broken:
            return
        table = pq.read_table(path, partitioning=None)
        if not table.schema.equals(TICK_SCHEMA):
            self.fault(part.path, f"SHA-256 differs from the manifest; its columns are {table.schema.names}")
        elif content_sha256(_ticks(table)) == part.content_sha256:
            self.fault(part.path, "SHA-256 differs from the manifest; its values are the same (rewritten?)")
        elif table.num_rows != part.rows:
            wanted = f"{table.num_rows} ticks instead of {part.rows}"
            self.fault(part.path, f"SHA-256 differs from the manifest; {wanted}{_hours(table, part)}")
        else:
            self.fault(part.path, f"SHA-256 differs from the manifest; values differ{_hours(table, part)}")

    def bars(self) -> None:
        proven = []
        for path in parquet_files(self.root):
            self.files += 1
            name = path.name
            broken = list(damaged_row_groups(path))
            for group, problem in broken:
                self.fault(name, problem, group)
            if not broken:
                try:
                    if name == STOPS_NAME:
                        read_stop_table(path)
                    else:
                        proven.append(self._imported_bars(path))
                except DataError as failure:
                    self.fault(name, failure.reason)
        # Bars built from ticks are proved by building them again; a provider's own carry their hash.
        self.hashed = bool(proven) and all(proven)

    def _imported_bars(self, path: Path) -> bool:
        """Compare a bar file with the hash it carries; return whether it carries one."""
        table = read_bars(path)
        recorded = table.meta.values_hash
        if recorded and values_hash(table.frame, table.meta) != recorded:
            self.fault(path.name, "the bars are not those imported: a value or its origin was changed")
        elif recorded:
            for side in msgspec.json.decode(table.meta.settings).get("sides", []):
                if not path.with_name(f"{side}.parquet").is_file():
                    self.fault(f"{side}.parquet", "missing: it was imported together with the others")
        return bool(recorded)

    def dataset(self) -> None:
        document = self._json(DATASET_NAME)
        files = document.get("files", []) if isinstance(document, dict) else []
        for file in files:
            self._hashed_file(str(file["path"]), str(file["sha256"]), "dataset.json")

    def _hashed_file(self, name: str, sha256: str, where: str) -> None:
        """Compare a file with its recorded hash, and name the row groups at fault."""
        path = self.root / name
        self.files += 1
        if not path.is_file():
            self.fault(name, "missing")
        elif sha256_file(path) != sha256:
            parquet = path.suffix == ".parquet"
            broken = list(damaged_row_groups(path)) if parquet else []
            for group, problem in broken or [(None, "its values may be others")]:
                self.fault(name, f"SHA-256 differs from {where}; {problem}", group)

    def downloads(self) -> None:
        document = self._json(RECORD_NAME)
        hours = document.get("hours", {}) if isinstance(document, dict) else {}
        for hour, record in hours.items():
            name = record.get("file")
            if not name:
                continue
            self.files += 1
            path = self.root / name
            if not path.is_file():
                self.fault(name, f"the answer of {hour} is missing; the next download fetches it")
            elif sha256_file(path) != record.get("sha256"):
                self.fault(name, f"the answer of {hour} is not the one kept; the next download fetches it")

    def run_folder(self) -> None:
        self.hashed = False
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.suffix == ".json":
                self.files += 1
                self._json(name)
            elif path.suffix == ".parquet" and not path.name.startswith("."):
                self.files += 1
                for group, problem in damaged_row_groups(path):
                    self.fault(name, problem, group)

    def indexed(self) -> None:
        try:
            index = read_index(self.root)
        except ManifestError as failure:
            self.fault("catalog.json", failure.reason)
            return
        if index is None:
            self.readable()
            return
        for file in index.files:
            self._hashed_file(file.path, file.sha256, "catalog.json")
        known = {file.path for file in index.files}
        if self.entry.kind != "nautilus":
            for path in parquet_files(self.root):
                name = path.relative_to(self.root).as_posix()
                if name not in known:
                    self.fault(name, "not in the index: written after it (`aiopt data compact` takes it in)")

    def readable(self) -> None:
        """Read every Parquet file of an entry without recorded hashes."""
        self.hashed = False
        loose = self.entry.kind == "parquet"
        for path in parquet_files(self.root) if loose else sorted(self.root.rglob("*.parquet")):
            if path.name.startswith("."):
                continue
            self.files += 1
            name = path.relative_to(self.root).as_posix()
            for group, problem in damaged_row_groups(path):
                self.fault(name, problem, group)

    def _json(self, name: str) -> Any:
        try:
            return msgspec.json.decode((self.root / name).read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as failure:
            self.fault(name, f"not readable JSON ({_line(failure)})")
            return None


def _content(path: Path) -> str:
    return content_sha256(_ticks(pq.read_table(path, partitioning=None)))


def _ticks(table: pa.Table) -> TickArrays:
    return TickArrays(*(np.ascontiguousarray(table.column(name).to_numpy()) for name in TICK_COLUMNS))


def _hours(table: pa.Table, part: Partition) -> str:
    """Return which hours hold another number of ticks than the manifest says, for a message."""
    stamps = table.column("ts_event_ns").to_numpy()
    day = day_number(part.date)
    hours = (stamps - day * DAY_NS) // HOUR_NS
    if ((hours < 0) | (hours > 23)).any():
        return ", and some are of another day"
    counts = np.bincount(hours, minlength=24)
    wrong = [f"{hour:02}h" for hour in range(24) if counts[hour] != part.hour_rows[hour]]
    return f" (hours {', '.join(wrong)})" if wrong else ""


def _line(failure: Exception) -> str:
    return (str(failure).splitlines() or [type(failure).__name__])[0]
