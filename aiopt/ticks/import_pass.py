"""One pass from the rows of a source to judged days.

Owns how days are made: the rows of the source are judged one by one and scattered to days, then each day is
sorted and judged.  Memory holds one block of the source and one day.  Knows no format and no rule.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aiopt
from aiopt.errors import DataError, ManifestError
from aiopt.files import sha256_file, storage_error
from aiopt.market.calendar import open_hours
from aiopt.market.instrument import Instrument
from aiopt.ticks.checks.quality import QualityWatch
from aiopt.ticks.checks.validation import SourcedTicks, ValidationRules, Validator, move
from aiopt.ticks.clocks.clock_shift import Shift
from aiopt.ticks.clocks.second_witness import TickRanges, Witness, check_against
from aiopt.ticks.manifest import (
    Manifest,
    SilentHour,
    SourceFile,
    differences,
    hash_partitions,
    is_tick_store,
    read_manifest,
    verify_store,
)
from aiopt.ticks.overlaps import FileEdges, is_newest_first, lay_over, time_order
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources import ReaderOptions, TickSource
from aiopt.ticks.store import StoreBuild
from aiopt.utc import DAY_NS, HOUR_NS, hour_text

Progress = Callable[[int, int], None]
"""Called with the work done and the whole work, in bytes of the source (reading counts half)."""

_RECORD = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("bid", "<f8"),
        ("ask", "<f8"),
        ("bid_size", "<f8"),
        ("ask_size", "<f8"),
        ("file", "<i4"),
        ("row", "<i8"),
    ]
)


@dataclass
class _Day:
    """A judged day."""

    day: int
    ticks: TickArrays
    hour_dropped: NDArray[np.int64]


class ImportPass:
    """One pass from a source to judged days."""

    def __init__(
        self,
        source: TickSource,
        instrument: Instrument,
        rules: ValidationRules,
        options: ReaderOptions,
        progress: Progress,
        *,
        strict: bool = True,
        witness: Witness | None = None,
    ) -> None:
        self.source = source
        self.instrument = instrument
        self.settings = rules.settings() | options.settings()
        if witness is not None:
            self.settings["check_against"] = witness.identity
        self._witness = witness
        self.validator = Validator(instrument, rules, files=source.files, clocks=source.clocks, strict=strict)
        self.rows = [0] * len(source.files)
        self.copies = np.zeros(len(source.files), dtype=np.int64)
        self._edges = FileEdges.of(len(source.files))
        self._progress = progress
        self._sizes = [path.stat().st_size for path in source.files]
        self._work = max(sum(self._sizes), 1)
        self._file_hashes: list[str] = []
        self._stores = _stores_of(source.files)

    @property
    def source_hash(self) -> str:
        """SHA-256 over the names (below the root) and contents of the files."""
        if not self._file_hashes:
            self._file_hashes = [sha256_file(path) for path in self.source.files]
        digest = hashlib.sha256()
        for path, file_hash in zip(self.source.files, self._file_hashes, strict=True):
            digest.update(f"{_below(path, self.source.root)} {file_hash}\n".encode())
        return digest.hexdigest()

    def already_in(self, out: Path) -> Manifest | None:
        """Return the manifest of `out` if it holds this import, whole."""
        if not is_tick_store(out):
            return None
        try:
            manifest = verify_store(out)
        except ManifestError:
            # A damaged store of this import is written anew; of another, `build_store` refuses it.
            return None
        return manifest if self._is_of(manifest) else None

    def is_damaged(self, out: Path) -> bool:
        """Return whether `out` has a manifest of this import whose files do not agree with it."""
        if not is_tick_store(out):
            return False
        try:
            manifest = read_manifest(out)
        except ManifestError:
            return False
        return self._is_of(manifest) and bool(differences(out, manifest))

    def _is_of(self, manifest: Manifest) -> bool:
        found = (manifest.source_hash, manifest.instrument, manifest.source_format, manifest.settings)
        wanted = (self.source_hash, self.instrument.symbol, self.source.format, self.settings)
        same = found == wanted and manifest.synthetic == self._is_synthetic()
        return same and manifest.hours == self._hours()

    def _is_synthetic(self) -> bool:
        """Return whether some ticks come from a store of generated ones: they stay so when copied."""
        return any(store.synthetic for store in self._stores)

    def _hours(self) -> dict[str, str]:
        return {hour_text(hour): outcome for hour, outcome in sorted(self.source.hours.items())}

    def run(self, build: StoreBuild) -> Manifest:
        """Write the days and return the manifest."""
        seen = None if self._witness is None else TickRanges(self._witness)
        for day in self._days(build.staging):
            build.write_day(day.day, day.ticks, day.hour_dropped)
            if seen is not None:
                seen.see(day.ticks)
        parts = build.partitions
        if not parts:
            dropped = [count.rule for count in self.validator.counts() if count.dropped]
            why = f" after the rules {', '.join(dropped)} dropped {sum(self.rows)}" if dropped else ""
            msg = f"No tick is left{why}. Check the source."
            raise DataError(msg, file=self.source.root)
        clock = self.validator.clock_proof()
        if self._witness is not None and seen is not None:
            check = check_against(seen.result(), self._witness, self.instrument, self.source.root)
            clock = clock.checked(check)
        return Manifest(
            aiopt_version=aiopt.__version__,
            instrument=self.instrument.symbol,
            source=_describe(self.source.root),
            source_format=self.source.format,
            source_hash=self.source_hash,
            synthetic=self._is_synthetic(),
            data_hash=hash_partitions(parts),
            rows=sum(part.rows for part in parts),
            rows_read=sum(self.rows),
            first_ts_ns=parts[0].first_ts_ns,
            last_ts_ns=parts[-1].last_ts_ns,
            settings=self.settings,
            rules=self.validator.counts(),
            silent_hours=self._silent_hours(build),
            notes=[
                *self.source.notes,
                *self.order_notes(),
                *(f"Taken from a tick store of {store.source}." for store in self._stores),
            ],
            files=[
                SourceFile(
                    path=_below(path, self.source.root),
                    rows=rows,
                    sha256=file_hash,
                    newest_first=bool(self._edges.newest_first[number]),
                    copies=int(self.copies[number]),
                )
                for number, (path, rows, file_hash) in enumerate(
                    zip(self.source.files, self.rows, self._file_hashes, strict=True)
                )
            ],
            partitions=parts,
            hours=self._hours(),
            clock=clock,
        )

    def order_notes(self) -> list[str]:
        """Return what was found of files that overlap or run backward, once all days have been read."""
        notes = []
        turned, copied = int(self._edges.newest_first.sum()), int(np.count_nonzero(self.copies))
        if turned:
            notes.append(f"{turned} file(s) were newest first and were turned round as a whole.")
        if copied:
            notes.append(f"{copied} file(s) overlap others: {int(self.copies.sum())} ticks were there twice.")
        return notes

    def judge(self, watch: QualityWatch) -> tuple[int, tuple[int | None, int | None]]:
        """Judge all ticks, `watch` seeing those kept; return how many they are, and their span."""
        kept = 0
        first: int | None = None
        last: int | None = None
        with _scratch() as folder:
            for day in self._days(folder):
                watch.see(day.ticks)
                kept += len(day.ticks)
                first = int(day.ticks.ts_event_ns[0]) if first is None else first
                last = int(day.ticks.ts_event_ns[-1])
        return kept, (first, last)

    def _days(self, folder: Path) -> Iterator[_Day]:
        """Yield the days of the source in order, judged; days without ticks are left out."""
        self.validator.check_missing_hours(self.source.missing_hours, self.source.root)
        spill = folder / "days"
        try:
            spill.mkdir()
            self._scatter(spill)
            shifts = self.validator.finish_rows()
            if shifts:
                spill = _moved_days(spill, folder / "moved", shifts, self._edges)
        except OSError as error:
            raise storage_error(spill, error) or error from error
        files = sorted(spill.iterdir(), key=lambda path: int(path.stem))
        for number, path in enumerate(files):
            batch, copies = lay_over(_load_day(path, self._edges), self._edges)
            if copies.any():
                self.copies += np.bincount(batch.file[copies], minlength=self.copies.size)
            batch = self.validator.check_day(batch, copies)
            path.unlink()
            day = int(path.stem)
            if len(batch):
                first_hour = day * 24
                dropped = [self.validator.dropped_in_hour(first_hour + hour) for hour in range(24)]
                yield _Day(day, batch.ticks, np.array(dropped, dtype=np.int64))
            self._progress(self._work + self._work * (number + 1) // len(files), 2 * self._work)

    def _scatter(self, spill: Path) -> None:
        """Judge the rows of the source and append them to one file per day."""
        done = 0
        for number, size in enumerate(self._sizes):
            for batch in self.source.read(number):
                count = len(batch.ticks)
                self.rows[number] += count
                if self.rows[number] == count:
                    self._edges.newest_first[number] = is_newest_first(batch.ticks.ts_event_ns)
                turned = bool(self._edges.newest_first[number])
                rows = np.arange(batch.first_row, batch.first_row + count, dtype=np.int64)
                sourced = SourcedTicks(batch.ticks, np.full(count, number, dtype=np.int32), rows)
                if turned:
                    sourced = sourced.take(np.arange(count - 1, -1, -1))
                judged = self.validator.check_rows(sourced, newest_first=turned)
                self._edges.see(judged)
                _append(spill, judged)
                self._progress(done + min(batch.done_bytes, size), 2 * self._work)
            done += size
            self._progress(done, 2 * self._work)

    def _silent_hours(self, build: StoreBuild) -> list[SilentHour]:
        """Return the open hours between the first and the last tick that have no tick, and why."""
        parts = build.partitions
        first, last = parts[0].first_ts_ns // HOUR_NS, parts[-1].last_ts_ns // HOUR_NS
        everything = np.arange(first, last + 1, dtype=np.int64)
        wanted = everything if self.instrument.always_open else open_hours(first, last)
        counts = {part.date: part.hour_rows for part in parts}
        empty, missing = set(self.source.empty_hours), set(self.source.missing_hours)
        result = []
        for hour in wanted.tolist():
            text = hour_text(hour)
            if counts.get(text[:10], [0] * 24)[hour % 24]:
                continue
            reason = "no_ticks"
            if hour in empty:
                reason = "empty_file"
            elif hour in missing:
                reason = "missing_file"
            elif self.source.hours and hour not in self.source.hours:
                reason = "not_asked"
            elif self.validator.dropped_in_hour(hour):
                reason = "all_dropped"
            result.append(SilentHour(hour=text, reason=reason))
        return result


def _append(spill: Path, batch: SourcedTicks) -> None:
    """Append ticks to the files of their days, in the order given."""
    if not len(batch):
        return
    records = np.empty(len(batch), dtype=_RECORD)
    for name, column in batch.ticks.columns():
        records[name] = column
    records["file"], records["row"] = batch.file, batch.row
    days = batch.ticks.ts_event_ns // DAY_NS
    # A stable sort keeps the order of the source within a day, also where days alternate.
    order = np.argsort(days, kind="stable")
    unique, starts = np.unique(days[order], return_index=True)
    for day, part in zip(unique.tolist(), np.split(records[order], starts[1:]), strict=True):
        with (spill / f"{day}.bin").open("ab") as stream:
            stream.write(part.tobytes())


def _moved_days(spill: Path, target: Path, shifts: Sequence[Shift], edges: FileEdges) -> Path:
    """Move the ticks of shifted weeks and scatter everything to its days anew; return the new folder."""
    target.mkdir()
    for path in sorted(spill.iterdir(), key=lambda path: int(path.stem)):
        _append(target, move(_load_day(path, edges), shifts))
        path.unlink()
    return target


def _load_day(path: Path, edges: FileEdges) -> SourcedTicks:
    """Read a day and put it into order of time, ticks of equal stamp in the order of the source."""
    records = np.fromfile(path, dtype=_RECORD)
    columns = (records[name].copy() for name in ("ts_event_ns", "bid", "ask", "bid_size", "ask_size"))
    batch = SourcedTicks(TickArrays(*columns), records["file"].copy(), records["row"].copy())
    return time_order(batch, edges)


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="aiopt-ticks-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.name


def _describe(root: Path) -> str:
    """Return the last parts of a path: enough to recognise it, the same wherever the tree is mounted."""
    return "/".join(part for part in root.absolute().parts[-3:] if part != "/")


def _stores_of(files: Sequence[Path]) -> list[Manifest]:
    """Return the manifests of the tick stores whose days are among the files."""
    days = {file.absolute() for file in files}
    stores = []
    for folder in sorted({above for day in days for above in day.parents}):
        if is_tick_store(folder):
            try:
                manifest = read_manifest(folder)
            except ManifestError:
                continue  # not ours, or broken: then its files are judged as any others
            if any(folder / part.path in days for part in manifest.partitions):
                stores.append(manifest)
    return stores
