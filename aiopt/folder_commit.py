"""Changing several files of a folder as one: either all of them are there afterwards, or none.

Owns the folder's lock, the staging folders and the commit.  New files are written to a staging folder inside;
`publish` renames it to ``.commit``, which is the moment the change counts, and moves its files into place.
Whoever is killed in between leaves ``.commit``, and the next to lock or read the folder finishes the moves.
Knows nothing of what the files hold.

::

    folder/.import-1f0c…/   being written: a crash loses the change, not the folder
    folder/.commit/         decided: moved into place now, or by the next one who looks
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from aiopt.errors import AioptError, DataError, StorageError
from aiopt.files import storage_error, take_lock

COMMIT = ".commit"
IMPORT, COMPACT, PRUNE = ".import-", ".compact-", ".prune-"
STAGING_PREFIXES = (IMPORT, COMPACT, PRUNE)
"""How the names of folders begin that hold work in the making, or what is being removed."""

_PLAN = ".plan.json"


class _Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Paths below the folder: what goes, and what is moved into place after everything else."""

    remove: list[str]
    last: str


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; a second process waits.  The lock ends with the process, also a killed one.

    The folder is made if absent, and removed again if it was and nothing was put into it.  A commit that a
    killed process left is finished first.

    Raises
    ------
    DataError
        If the path is no folder.
    StorageError
        If it cannot be made.
    """
    existed = folder.exists()
    while True:
        handle = _open(folder)
        take_lock(handle)
        if _is_still(folder, handle):
            break
        # The one before failed and removed the folder it had made: a lock on that one locks nothing.
        os.close(handle)
    try:
        settle(folder)
        yield
    finally:
        if not existed and not any(folder.iterdir()):
            folder.rmdir()
        os.close(handle)


def staging_path(folder: Path, prefix: str) -> Path:
    """Return the path of a staging folder that nobody else has; it is not made."""
    return folder / f"{prefix}{uuid.uuid4().hex[:12]}"


def remove_staged(folder: Path, prefix: str) -> None:
    """Remove the staging folders that killed processes left in `folder`, whose lock the caller holds."""
    for stale in folder.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def staged(folder: Path, prefix: str) -> Iterator[Path]:
    """Yield an empty folder inside `folder`, whose lock the caller holds; it is gone after the block.

    What killed processes left of theirs goes first.

    Parameters
    ----------
    folder : Path
        Existing.
    prefix : str
        One of `STAGING_PREFIXES`.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be written, also inside the block.
    """
    remove_staged(folder, prefix)
    staging = staging_path(folder, prefix)
    try:
        staging.mkdir()
        yield staging
    except OSError as error:
        raise storage_error(staging, error) or error from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def publish(folder: Path, staging: Path, *, remove: Iterable[str], last: str) -> None:
    """Move the files of `staging` into `folder`, all or none of them, also if the process is killed.

    Parameters
    ----------
    folder : Path
        Whose lock the caller holds.
    staging : Path
        Folder inside `folder` with the new files at the paths they are to have below `folder`.
    remove : iterable of str
        Files of `folder` that go; those among the new ones are replaced, not removed.
    last : str
        The file moved after all others: what makes the rest count for readers.

    Raises
    ------
    OSError
        If the disk fails.  The change is then lost or finished by the next `locked`, never half there.
    """
    new = {path.relative_to(staging).as_posix() for path in _files(staging)}
    if last not in new:
        raise ValueError(f"The last file must be among the new ones, but {last!r} is not in {staging}.")
    plan = _Plan(remove=sorted(set(remove) - new), last=last)
    (staging / _PLAN).write_bytes(msgspec.json.encode(plan))
    for path in _files(staging):
        _flush(path)
    staging.rename(folder / COMMIT)
    _flush(folder)
    settle(folder)


def settle(folder: Path) -> None:
    """Finish a commit that was decided; do nothing where there is none.  The caller holds the lock."""
    commit = folder / COMMIT
    if not commit.is_dir():
        return
    try:
        plan = msgspec.json.decode((commit / _PLAN).read_bytes(), type=_Plan)
    except FileNotFoundError:
        # The plan goes last: everything is in place.
        shutil.rmtree(commit)
        return
    for name in plan.remove:
        _remove(folder, name)
    last = commit / plan.last
    for path in _files(commit):
        if path != last and path.name != _PLAN:
            _move(path, folder / path.relative_to(commit))
    if last.exists():
        _move(last, folder / plan.last)
    (commit / _PLAN).unlink()
    shutil.rmtree(commit)


def is_pending(folder: Path) -> bool:
    """Return whether a decided commit waits to be finished."""
    return (Path(folder) / COMMIT).is_dir()


def finish_pending(folder: Path) -> None:
    """Finish a commit left by a killed process, before `folder` is read; cheap where there is none.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    if is_pending(folder):
        try:
            with locked(Path(folder)):
                pass
        except OSError as error:
            raise storage_error(Path(folder) / COMMIT, error) or StorageError(str(error)) from error


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)


def _remove(folder: Path, name: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder or not parent.is_dir() or any(parent.iterdir()):
            break
        parent.rmdir()


def _flush(path: Path) -> None:
    """Bring a file or the entries of a folder to the disk: after a power cut what was decided is whole."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _not_a_folder(folder, error) from error


def _is_still(folder: Path, handle: int) -> bool:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)


def _not_a_folder(folder: Path, error: OSError) -> AioptError:
    translated = storage_error(folder, error)
    if translated is not None:
        return translated
    return DataError(f"The output is no folder: {error.strerror}. Name another.", file=folder)
