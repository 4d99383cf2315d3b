"""What every command prints and how: JSON on stdout, everything else on stderr.  Knows no command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from aiopt.featurelog import FeatureLog

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; logs stay on stderr."
)

instrument_option = click.option(
    "--instrument", "symbol", help="Symbol of the bars; what their file says, if left out."
)


def stderr_console() -> Console:
    """Return a console on stderr, so that stdout stays parseable."""
    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """Return a console on stdout for tables meant for people; wide when stdout is not a terminal."""
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120"))
    return Console(highlight=False, width=width)


def open_log(folder: Path | None) -> AbstractContextManager[FeatureLog | None]:
    """Return a log in `folder` that is closed with the block, or none."""
    if folder is None:
        return nullcontext()
    from aiopt.featurelog import FeatureLog

    return FeatureLog(folder)


def emit(as_json: bool, document: Any, human: Callable[[Console], None]) -> None:
    """Print `document` as one line of JSON, or call `human` with a console for people.

    Parameters
    ----------
    as_json : bool
        What ``--json`` said.
    document : object
        Anything msgspec encodes.  Non-finite floats become null.
    human : callable
        Prints tables or sentences on the console given.
    """
    if as_json:
        click.echo(msgspec.json.encode(document).decode())
    else:
        human(stdout_console())


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr; yields a function that sets how much is done.

    On a terminal the bar redraws; elsewhere (logs, CI) a plain line is printed at most every five per cent.
    """
    console = stderr_console()
    if not console.is_terminal:
        last = -1

        def plain(done: float) -> None:
            nonlocal last
            share = int(20 * done / total) if total else 0
            if total and share > last:
                last = share
                console.print(f"{description}: {share * 5}% ({done:.0f}/{total:.0f})")

        yield plain
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
