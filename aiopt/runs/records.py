"""The records of a run folder that are its own, ``state.json`` and ``entries``, and how files are read.

Owns the records and what is said of a file that is missing or broken.  Knows no other record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import InputError
from aiopt.files import atomic_write_bytes
from aiopt.runs.layout import ENTRIES
from aiopt.trades import Trade

T = TypeVar("T")


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
