"""Which folders of old sessions go, and which stay: by real sockets and real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import leftovers
from cluster.leftovers import clear_leftovers


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test's own, short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="left-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        # What lies in /tmp is not this test's.
        monkeypatch.setattr(leftovers, "Path", lambda path: Path(name if path == "/tmp" else path))
        yield Path(name)


def session(temporary: Path, digits: str, *, age_s: float = 3600.0) -> Path:
    folder = temporary / f"aiopt-{os.getuid()}-{digits}"
    (folder / "session_1" / "sockets").mkdir(parents=True)
    stamp = time.time() - age_s
    os.utime(folder, (stamp, stamp))
    return folder


def test_a_session_that_is_over_goes_and_everything_else_stays(temporary: Path) -> None:
    over = session(temporary, "00000001")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(over / "session_1" / "sockets" / "raylet"))
    stay = [
        session(temporary, "00000002", age_s=1.0),  # a start may have just made it
        session(temporary, "0000000x"),  # not a name of ours
        temporary / f"aiopt-{os.getuid() + 1}-00000003",  # another user's name
    ]
    stay[-1].mkdir()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("")
    (temporary / f"aiopt-{os.getuid()}-00000004").symlink_to(elsewhere)

    answering = session(temporary, "00000005")
    used = session(temporary, "00000006")
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(answering / "session_1" / "sockets" / "raylet"))
        alive.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"], env={"RAY_TMPDIR": str(used)}
        )
        try:
            assert clear_leftovers() == [over]
        finally:
            process.kill()
            process.wait()
    assert not over.exists()
    assert all(folder.exists() for folder in [*stay, answering, used])
    assert (elsewhere / "kept").exists()
    # Both are over now.
    assert clear_leftovers() == [answering, used]
