"""Compiling a loop over numbers with Numba, kept on disk by what was compiled, not by where it lay.

Numba keeps compiled code beside the file of the loop and takes it as long as that file is not newer.  Both
are wrong here.  A job of Ray unpacks the package into a new folder, so each cluster would compile everything
anew; and a loop carries the loops and constants of other files inside it, which change without its own file.
So code is kept in the user's cache folder, under the hash of the source of the loop, of the files it takes
something from and of the constants it took.  Knows no loop.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numba  # type: ignore[import-untyped]
from numba.core.caching import (  # type: ignore[import-untyped]
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    _CacheLocator,
)
from numba.core.dispatcher import Dispatcher  # type: ignore[import-untyped]

from aiopt.errors import StorageError
from aiopt.files import file_lock

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

UNUSED_DAYS = 30
"""After so many days without use the compiled code of another version of a file is deleted."""

_PACKAGE = __name__.partition(".")[0]


def compiled(function: Kernel) -> Kernel:
    """Compile a loop when it is first called; keep the result on disk where that is possible."""
    dispatcher = numba.njit(nogil=True)(function)
    # "cannot cache function": no folder can be written, and each process compiles anew.
    with contextlib.suppress(RuntimeError):
        dispatcher._cache = _LockedCache(function)
    return dispatcher


def compiled_folder() -> Path:
    """Return where compiled code is kept: ``$NUMBA_CACHE_DIR``, else ``$XDG_CACHE_HOME/aiopt/compiled``."""
    if numba.config.CACHE_DIR:
        return Path(numba.config.CACHE_DIR)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "aiopt" / "compiled"


@functools.cache
def source_hash(name: str) -> str:
    """Return the hash of all that the loops of a module are compiled from.

    Parameters
    ----------
    name : str
        Of a module of this package, with its imports done.

    Returns
    -------
    str
        Hash of the module's source, of its constants, imported ones too, and of the modules of this package
        from which it took a name; of those that gave it a loop or are held whole, all this again.
    """
    module = sys.modules[name]
    digest = hashlib.sha256(inspect.getsource(module).encode())
    for held, value in sorted(vars(module).items()):
        if _is_constant(value) and not held.startswith("__"):
            digest.update(f"{held}={value!r}".encode())
        whole = isinstance(value, (ModuleType, Dispatcher))
        owner = _owner(value)
        if owner in ("", name, __name__):
            continue
        digest.update((source_hash(owner) if whole else inspect.getsource(sys.modules[owner])).encode())
    return digest.hexdigest()


def _is_constant(value: Any) -> bool:
    """Return whether a global value is a number or a text, or a tuple of such."""
    if isinstance(value, tuple):
        return all(_is_constant(one) for one in value)
    return isinstance(value, (bool, int, float, str))


def _owner(value: Any) -> str:
    """Return the name of the module of this package that a global value comes from, else nothing."""
    if isinstance(value, ModuleType):
        name = value.__name__
    else:
        name = getattr(getattr(value, "py_func", value), "__module__", None) or ""
    known = name.partition(".")[0] == _PACKAGE and name in sys.modules
    return name if known else ""


class _BySource(_CacheLocator):
    """Tells Numba where the code of one loop lies: a folder for each state of what it is compiled from."""

    def __init__(self, name: str, line: int) -> None:
        self._digest = source_hash(name)
        self._line = line
        self._stem = name.removeprefix(f"{_PACKAGE}.")
        self._folder = compiled_folder() / f"{self._stem}-{self._digest[:16]}"

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _BySource | None:
        """Return the place of a loop, or None where it cannot be made or its source cannot be read."""
        try:
            found = cls(py_func.__module__, py_func.__code__.co_firstlineno)
            found.ensure_cache_path()
        except (OSError, KeyError):
            return None
        return found

    def ensure_cache_path(self) -> None:
        """Make the folder; where it is new, delete those of other versions that nobody used for long."""
        folder, now = self._folder, time.time()
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for other in folder.parent.glob(f"{self._stem}-*"):
                if now - other.stat().st_mtime > UNUSED_DAYS * 86_400:
                    shutil.rmtree(other, ignore_errors=True)
        super().ensure_cache_path()

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """Return what must be equal for code to be taken."""
        return self._digest

    def get_disambiguator(self) -> str:
        """Return what tells loops of one name in a file apart."""
        return str(self._line)


class _Compiled(CompileResultCacheImpl):
    _locator_classes = (_BySource, InTreeCacheLocator)


class _LockedCache(FunctionCache):
    """One process at a time writes the index of a loop: two would give two signatures one file."""

    _impl_class = _Compiled

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for one signature where that is possible; it runs here anyway."""
        with contextlib.suppress(OSError, StorageError), file_lock(Path(self.cache_path)):
            super().save_overload(sig, data)
