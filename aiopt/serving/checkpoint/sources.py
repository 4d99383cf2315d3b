"""What may stand where a model is named: a folder, a hub id, a training, a proposal, a tiny generated one.

Owns the spelling ``tiny:vision:SEED`` and ``tiny:text:SEED``, which makes a profile and `aiopt model swap`
usable without weights, and which of these a name is.  Judging is `aiopt.serving.checkpoint.validation`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from aiopt.serving.checkpoint.adapter_folder import refuse_adapter
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.trained import (
    check_proposed,
    is_adapter,
    is_training,
    read_proposal,
    trained_checkpoint,
)
from aiopt.serving.checkpoint.validation import Checkpoint, CheckpointError, locate, validate

_TINY = re.compile(r"tiny:(vision|text):(\d{1,9})")


def resolve(source: str, folder: Path) -> str:
    """Return what `validate` takes; a tiny checkpoint is made below `folder` when it is named first.

    A training's folder stands for its checkpoint, a proposal's file for the one it proposes.

    Raises
    ------
    CheckpointError
        If the spelling of a tiny one is wrong; a training is not finished or its checkpoint another one; a
        proposal is of another revision; the folder holds an adapter, which has to be merged first.
    """
    if not source.startswith("tiny:"):
        path = Path(source).expanduser()
        if path.is_dir():
            return _folder(path, source)
        if path.is_file() and path.suffix == ".json":
            proposal = read_proposal(path)
            proposed = resolve(proposal.checkpoint, folder)
            check_proposed(proposal, validate(proposed, allow_remote_code=True), path)
            return proposed
        return source
    match = _TINY.fullmatch(source)
    if match is None:
        raise CheckpointError(
            f"A generated checkpoint must be named tiny:vision:SEED or tiny:text:SEED, but got {source!r}. "
            "Write e.g. tiny:vision:1."
        )
    path = folder / "serving" / "tiny" / f"{match[1]}-{match[2]}"
    if not path.exists():
        build_checkpoint(path, seed=int(match[2]), kind="vision" if match[1] == "vision" else "text")
    return str(path)


def _folder(path: Path, source: str) -> str:
    """Return the checkpoint that a folder stands for."""
    if is_training(path):
        return str(trained_checkpoint(path))
    if is_adapter(path):
        refuse_adapter(path)
    return source


def check_present(source: str, folder: Path) -> None:
    """Check that a model lies on this machine.

    Raises
    ------
    CheckpointError
        With the command that fetches it.
    """
    locate(resolve(source, folder))


def validator(folder: Path) -> Callable[[str, Checkpoint | None, bool], Checkpoint]:
    """Return the function a coordinator judges sources with."""

    def judge(source: str, like: Checkpoint | None, remote_code: bool) -> Checkpoint:
        return validate(resolve(source, folder), like=like, allow_remote_code=remote_code)

    return judge
