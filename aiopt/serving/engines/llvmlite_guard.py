"""Lets vLLM start in a process where Numba is loaded.

On a CPU vLLM looks through the globals of every module for those that have a ``__dict__``, and takes it for a
dictionary.  llvmlite keeps its library in a global that says it has every attribute, so vLLM fails with
"'_lib_fn_wrapper' object has no attribute 'get'".  Owns that one correction; imports neither vLLM nor Numba.
"""

from __future__ import annotations

import sys
from typing import Any


def guard_llvmlite() -> bool:
    """Make llvmlite's library say that it has no special attributes; tell whether it was loaded at all.

    To be called before vLLM starts.  Functions of the library keep their names, none of which begins with
    two underscores.
    """
    module: Any = sys.modules.get("llvmlite.binding.ffi")
    if module is None:
        return False
    wrapper = type(module.lib)
    found = wrapper.__getattr__

    def attribute(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return found(self, name)

    wrapper.__getattr__ = attribute
    return True
