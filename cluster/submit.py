"""Submitting a script through the Ray Jobs API: upload, stream the log, stop, exit code.

Owns the client side of a job.  Knows nothing of what the script does: only that its exit code counts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from aiopt.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    ClusterError,
)

PACKAGES = ("aiopt", "cluster", "jobs")
"""What of a checkout is uploaded: about a megabyte, whatever else lies there."""

STOP_TIMEOUT_S = 25.0
AGENT_TIMEOUT_S = 60.0
EXIT_CODES = {EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED}
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_NO_GITIGNORE = "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"
TERMINAL = {"SUCCEEDED", "FAILED", "STOPPED"}


def job_script(name: str) -> tuple[Path, str]:
    """Return the folder to upload for a job and the script's path in it.

    In a checkout that is the checkout; of an installed package, the copy of `jobs` inside it.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "jobs" / name).is_file():
        return package.parent, f"jobs/{name}"
    if (package / "job_scripts" / name).is_file():
        return package / "job_scripts", name
    msg = f"There is no job script {name} in {package.parent / 'jobs'}. Reinstall aiopt."
    raise ClusterError(msg)


def script_names() -> list[str]:
    """Return the names of the job scripts, as `job_script` finds them."""
    folder = (job_script("optimize.py")[0] / job_script("optimize.py")[1]).parent
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def runtime_environment(root: Path, variables: dict[str, str]) -> dict[str, Any]:
    """Return the Ray runtime environment of a job: what is uploaded and which variables it sees."""
    kept = {*PACKAGES, *(path.name for path in root.glob("*.py"))}
    excludes = [f"/{path.name}" for path in sorted(root.iterdir()) if path.name not in kept]
    return {
        "working_dir": str(root),
        "excludes": [*excludes, "**/__pycache__"],
        "env_vars": {"PYTHONUNBUFFERED": "1", **variables},
    }


@contextmanager
def _no_address_in_environment() -> Iterator[None]:
    """Hide Ray's address variables: its client prefers them to the address it is given."""
    hidden = {name: os.environ.pop(name) for name in _ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _named_files_alone() -> Iterator[None]:
    """Upload exactly what `runtime_environment` names, whatever .gitignore says of it."""
    before = os.environ.get(_NO_GITIGNORE)
    os.environ[_NO_GITIGNORE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_GITIGNORE]
        else:
            os.environ[_NO_GITIGNORE] = before


class _LeftError(SystemExit):
    """SIGTERM while a job is followed.  A `SystemExit`, which asyncio lets through at any point."""


@contextmanager
def _terminations() -> Iterator[None]:
    """Turn SIGTERM into `_LeftError` while the block runs; only the main thread gets signals."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise _LeftError(EXIT_TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Job:
    """One submitted job.

    Parameters
    ----------
    address : str
        ``http://HOST:PORT`` of the Jobs API.
    headers : dict
        Sent with each request, e.g. the authorization.
    """

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        from ray.job_submission import JobSubmissionClient

        # Ray's own account of what is uploaded is noise to the user.
        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            with _no_address_in_environment():
                self.client = JobSubmissionClient(address, headers=headers)
        except (ConnectionError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            msg = f"The Jobs API at {address} did not answer: {reason} Check --address and the token."
            raise ClusterError(msg) from error
        self.job_id = ""

    def submit(
        self, command: Sequence[str], *, job_id: str, environment: dict[str, Any], metadata: dict[str, str]
    ) -> None:
        """Upload the working directory and start `command` on the head node."""
        deadline = time.monotonic() + AGENT_TIMEOUT_S
        while not self.job_id:
            try:
                with _named_files_alone():
                    self.job_id = self.client.submit_job(
                        entrypoint=shlex.join(command),
                        submission_id=job_id,
                        runtime_env=environment,
                        metadata=metadata,
                    )
            except RuntimeError as error:
                # The dashboard of a head that has just started answers before its job agent does.
                if "No available agent" not in str(error) or time.monotonic() > deadline:
                    raise ClusterError(f"Ray refused to start the job: {error}") from error
                time.sleep(0.5)

    def status(self) -> str:
        """Return ``PENDING``, ``RUNNING``, ``SUCCEEDED``, ``FAILED`` or ``STOPPED``."""
        return str(self.client.get_job_status(self.job_id).value)

    def follow(self, write: Callable[[str], None], *, stop_on_interrupt: bool = True) -> int:
        """Pass the job's log to `write` until it ends, and return the script's exit code.

        On Ctrl-C the job is stopped, its last lines are shown, and 130 is returned; with `stop_on_interrupt`
        false it runs on.  On SIGTERM it runs on, how to find it again is written, and 143 is returned.
        """
        seen = 0

        def show(text: str) -> None:
            nonlocal seen
            seen += len(text)
            write(text)

        try:
            with _terminations():
                self._stream(show)
        except _LeftError:
            write(self._runs_on())
            return EXIT_TERMINATED
        except KeyboardInterrupt:
            if not stop_on_interrupt:
                write(self._runs_on())
                return EXIT_INTERRUPTED
            self.stop()
            write(self.client.get_job_logs(self.job_id)[seen:])
            return EXIT_INTERRUPTED
        write(self.client.get_job_logs(self.job_id)[seen:])
        return self.exit_code()

    def _runs_on(self) -> str:
        return (
            f"\nThe job {self.job_id} runs on. `aiopt jobs logs {self.job_id} --follow` shows it, "
            f"`aiopt jobs stop {self.job_id}` stops it.\n"
        )

    def exit_code(self) -> int:
        """Return the exit code of a job that has ended."""
        info = self.client.get_job_info(self.job_id)
        code = info.driver_exit_code
        if code in EXIT_CODES:
            return int(code)
        if info.status.value == "SUCCEEDED":
            return EXIT_OK
        if info.status.value == "STOPPED":
            return EXIT_INTERRUPTED
        how = (
            info.message if code is None else f"its process ended with code {code} (killed, or out of memory)"
        )
        msg = f"The job did not run to its end: {how}. Finished trials are kept: run the same command again."
        raise ClusterError(msg)

    def stop(self) -> None:
        """Ask the job to stop and wait until it has."""
        if not self.job_id or self.status() in TERMINAL:
            return
        self.client.stop_job(self.job_id)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.status() not in TERMINAL and time.monotonic() < deadline:
            time.sleep(0.2)

    def _stream(self, write: Callable[[str], None]) -> None:
        """Follow the log; where the connection breaks, wait for the end without it."""

        async def tail() -> None:
            async for text in self.client.tail_job_logs(self.job_id):
                write(text)

        try:
            asyncio.run(tail())
        except (OSError, RuntimeError) as error:
            write(f"(log stream interrupted: {error}; the job goes on)\n")
        while self.status() not in TERMINAL:
            time.sleep(0.5)
