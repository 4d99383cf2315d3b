"""The run folder: which file lies where, and how each is read.

Owns the layout of ``runs/<run-id>/`` and the records of ``state.json`` and ``entries/*.json``.  Knows nothing
of Ray, of engines or of how a report looks; it turns files into records and says what is missing or broken.

::

    runs/<run-id>/
    ├── config.json        the resolved configuration
    ├── manifest.json      the tick store's manifest, or that of the bars: source, span, what was dropped
    ├── state.json         RunState: how far the run came
    ├── bars/              the bars the trials read
    ├── trials.parquet     every trial, failed ones too
    ├── leaderboard.jsonl  the leaderboard's journal
    ├── ranking.json       the ranking: entries, rejections, statistics; search.json: searches, in-sample
    ├── paths.json         combinatorial paths and walk-forward matrix
    ├── robustness.json    the ranked entries under stress, where the stage is on
    ├── entries/           one EntryRecord per ranked entry: trades and equity of its emitted parameters
    ├── charts/, analyses.json   what the analyst was shown and read, where the stage is on
    ├── proposals.json     strategies the analyst proposed before the sweep, where it was asked to
    ├── pine/              NAME.pine and NAME.json (the spec) per ranked entry
    └── report.html, report.json, trades.csv, entries.csv
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
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import InputError, RunExistsError, StorageError, did_you_mean
from aiopt.files import atomic_write_bytes, storage_error
from aiopt.series import Symbol
from aiopt.trades import Trade

if TYPE_CHECKING:
    from aiopt.analyst.record import RunAnalyses
    from aiopt.evaluation.folds import WalkForwardPlan
    from aiopt.paths.paths_file import RunPaths
    from aiopt.ranking.ranking_file import Ranking
    from aiopt.ranking.trials import TrialRow
    from aiopt.robustness.robustness_file import Robustness

T = TypeVar("T")

CONFIG = "config.json"
MANIFEST = "manifest.json"
STATE = "state.json"
BARS = "bars"
TRIALS = "trials.parquet"
LEADERBOARD = "leaderboard.jsonl"
RANKING = "ranking.json"
ROBUSTNESS = "robustness.json"
ENTRIES = "entries"
PINE = "pine"
CHARTS = "charts"
ANALYSES = "analyses.json"
PROPOSALS = "proposals.json"
PATHS = "paths.json"
SEARCH = "search.json"
REPORT_HTML = "report.html"
REPORT_JSON = "report.json"
TRADES_CSV = "trades.csv"
ENTRIES_CSV = "entries.csv"
LOCK = ".lock"
"""Held, by the kernel's lock, by the process that works on the run."""

_PARTS = {
    CONFIG: "the resolved configuration",
    MANIFEST: "the data manifest",
    STATE: "the progress of the run",
    TRIALS: "the trials",
    RANKING: "the ranking",
    ENTRIES: "trades and equity of the ranked entries",
    PINE: "the emitted scripts",
}
"""What a finished run holds, and how a person would call it."""


class NotARunError(InputError):
    """The folder given is not a run folder."""


class RunFileError(InputError):
    """A file of a run folder is there but cannot be read."""


class RunSession(msgspec.Struct, frozen=True, kw_only=True):
    """One call that worked on a run.

    Attributes
    ----------
    started_at : str
        ISO 8601 UTC.
    versions : dict
        Package name to version; ``code`` is a hash of the product's own modules.
    changes : list of str
        What differs from the versions of the session before.
    proof : str
        Why the run may be continued all the same; empty where nothing changed or nothing was proved yet.
    """

    started_at: str
    versions: dict[str, str]
    changes: list[str] = []
    proof: str = ""


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run came; the content of ``state.json``.

    Keys a later version adds are ignored, so an older reader still lists newer runs.

    Attributes
    ----------
    status : str
        ``"running"``, ``"done"``, ``"failed"``, ``"interrupted"``; ``"unknown"`` without a ``state.json``.
    stage : str
        Stage the run is in or stopped at, e.g. ``"sweep"``.
    run_id : str
        Empty where the folder's name is the only one.
    error : str
        Why the run failed; empty otherwise.
    started_at, finished_at : str
        ISO 8601 UTC; empty where not recorded.
    versions : dict
        Package name to version of the call that began the run.
    sessions : list of RunSession
        Every call that worked on the run, in order.
    """

    status: str = "unknown"
    stage: str = ""
    run_id: str = ""
    error: str = ""
    started_at: str = ""
    finished_at: str = ""
    versions: dict[str, str] = {}
    sessions: list[RunSession] = []


class EntryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one ranked entry's emitted parameters did over the whole span; one file of ``entries/``.

    Attributes
    ----------
    rank : int
        1-based place in the ranking.
    name : str
        ``NAME`` of ``pine/NAME.pine`` and ``pine/NAME.json``.
    trial_id : str
        The trial whose parameters were emitted.
    trades : list of Trade
        In order of exit.
    equity_ts_ns : list of int, UTC
        Times of the equity points, ascending.
    equity : list of float, quote currency
        Same length as `equity_ts_ns`.
    spec : dict
        The emitted StrategySpec as plain data.
    stop_fills : str
        By which rule stops were filled, in one phrase; empty in runs of older versions.
    """

    rank: int
    name: str
    trades: list[Trade]
    equity_ts_ns: list[int]
    equity: list[float]
    trial_id: str = ""
    spec: dict[str, Any] = {}
    stop_fills: str = ""


def write_entry(run_dir: Path, record: EntryRecord) -> Path:
    """Write one entry's record to ``entries/`` and return its path."""
    path = Path(run_dir) / ENTRIES / f"{record.name}.json"
    atomic_write_bytes(path, canonical_json(record))
    return path


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
            If the file is damaged.
        """
        from aiopt.ranking.journal import read_journal
        from aiopt.ranking.trials import read_plan, read_trials

        if self.trials_path is not None:
            return read_plan(self.trials_path), iter(read_trials(self.trials_path))
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
        return [f"{name} ({_PARTS[name]})" for name in self.missing]


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


def read_json(path: Path, type_: type[T]) -> T:
    """Read a JSON file as `type_`.

    Raises
    ------
    RunFileError
        If the file is cut off, is not JSON or lacks a field; the message names the file and the fault.
    """
    try:
        return msgspec.convert(msgspec.json.decode(path.read_bytes()), type=type_)
    except msgspec.ValidationError as error:
        raise unreadable(path, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = (
            f"{path} is not valid JSON: {error}. It was cut off or edited. Repeat the run, or "
            "remove the file to report on the rest."
        )
        raise RunFileError(msg) from error


def unreadable(path: Path, error: msgspec.ValidationError) -> RunFileError:
    """Return the error for a file of a run folder that holds something else."""
    return RunFileError(
        f"{path} does not hold what this version of aiopt writes: {error}. Finish or "
        "repeat the run, or remove the file to report on the rest."
    )


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
    missing = tuple(name for name in _PARTS if not (path / name).exists())
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
