"""Let `import torchvision` work where its compiled operators do not fit the installed torch.

torchvision wheels on PyPI are linked against CUDA.  Beside a CPU build of torch their operators do not load,
and importing torchvision dies with ``operator torchvision::nms does not exist`` when it registers shape
functions for them.  No MiniCPM code calls these operators, so declaring the two schemas first is enough.

This file is the whole arrangement.  It is imported under its own name, ``sitecustomize``, by every Python
process that has its folder on PYTHONPATH (Ray workers, vLLM's engine processes), and as a module of `cluster`
by whoever builds that PYTHONPATH.  It does nothing where the real operators load, nothing until torchvision
is looked up, and imports nothing of the project.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).resolve().parent
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []
"""Keeps the declared library alive: its schemas go when it is collected."""


def declare_missing(torch: Any, extension: Path | None) -> bool:
    """Declare torchvision's operators if its extension cannot be loaded; tell whether that was needed.

    Parameters
    ----------
    torch : module
        The installed torch.
    extension : Path or None
        torchvision's ``_C.so``; None if it ships none.
    """
    if _declared:
        return True
    if extension is not None and _loads(torch, extension):
        return False
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return True


def _loads(torch: Any, extension: Path) -> bool:
    try:
        torch.ops.load_library(str(extension))
    except (ImportError, OSError):
        return False
    return True


class TorchvisionFinder(MetaPathFinder):
    """Runs `declare_missing` at the first lookup of torchvision, then steps aside."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Never finds anything itself; the normal finders do."""
        if fullname != "torchvision":
            return None
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.origin is None or importlib.util.find_spec("torch") is None:
            return None
        import torch

        extension = Path(spec.origin).with_name("_C.so")
        declare_missing(torch, extension if extension.is_file() else None)
        return None


def install() -> None:
    """Put the finder in front, once, unless torchvision is imported already."""
    present = any(type(finder).__name__ == TorchvisionFinder.__name__ for finder in sys.meta_path)
    if not present and "torchvision" not in sys.modules:
        sys.meta_path.insert(0, TorchvisionFinder())


def python_path(environ: Mapping[str, str] = os.environ) -> str:
    """Return PYTHONPATH with this folder in front, for the environment of child processes."""
    kept = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(FOLDER)]
    return os.pathsep.join([str(FOLDER), *kept])


def _run_shadowed() -> None:
    """Run the `sitecustomize` that this one hides, if the environment has another."""
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != FOLDER]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    install()
    _run_shadowed()
