"""A download that is killed or interrupted goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiopt.ticks.manifest import verify_store
from tests.unit.ticks.download.faulty_server import (
    MONDAY,
    TICKS,
    Client,
    Handler,
    Server,
    answer,
    hang,
    keys,
)

pytestmark = pytest.mark.unmeasured

# Imports once what takes seconds to import, then forks a process per command, which may be killed.
_LAUNCHER = """
import json, os, sys
from aiopt.cli.ticks import command
import aiopt.ticks.download
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        code = 70
        try:
            output = os.open(job["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(os.open(job["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            code = command(job["arguments"], standalone_mode=False)
            sys.stdout.flush()
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Run:
    """A running `aiopt ticks download` in a process of its own."""

    def __init__(self, launcher: subprocess.Popen[str], folder: Path, arguments: list[str]) -> None:
        self._launcher = launcher
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        job = {"arguments": arguments, "stdout": str(self._stdout), "stderr": str(self._stderr)}
        assert launcher.stdin is not None
        launcher.stdin.write(json.dumps(job) + "\n")
        launcher.stdin.flush()
        self._pid = int(self._line())

    def signal(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return exit code and stdout."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)
        return self.end()

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and stdout."""
        code = int(self._line())
        return code, self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def _line(self) -> str:
        assert self._launcher.stdout is not None
        return self._launcher.stdout.readline()


@pytest.fixture(scope="module")
def launcher() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[4],
        env=os.environ | {"POLARS_MAX_THREADS": "1"},
    ) as process:
        yield process


@pytest.fixture
def spawn(launcher: subprocess.Popen[str], server: Server, tmp_path: Path) -> Callable[..., Run]:
    def start(first: str, last: str, *more: str) -> Run:
        arguments = ["download", "EURUSD", "--from", first, "--to", last, "--json"]
        arguments += ["--out", str(tmp_path / "store"), "--cache", str(tmp_path / "cache"), "--proxy", "none"]
        arguments += ["--feed", f"bi5={server.base}", "--interval", "0", "--backoff", "0.01"]
        return Run(launcher, tmp_path, [*arguments, "--parallel", "3", *more])

    return start


def test_kill_9_and_resume_fetch_every_hour_exactly_once(
    server: Server, spawn: Callable[..., Run], tmp_path: Path
) -> None:
    span = (MONDAY, MONDAY + 11)
    served = threading.Semaphore(5)

    def gated(handler: Handler, body: bytes) -> None:
        # Five answers, then silence: at the kill the client waits for three that never come.
        if served.acquire(blocking=False) or server.gate.wait(20):
            answer(handler, body)

    server.gate.clear()
    server.script |= {key: [gated] for key in keys("bi5", span)}
    run = spawn("2024-05-06T00", "2024-05-06T11")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if len(list((tmp_path / "cache").rglob("*.bi5"))) == 5 and sum(server.asked.values()) == 8:
            break
        time.sleep(0.02)
    assert run.signal(signal.SIGKILL) == (-signal.SIGKILL, "")
    assert sum(server.answered.values()) == 5
    assert len(list((tmp_path / "cache").rglob("*.bi5"))) == 5

    server.script.clear()
    run = spawn("2024-05-06T00", "2024-05-06T11")
    code, stdout = run.end()
    assert code == 0, run.stderr
    document = json.loads(stdout)
    assert (document["fetched"], document["reused"]) == (7, 5)
    assert server.answered == Counter(keys("bi5", span))
    server.gate.set()
    assert verify_store(tmp_path / "store").rows == 12 * TICKS


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(
    server: Server, spawn: Callable[..., Run], tmp_path: Path, download: Client
) -> None:
    span = (MONDAY, MONDAY + 47)
    days = ("2024-05-06", "2024-05-07")
    undisturbed = download("bi5", span=span, out=tmp_path / "calm")
    assert undisturbed.manifest is not None
    (tmp_path / "cache").rename(tmp_path / "calm-cache")
    server.answered.clear()

    def slowly(handler: Handler, body: bytes) -> None:
        time.sleep(0.06)
        answer(handler, body)

    server.script |= {key: [slowly] for key in keys("bi5", span)}
    moments = random.Random(4)
    killed = 0
    for _ in range(20):
        # Once all hours are there, the moments fall into the import.
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        run = spawn(*days)
        time.sleep(moments.random() * 0.5)
        killed += run.signal(signal.SIGKILL)[0] == -signal.SIGKILL
        if (tmp_path / "store" / "manifest.json").exists():
            assert verify_store(tmp_path / "store").data_hash == undisturbed.manifest.data_hash
    assert killed >= 10
    run = spawn(*days)
    code, stdout = run.end()
    assert code == 0, run.stderr
    assert json.loads(stdout)["store"]["data_hash"] == undisturbed.manifest.data_hash
    # Only answers that were on their way at a kill can have been asked for twice.
    assert 48 <= sum(server.answered.values()) <= 48 + 3 * killed


@pytest.mark.slow
def test_twenty_kills_of_an_extension_leave_the_old_store_or_the_new(
    server: Server, spawn: Callable[..., Run], tmp_path: Path, download: Client
) -> None:
    first, second = (MONDAY, MONDAY + 23), (MONDAY + 24, MONDAY + 47)
    old = download("bi5", span=first)
    assert old.manifest is not None
    shutil.copytree(download.out, tmp_path / "old")
    run = spawn("2024-05-07", "2024-05-07")
    started = time.perf_counter()
    assert run.end()[0] == 0, run.stderr
    whole_s = time.perf_counter() - started
    new = verify_store(download.out)
    assert new.rows == 48 * TICKS
    moments = random.Random(8)
    killed = 0
    while killed < 20:
        # The answers are there by now: the moments fall into the judging, writing and committing.
        shutil.rmtree(download.out)
        shutil.copytree(tmp_path / "old", download.out)
        run = spawn("2024-05-07", "2024-05-07")
        time.sleep(moments.random() * whole_s)
        if run.signal(signal.SIGKILL)[0] == -signal.SIGKILL:
            killed += 1
        else:
            whole_s *= 0.8  # the first run was slower than runs are now
        found = verify_store(download.out)
        assert found in (old.manifest, new)
    assert killed == 20
    run = spawn("2024-05-07", "2024-05-07")
    assert run.end()[0] == 0, run.stderr
    assert verify_store(download.out) == new
    assert {path.name for path in download.out.iterdir()} == {"instrument=EURUSD", "manifest.json"}
    assert server.answered == Counter(keys("bi5", (first[0], second[1])))


def test_an_interrupt_keeps_what_was_fetched(
    server: Server, spawn: Callable[..., Run], tmp_path: Path
) -> None:
    server.script |= {key: [hang] for key in keys("bi5", (MONDAY + 2, MONDAY + 11))}
    run = spawn("2024-05-06T00", "2024-05-06T11", "--timeout", "4")
    end = time.monotonic() + 30
    while sum(server.asked.values()) < 5 and time.monotonic() < end:
        time.sleep(0.02)
    started = time.monotonic()
    code, stdout = run.signal(signal.SIGINT)
    assert time.monotonic() - started < 18  # 5 attempts would take 20
    assert (code, stdout) == (70, "")
    assert run.stderr.endswith(("Abort \n", "KeyboardInterrupt \n"))
    kept = json.loads((tmp_path / "cache" / "EURUSD" / ".hours.json").read_bytes())["hours"]
    assert {hour: record["status"] for hour, record in kept.items()} == {
        "2024-05-06T00": "ticks",
        "2024-05-06T01": "ticks",
    }
    assert not (tmp_path / "store").exists()
