"""Serving profiles as files: where they lie, what a command may change in one, what a machine needs for it.

Owns these rules.  The typed content is `aiopt.serving.profile`'s; nothing is started here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import yaml

from aiopt.errors import ConfigError, InputError, did_you_mean
from aiopt.serving.checkpoint.sources import check_present
from aiopt.serving.checkpoint.weights import CheckpointError
from aiopt.serving.endpoint import named_checkpoint
from aiopt.serving.profile import ServingConfig, load_args
from aiopt.yaml_text import load_yaml

NEEDED = ("vllm", "transformers", "fastapi")

GENERATED = "tiny:"
"""Begins the name of a checkpoint that is made when it is first named."""


def profile_names() -> list[str]:
    """Return the names of the profiles that ship."""
    return sorted(path.stem for path in _profiles().glob("*.yaml"))


def load_profile(name: str) -> dict[str, Any]:
    """Return a profile as plain data.

    Parameters
    ----------
    name : str
        ``gpu``, ``cpu``, ``tiny``, ``test``, or the path of a YAML file.

    Raises
    ------
    InputError
        If there is none of that name.
    ConfigError
        If it does not hold one application.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _profiles() / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"There is no serving profile {name!r}.{did_you_mean(name, profile_names())}")
    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} must be YAML, but is not: {error}") from error
    applications = document.get("applications") if isinstance(document, dict) else None
    if not isinstance(applications, list) or len(applications) != 1 or "args" not in applications[0]:
        raise ConfigError(f"{path} must hold one application with `args`. Start from {_profiles()}/cpu.yaml.")
    return document


def adapt(
    document: dict[str, Any], *, folder: Path, model: str | None, port: int | None
) -> tuple[dict[str, Any], ServingConfig]:
    """Put what the command line decides into a profile and check the result.

    Parameters
    ----------
    document : dict
        From `load_profile`; changed in place.
    folder : Path
        State folder.
    model : str, optional
        Model of the first served name: whatever `aiopt.serving.checkpoint.sources` knows.
    port : int, optional
        HTTP port.

    Raises
    ------
    ConfigError
        If a key is unknown or a value out of range.
    """
    args = document["applications"][0]["args"]
    args["state_dir"] = str(folder)
    if model is not None:
        args["models"][0] |= {"model": named_checkpoint(model), "made_by": ""}
    for slot in args["models"]:
        if slot.get("made_by"):
            # The engines run in other working directories.
            slot["model"] = str(Path(slot["model"]).resolve())
    if port is not None:
        document.setdefault("http_options", {})["port"] = port
    return document, load_args(args, where="serving profile")


def check_machine(config: ServingConfig, *, changes_nothing: bool = False) -> None:
    """Check that the engine is installed and the weights are there, before anything is started.

    Parameters
    ----------
    config : ServingConfig
        The profile.
    changes_nothing : bool
        Leave out checkpoints that are generated where they are first named: looking for one makes it.

    Raises
    ------
    ConfigError
        If vLLM is missing; says the command that installs it.
    CheckpointError
        If weights are missing; says the command that fetches or makes them.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"Serving needs {', '.join(missing)}, but this Python has none of it."
        raise ConfigError(f"{msg} Run: requirements/install.sh {config.device}")
    for slot in config.models:
        if slot.made_by and not Path(slot.model).exists():
            msg = f"The model of this profile must lie in {slot.model}, but there is nothing yet."
            raise CheckpointError(f"{msg} Run: {slot.made_by}, or name another with --model.")
        if not (changes_nothing and slot.model.startswith(GENERATED)):
            check_present(slot.model, config.folder)


def url_of(document: dict[str, Any]) -> str:
    """Return the base URL of a profile's endpoint as this machine reaches it."""
    options = document.get("http_options") or {}
    host = options.get("host", "127.0.0.1")
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{options.get('port', 8000)}"


def _profiles() -> Path:
    """Return the folder of profiles: of the checkout, else of the installed package."""
    checkout = Path(__file__).resolve().parents[2] / "serve_configs"
    return checkout if checkout.is_dir() else Path(__file__).resolve().parent / "serve_configs"
