"""The one way to import transformers and peft: behind the arrangement that lets torchvision load.

Owns that order and the message where they are not installed.  A Ray worker imports by these functions as any
other process does.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from aiopt.errors import ConfigError
from aiopt.torchvision_ops import sitecustomize


def load_transformers() -> ModuleType:
    """Import transformers, in any process.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    sitecustomize.install()
    transformers = _load("transformers")
    # Its bars and its advice on faster kernels would stand between a training's own lines.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def load_peft() -> ModuleType:
    """Import peft, in any process.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    load_transformers()
    return _load("peft")


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as failure:
        if failure.name not in (name, "torch"):
            raise
        msg = (
            f"Training needs {failure.name}, which is not installed. Install the extras: "
            "pip install 'aiopt[cpu,train]' (or gpu for cpu)."
        )
        raise ConfigError(msg) from failure
