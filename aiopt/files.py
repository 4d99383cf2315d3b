"""Atomic file writing.  Owns the rule "temporary name, then rename"; knows nothing of what is written.

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

from aiopt.errors import StorageError

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
            msg = f"The folder must be one in which files can be created, but {path.parent} is none. "
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


def _create_locked(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
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
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Held by a writer, or a file system without locks.
        return False
    else:
        return True
    finally:
        os.close(handle)


def storage_error(path: Path, error: OSError) -> StorageError | None:
    """Translate a full disk or an impossible folder into a `StorageError`; None for any other error."""
    if error.errno in _FULL:
        return StorageError(
            f"Writing needs free disk space, but the disk of {path} is full. Free space or choose another "
            "folder, then run the same command again. Nothing half-written was left."
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StorageError(
            f"The folder must be writable, but {path.parent} is not ({error.strerror}). "
            "Choose another folder."
        )
    blocking = next((parent for parent in path.parents if parent.is_file()), None)
    if error.errno in {errno.ENOTDIR, errno.EEXIST} and blocking is not None:
        return StorageError(f"{path} must lie in a folder, but {blocking} is a file. Choose another folder.")
    return None


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    atomic_write_bytes(path, text.encode("utf-8"))


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
