"""Compiling a loop over numbers with Numba, kept on disk where that is possible.

Compiled code is kept beside the file of the loop or in the user's cache folder; where neither can be written,
each process compiles anew (about three seconds).  Knows no loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba  # type: ignore[import-untyped]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile a loop when it is first called; keep the result on disk where that is possible."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        # "cannot cache function": no folder can be written.
        return numba.njit(nogil=True)(function)
