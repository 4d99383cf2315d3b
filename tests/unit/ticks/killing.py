"""Commands in processes of their own that are killed: at a moment, or before their n-th change of a folder.

A launcher imports once what takes seconds to import, then forks a process per command.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LAUNCHER = """
import json, os, signal, sys
import aiopt.cli.data, aiopt.cli.ticks, aiopt.catalog, aiopt.bars.building.build
import aiopt.ticks.download, aiopt.ticks.importing, cluster.cli.bars
import numba, pandas, pyarrow.compute, rich.progress
MODULES = {"ticks": aiopt.cli.ticks, "bars": cluster.cli.bars, "data": aiopt.cli.data}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}

def count(below, die_at, seen):
    def hook(event, arguments):
        change = event in CHANGES
        if event == "open" and isinstance(arguments[2], int):
            change = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        names = [str(part) for part in arguments if isinstance(part, (str, os.PathLike))]
        if change and any(name.startswith(below) for name in names):
            seen[0] += 1
            if seen[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        code = 70
        seen = [0]
        try:
            os.dup2(os.open(job["output"] + ".out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(os.open(job["output"] + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            count(job["below"], job["die_at"], seen)
            group, *arguments = job["arguments"]
            code = MODULES[group].command(arguments, standalone_mode=False) or 0
            sys.stdout.flush()
            print(seen[0], file=sys.stderr, flush=True)
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Killer:
    """Runs `aiopt` commands and kills them.

    Parameters
    ----------
    launcher : subprocess.Popen
        From `start_launcher`.
    scratch : Path
        For the output of the commands.
    """

    def __init__(self, launcher: subprocess.Popen[str], scratch: Path) -> None:
        self._launcher = launcher
        self._output = scratch / "killed"

    def run(
        self,
        arguments: list[str],
        *,
        below: Path | None = None,
        die_at: int = 0,
        kill_after_s: float | None = None,
    ) -> int:
        """Run a command; return its exit code, -9 if it was killed.

        Parameters
        ----------
        arguments : list of str
            Of `aiopt`.
        below : Path, optional
            Count the files opened for writing, renamed, made and removed here.
        die_at : int
            Kill the process before this one of them.
        kill_after_s : float, optional
            Kill the process then.
        """
        job = {
            "arguments": arguments,
            "output": str(self._output),
            "die_at": die_at,
            "below": str(below or "/-"),
        }
        assert self._launcher.stdin is not None
        self._launcher.stdin.write(json.dumps(job) + "\n")
        self._launcher.stdin.flush()
        process = int(self._line())
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return int(self._line())

    def finish(self, arguments: list[str], *, below: Path | None = None) -> int:
        """Run a command that must succeed; return how many changes it made in `below`."""
        assert self.run(arguments, below=below) == 0, self.stderr
        return int(self.stderr.split()[-1])

    @property
    def stderr(self) -> str:
        """What the last command wrote there."""
        return self._output.with_suffix(".err").read_text()

    def kill_twenty_times(
        self, arguments: list[str], *, prepare: Callable[[], None], check: Callable[[], None], seed: int
    ) -> None:
        """Kill a command at random moments of its run until twenty kills have hit it.

        Parameters
        ----------
        arguments : list of str
            Of `aiopt`.
        prepare, check : callable
            Before each run, and after it.
        seed : int
            Of the moments.
        """
        whole_s = min(self._time(arguments, prepare) for _ in range(3))
        moments = random.Random(seed)
        hits = 0
        for _ in range(120):
            prepare()
            moment_s = moments.random() * whole_s
            if self.run(arguments, kill_after_s=moment_s) == -signal.SIGKILL:
                hits += 1
            else:
                # Over before the kill: the timed runs were slower, as the machine had other work.
                whole_s = max(moment_s, 0.75 * whole_s)
            check()
            if hits == 20:
                return
        raise AssertionError(f"only {hits} of 120 kills hit the command: {self.stderr}")

    def _time(self, arguments: list[str], prepare: Callable[[], None]) -> float:
        prepare()
        started = time.perf_counter()
        self.finish(arguments)
        return time.perf_counter() - started

    def _line(self) -> str:
        assert self._launcher.stdout is not None
        return self._launcher.stdout.readline()


@contextmanager
def start_launcher() -> Iterator[subprocess.Popen[str]]:
    """Start the process that forks the commands."""
    root = str(Path(__file__).resolve().parents[3])
    environment = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    with subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env=environment,
    ) as process:
        yield process


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, also hidden ones, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def folders(folder: Path) -> list[str]:
    """Return every folder below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir())
