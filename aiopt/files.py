"""Atomic file writing, and locks between processes.

Owns the rule "temporary name, then rename" and the one kind of lock there is (`flock`: it ends with the
process, also a killed one).  Knows nothing of what is written or guarded.

A temporary file is locked while it is written.  The lock ends with the process, so what a killed one left is
told from what another is writing at this moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiopt.errors import AioptError, StorageError

MIB = 1 << 20
GIB = 1 << 30

_TEMPORARY = ".*.tmp"
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it when the block ends without an error.

    Parameters
    ----------
    path : Path
        Final name.  Its folder is created.

    Raises
    ------
    StorageError
        If the disk is full, the folder is not writable or a file is in its place.  `path` is then as it was
        before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    handle = None
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = _create_locked(temporary)
        except FileNotFoundError as error:
            # A file system of the kernel's (/proc, /sys) or one that has gone: nothing can be created there.
            msg = f"No file can be created in {path.parent}. "
            raise StorageError(msg + "Choose another folder.") from error
        yield temporary
        temporary.replace(path)
    except OSError as error:
        translated = storage_error(path, error)
        if translated is None:
            raise
        raise translated from error
    finally:
        # Where the folder is in truth a file there is nothing to remove either.
        with contextlib.suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def stale_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the temporary files of `atomic_path` that nobody is writing: a killed process left them.

    Parameters
    ----------
    folder : Path
        Looked at without the folders in it.
    recursive : bool
        Look at those too.
    """
    found = Path(folder).rglob(_TEMPORARY) if recursive else Path(folder).glob(_TEMPORARY)
    return sorted(path for path in found if path.is_file() and _is_stale(path))


def remove_stale(folder: Path) -> None:
    """Remove the `stale_files` of a folder."""
    for path in stale_files(folder):
        path.unlink(missing_ok=True)


def take_lock(handle: int, *, exclusive: bool = True, wait: bool = True) -> bool:
    """Lock an open file or folder until it is closed; most callers want `file_lock`.

    Parameters
    ----------
    handle : int
        File descriptor.
    exclusive : bool
        Alone, or beside others that ask for a shared lock.
    wait : bool
        Wait for whoever holds it.

    Returns
    -------
    bool
        False if another process holds it and `wait` is not set.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def file_lock(path: Path, *, exclusive: bool = True, busy: AioptError | None = None) -> Iterator[None]:
    """Hold a lock on a file or folder while the block runs.

    Parameters
    ----------
    path : Path
        A folder, or a file that is created if absent.  A file stays: whoever removed it would lock nothing.
    exclusive : bool
        Alone, or beside others that ask for a shared lock.
    busy : AioptError, optional
        Raised at once if another process holds the lock.  Without it the call waits.

    Raises
    ------
    StorageError
        If the file cannot be created, or its file system has no locks.
    """
    path = Path(path)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        msg = f"The lock file {path} cannot be opened ({error.strerror}). Choose another folder."
        raise storage_error(path, error) or StorageError(msg) from error
    try:
        try:
            held = take_lock(handle, exclusive=exclusive, wait=busy is None)
        except OSError as error:
            msg = (
                f"The file system of {path} has no locks ({error.strerror}). Choose a folder on another one."
            )
            raise StorageError(msg) from error
        if busy is not None and not held:
            raise busy
        yield
    finally:
        os.close(handle)


def _create_locked(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            take_lock(handle)
        except OSError:
            # A file system without locks: then nothing on it is ever taken for stale.
            return handle
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        # Somebody took it for stale between the two calls.
        os.close(handle)


def _is_stale(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return take_lock(handle, wait=False)
    except OSError:
        # A file system without locks.
        return False
    finally:
        os.close(handle)


def storage_error(path: Path, error: OSError) -> StorageError | None:
    """Translate a full disk or an impossible folder into a `StorageError`; None for any other error."""
    if error.errno in _FULL:
        return StorageError(
            f"The disk of {path} is full. Free space or choose another folder, then run the same command "
            "again. Nothing half-written was left."
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StorageError(
            f"The folder {path.parent} is not writable ({error.strerror}). Choose another folder."
        )
    blocking = next((parent for parent in path.parents if parent.is_file()), None)
    if error.errno in {errno.ENOTDIR, errno.EEXIST} and blocking is not None:
        return StorageError(
            f"{path} cannot be written: {blocking} is a file, not a folder. Choose another folder."
        )
    return None


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    atomic_write_bytes(path, text.encode("utf-8"))


def write_whole(handle: int, content: bytes, offset: int) -> None:
    """Write all of `content` at `offset`, where an open file ends, or leave the file as it was.

    Raises
    ------
    OSError
        If the disk does not take it.
    """
    done = 0
    try:
        while done < len(content):
            done += os.pwrite(handle, content[done:], offset + done)
    except OSError:
        os.ftruncate(handle, offset)
        raise


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
