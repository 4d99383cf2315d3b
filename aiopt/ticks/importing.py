"""From a tick source to a tick store, and judging ticks without storing them.

Owns what an import is: when it is the same as before, where it may be written, what is left if it fails.
The pass over the ticks is in `import_pass`.  Knows no format and no rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

import aiopt
from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.market.instrument import instrument as find_instrument
from aiopt.ticks.checks.quality import QualityWatch, TickQuality
from aiopt.ticks.checks.validation import DEFAULT_RULES, SourcedTicks, ValidationRules, Validator
from aiopt.ticks.clocks.clock_proof import ClockProof
from aiopt.ticks.clocks.second_witness import Witness
from aiopt.ticks.import_pass import ImportPass, Progress
from aiopt.ticks.manifest import Manifest, RuleCount, differences, is_tick_store, read_manifest, verify_store
from aiopt.ticks.places import hint_below
from aiopt.ticks.sources import ReaderOptions, TickSource, open_named_source, open_source
from aiopt.ticks.store import build_store, locked


# More than seven parameters: each is a choice of its own, and what belongs together is one struct already
# (`rules`, `options`).
# reason: keyword arguments with defaults, one per choice that the caller of an import has
def import_ticks(  # noqa: PLR0913
    source: Path,
    out: Path,
    *,
    instrument: str | None = "EURUSD",
    format: str | None = None,
    rules: ValidationRules = DEFAULT_RULES,
    options: ReaderOptions | None = None,
    replace: bool = False,
    witness: Callable[[Instrument], Witness] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Import ticks into a store; the same source, rules and options twice change nothing.

    Parameters
    ----------
    source : Path
        File or folder, see `aiopt.ticks.sources.FORMATS`.
    out : Path
        Folder of the store: absent, empty, or holding this import.
    instrument : str or None
        Symbol, which nothing in the source may contradict.  None: what the source says; one that says
        nothing is taken as EURUSD, with a note, see `aiopt.ticks.sources.instrument_evidence`.
    format : str, optional
        Key of `FORMATS`; recognised if absent.
    rules : ValidationRules
        Treatment of each rule.
    options : ReaderOptions, optional
        Clock and size unit of the source.
    replace : bool
        Replace another tick store in `out`.
    witness : callable, optional
        Reads bars of the same market that must agree with the ticks at no lag, see `read_witness`.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    Manifest

    Raises
    ------
    DataError
        If the source cannot be read, breaks a rule of treatment ``fail``, disagrees with the witness or
        leaves no tick, or `out` holds something else.
    StorageError
        If the disk is full or `out` cannot be written.  No half-written store is left.
    """
    options = options or ReaderOptions()
    opened, item = open_named_source(Path(source), instrument, format=format, options=options)
    return import_source(
        opened,
        out,
        instrument=item,
        rules=rules,
        options=options,
        replace=replace,
        witness=witness,
        progress=progress,
    )


# reason: as `import_ticks`
def import_source(  # noqa: PLR0913
    opened: TickSource,
    out: Path,
    *,
    instrument: Instrument,
    rules: ValidationRules = DEFAULT_RULES,
    options: ReaderOptions | None = None,
    replace: bool = False,
    witness: Callable[[Instrument], Witness] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Import a source whose files are already listed; otherwise as `import_ticks`.

    Parameters
    ----------
    opened : TickSource
        The source.
    out, instrument, rules, options, replace, witness, progress
        See `import_ticks`.
    """
    item = instrument
    options = options or ReaderOptions()
    out = Path(out)
    _check_apart(opened.root, out)
    job = ImportPass(opened, item, rules, options, progress or _silent, witness=witness and witness(item))
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
    instrument: str | None = "EURUSD",
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
    _check_not_above(source)
    if source.is_dir() and is_tick_store(source):
        manifest = verify_store(source)
        if instrument is not None and manifest.instrument != find_instrument(instrument).symbol:
            msg = f"This store is of {manifest.instrument}, not of {instrument}. "
            raise DataError(msg + "Name another store or instrument.", file=source)
        return source
    options = ReaderOptions()
    opened, item = open_named_source(source, instrument, format=format, options=options)
    job = ImportPass(opened, item, DEFAULT_RULES, options, _silent)
    key = hashlib.sha256(f"{job.source_hash}\n{job.settings}\n{aiopt.__version__}".encode()).hexdigest()
    out = Path(cache_dir) / f"{item.symbol}-{opened.format}-{key[:16]}"
    import_ticks(source, out, instrument=item.symbol, format=opened.format, progress=progress)
    return out


def check_sample(
    source: Path, *, instrument: str = "EURUSD", rows: int = 1_000_000
) -> tuple[tuple[Path, ...], int, int]:
    """Judge the first rows of a source with every rule of an import, without storing anything.

    Parameters
    ----------
    source : Path
        Anything `import_ticks` reads.
    instrument : str
        Symbol.
    rows : int
        Rows after which no further batch is read.

    Returns
    -------
    files : tuple of Path
        What the source consists of.
    first_ts_ns, last_ts_ns : int
        Span of the rows read.

    Raises
    ------
    DataError
        As an import of these rows would; a source whose ticks lie behind the first rows can still fail later.
    """
    _check_not_above(Path(source))
    item = find_instrument(instrument)
    opened = open_source(Path(source), item, options=ReaderOptions())
    validator = Validator(item, DEFAULT_RULES, files=opened.files, clocks=opened.clocks)
    validator.check_missing_hours(opened.missing_hours, opened.root)
    seen, span = 0, [2**62, -(2**62)]
    for number in range(len(opened.files)):
        for batch in opened.read(number):
            count = len(batch.ticks)
            place = np.full(count, number, dtype=np.int32)
            index = np.arange(batch.first_row, batch.first_row + count, dtype=np.int64)
            kept = validator.check_rows(SourcedTicks(batch.ticks, place, index))
            seen += count
            if len(kept):
                stamps = kept.ticks.ts_event_ns
                span = [min(span[0], int(stamps.min())), max(span[1], int(stamps.max()))]
            if seen >= rows:
                break
        if seen >= rows:
            break
    validator.finish_rows()
    if span[0] > span[1]:
        msg = f"The rules leave no tick of the first {seen:,} rows. Check the source."
        raise DataError(msg, file=source)
    return opened.files, span[0], span[1]


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
    clock : ClockProof or None
        What the stamps were read as and what proves it; of a tick store, as it was imported.
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
    clock: ClockProof | None = None

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
        As for `import_ticks`; that of the manifest of a store, if absent.
    format, rules, options, progress
        See `import_ticks`.

    Raises
    ------
    DataError
        If the source cannot be read at all.
    """
    source = Path(source)
    _check_not_above(source)
    stored = read_manifest(source) if source.is_dir() and is_tick_store(source) else None
    options = options or ReaderOptions()
    if stored is None:
        opened, item = open_named_source(source, instrument, format=format, options=options)
    else:
        item = find_instrument(instrument or stored.instrument)
    wrong: list[str] = []
    if stored is not None:
        wrong = differences(source, stored)
        if item.symbol != stored.instrument:
            wrong.append(f"the store is of {stored.instrument}, not of {item.symbol}")
        format = "parquet"
    if stored is not None and any("missing" in text or "not the file" in text for text in wrong):
        return _broken_store(source, stored, wrong)
    if stored is not None:
        opened = open_source(source, item, format=format, options=options)
    job = ImportPass(opened, item, rules, options, progress or _silent, strict=False)
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
        notes=[*opened.notes, *job.order_notes()] if stored is None else list(stored.notes),
        data_hash=None if stored is None else stored.data_hash,
        synthetic=stored is not None and stored.synthetic,
        imported=[] if stored is None else stored.rules,
        clock=job.validator.clock_proof() if stored is None else stored.clock,
        quality=watch.result(counts, job.validator.findings.values(), job.validator.gaps, job.source.files),
    )


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
        clock=stored.clock,
    )


def _check_not_above(source: Path) -> None:
    """Refuse a folder above tick stores: reading their files as any others would guess, and copy them."""
    hint = "" if is_tick_store(source) else hint_below(source)
    if hint:
        raise DataError(f"This folder is no tick store.{hint}", file=source)


def _check_apart(source: Path, out: Path) -> None:
    inside = source.resolve()
    target = out.resolve()
    if target == inside or inside in target.parents or target in inside.parents:
        msg = f"The output and the source {source} lie in one another. Choose another folder."
        raise DataError(msg, file=out)


def _silent(done: int, total: int) -> None:
    del done, total
