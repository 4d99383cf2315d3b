"""Throwing away what nobody needs: leftovers of killed processes, old imports in caches, orphaned bars.

Owns what may go.  Nothing that a run refers to goes, nothing that is being written, and nothing at all unless
asked: `plan_prune` lists, `prune` removes what was listed.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from aiopt.catalog.discovery import BUILT
from aiopt.catalog.entries import Entry
from aiopt.errors import ConfigError, DataError, StorageError, did_you_mean
from aiopt.files import file_lock, stale_files, storage_error
from aiopt.folder_commit import COMMIT, PRUNE, STAGING_PREFIXES, staging_path

WHAT: dict[str, str] = {
    "leftovers": "temporary files and folders of killed processes",
    "caches": "imports and samples in caches that no run refers to",
    "bars": "bars built here, outside of runs, whose ticks are neither here nor a run's",
}
"""What can be pruned and what it is."""

DEFAULT_WHAT = ("leftovers", "caches")

YOUNG_S = 3600.0
"""A cache written less than this ago may belong to a run that has not recorded it yet."""

# Names `open_ticks` and `prepare_ticks` give: the content is in the name, so the import can be repeated.
_CACHE_NAME = re.compile(r"^([A-Z]{6}-[a-z0-9_]+-[0-9a-f]{16}|sample-[0-9a-f]{12})$")


class PruneItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that may go.

    Attributes
    ----------
    path : str
        File or folder.
    what : str
        Key of `WHAT`.
    reason : str
        Why nobody needs it.
    bytes : int
        On disk.
    """

    path: str
    what: str
    reason: str
    bytes: int


def plan_prune(
    roots: Sequence[Path],
    entries: Sequence[Entry],
    *,
    what: Sequence[str] = DEFAULT_WHAT,
    now_s: float | None = None,
) -> list[PruneItem]:
    """Return what may go, changing nothing.

    Parameters
    ----------
    roots : sequence of Path
        Looked through for leftovers.
    entries : sequence of Entry
        Of these roots, **with the folder of runs among them**: what a run here refers to stays.
    what : sequence of str
        Keys of `WHAT`.
    now_s : float, optional
        The present, seconds since the epoch.

    Raises
    ------
    ConfigError
        If a key is unknown.
    DataError
        If a run cannot be read: what it refers to is not known then.
    """
    for key in what:
        if key not in WHAT:
            raise ConfigError(f"What is pruned must be known, but got {key!r}.{did_you_mean(key, WHAT)}")
    items: list[PruneItem] = []
    if "leftovers" in what:
        for root in roots:
            items += _leftovers(root)
    if {"caches", "bars"} & set(what):
        unreadable = next((entry for entry in entries if entry.kind == "run" and entry.problem), None)
        if unreadable is not None:
            msg = f"Every run must say which data it refers to, but this one does not: {unreadable.problem}. "
            raise DataError(f"{msg}Mend or remove it, or prune leftovers only.", file=unreadable.path)
    if "caches" in what:
        items += _caches(entries, time.time() if now_s is None else now_s)
    if "bars" in what:
        items += _orphaned_bars(entries)
    return sorted({item.path: item for item in items}.values(), key=lambda item: item.path)


def prune(items: Sequence[PruneItem]) -> tuple[list[PruneItem], list[PruneItem]]:
    """Remove what `plan_prune` listed.

    A folder is renamed first, so an interrupt leaves no half of a store under its name.  What somebody is
    writing by now is left.

    Returns
    -------
    removed, kept : list of PruneItem

    Raises
    ------
    StorageError
        If a folder cannot be written.
    """
    removed: list[PruneItem] = []
    kept: list[PruneItem] = []
    for item in items:
        path = Path(item.path)
        try:
            if _remove(path, item.what):
                removed.append(item)
            else:
                kept.append(item)
        except OSError as error:
            raise storage_error(path, error) or error from error
    return removed, kept


def _remove(path: Path, what: str) -> bool:
    if what == "leftovers":
        if path.is_dir():
            with _idle(path.parent) as idle:
                if idle:
                    shutil.rmtree(path)
                return idle
        if path not in stale_files(path.parent):
            return False
        path.unlink()
        return True
    with _idle(path) as idle:
        if idle:
            aside = staging_path(path.parent, PRUNE)
            path.rename(aside)
            shutil.rmtree(aside)
        return idle


def _leftovers(root: Path) -> Iterator[PruneItem]:
    for base, names, _ in os.walk(root):
        folder = Path(base)
        for name in sorted(names):
            path = folder / name
            if name.startswith(STAGING_PREFIXES) and not path.is_symlink():
                with _idle(folder) as idle:
                    if idle:
                        reason = "work of a process that was killed"
                        yield PruneItem(path=str(path), what="leftovers", reason=reason, bytes=_size(path))
        names[:] = [name for name in names if name != COMMIT and not name.startswith(STAGING_PREFIXES)]
        for path in stale_files(folder):
            reason = "temporary file of a process that was killed"
            yield PruneItem(path=str(path), what="leftovers", reason=reason, bytes=path.stat().st_size)


def _caches(entries: Sequence[Entry], now_s: float) -> Iterator[PruneItem]:
    wanted = {entry.hash for entry in entries if entry.kind == "run"}
    built = {entry.hash for entry in entries if entry.kind in BUILT}
    for entry in entries:
        path = Path(entry.path)
        if entry.kind != "ticks" or not _CACHE_NAME.match(path.name):
            continue
        if entry.hash in wanted or entry.hash in built:
            continue
        if now_s - path.stat().st_mtime < YOUNG_S:
            continue
        reason = "no run refers to it and nothing here was built from it; the same command makes it again"
        yield PruneItem(path=entry.path, what="caches", reason=reason, bytes=entry.bytes)


def _orphaned_bars(entries: Sequence[Entry]) -> Iterator[PruneItem]:
    wanted = {entry.hash for entry in entries if entry.kind == "run"}
    for entry in entries:
        if entry.kind == "bars" and entry.current is False and entry.hash not in wanted and not entry.problem:
            reason = f"built from ticks {entry.hash[:12]}, which are not here"
            yield PruneItem(path=entry.path, what="bars", reason=reason, bytes=entry.bytes)


@contextmanager
def _idle(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock if nobody does, and yield whether."""
    busy = StorageError(f"{folder} is in use.")
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(folder, busy=busy))
            idle = True
        except StorageError as error:
            if error is not busy:
                raise
            idle = False
        yield idle


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
