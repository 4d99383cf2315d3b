"""From a tick source to a tick store, and judging ticks without storing them.

Owns the two passes: the rows of the source are judged one by one and scattered to days, then each day is
sorted, judged and written.  Memory holds one block of the source and one day.  Knows no format and no rule.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

import aiopt
from aiopt.errors import DataError, ManifestError
from aiopt.files import sha256_file, storage_error
from aiopt.market.calendar import open_hours
from aiopt.market.clock_shift import Shift
from aiopt.market.instrument import Instrument
from aiopt.market.instrument import instrument as find_instrument
from aiopt.market.manifest import (
    Manifest,
    RuleCount,
    SilentHour,
    SourceFile,
    differences,
    hash_partitions,
    is_tick_store,
    read_manifest,
    verify_store,
)
from aiopt.market.quality import QualityWatch, TickQuality
from aiopt.market.sources import ReaderOptions, TickSource, open_source
from aiopt.market.store import StoreBuild, build_store, locked
from aiopt.market.ticks import DAY_NS, HOUR_NS, TickArrays, hour_text
from aiopt.market.validation import DEFAULT_RULES, SourcedTicks, ValidationRules, Validator, move

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


def import_ticks(
    source: Path,
    out: Path,
    *,
    instrument: str = "EURUSD",
    format: str | None = None,
    rules: ValidationRules = DEFAULT_RULES,
    options: ReaderOptions | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Import ticks into a store; the same source, rules and options twice change nothing.

    Parameters
    ----------
    source : Path
        File or folder, see `aiopt.market.sources.FORMATS`.
    out : Path
        Folder of the store: absent, empty, or holding this import.
    instrument : str
        Symbol.
    format : str, optional
        Key of `FORMATS`; recognised if absent.
    rules : ValidationRules
        Treatment of each rule.
    options : ReaderOptions, optional
        Clock and size unit of the source.
    replace : bool
        Replace another tick store in `out`.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    Manifest

    Raises
    ------
    DataError
        If the source cannot be read, breaks a rule of treatment ``fail`` or leaves no tick, or `out` holds
        something else.
    StorageError
        If the disk is full or `out` cannot be written.  No half-written store is left.
    """
    item = find_instrument(instrument)
    options = options or ReaderOptions()
    opened = open_source(Path(source), item, format=format, options=options)
    return import_source(
        opened, out, instrument=item, rules=rules, options=options, replace=replace, progress=progress
    )


def import_source(
    opened: TickSource,
    out: Path,
    *,
    instrument: Instrument,
    rules: ValidationRules = DEFAULT_RULES,
    options: ReaderOptions | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Import a source whose files are already listed; otherwise as `import_ticks`.

    Parameters
    ----------
    opened : TickSource
        The source.
    out, instrument, rules, options, replace, progress
        See `import_ticks`.
    """
    item = instrument
    options = options or ReaderOptions()
    out = Path(out)
    _check_apart(opened.root, out)
    job = _Job(opened, item, rules, options, progress or _silent)
    with locked(out):
        existing = job.already_in(out)
        if existing is not None:
            return existing
        with build_store(out, item.symbol, replace=replace or job.is_damaged(out)) as build:
            manifest = job.run(build)
            build.commit(manifest)
    return manifest


def open_ticks(
    source: Path,
    cache_dir: Path,
    *,
    instrument: str = "EURUSD",
    format: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return a tick store with the ticks of `source`: itself if it is one, else an import in `cache_dir`.

    Parameters
    ----------
    source : Path
        Tick store, or anything `import_ticks` reads.
    cache_dir : Path
        Imports are kept here, in folders named by content: a changed source is imported anew.
    instrument, format, progress
        See `import_ticks`.

    Raises
    ------
    ManifestError
        If the tick store's files disagree with its manifest.
    DataError
        If the store is of another instrument, or the source cannot be imported.
    """
    source = Path(source)
    item = find_instrument(instrument)
    if source.is_dir() and is_tick_store(source):
        manifest = verify_store(source)
        if manifest.instrument != item.symbol:
            msg = f"The ticks must be of {item.symbol}, but this store is of {manifest.instrument}. "
            raise DataError(msg + "Name another store or instrument.", file=source)
        return source
    options = ReaderOptions()
    opened = open_source(source, item, format=format, options=options)
    job = _Job(opened, item, DEFAULT_RULES, options, _silent)
    key = hashlib.sha256(f"{job.source_hash}\n{job.settings}\n{aiopt.__version__}".encode()).hexdigest()
    out = Path(cache_dir) / f"{item.symbol}-{opened.format}-{key[:16]}"
    import_ticks(source, out, instrument=item.symbol, format=opened.format, progress=progress)
    return out


class TickCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `validate_ticks` found.

    Attributes
    ----------
    source, format : str
        What was judged; format ``"store"`` for a tick store.
    instrument : str
        Symbol.
    rows_read, rows_kept : int
        Ticks before and after treatment.
    first_ts_ns, last_ts_ns : int or None
        Span of the ticks kept.
    rules : list of RuleCount
        Per rule.
    failures : list of str
        One message per rule of treatment ``fail`` that found something, and per file that does not agree
        with its manifest.
    notes : list of str
        From the reader.
    data_hash : str or None
        Of a tick store.
    synthetic : bool
        True if the ticks were generated.
    imported : list of RuleCount
        Of a tick store: what its import found and did.
    quality : TickQuality or None
        Figures per hour; None if the ticks could not be judged.
    """

    source: str
    format: str
    instrument: str
    rows_read: int
    rows_kept: int
    first_ts_ns: int | None
    last_ts_ns: int | None
    rules: list[RuleCount]
    failures: list[str]
    notes: list[str]
    data_hash: str | None = None
    synthetic: bool = False
    imported: list[RuleCount] = []
    quality: TickQuality | None = None

    @property
    def ok(self) -> bool:
        """True if nothing failed."""
        return not self.failures


def validate_ticks(
    source: Path,
    *,
    instrument: str | None = None,
    format: str | None = None,
    rules: ValidationRules = DEFAULT_RULES,
    options: ReaderOptions | None = None,
    progress: Progress | None = None,
) -> TickCheck:
    """Judge ticks without storing them.

    For a tick store its files are compared with the manifest and the ticks in it are judged again; what the
    import dropped is in the manifest.  Rules of treatment ``fail`` are counted to the end, not raised.

    Parameters
    ----------
    source : Path
        Tick store, or anything `import_ticks` reads.
    instrument : str, optional
        Symbol; that of the manifest, else EURUSD, if absent.
    format, rules, options, progress
        See `import_ticks`.

    Raises
    ------
    DataError
        If the source cannot be read at all.
    """
    source = Path(source)
    stored = read_manifest(source) if source.is_dir() and is_tick_store(source) else None
    symbol = instrument or ("EURUSD" if stored is None else stored.instrument)
    item = find_instrument(symbol)
    wrong: list[str] = []
    if stored is not None:
        wrong = differences(source, stored)
        if item.symbol != stored.instrument:
            wrong.append(f"the store is of {stored.instrument}, not of {item.symbol}")
        format = "parquet"
    options = options or ReaderOptions()
    if stored is not None and any("missing" in text or "not the file" in text for text in wrong):
        return _broken_store(source, stored, wrong)
    opened = open_source(source, item, format=format, options=options)
    job = _Job(opened, item, rules, options, progress or _silent, strict=False)
    watch = QualityWatch(item)
    kept, span = job.judge(watch)
    counts = job.validator.counts()
    return TickCheck(
        source=str(source),
        format="store" if stored is not None else opened.format,
        instrument=item.symbol,
        rows_read=sum(job.rows),
        rows_kept=kept,
        first_ts_ns=span[0],
        last_ts_ns=span[1],
        rules=counts,
        failures=wrong + [str(error) for error in job.validator.failures().values()],
        notes=opened.notes if stored is None else list(stored.notes),
        data_hash=None if stored is None else stored.data_hash,
        synthetic=stored is not None and stored.synthetic,
        imported=[] if stored is None else stored.rules,
        quality=watch.result(counts, job.validator.findings.values(), job.validator.gaps, job.source.files),
    )


@dataclass
class _Day:
    """A judged day."""

    day: int
    ticks: TickArrays
    hour_dropped: NDArray[np.int64]


class _Job:
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
    ) -> None:
        self.source = source
        self.instrument = instrument
        self.settings = rules.settings() | options.settings()
        self.validator = Validator(instrument, rules, files=source.files, strict=strict)
        self.rows = [0] * len(source.files)
        self._progress = progress
        self._sizes = [path.stat().st_size for path in source.files]
        self._work = max(sum(self._sizes), 1)
        self._file_hashes: list[str] = []

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
        return found == wanted and manifest.hours == self._hours()

    def _hours(self) -> dict[str, str]:
        return {hour_text(hour): outcome for hour, outcome in sorted(self.source.hours.items())}

    def run(self, build: StoreBuild) -> Manifest:
        """Write the days and return the manifest."""
        for day in self._days(build.staging):
            build.write_day(day.day, day.ticks, day.hour_dropped)
        parts = build.partitions
        if not parts:
            dropped = [count.rule for count in self.validator.counts() if count.dropped]
            why = f" after the rules {', '.join(dropped)} dropped {sum(self.rows)}" if dropped else ""
            msg = f"A source must leave at least one tick, but none is left{why}. Check the source."
            raise DataError(msg, file=self.source.root)
        return Manifest(
            aiopt_version=aiopt.__version__,
            instrument=self.instrument.symbol,
            source=_describe(self.source.root),
            source_format=self.source.format,
            source_hash=self.source_hash,
            synthetic=False,
            data_hash=hash_partitions(parts),
            rows=sum(part.rows for part in parts),
            rows_read=sum(self.rows),
            first_ts_ns=parts[0].first_ts_ns,
            last_ts_ns=parts[-1].last_ts_ns,
            settings=self.settings,
            rules=self.validator.counts(),
            silent_hours=self._silent_hours(build),
            notes=list(self.source.notes),
            files=[
                SourceFile(path=_below(path, self.source.root), rows=rows, sha256=file_hash)
                for path, rows, file_hash in zip(self.source.files, self.rows, self._file_hashes, strict=True)
            ],
            partitions=parts,
            hours=self._hours(),
        )

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
                spill = _moved_days(spill, folder / "moved", shifts)
        except OSError as error:
            raise storage_error(spill, error) or error from error
        files = sorted(spill.iterdir(), key=lambda path: int(path.stem))
        for number, path in enumerate(files):
            batch = self.validator.check_day(_load_day(path))
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
                rows = np.arange(batch.first_row, batch.first_row + count, dtype=np.int64)
                sourced = SourcedTicks(batch.ticks, np.full(count, number, dtype=np.int32), rows)
                _append(spill, self.validator.check_rows(sourced))
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


def _moved_days(spill: Path, target: Path, shifts: Sequence[Shift]) -> Path:
    """Move the ticks of shifted weeks and scatter everything to its days anew; return the new folder."""
    target.mkdir()
    for path in sorted(spill.iterdir(), key=lambda path: int(path.stem)):
        _append(target, move(_load_day(path), shifts))
        path.unlink()
    return target


def _load_day(path: Path) -> SourcedTicks:
    """Read a day and put it into order of time, ticks of equal stamp in the order of the source."""
    records = np.fromfile(path, dtype=_RECORD)
    stamps = records["ts_event_ns"]
    if (np.diff(stamps) < 0).any():
        records = records[np.argsort(stamps, kind="stable")]
    columns = (records[name].copy() for name in ("ts_event_ns", "bid", "ask", "bid_size", "ask_size"))
    return SourcedTicks(TickArrays(*columns), records["file"].copy(), records["row"].copy())


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="aiopt-ticks-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _broken_store(source: Path, stored: Manifest, wrong: list[str]) -> TickCheck:
    """Return the verdict on a store whose ticks cannot be judged: files are missing or changed."""
    return TickCheck(
        source=str(source),
        format="store",
        instrument=stored.instrument,
        rows_read=stored.rows,
        rows_kept=0,
        first_ts_ns=None,
        last_ts_ns=None,
        rules=[],
        failures=wrong,
        notes=stored.notes,
        data_hash=stored.data_hash,
        synthetic=stored.synthetic,
    )


def _check_apart(source: Path, out: Path) -> None:
    inside = source.resolve()
    target = out.resolve()
    if target == inside or inside in target.parents or target in inside.parents:
        msg = f"The output must lie apart from the source, but the source is {source}. Choose another folder."
        raise DataError(msg, file=out)


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.name


def _describe(root: Path) -> str:
    """Return the last parts of a path: enough to recognise it, the same wherever the tree is mounted."""
    return "/".join(part for part in root.absolute().parts[-3:] if part != "/")


def _silent(done: int, total: int) -> None:
    del done, total
