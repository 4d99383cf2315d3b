"""A commit is there as a whole or not at all; temporary files of the living are left alone."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from aiopt.errors import DataError
from aiopt.files import atomic_path, remove_stale, stale_files
from aiopt.folder_commit import COMMIT, finish_pending, is_pending, locked, publish, settle


def staged(folder: Path) -> Path:
    """Return a folder with an old `a`, `b` and a staging folder that replaces `a`, adds `c/d`."""
    (folder / "b").mkdir(parents=True)
    (folder / "a").write_text("old")
    (folder / "b" / "gone").write_text("old")
    (folder / ".staging" / "c").mkdir(parents=True)
    (folder / ".staging" / "a").write_text("new")
    (folder / ".staging" / "c" / "d").write_text("new")
    return folder / ".staging"


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_new_files_come_and_old_ones_go(tmp_path: Path) -> None:
    publish(tmp_path, staged(tmp_path), remove=["a", "b/gone", "never/there"], last="a")
    assert content(tmp_path) == {"a": "new", "c/d": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_the_last_file_must_be_among_the_new(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    with pytest.raises(ValueError, match="must be among the new ones, but 'z' is not"):
        publish(tmp_path, staging, remove=[], last="z")
    assert content(tmp_path)["a"] == "old"


def test_a_decided_commit_is_finished_by_the_next_who_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("aiopt.folder_commit.settle", lambda folder: None)
        publish(tmp_path, staged(tmp_path), remove=["b/gone"], last="a")
    assert is_pending(tmp_path)
    assert content(tmp_path)["a"] == "old"
    finish_pending(tmp_path)
    assert content(tmp_path) == {"a": "new", "c/d": "new"}
    finish_pending(tmp_path)
    settle(tmp_path)
    assert content(tmp_path) == {"a": "new", "c/d": "new"}
    assert not (tmp_path / COMMIT).exists()


def test_a_lock_on_a_folder_that_was_removed_meanwhile_is_taken_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    inside, done = threading.Event(), threading.Event()

    def first() -> None:
        with locked(folder):
            inside.set()
            done.wait(10)

    def second() -> None:
        with locked(folder):
            (folder / "file").write_text("second")

    threads = [threading.Thread(target=work) for work in (first, second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    # The second waits for the lock of the folder that the first removes, as nothing was put into it.
    done.set()
    for thread in threads:
        thread.join(10)
    assert (folder / "file").read_text() == "second"


def test_a_file_is_no_folder_to_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="The output is no folder"), locked(tmp_path / "file"):
        pass


def test_a_temporary_file_is_stale_when_nobody_writes_it(tmp_path: Path) -> None:
    left = tmp_path / "deep" / ".bid.parquet.0123abcd.tmp"
    left.parent.mkdir()
    left.write_text("half")
    with atomic_path(tmp_path / "deep" / "bid.parquet") as temporary:
        assert temporary.exists()
        assert stale_files(tmp_path) == []
        assert stale_files(tmp_path, recursive=True) == [left]
        remove_stale(tmp_path / "deep")
        assert not left.exists()
        temporary.write_text("whole")
    assert content(tmp_path) == {"deep/bid.parquet": "whole"}


def test_a_file_system_without_locks_is_written_to_and_nothing_on_it_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(handle: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    (tmp_path / ".old.1.tmp").write_text("half")
    monkeypatch.setattr("aiopt.files.fcntl.flock", unsupported)
    with atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert stale_files(tmp_path) == []
    assert (tmp_path / "file").read_text() == "whole"


def test_a_temporary_file_another_process_holds_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / ".x.1.tmp"
    other.write_text("half")
    handle = os.open(other, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert stale_files(tmp_path) == []
    os.close(handle)
    assert stale_files(tmp_path) == [other]
