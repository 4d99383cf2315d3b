"""What training and comparison leave, as a model that may be named: a training's folder, a proposal.

Owns how both are recognised and what must be true of them before their weights are used: a training is
finished, and its checkpoint is still the one it wrote; a proposal's checkpoint is still the one proposed.
Imports neither torch nor transformers, so that the coordinator and the command line can ask.

::

    OUT/config.json    identity of the training
    OUT/result.json    written last: revision of the checkpoint
    OUT/checkpoint/    what is served
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from aiopt.files import atomic_write_bytes
from aiopt.serving.checkpoint.geometry import GEOMETRY_FILE
from aiopt.serving.checkpoint.validation import Checkpoint, validate
from aiopt.serving.checkpoint.weights import CheckpointError

CHECKPOINT_FOLDER, RESULT_FILE, IDENTITY_FILE, STATES_FOLDER = (
    "checkpoint",
    "result.json",
    "config.json",
    "states",
)
ADAPTER_FILE = "adapter_config.json"


class TrainingOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of ``result.json``; every other key is the training's own affair.

    Attributes
    ----------
    identity : str
        Hash of the training.
    revision : str
        Content hash of the checkpoint it wrote.
    step, steps_done : int
        Step whose weights are kept; steps trained.
    """

    identity: str
    revision: str
    step: int
    steps_done: int


class Proposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that is proposed for service: a file that stands wherever a checkpoint may be named.

    Attributes
    ----------
    kind : str
        Tells the file from any other.
    checkpoint : str
        Folder or hub id.
    revision : str
        What it held when it was judged.
    instead_of : str
        Revision it was compared with.
    promote : {"yes", "proposal"}
        What the rule said.
    reasons : tuple of str
        Why.
    report : str
        Where the comparison is told in full.
    """

    kind: Literal["aiopt proposal of a model"] = "aiopt proposal of a model"
    checkpoint: str
    revision: str
    instead_of: str
    promote: Literal["yes", "proposal"]
    reasons: tuple[str, ...]
    report: str


def is_training(folder: Path) -> bool:
    """Tell whether a folder is a training's, finished or not."""
    if (folder / RESULT_FILE).is_file() or (folder / STATES_FOLDER).is_dir():
        return not list(folder.glob("*.safetensors"))
    return False


def training_outcome(folder: Path) -> TrainingOutcome:
    """Read how a training ended.

    Raises
    ------
    CheckpointError
        If it is not finished, or its result cannot be read.
    """
    path = folder / RESULT_FILE
    again = "Run the same `aiopt model train` command again: it goes on from its last state."
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: a training must be finished to be used, but there is no {RESULT_FILE}. {again}"
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingOutcome)
    except (OSError, msgspec.DecodeError) as failure:
        raise CheckpointError(
            f"{path}: the result of a training must be readable, but: {failure}. Delete the file. {again}"
        ) from failure


def trained_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of a training, proved to be the one that it wrote.

    Parameters
    ----------
    folder : Path
        OUT of `aiopt model train`, which may have been moved since.

    Raises
    ------
    CheckpointError
        If the training is not finished, or its checkpoint is not whole or another one: says the remedy.
    """
    outcome = training_outcome(folder)
    path = folder / CHECKPOINT_FOLDER
    if not path.is_dir():
        raise CheckpointError(
            f"{folder}: a finished training must hold its checkpoint, but {path} does not exist. Run the "
            "same `aiopt model train` command again, or bring the folder back."
        )
    # Nothing of it is run here; whether code of its own may be is asked by whoever loads it.
    found = validate(path, allow_remote_code=True)
    if found.images and not (path / GEOMETRY_FILE).is_file():
        raise CheckpointError(
            f"{path}: a checkpoint trained on pictures must say how it sees them, but {GEOMETRY_FILE} is not "
            "there, so it would read charts by chance. Bring the file back, or train again."
        )
    if found.revision != outcome.revision:
        raise CheckpointError(
            f"{path}: the checkpoint must be the one the training wrote, revision {outcome.revision[:12]}, "
            f"but its files are now {found.revision[:12]}: weights or settings were changed or damaged. "
            "Bring the files back, or train again; to serve it as it is, name the checkpoint's folder itself."
        )
    return path


def is_adapter(folder: Path) -> bool:
    """Tell whether a folder holds a LoRA adapter instead of a model."""
    return (folder / ADAPTER_FILE).is_file() and not (folder / IDENTITY_FILE).is_file()


def read_proposal(path: Path) -> Proposal:
    """Read a proposal.

    Raises
    ------
    CheckpointError
        If the file is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Proposal)
    except (OSError, msgspec.DecodeError) as failure:
        raise CheckpointError(
            f"{path}: a model must be a folder, a hub id, or a proposal of `aiopt model compare`, but this "
            f"file is none: {failure}. Name the folder of a checkpoint or of a training."
        ) from failure


def write_proposal(path: Path, proposal: Proposal) -> None:
    """Write a proposal, whole or not at all."""
    atomic_write_bytes(path, msgspec.json.format(msgspec.json.encode(proposal)) + b"\n")


def check_proposed(proposal: Proposal, found: Checkpoint, path: Path) -> None:
    """Refuse a checkpoint that is no longer the one that was proposed.

    Raises
    ------
    CheckpointError
        Names both revisions.
    """
    if found.revision != proposal.revision:
        raise CheckpointError(
            f"{path}: what is served must be what was compared, revision {proposal.revision[:12]}, but "
            f"{proposal.checkpoint} is now {found.revision[:12]}. Compare again."
        )
