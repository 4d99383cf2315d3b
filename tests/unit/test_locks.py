"""The one lock between processes, and the staging folders written under it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiopt.errors import ClusterError, StorageError
from aiopt.files import file_lock
from aiopt.folder_commit import COMPACT, IMPORT, staged

BUSY = ClusterError("Another process is at work. Wait for it.")
_HOLD = """
import sys, time
from pathlib import Path
from aiopt.files import file_lock
with file_lock(Path(sys.argv[1]), exclusive=sys.argv[2] == "alone"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(path: Path, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """Hold a lock in another process."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _HOLD, str(path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["", "lock"])
def test_a_held_lock_is_refused_at_once_and_free_when_its_process_is_killed(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with holder(path) as process:
        with (
            pytest.raises(ClusterError, match=r"Another process is at work\. Wait"),
            file_lock(path, busy=BUSY),
        ):
            pass
        with (
            pytest.raises(ClusterError, match="Another process"),
            file_lock(path, exclusive=False, busy=BUSY),
        ):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        with file_lock(path, busy=BUSY):
            pass


def test_shared_locks_stand_beside_each_other_and_not_beside_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, "shared"):
        with file_lock(path, exclusive=False, busy=BUSY):
            pass
        with pytest.raises(ClusterError, match="Another process"), file_lock(path, busy=BUSY):
            pass


def test_without_a_refusal_the_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order: list[str] = []

    def second() -> None:
        with file_lock(path):
            order.append("second")

    with file_lock(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_that_cannot_be_taken_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(StorageError, match=r"lock file .*none/lock cannot be opened \(No such file"),
        file_lock(tmp_path / "none" / "lock"),
    ):
        pass

    def unsupported(handle: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("aiopt.files.fcntl.flock", unsupported)
    with (
        pytest.raises(StorageError, match=r"has no locks \(Operation not supported\)\. Choose a folder"),
        file_lock(tmp_path / "lock"),
    ):
        pass


def test_a_staging_folder_is_empty_and_gone_afterwards_with_what_the_killed_left(tmp_path: Path) -> None:
    left, other = tmp_path / f"{IMPORT}left", tmp_path / f"{COMPACT}other"
    for folder in (left, other):
        folder.mkdir()
        (folder / "half").write_text("half")
    with pytest.raises(ValueError, match="half way"), staged(tmp_path, IMPORT) as staging:
        assert list(staging.iterdir()) == []
        assert not left.exists()
        (staging / "file").write_text("new")
        raise ValueError("half way")
    assert list(tmp_path.iterdir()) == [other]


def test_a_full_disk_inside_a_staging_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"The disk of .* is full"), staged(tmp_path, IMPORT):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
