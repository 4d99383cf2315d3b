"""Which software worked at a run: the versions a result depends on, and what differs between two sets.

Knows no stage.  That a change is harmless is proved in `aiopt.optimize.continuing`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import aiopt

LIBRARIES = ("ray", "nautilus_trader", "polars", "numpy", "numba", "scipy", "pyarrow", "msgspec")
"""Libraries whose version could change a number of a result."""


@cache
def current_versions() -> dict[str, str]:
    """Return the versions a result depends on: product, its code, Python, libraries.

    ``code`` is a hash of every module of the product: a checkout between releases has a version of its own.
    """
    found = {"aiopt": aiopt.__version__, "code": _code_hash(), "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in LIBRARIES}


def _code_hash() -> str:
    """Return a short hash of the names and content of all modules of `aiopt` and `cluster`."""
    digest = hashlib.sha256()
    for package in _packages():
        for path in sorted(package.rglob("*.py")):
            digest.update(path.relative_to(package.parent).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _packages() -> list[Path]:
    """Return the folders of the product's packages; `cluster` is not imported for it."""
    aiopt_folder = Path(aiopt.__file__).parent
    return [aiopt_folder, aiopt_folder.parent / "cluster"]


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs between two sets of versions, as ``"numpy 2.3.4, now 2.3.5"``."""
    names = sorted(before.keys() | now.keys())
    return [
        f"{name} {before.get(name, 'not recorded')}, now {now.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    ]
