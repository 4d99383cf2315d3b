"""Options that several commands share, and a command's values as one typed object.

Owns flags only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from aiopt.outputs import OutputKind, check_file, check_folder

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


class OutFile(click.Path):
    """A file that a command writes: its full path, judged before anything is computed.

    Parameters
    ----------
    kind : OutputKind
        What is written; a file of another kind that is already there is not replaced.
    """

    name = "file"

    def __init__(self, kind: OutputKind) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the full path, or raise what `check_file` raises."""
        return check_file(Path(value), self.kind, name=_flag(param))


class OutFolder(click.Path):
    """A folder that a command writes to: its full path, judged before anything is computed."""

    name = "folder"

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the full path, or raise what `check_folder` raises."""
        return check_folder(Path(value), name=_flag(param))


def _flag(param: click.Parameter | None) -> str:
    return "The output" if param is None else param.opts[0]


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout; logs stay on stderr."
)

instrument_option = click.option(
    "--instrument", "symbol", help="Symbol of the bars. Default: what their file says."
)

timeframe_option = click.option(
    "--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m."
)

bars_option = click.option(
    "--bars",
    "bars_path",
    required=True,
    type=PATH,
    help="A folder with bid.parquet and ask.parquet, or one Parquet file of bars.",
)

price_option = click.option(
    "--price", type=click.Choice(["bid", "ask"]), default="bid", show_default=True, help="Side."
)

readings_option = click.option(
    "--readings",
    "readings_path",
    type=PATH,
    help="A scan's folder or readings.parquet (`aiopt analyst scan`), for a strategy with `readings:`.",
)

reading_latency_option = click.option(
    "--reading-latency",
    "reading_latency",
    type=click.FloatRange(0),
    help="Seconds from a chart's end to its reading. Default: those the scan took for each.",
)

params_option = click.option(
    "--params",
    "params",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Set a parameter of the strategy.  Repeatable.",
)

runs_dir_option = click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder that holds the run folders.",
)

seed_option = click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same interval."
)


def typed(options: Callable[..., Any]) -> Callable[[Callable[[Any], Any]], Callable[..., Any]]:
    """Hand a command its values as one object, made of them by name.

    Parameters
    ----------
    options : callable
        A class with one keyword per parameter of the command.
    """

    def decorate(function: Callable[[Any], Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            return function(options(**values))

        return command

    return decorate
