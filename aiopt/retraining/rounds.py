"""The rounds of a retraining on disk: what each trained on, what came out, which checkpoint is good.

Owns the layout::

    OUT/rounds/0001/begun.json     what the round trains on, before it trains: a killed one goes on with it
    OUT/rounds/0001/training/      of `aiopt model train`
    OUT/rounds/0001/comparison/    of `aiopt.promotion`: page, document, proposal
    OUT/rounds/0001/round.json     written last: what came out
    OUT/rounds/0001/accepted       somebody took the proposal
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from aiopt.errors import DataError
from aiopt.files import atomic_write_bytes, sha256_file

T = TypeVar("T")

BEGUN, ROUND, ACCEPTED = "begun.json", "round.json", "accepted"


class Begun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a round trains on.

    Attributes
    ----------
    number : int
        From 1.
    base, base_revision : str
        Where it starts, and what that was.
    data : dict of str to str
        Path and key of each dataset.
    """

    number: int
    base: str
    base_revision: str
    data: dict[str, str]


class Round(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finished round.

    Attributes
    ----------
    begun : Begun
        What it trained on.
    checkpoint, revision : str
        What came out.
    promote : {"yes", "no", "proposal"}
        What the rule said.
    reasons : tuple of str
        Why.
    report, proposal : str
        Page of the comparison; file that a swap takes, empty where the verdict is no.
    """

    begun: Begun
    checkpoint: str
    revision: str
    promote: Literal["yes", "no", "proposal"]
    reasons: tuple[str, ...]
    report: str
    proposal: str


class Rounds:
    """All rounds of a retraining.

    Parameters
    ----------
    out : Path
        The retraining's folder.

    Raises
    ------
    DataError
        If a file is damaged.
    """

    def __init__(self, out: Path) -> None:
        self.folder = Path(out).absolute() / "rounds"
        self.finished: list[Round] = []
        self.begun: Begun | None = None
        for path in sorted(self.folder.glob("[0-9]*")):
            if (path / ROUND).is_file():
                self.finished.append(_read(path / ROUND, Round))
            elif (path / BEGUN).is_file():
                self.begun = _read(path / BEGUN, Begun)

    def __repr__(self) -> str:
        return f"Rounds({str(self.folder.parent)!r}, {len(self.finished)} finished)"

    def path_of(self, number: int) -> Path:
        """Return the folder of a round."""
        return self.folder / f"{number:04d}"

    def is_good(self, one: Round) -> bool:
        """Tell whether a round's checkpoint may be built on: the rule said yes, or somebody took it."""
        return one.promote == "yes" or (self.path_of(one.begun.number) / ACCEPTED).is_file()

    @property
    def last_good(self) -> Round | None:
        """The last round whose checkpoint is good; None before the first."""
        return next((one for one in reversed(self.finished) if self.is_good(one)), None)

    def learnt(self) -> set[str]:
        """Return the keys of data that is in the last good checkpoint."""
        good = [one for one in self.finished if self.is_good(one)]
        return {key for one in good for key in one.begun.data.values()}

    def tried(self) -> set[str]:
        """Return the keys of data that some finished round trained on."""
        return {key for one in self.finished for key in one.begun.data.values()}

    def begin(self, begun: Begun) -> Path:
        """Write down what a round trains on; return its folder."""
        path = self.path_of(begun.number)
        atomic_write_bytes(path / BEGUN, msgspec.json.format(msgspec.json.encode(begun)) + b"\n")
        return path

    def finish(self, one: Round) -> None:
        """Write down what came out."""
        path = self.path_of(one.begun.number) / ROUND
        atomic_write_bytes(path, msgspec.json.format(msgspec.json.encode(one)) + b"\n")
        self.finished.append(one)
        self.begun = None


def dataset_key(folder: Path) -> str:
    """Return what identifies a dataset: the hash of its document, which names the hash of every file.

    Raises
    ------
    DataError
        If the folder is no finished dataset.
    """
    path = Path(folder) / "dataset.json"
    if not path.is_file():
        msg = "This is not a finished dataset: dataset.json is missing. Finish its build, or leave it out."
        raise DataError(msg, file=folder)
    return sha256_file(path)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, OSError) as failure:
        msg = f"The file of a round cannot be read: {failure}. Delete the round's folder to train it again."
        raise DataError(msg, file=path) from failure
