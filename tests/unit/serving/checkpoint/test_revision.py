"""Content hashes: equal content, equal revision; remembered only while a file does not change."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aiopt.serving.checkpoint import revision
from aiopt.serving.checkpoint.revision import FileStamp, content_revision
from aiopt.serving.checkpoint.weights import CheckpointError


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "CHUNK_BYTES", 1000)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "c").write_bytes(b"x" * 1000)
    for name in "abc":
        old = time.time() - 60
        os.utime(tmp_path / name, (old, old))
    return {name: tmp_path / name for name in "abc"}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    original = revision._chunk_digest

    def counting(path: Path) -> Callable[[int], bytes]:
        seen.append(path.name)
        return original(path)

    monkeypatch.setattr(revision, "_chunk_digest", counting)
    return seen


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "SETTLED_S", -1.0)


def test_the_definition(files: dict[str, Path]) -> None:
    def tree(data: bytes) -> str:
        whole = hashlib.sha256()
        for start in range(0, len(data), 1000):
            whole.update(hashlib.sha256(data[start : start + 1000]).digest())
        return whole.hexdigest()

    listing = ",".join(f'["{n}",{p.stat().st_size},"{tree(p.read_bytes())}"]' for n, p in files.items())
    expected = hashlib.sha256(f'["aiopt-checkpoint-1",[{listing}]]'.encode()).hexdigest()
    assert content_revision(files) == expected
    assert content_revision(files, workers=1) == content_revision(files, workers=7) == expected
    assert content_revision(dict(reversed(files.items()))) == expected


def test_names_and_borders_count(files: dict[str, Path], tmp_path: Path) -> None:
    seen = {content_revision(files)}
    seen.add(content_revision({"a": files["a"], "c": files["c"]}))
    seen.add(content_revision({"a": files["c"], "b": files["b"], "c": files["a"]}))
    # The same bytes in all, cut differently between two files.
    (tmp_path / "a").write_bytes(bytes(range(256)) * 20 + b"x")
    (tmp_path / "c").write_bytes(b"x" * 999)
    seen.add(content_revision(files))
    assert len(seen) == 4


def test_unchanged_files_are_not_read_again(
    files: dict[str, Path], tmp_path: Path, reads: list[str], settled: None
) -> None:
    cache = tmp_path / "cache" / "hashes.json"
    first = content_revision(files, cache=cache)
    assert sorted(reads) == ["a", "b", "c"]
    reads.clear()
    assert content_revision(files, cache=cache) == first
    assert reads == []
    # Same size and, put back by hand, same time: the inode's own time still tells.
    times = files["c"].stat()
    files["c"].write_bytes(b"y" * 1000)
    os.utime(files["c"], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_revision(files, cache=cache) != first
    assert reads == ["c"]


def test_a_file_changed_just_now_is_not_remembered(
    files: dict[str, Path], tmp_path: Path, reads: list[str]
) -> None:
    cache = tmp_path / "hashes.json"
    first = content_revision(files, cache=cache)
    reads.clear()
    assert content_revision(files, cache=cache) == first
    assert sorted(reads) == ["a", "b", "c"]


def test_a_damaged_cache_is_replaced(files: dict[str, Path], tmp_path: Path, settled: None) -> None:
    cache = tmp_path / "hashes.json"
    for damage in (b"", b"{", b'{"format": "other", "files": []}', b"[1]"):
        cache.write_bytes(damage)
        assert content_revision(files, cache=cache) == content_revision(files)
        assert b"aiopt-checkpoint-1" in cache.read_bytes()


def test_progress_reaches_the_total(files: dict[str, Path], tmp_path: Path, settled: None) -> None:
    told: list[tuple[int, int]] = []
    content_revision(
        files, cache=tmp_path / "h.json", progress=lambda done, total: told.append((done, total))
    )
    assert told[0] == (0, 6120)
    assert told[-1] == (6120, 6120)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    told.clear()
    content_revision(
        files, cache=tmp_path / "h.json", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(6120, 6120)]


def test_a_file_that_changes_while_it_is_read_is_refused(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = revision._chunk_digest

    def touching(path: Path) -> Callable[[int], bytes]:
        path.write_bytes(path.read_bytes() + b"!")
        return original(path)

    monkeypatch.setattr(revision, "_chunk_digest", touching)
    with pytest.raises(CheckpointError, match="must not change while it is read"):
        content_revision(files)


def test_a_stamp_follows_links_to_the_file(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(files["a"])
    assert FileStamp.of(tmp_path / "link") == FileStamp.of(files["a"])
