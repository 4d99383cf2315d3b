"""A run folder that is looked at: its files turned into records when asked for.

Owns finding, reading, holding and deleting run folders.  Knows nothing of Ray, of engines or of how a report
looks.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from aiopt.errors import InputError, RunExistsError, StorageError, did_you_mean
from aiopt.files import storage_error
from aiopt.runs.layout import (
    ANALYSES,
    CONFIG,
    ENTRIES,
    LEADERBOARD,
    LOCK,
    NESTED_PATHS,
    PARTS,
    PATHS,
    PINE,
    RANKING,
    ROBUSTNESS,
    SCREEN,
    STATE,
    TRIALS,
)
from aiopt.runs.records import EntryRecord, NotARunError, RunFileError, RunState, read_json, unreadable
from aiopt.series import Symbol

if TYPE_CHECKING:
    from aiopt.analyst.record import RunAnalyses
    from aiopt.evaluation.folds import WalkForwardPlan
    from aiopt.paths.paths_file import RunPaths
    from aiopt.ranking.ranking_file import Ranking
    from aiopt.ranking.screened import Screened
    from aiopt.ranking.trials import TrialRow
    from aiopt.robustness.robustness_file import Robustness


@dataclass(frozen=True)
class RunFolder:
    """A run folder that was looked at; its files are read when asked for.

    Attributes
    ----------
    path : Path
        The folder.
    state : RunState
        Status ``"unknown"`` where ``state.json`` is absent.
    missing : tuple of str
        Parts of a finished run that are not there, e.g. ``"ranking.json"``.
    """

    path: Path
    state: RunState
    missing: tuple[str, ...] = field(default=())

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.state.run_id or self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the run came to its end and nothing of it is missing."""
        return self.state.status == "done" and not self.missing

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The resolved configuration, or None where it is absent."""
        return self.read_mapping(CONFIG)

    @property
    def ranking(self) -> Ranking | None:
        """The ranking, or None where it is absent; with the required gates of `robustness` as a check."""
        found = self._ranking
        return None if found is None else found[0]

    @property
    def ranking_note(self) -> str:
        """What to know of a ranking that an earlier version wrote; empty for one of this version."""
        found = self._ranking
        return "" if found is None else found[1]

    @cached_property
    def _ranking(self) -> tuple[Ranking, str] | None:
        from aiopt.ranking.ranking_file import read_ranking
        from aiopt.robustness.robustness_file import with_robustness

        path = self.path / RANKING
        if not path.is_file():
            return None
        document, stressed = read_json(path, dict[str, Any]), self.robustness
        try:
            found, note = read_ranking(document)
            return (found if stressed is None else with_robustness(found, stressed)), note
        except msgspec.ValidationError as error:
            raise unreadable(path, error) from error
        except InputError as error:
            raise RunFileError(f"{path}: {error}") from error

    @cached_property
    def robustness(self) -> Robustness | None:
        """What the ranked entries did under stress, or None where it was not measured."""
        from aiopt.robustness.robustness_file import Robustness

        path = self.path / ROBUSTNESS
        return read_json(path, Robustness) if path.is_file() else None

    @cached_property
    def screened(self) -> Screened | None:
        """What the screen ran and the engine confirmed, or None where the screen had no part in it."""
        from aiopt.ranking.screened import Screened

        path = self.path / SCREEN
        return read_json(path, Screened) if path.is_file() else None

    @cached_property
    def entries(self) -> tuple[EntryRecord, ...]:
        """The entries' records in order of rank; empty where there are none."""
        found = [
            read_json(path, EntryRecord)
            for path in sorted((self.path / ENTRIES).glob("*.json"))
            if not path.name.startswith(".")
        ]
        return tuple(sorted(found, key=lambda entry: entry.rank))

    @cached_property
    def analyses(self) -> RunAnalyses | None:
        """What the analyst read, or None where it was not asked."""
        from aiopt.analyst.record import RunAnalyses

        path = self.path / ANALYSES
        return read_json(path, RunAnalyses) if path.is_file() else None

    @cached_property
    def paths(self) -> RunPaths | None:
        """The combinatorial paths and the walk-forward matrix, or None where they were not made."""
        from aiopt.paths.paths_file import RunPaths

        path = self.path / PATHS
        return read_json(path, RunPaths) if path.is_file() else None

    @cached_property
    def nested_paths(self) -> RunPaths | None:
        """The paths of searches run anew for each split, or None where nobody asked for them."""
        from aiopt.paths.paths_file import RunPaths

        path = self.path / NESTED_PATHS
        return read_json(path, RunPaths) if path.is_file() else None

    @property
    def trials_path(self) -> Path | None:
        """Where ``trials.parquet`` lies, or None where it is absent."""
        path = self.path / TRIALS
        return path if path.is_file() else None

    @property
    def has_trials(self) -> bool:
        """Whether trials are recorded, or can be: the sweep has begun."""
        return self.trials_path is not None or (self.path / LEADERBOARD).is_file()

    def trial_rows(self) -> tuple[WalkForwardPlan | None, Iterator[TrialRow]]:
        """Return the plan and the rows of the trials: of ``trials.parquet``, or so far of the journal.

        Raises
        ------
        NotARunError
            If neither is there: the sweep has not begun.
        DataError
            If the file is damaged, or neither it nor the journal has a large sweep's profits per period.
        """
        from aiopt.ranking.journal import read_journal
        from aiopt.ranking.trials import read_plan, read_trials
        from aiopt.ranking.whole_rows import keeps_every_series, whole_rows

        if self.trials_path is not None:
            plan = read_plan(self.trials_path)
            if keeps_every_series(self.trials_path):
                return plan, iter(read_trials(self.trials_path))
            return plan, whole_rows(self.trials_path, self.path / LEADERBOARD)
        if not self.has_trials:
            msg = f"A run must have trials, but {self.path} has none yet: its sweep has not begun."
            raise NotARunError(msg)
        return read_journal(self.path / LEADERBOARD)

    def last_active(self) -> dt.datetime:
        """Return when a call last began or ended a part of the run, as its files tell (UTC)."""
        names = (STATE, LEADERBOARD, RANKING, CONFIG)
        stamps = [(self.path / name).stat().st_mtime for name in names if (self.path / name).exists()]
        return dt.datetime.fromtimestamp(max(stamps), dt.UTC)

    def bytes(self) -> int:
        """Return the size of all files of the folder."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    @property
    def is_running(self) -> bool:
        """Whether a process works on the run now, whatever ``state.json`` says."""
        try:
            with held_run(self.path):
                return False
        except RunExistsError:
            return True

    def delete(self) -> None:
        """Delete the folder.

        Raises
        ------
        RunExistsError
            If a process works on the run.
        StorageError
            If something cannot be deleted.
        """
        with held_run(self.path):
            try:
                shutil.rmtree(self.path)
            except OSError as error:
                msg = f"{self.path} must be deletable, but {error.filename} is not ({error.strerror})."
                raise storage_error(self.path, error) or StorageError(msg) from error

    def read_mapping(self, name: str) -> dict[str, Any] | None:
        """Read one JSON file of the folder whose top level is an object; None where it is absent."""
        path = self.path / name
        return read_json(path, dict[str, Any]) if path.is_file() else None

    def pine_source(self, name: str) -> str | None:
        """Return the script ``pine/NAME.pine``, or None where it was not emitted."""
        path = self.path / PINE / f"{name}.pine"
        if not path.is_file():
            return None
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            msg = f"{path} is not UTF-8 text: {error}. Emit the script again or remove the file."
            raise RunFileError(msg) from error

    def describe_missing(self) -> list[str]:
        """Return one phrase per missing part, e.g. ``"ranking.json (the ranking)"``."""
        return [f"{name} ({PARTS[name]})" for name in self.missing]


def markets_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a ``config.json`` says of each market, by instrument; of a run of one, of its only one."""
    found = config.get("markets") or [config]
    return {str(one.get("instrument", "")): one for one in found}


def backtest_of(config: Mapping[str, Any], instrument: Symbol) -> dict[str, Any]:
    """Return what the backtests of a market of a run assumed; unset: of the only one."""
    markets = markets_of(config)
    one = markets.get(str(instrument), config) if instrument else config
    return dict(one.get("backtest", {}))


@contextmanager
def held_run(run_dir: Path) -> Iterator[None]:
    """Hold the lock of an existing run folder while the block runs.

    Raises
    ------
    RunExistsError
        If another process holds it.
    """
    lock = run_dir / LOCK
    if not lock.is_file():
        yield
        return
    with lock.open("r") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = (
                f"A run that works must be left alone, but a process is at {run_dir}. Wait for it or stop it."
            )
            raise RunExistsError(msg) from error
        yield


def load_run(path: Path) -> RunFolder:
    """Look at a run folder.

    Parameters
    ----------
    path : Path
        ``runs/<run-id>``.

    Raises
    ------
    NotARunError
        If the folder does not exist or holds neither ``state.json`` nor ``config.json``.
    RunFileError
        If ``state.json`` cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        msg = f"There is no run folder {path}.{_nearby(path)}"
        raise NotARunError(msg)
    if not is_run(path):
        msg = (
            f"{path} is not a run folder: it holds neither {STATE} nor {CONFIG}. Give a folder "
            f"that `aiopt optimize` wrote, e.g. runs/<run-id>.{_nearby(path / 'x')}"
        )
        raise NotARunError(msg)
    state_path = path / STATE
    state = read_json(state_path, RunState) if state_path.is_file() else RunState()
    # A ranking without entries leaves empty folders: those are there, not missing.
    missing = tuple(name for name in PARTS if not (path / name).exists())
    return RunFolder(path=path, state=state, missing=missing)


def list_runs(runs_dir: Path) -> list[RunFolder]:
    """Return the runs below a folder, by name; empty if the folder does not exist.

    Folders that are not runs are passed over.  A run whose ``state.json`` is damaged is listed with status
    ``"damaged"`` and the reason in `RunState.error`, so that one broken run does not hide the others.
    """
    runs_dir = Path(runs_dir)
    if not runs_dir.is_dir():
        return []
    found = []
    for path in sorted(runs_dir.iterdir()):
        if not is_run(path):
            continue
        try:
            found.append(load_run(path))
        except RunFileError as error:
            found.append(RunFolder(path=path, state=RunState(status="damaged", error=str(error))))
    return found


def is_run(path: Path) -> bool:
    """Whether `path` looks like a run folder."""
    return path.is_dir() and ((path / STATE).is_file() or (path / CONFIG).is_file())


def _nearby(path: Path) -> str:
    """Return a hint naming the runs that lie beside `path`, or nothing."""
    names = [run.path.name for run in list_runs(path.parent)]
    return did_you_mean(path.name, names) if names else ""
