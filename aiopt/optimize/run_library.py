"""A finished run recorded in the library, where a setting says so.  Owns when; the library owns what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiopt.errors import AioptError
from aiopt.runs import load_run


def check_library(wanted: bool) -> None:
    """Refuse a run that is to be recorded where there is no library: before hours of work, not after them.

    Raises
    ------
    LibraryError
        If there is none, it is of another version, or the extra is not installed.
    """
    if wanted:
        from aiopt.library import open_library

        open_library().close()


def record_run(run_dir: Path, wanted: bool, log: Callable[[str], None]) -> None:
    """Take a finished run into the library; one that is known changes nothing.

    The run is whole by now: a library that went away meanwhile is told and costs it nothing.
    """
    if not wanted:
        return
    from aiopt.library import open_library

    try:
        with open_library() as library:
            found = library.import_run(load_run(run_dir))
    except AioptError as error:
        log(f"library: NOT RECORDED: {error} Take the run in later: aiopt library import {run_dir}")
        return
    said = (
        f"{found.evaluations} evaluations, {found.strategies} new strategies"
        if found.new
        else "known already"
    )
    log(f"library: {said}")
