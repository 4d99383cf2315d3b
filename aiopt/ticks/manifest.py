"""The manifest of a tick store: what it holds, where it came from, what was dropped and why.

Owns `manifest.json`, its types, reading it and comparing it with the files.  A folder is a tick store exactly
when it has one: the manifest is written last.  Knows nothing of how ticks are read or judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from aiopt.errors import ManifestError
from aiopt.files import atomic_write_bytes, sha256_file
from aiopt.folder_commit import COMMIT, finish_pending
from aiopt.ticks.clocks.clock_proof import ClockProof
from aiopt.ticks.places import hint_below

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1


class Partition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One day of one instrument: one Parquet file.

    Attributes
    ----------
    path : str
        Relative to the store, ``instrument=EURUSD/date=2014-05-01/ticks.parquet``.
    instrument : str
        Symbol.
    date : str
        UTC day, ``YYYY-MM-DD``.
    rows : int
        Ticks in the file.
    sha256 : str
        Of the file's bytes.
    content_sha256 : str
        Of the values, column by column as little-endian bytes: it does not depend on the Parquet library.
    first_ts_ns, last_ts_ns : int
        Stamps of the first and last tick.
    hour_rows : list of int
        Ticks kept in each of the 24 hours, UTC.
    hour_dropped : list of int
        Ticks dropped in each of the 24 hours.
    """

    path: str
    instrument: str
    date: str
    rows: int
    sha256: str
    content_sha256: str
    first_ts_ns: int
    last_ts_ns: int
    hour_rows: list[int]
    hour_dropped: list[int]


class RuleCount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one validation rule found.

    Attributes
    ----------
    rule : str
        Name, see `aiopt.ticks.checks.tick_rules.RULES`.
    treatment : str
        ``"keep"``, ``"drop"``, ``"fix"`` or ``"fail"``.
    found : int
        Ticks that break the rule (``gap``: gaps, ``missing_hour``: hours, ``clock_shift``: weeks).
    dropped : int
        Ticks dropped for it.
    fixed : int
        Ticks (weeks) mended as the rule says.  0 in stores written before fixes existed.
    hours : dict of str to int
        `found` per hour, ``"2014-05-02T12"``: UTC hours with at least one.
    """

    rule: str
    treatment: str
    found: int
    dropped: int
    hours: dict[str, int]
    fixed: int = 0


class SilentHour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An hour of an open market without ticks.

    Attributes
    ----------
    hour : str
        ``"2014-05-02T12"``, UTC.
    reason : str
        ``"empty_file"`` (the source says so), ``"missing_file"`` (the source has no file for it),
        ``"not_asked"`` (between two downloads), ``"all_dropped"`` or ``"no_ticks"``.
    """

    hour: str
    reason: str


class SourceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file that was read.

    Attributes
    ----------
    path : str
        Below the source.
    rows : int
        Its ticks.
    sha256 : str
        Of its bytes.
    newest_first : bool
        It ran from its newest tick to its oldest, and was turned round as a whole.
    copies : int
        Ticks of it that another file of the source had too.
    """

    path: str
    rows: int
    sha256: str
    newest_first: bool = False
    copies: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tick store holds.  It has no wall clock: equal imports give equal bytes.

    Attributes
    ----------
    schema_version : int
        Of this type.
    aiopt_version : str
        Version that wrote the store.
    instrument : str
        Symbol; a store holds one.
    source : str
        The last parts of the source's path, or the description of the generator.
    source_format : str
        Name of the reader, or ``"synthetic"``.
    source_hash : str
        SHA-256 over the names and contents of the files read, or over the generator's parameters.
    synthetic : bool
        True if the ticks were generated, not traded.
    data_hash : str
        SHA-256 over the contents of the partitions: the identity of the data, whatever machine or library
        wrote it.
    rows : int
        Ticks kept.
    rows_read : int
        Ticks read.
    first_ts_ns, last_ts_ns : int
        Span.
    settings : dict of str to str
        Treatments and thresholds of the validation, and reader options that change what was read.
    rules : list of RuleCount
        One per rule, in the order the rules are applied.
    silent_hours : list of SilentHour
        Hours of an open market inside the span without ticks.
    notes : list of str
        What a reader of the data should know, e.g. files that were left aside.
    files : list of SourceFile
        Files read, in order.
    partitions : list of Partition
        In order of day.
    hours : dict of str to str
        Of a download: every hour of the span asked for, ``"2014-05-02T12"`` to ``"ticks"``, ``"empty"``,
        ``"closed"`` or ``"failed"``.  Empty for other sources.
    clock : ClockProof or None
        What the stamps were read as, and what proves it.  None for generated ticks, and in stores written
        before clocks were proved.
    """

    schema_version: int = SCHEMA_VERSION
    aiopt_version: str
    instrument: str
    source: str
    source_format: str
    source_hash: str
    synthetic: bool
    data_hash: str
    rows: int
    rows_read: int
    first_ts_ns: int
    last_ts_ns: int
    settings: dict[str, str]
    rules: list[RuleCount]
    silent_hours: list[SilentHour]
    notes: list[str]
    files: list[SourceFile]
    partitions: list[Partition]
    hours: dict[str, str] = {}
    clock: ClockProof | None = None


def partition_path(symbol: str, date: str) -> str:
    """Return ``instrument=EURUSD/date=2014-05-01/ticks.parquet``."""
    return f"instrument={symbol}/date={date}/ticks.parquet"


def hash_partitions(partitions: Sequence[Partition]) -> str:
    """Return `Manifest.data_hash`: SHA-256 over instrument, day and content of each partition."""
    digest = hashlib.sha256()
    for part in partitions:
        digest.update(f"{part.instrument} {part.date} {part.rows} {part.content_sha256}\n".encode())
    return digest.hexdigest()


def is_tick_store(folder: Path) -> bool:
    """Return whether `folder` has a manifest."""
    # A store whose commit was decided and not finished has its manifest there; reading it finishes it.
    return any((Path(folder) / name / MANIFEST_NAME).is_file() for name in ("", COMMIT))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a tick store.

    Parameters
    ----------
    folder : Path
        The store.

    Raises
    ------
    ManifestError
        If the folder or the manifest is missing, or the manifest cannot be read or contradicts itself.
    """
    path = Path(folder) / MANIFEST_NAME
    finish_pending(Path(folder))
    if not path.is_file():
        if not Path(folder).is_dir():
            msg = "There is no such folder. Check the path, or make a tick store: "
            raise ManifestError(msg + "`aiopt ticks import SRC --out DIR`.", file=folder)
        remedy = hint_below(folder) or " Make one with `aiopt ticks import SRC --out DIR`."
        raise ManifestError(f"This folder is no tick store: it has no manifest.json.{remedy}", file=folder)
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        msg = f"This manifest is not one that `aiopt ticks import` wrote: {failure}. Import the ticks again."
        raise ManifestError(msg, file=path) from failure
    _check_manifest(manifest, path)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, atomically and last: from now on the folder is a tick store."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    atomic_write_bytes(Path(folder) / MANIFEST_NAME, text + b"\n")


def differences(folder: Path, manifest: Manifest) -> list[str]:
    """Compare the files of a store with its manifest; return one sentence per difference.

    Every file's SHA-256 is computed, so the cost is reading the store once.
    """
    found = []
    for part in manifest.partitions:
        path = Path(folder) / part.path
        if not path.is_file():
            found.append(f"{part.path} is missing")
        elif sha256_file(path) != part.sha256:
            found.append(f"{part.path} is not the file that was imported (its SHA-256 differs)")
    known = {part.path for part in manifest.partitions}
    strangers = (path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.parquet"))
    # Hidden folders are of imports that run, or were killed: no part of the store.
    visible = (name for name in strangers if not name.startswith("."))
    found += [f"{name} is not in the manifest" for name in sorted(visible) if name not in known]
    return found


def verify_store(folder: Path) -> Manifest:
    """Return the manifest of a store whose files all agree with it.

    Raises
    ------
    ManifestError
        If there is no readable manifest, or a file is missing, changed or unknown.
    """
    manifest = read_manifest(folder)
    wrong = differences(folder, manifest)
    if wrong:
        more = "" if len(wrong) == 1 else f" (and {len(wrong) - 1} more)"
        msg = f"This tick store does not agree with its manifest: {wrong[0]}{more}."
        raise ManifestError(msg + " Import again into a new folder.", file=folder)
    return manifest


def _check_manifest(manifest: Manifest, path: Path) -> None:
    if manifest.schema_version != SCHEMA_VERSION:
        msg = f"This manifest is of version {manifest.schema_version}; this aiopt reads {SCHEMA_VERSION}."
        raise ManifestError(msg + " Import the ticks again with this version of aiopt.", file=path)
    if manifest.data_hash != hash_partitions(manifest.partitions):
        msg = "The manifest was edited: its data hash is not that of the files it lists."
        raise ManifestError(msg + " Import the ticks again.", file=path)
    for part in manifest.partitions:
        if part.path != partition_path(part.instrument, part.date):
            msg = f"The manifest was edited: {part.path!r} is not at instrument=…/date=…/ticks.parquet."
            raise ManifestError(msg + " Import the ticks again.", file=path)
