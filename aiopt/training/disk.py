"""What a disk that is full or cannot be written says, whoever writes: one error of the product.

Owns the translation.  safetensors raises its own class and names the system's error in its text alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from aiopt.files import storage_error

_NUMBER = re.compile(r"(?:os error |code: )(\d+)")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Let a block that writes fail with the product's error.

    Parameters
    ----------
    path : Path
        What is written, for the message.

    Raises
    ------
    StorageError
        If the disk is full, or the folder cannot be written.  Any other failure is raised as it is.
    """
    try:
        yield
    except (OSError, SafetensorError) as failure:
        system = _system_error(failure)
        translated = None if system is None else storage_error(path, system)
        if translated is None:
            raise
        raise translated from failure


def _system_error(failure: Exception) -> OSError | None:
    if isinstance(failure, OSError):
        return failure
    found = _NUMBER.search(str(failure))
    return None if found is None else OSError(int(found[1]), os.strerror(int(found[1])))
