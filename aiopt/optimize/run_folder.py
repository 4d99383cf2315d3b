"""One process at a time in one run folder: lock, identity and state.

Owns ``config.json``, ``state.json`` and the lock.  Knows no stage.  The lock is the kernel's: a process that
is killed leaves none behind.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import RunExistsError, StorageError
from aiopt.files import atomic_write_bytes, file_lock, storage_error
from aiopt.optimize.versions import changed_versions, current_versions
from aiopt.runs import (
    CONFIG,
    DISTRUSTED,
    LEADERBOARD,
    LOCK,
    SEARCH,
    STATE,
    TRIALS,
    RunSession,
    RunState,
    is_run,
    read_json,
)


class RunProgress:
    """The state file of a run that this process owns.

    Parameters
    ----------
    run_dir : Path
        The folder.
    state : RunState
        As found, or new.
    """

    def __init__(self, run_dir: Path, state: RunState) -> None:
        self._dir = run_dir
        self._state = state

    @property
    def changes(self) -> list[str]:
        """What the software of this call differs in from that of the call before; empty for a new run."""
        return self._state.sessions[-1].changes if self._state.sessions else []

    def proved(self, proof: str) -> None:
        """Record why the run may be continued by other software than it was begun with."""
        *before, last = self._state.sessions
        self._write(sessions=[*before, msgspec.structs.replace(last, proof=proof)])

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self._state.status == "done"

    def enter(self, stage: str) -> None:
        """Record that a stage begins."""
        self._write(status="running", stage=stage, error="")

    def finish(self) -> None:
        """Record the end of the run."""
        self._write(status="done", finished_at=_now(), error="")

    def stop(self, status: str, error: str) -> None:
        """Record that the run failed or was interrupted in its stage."""
        self._write(status=status, error=error)

    def _write(self, **changes: Any) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
        atomic_write_bytes(self._dir / STATE, msgspec.json.format(msgspec.json.encode(self._state)))


@contextmanager
def owned_run(run_dir: Path, identity: Mapping[str, Any], *, force: bool) -> Iterator[RunProgress]:
    """Own a run folder while the block runs, and record how it ended.

    Parameters
    ----------
    run_dir : Path
        Created where it does not exist.
    identity : mapping
        What decides the run's result; content of ``config.json``.
    force : bool
        Delete what is in the folder first.

    Raises
    ------
    RunExistsError
        If the folder belongs to another configuration, is no run, or another process owns it.
    """
    _check_folder(run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = (
            f"The run folder {run_dir} cannot be written ({error.strerror}). Choose another with --runs-dir."
        )
        raise storage_error(run_dir / LOCK, error) or StorageError(msg) from error
    msg = f"Another process is working on {run_dir}. Wait for it to end."
    with file_lock(run_dir / LOCK, busy=RunExistsError(msg)):
        if force:
            _empty(run_dir)
        state = _take_over(run_dir, identity)
        yield from _recorded(state)


def set_aside(run_dir: Path) -> None:
    """Move the rows of a screen that was wrong out of a run, which then begins anew.

    With `screen: off` it is the same run, and would take them over as finished trials.
    """
    aside = run_dir / DISTRUSTED
    aside.mkdir(exist_ok=True)
    for name in (LEADERBOARD, TRIALS, SEARCH):
        if (run_dir / name).is_file():
            (run_dir / name).replace(aside / name)


def _recorded(state: RunProgress) -> Iterator[RunProgress]:
    try:
        yield state
    except KeyboardInterrupt:
        state.stop("interrupted", "interrupted")
        raise
    except Exception as error:
        state.stop("failed", f"{type(error).__name__}: {error}")
        raise


def _take_over(run_dir: Path, identity: Mapping[str, Any]) -> RunProgress:
    wanted = canonical_json(identity)
    config = run_dir / CONFIG
    found = read_json(run_dir / STATE, RunState) if (run_dir / STATE).is_file() else None
    if config.exists() and config.read_bytes() != wanted:
        msg = (
            f"{run_dir} belongs to a run with another configuration or other data. Choose "
            "another --run-id, or use --force to delete it."
        )
        changes = [] if found is None else changed_versions(found.versions, current_versions())
        if changes:
            msg += f" It was begun by other software, which may know other settings: {'; '.join(changes)}."
        raise RunExistsError(msg)
    atomic_write_bytes(config, wanted)
    if found is None:
        found = RunState(run_id=run_dir.name, started_at=_now(), versions=current_versions())
    if found.status == "done":
        return RunProgress(run_dir, found)
    return RunProgress(run_dir, _with_session(found))


def _with_session(state: RunState) -> RunState:
    """Return the state with this call among the sessions; what an unproved session changed is still open."""
    now = current_versions()
    proved = [session for session in state.sessions if session.proof or not session.changes]
    before = proved[-1].versions if proved else state.versions
    session = RunSession(started_at=_now(), versions=now, changes=changed_versions(before, now))
    return msgspec.structs.replace(state, sessions=[*state.sessions, session])


def _check_folder(run_dir: Path) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        raise RunExistsError(f"{run_dir} is a file, and a run needs a folder. Choose another --run-id.")
    if run_dir.is_dir() and not is_run(run_dir) and any(path.name != LOCK for path in run_dir.iterdir()):
        msg = f"{run_dir} holds other files, and a new run needs an empty folder. Choose another --run-id."
        raise RunExistsError(msg)


def _empty(run_dir: Path) -> None:
    """Delete what is in a run folder, except the lock that this process holds."""
    for path in run_dir.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _now() -> str:
    return dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")
