"""States of a training on disk: everything it needs to go on as if it had never stopped.

Owns their layout.  A state is a folder that appears whole or not at all, with the SHA-256 of each of its
files; one that was damaged later is told by that and the one before it is taken.  Weights and moments are
safetensors: nothing is unpickled.  What is random is a function of seed and step, so there is no generator to
keep.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file, save_file

from aiopt.files import sha256_file
from aiopt.training.disk import disk_errors

MANIFEST, WEIGHTS, MOMENTS = "manifest.json", "weights.safetensors", "optimizer.safetensors"
_NAME = re.compile(r"step-(\d{8})")


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a training stands.

    Attributes
    ----------
    step, stage, stage_step : int
        Steps done in all; the stage, from 0; steps done of it.
    tokens : int
        Read so far by all workers.
    best_step : int or None
        Step of the best look at the probe in this stage, or None before the first.
    best_accuracy, best_loss : float
        Of that look.
    stale_looks : int
        Looks since.
    """

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    tokens: int = 0
    best_step: int | None = None
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    stale_looks: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``manifest.json`` of a state holds.

    Attributes
    ----------
    identity : str
        Of the training.
    position : dict
        A `Position`, infinite numbers as text.
    threads, workers : int
        With which the bits of this state are those of an uninterrupted training.
    files : dict of str to str
        SHA-256 of each file.
    """

    identity: str
    position: dict[str, Any]
    threads: int
    workers: int
    files: dict[str, str]


class States:
    """The states of one training.

    Parameters
    ----------
    folder : Path
        Theirs alone.
    identity : str
        Of the training: states of another are not taken.
    keep : int
        How many stay, besides the one that is named when another is saved.
    note : callable
        Told of a damaged state.
    """

    def __init__(self, folder: Path, identity: str, *, keep: int, note: Callable[[str], None]) -> None:
        self._folder, self._identity, self._keep, self._note = folder, identity, keep, note

    @property
    def identity(self) -> str:
        """Of the training."""
        return self._identity

    def save(
        self,
        position: Position,
        parameters: Mapping[str, torch.Tensor],
        optimizer: torch.optim.Optimizer,
        *,
        workers: int,
    ) -> Path:
        """Write a state, then remove the oldest beyond those kept.

        Raises
        ------
        StorageError
            If the disk is full.  States before it are whole.
        """
        final = self._path(position.step)
        draft = self._folder / f".{final.name}.tmp"
        moments = _moments(parameters, optimizer)
        try:
            with disk_errors(final):
                self._write(draft, position, parameters, moments, workers)
                if final.exists():
                    shutil.rmtree(final)
                draft.replace(final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._prune(position)
        return final

    def _write(
        self,
        draft: Path,
        position: Position,
        parameters: Mapping[str, torch.Tensor],
        moments: Mapping[str, torch.Tensor],
        workers: int,
    ) -> None:
        """Write the files of a state, the manifest last, and bring them to the disk."""
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        weights = {name: tensor.detach().contiguous() for name, tensor in parameters.items()}
        save_file(weights, draft / WEIGHTS)
        save_file(dict(moments), draft / MOMENTS)
        manifest = Manifest(
            identity=self._identity,
            position=position_document(position),
            threads=torch.get_num_threads(),
            workers=workers,
            files={name: sha256_file(draft / name) for name in (WEIGHTS, MOMENTS)},
        )
        (draft / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        _flush(draft)

    def newest(self) -> tuple[Path, Position, Manifest] | None:
        """Return the newest whole state of this training; a damaged one is noted and passed over."""
        for path in sorted(self._paths(), reverse=True):
            problem = self._problem(path)
            if problem is None:
                manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
                return path, position_of(manifest.position), manifest
            self._note(f"{path} is damaged ({problem}): taking the state before it.")
        return None

    def restore(
        self, path: Path, parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer | None
    ) -> None:
        """Put a state's weights, and its moments where an optimizer is given, into a training."""
        device = str(next(iter(parameters.values())).device)
        weights = load_file(path / WEIGHTS, device=device)
        with torch.no_grad():
            for name, tensor in parameters.items():
                tensor.copy_(weights[name])
        if optimizer is None:
            return
        moments = load_file(path / MOMENTS, device=device)
        for key, value in moments.items():
            name, kind = key.split("|", 1)
            # AdamW keeps its count of steps on the CPU.
            optimizer.state[parameters[name]][kind] = value.cpu() if kind == "step" else value

    def path_of(self, step: int) -> Path:
        """Return where the state of a step lies."""
        return self._path(step)

    def reference_path(self, stage: int) -> Path:
        """Return where the frozen reference of a stage of preferences lies; it is never pruned."""
        return self._folder / f"reference-{stage:02d}.json"

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"

    def _paths(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]

    def _problem(self, path: Path) -> str | None:
        try:
            manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError) as failure:
            return f"{MANIFEST}: {failure}"
        if manifest.identity != self._identity:
            return "it is of another training"
        for name, digest in manifest.files.items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if sha256_file(path / name) != digest:
                return f"{name} has another SHA-256 than recorded"
        return None

    def _prune(self, position: Position) -> None:
        kept = sorted(self._paths(), reverse=True)[: self._keep]
        if position.best_step is not None:
            kept.append(self._path(position.best_step))
        for path in self._paths():
            if path not in kept:
                shutil.rmtree(path)


def position_document(position: Position) -> dict[str, Any]:
    """Return a position as JSON can hold it."""
    document: dict[str, Any] = msgspec.to_builtins(position)
    return document | {"best_loss": str(position.best_loss)}


def position_of(document: Mapping[str, Any]) -> Position:
    """Return a position from its document."""
    return Position(**{**document, "best_loss": float(document["best_loss"])})


def _moments(
    parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in parameters.items():
        for key, value in optimizer.state.get(tensor, {}).items():
            found[f"{name}|{key}"] = value.detach().contiguous()
    return found


def _flush(folder: Path) -> None:
    """Bring files to the disk, so that a renamed state is whole also after a power cut."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
