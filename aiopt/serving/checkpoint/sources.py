"""What may stand where a model is named: a folder, a hub id, or a tiny generated checkpoint.

Owns the spelling ``tiny:vision:SEED`` and ``tiny:text:SEED``, which makes a profile and `aiopt model swap`
usable without weights.  Judging is `aiopt.serving.checkpoint.validation`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import Checkpoint, CheckpointError, locate, validate

_TINY = re.compile(r"tiny:(vision|text):(\d{1,9})")


def resolve(source: str, folder: Path) -> str:
    """Return what `validate` takes; a tiny checkpoint is made below `folder` when it is named first.

    Raises
    ------
    CheckpointError
        If the spelling of a tiny one is wrong.
    """
    if not source.startswith("tiny:"):
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
