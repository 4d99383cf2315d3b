"""Content hashes of checkpoint files: parallel in chunks, and remembered while a file does not change.

Owns the definition of a revision.  Knows nothing of what the files mean.

A file's hash is the SHA-256 over the SHA-256 of each of its 16 MiB chunks, so that all cores work on one
large file.  A revision is the SHA-256 over the sorted list of name, size and hash: equal content, equal
revision, on every machine and in every folder.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from aiopt.config import canonical_json
from aiopt.files import atomic_write_bytes
from aiopt.serving.checkpoint.weights import CheckpointError

CHUNK_BYTES = 16 << 20

SETTLED_S = 2.0
"""A file changed more recently is not remembered: a second change could leave the same time stamps."""

_FORMAT = "aiopt-checkpoint-1"
_CACHE_LIMIT = 4096

Progress = Callable[[int, int], None]
"""Called with the bytes hashed so far and the bytes in all, from the calling thread."""


class FileStamp(msgspec.Struct, frozen=True, kw_only=True):
    """What changes when a file does.

    Attributes
    ----------
    path : str
        Resolved.
    size, inode : int
        As `os.stat` gives them.
    mtime_ns, ctime_ns : int
        Nanoseconds since 1970.  The second also moves when the first is set back by hand.
    """

    path: str
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Read the stamp of a file."""
        status = path.stat()
        return cls(
            path=str(path.resolve()),
            size=status.st_size,
            inode=status.st_ino,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )


class _Remembered(msgspec.Struct, frozen=True, kw_only=True):
    stamp: FileStamp
    digest: str


class _CacheFile(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    files: list[_Remembered]


def default_cache() -> Path:
    """Return where hashes are remembered: ``$XDG_CACHE_HOME/aiopt/file-hashes.json``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "aiopt" / "file-hashes.json"


def content_revision(
    files: Mapping[str, Path],
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> str:
    """Return the content hash of a set of files.

    Parameters
    ----------
    files : mapping of str to Path
        By the name that counts, e.g. the name inside the checkpoint folder.
    cache : Path, optional
        File of remembered hashes; None hashes everything anew.  A damaged one is ignored and replaced.
    progress : callable, optional
        Told of each chunk.
    workers : int, optional
        Threads; by default the usable cores, at most 16.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    CheckpointError
        If a file changes while it is read.
    """
    stamps = {name: FileStamp.of(path) for name, path in files.items()}
    known = {} if cache is None else _load(cache)
    total = sum(stamp.size for stamp in stamps.values())
    digests: dict[str, str] = {}
    done = 0
    for name, stamp in stamps.items():
        remembered = known.get(stamp)
        if remembered is not None:
            digests[name] = remembered
            done += stamp.size
    if progress is not None:
        progress(done, total)
    fresh: dict[FileStamp, str] = {}
    threads = workers or min(16, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads, thread_name_prefix="hash") as pool:
        for name in sorted(set(files) - set(digests)):
            stamp = stamps[name]
            whole = hashlib.sha256()
            starts = range(0, stamp.size, CHUNK_BYTES)
            for start, chunk in zip(starts, pool.map(_chunk_digest(files[name]), starts), strict=True):
                whole.update(chunk)
                done += min(CHUNK_BYTES, stamp.size - start)
                if progress is not None:
                    progress(done, total)
            if FileStamp.of(files[name]) != stamp:
                raise CheckpointError(
                    f"{files[name]}: a checkpoint must not change while it is read, but this file did. "
                    "Wait until it is written, then try again."
                )
            digests[name] = fresh[stamp] = whole.hexdigest()
    if cache is not None and fresh:
        _remember(cache, fresh)
    listing = [[name, stamps[name].size, digests[name]] for name in sorted(files)]
    return hashlib.sha256(canonical_json([_FORMAT, listing])).hexdigest()


def _chunk_digest(path: Path) -> Callable[[int], bytes]:
    local = threading.local()

    def digest(start: int) -> bytes:
        # One buffer per thread: memory stays at workers x chunk, whatever the file's size.
        if not hasattr(local, "buffer"):
            local.buffer = bytearray(CHUNK_BYTES)
        view = memoryview(local.buffer)
        with path.open("rb", buffering=0) as stream:
            stream.seek(start)
            filled = 0
            while filled < CHUNK_BYTES and (count := stream.readinto(view[filled:])):
                filled += count
        return hashlib.sha256(view[:filled]).digest()

    return digest


def _load(cache: Path) -> dict[FileStamp, str]:
    try:
        found = msgspec.json.decode(cache.read_bytes(), type=_CacheFile)
    except (OSError, msgspec.DecodeError):
        # Absent or damaged: it only saves time, so everything is hashed anew and the file replaced.
        return {}
    if found.format != _FORMAT:
        return {}
    return {entry.stamp: entry.digest for entry in found.files}


def _remember(cache: Path, fresh: Mapping[FileStamp, str]) -> None:
    settled_ns = time.time_ns() - int(SETTLED_S * 1e9)
    kept = _load(cache)
    for stamp, digest in fresh.items():
        if max(stamp.mtime_ns, stamp.ctime_ns) < settled_ns:
            kept[stamp] = digest
    recent = list(kept.items())[-_CACHE_LIMIT:]
    entries = [_Remembered(stamp=stamp, digest=digest) for stamp, digest in recent]
    atomic_write_bytes(cache, msgspec.json.encode(_CacheFile(format=_FORMAT, files=entries)))
