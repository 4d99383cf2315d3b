"""What makes a training the training it is: the hash of configuration, data, base and code.

Owns that hash and the run folder's claim to it.  Equal identity, equal steps; on the CPU, with as many
threads and workers, equal bits.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aiopt.config import canonical_json, content_hash
from aiopt.errors import RunExistsError
from aiopt.files import atomic_write_bytes, sha256_file
from aiopt.training.training_config import TrainingConfig

IDENTITY_FILE = "config.json"
LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "pillow", "numpy")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``config.json`` of a training's folder.

    Attributes
    ----------
    hash : str
        Of everything below.
    config : dict
        The configuration with all defaults.
    data : list
        Name of each dataset; path, split and SHA-256 of its files.
    base : str
        Revision of the checkpoint started from.
    code : dict of str to str
        Hash of this package's source, versions of the libraries that compute.
    """

    hash: str
    config: dict[str, Any]
    data: list[dict[str, Any]]
    base: str
    code: dict[str, str]


def identity_of(config: TrainingConfig, data: Sequence[dict[str, Any]], base_revision: str) -> Identity:
    """Return the identity of a training."""
    parts = {
        "config": msgspec.to_builtins(config),
        "data": list(data),
        "base": base_revision,
        "code": code_version(),
    }
    return Identity(hash=content_hash(parts), **parts)


def code_version() -> dict[str, str]:
    """Return the hash of this package's source and the versions of the libraries that compute."""
    sources = {path.name: sha256_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    found = {"aiopt.training": content_hash(sources)}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def claim(folder: Path, identity: Identity) -> None:
    """Write the identity into a training's folder, or compare with the one there.

    Raises
    ------
    RunExistsError
        If the folder holds another training, or other files.
    """
    path = folder / IDENTITY_FILE
    if not path.exists():
        others = [entry.name for entry in folder.iterdir() if entry.name[0] != "."] if folder.is_dir() else []
        if others:
            raise RunExistsError(
                f"{folder} holds other files ({', '.join(sorted(others)[:3])}). Name a new or empty folder."
            )
        text = msgspec.json.format(canonical_json(identity))
        atomic_write_bytes(path, text + b"\n")
        return
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Identity)
    except msgspec.DecodeError as failure:
        msg = f"{path} cannot be read ({failure}). Name another folder, or delete this one."
        raise RunExistsError(msg) from failure
    if found.hash == identity.hash:
        return
    kinds = {
        "config": "configuration",
        "data": "data",
        "base": "base",
        "code": "version of the code or libraries",
    }
    other = [text for key, text in kinds.items() if getattr(found, key) != getattr(identity, key)]
    raise RunExistsError(
        f"{folder} holds a training of another {' and '.join(other)}. Name another folder, or delete this "
        "one."
    )
