"""What every command prints and how: JSON on stdout, everything else on stderr.  Knows no command."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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
from rich.table import Table
from rich.text import Text

from aiopt.errors import ConfigError
from aiopt.utc import time_text

if TYPE_CHECKING:
    import polars as pl

    from aiopt.featurelog import FeatureLog

GAPS = (2, 1)
"""Spaces between two columns of a table; the second where the first does not fit."""

LONGEST_WORD = 16
"""Longer words of text that wraps, such as paths, are broken where that makes a table fit."""


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    name : str
        Heading; the same thing has the same name in every table.
    right : bool
        Numbers: set flush right.
    wraps : bool
        Text that may go over several lines; all other cells stay in one piece.
    """

    name: str
    right: bool = False
    wraps: bool = False


def number(name: str) -> Column:
    """Return a column of numbers."""
    return Column(name, right=True)


def text(name: str) -> Column:
    """Return a column of text that may be wrapped."""
    return Column(name, wraps=True)


def print_table(
    console: Console, columns: Sequence[Column | str], rows: Iterable[Sequence[str | Text]]
) -> None:
    """Print a table that fits the console without cutting a cell.

    As it is where it fits; else its columns of text are wrapped; where that is not enough, each row becomes
    a list of names and values.

    Parameters
    ----------
    console : Console
        Its width counts.
    columns : sequence of Column or str
        A name alone is text that stays in one piece.
    rows : iterable of sequence of str
        One cell per column; brackets are no markup.
    """
    wanted = [Column(one) if isinstance(one, str) else one for one in columns]
    cells = [[one if isinstance(one, Text) else Text(one) for one in row] for row in rows]
    fitted = _fitted(wanted, cells, console.width)
    if fitted is None:
        _print_as_lists(console, wanted, cells)
        return
    widths, gap = fitted
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False)
    for column, width in zip(wanted, widths, strict=True):
        justify: Literal["right", "left"] = "right" if column.right else "left"
        table.add_column(Text(column.name), justify=justify, width=width, overflow="fold")
    for row in cells:
        table.add_row(*row)
    console.print(table)


def print_pairs(console: Console, pairs: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and values, one pair a line; long values are wrapped beside their name.

    A value of one long word, such as a path, stays in one piece, so that it can be copied: the terminal
    breaks it where it must.
    """
    found = [(name, value if isinstance(value, Text) else Text(value)) for name, value in pairs]
    width = max((len(name) for name, _ in found), default=0)
    for name, value in found:
        if " " not in value.plain and width + GAPS[0] + value.cell_len > console.width:
            console.print(Text(name.ljust(width + GAPS[0])) + value, soft_wrap=True)
            continue
        table = Table(show_header=False, box=None, padding=(0, GAPS[0], 0, 0), pad_edge=False)
        table.add_column(no_wrap=True, min_width=width)
        table.add_column(overflow="fold")
        table.add_row(Text(name), value)
        console.print(table)


def _fitted(
    columns: Sequence[Column], cells: Sequence[Sequence[Text]], available: int
) -> tuple[list[int], int] | None:
    """Return widths and gap with which a table fits; None where it cannot.

    Headings and columns of text are wrapped at words, the ones with most to give first; no other cell is.
    """
    natural, least = [], []
    for place, column in enumerate(columns):
        longest = max([0, *(row[place].cell_len for row in cells)])
        words = max([0, *(len(word) for row in cells for word in row[place].plain.split())])
        heading = max(map(len, column.name.split()), default=0)
        natural.append(max(len(column.name), longest))
        least.append(max(heading, min(words, LONGEST_WORD) if column.wraps else longest))
    for gap in GAPS:
        room = available - gap * (len(columns) - 1)
        if sum(natural) <= room:
            return natural, gap
    widths = list(natural)
    while sum(widths) > room:
        place = max(range(len(widths)), key=lambda one: widths[one] - least[one])
        if widths[place] == least[place]:
            return None
        widths[place] -= 1
    return widths, gap


def _print_as_lists(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
    for number, row in enumerate(rows):
        if number:
            console.print()
        print_pairs(console, [(column.name, cell) for column, cell in zip(columns, row, strict=True)])


def stderr_console() -> Console:
    """Return a console on stderr, so that stdout stays parseable."""
    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """Return a console on stdout for tables meant for people; wide when stdout is not a terminal."""
    asked = os.environ.get("COLUMNS", "")
    width = None if sys.stdout.isatty() else int(asked) if asked.isdigit() and int(asked) else 120
    return Console(highlight=False, width=width)


def minute_text(ts_ns: int) -> str:
    """Return a time for people, to the minute, e.g. ``"2018-01-02 08:05"`` (UTC)."""
    return time_text(ts_ns, "m")


def size_text(count: int) -> str:
    """Return a number of bytes for people, e.g. ``"1.2 MB"``."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def open_log(folder: Path | None) -> AbstractContextManager[FeatureLog | None]:
    """Return a log in `folder` that is closed with the block, or none."""
    if folder is None:
        return nullcontext()
    from aiopt.featurelog import FeatureLog

    return FeatureLog(folder)


def check_table_name(out: Path | None) -> None:
    """Refuse a file that `write_frame` cannot write, before anything is computed.

    Raises
    ------
    ConfigError
        If it ends neither in .parquet nor in .csv.
    """
    if out is not None and out.suffix not in {".parquet", ".csv"}:
        raise ConfigError(f"--out must end in .parquet or .csv, but is {out.name!r}. Rename it.")


def write_frame(frame: pl.DataFrame, out: Path) -> None:
    """Write a table as Parquet or CSV, by the file's name."""
    from aiopt.files import atomic_path

    with atomic_path(out) as temporary:
        if out.suffix == ".csv":
            frame.write_csv(temporary)
        else:
            frame.write_parquet(temporary, compression="zstd")


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
def progress(
    description: str, total: float | None = None, *, quiet_s: float = 0.0
) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr; yields a function that sets how much is done.

    On a terminal the bar redraws; elsewhere (logs, CI) a plain line is printed at most every five per cent,
    and none in the first `quiet_s` seconds: what is done by then needs no log.
    """
    console = stderr_console()
    if not console.is_terminal:
        last = -1
        due = time.monotonic() + quiet_s

        def plain(done: float) -> None:
            nonlocal last
            share = int(20 * done / total) if total else 0
            if total and share > last and time.monotonic() >= due:
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
