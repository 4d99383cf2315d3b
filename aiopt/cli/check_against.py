"""The options ``--check-against`` and ``--check-timezone`` of the commands that import.

Owns their wording, and which reader they lead to.  Compares nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.errors import ConfigError

if TYPE_CHECKING:
    from aiopt.market.instrument import Instrument
    from aiopt.ticks.clocks.second_witness import Witness


def check_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as `check_path` and `check_timezone`."""
    path = click.option(
        "--check-against",
        "check_path",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Bars of the same market as a second witness of the clock: highs, lows and closes must agree at "
        "no lag.",
    )
    timezone = click.option(
        "--check-timezone", metavar="CLOCK", help="Clock of the bars of --check-against, if not their own."
    )
    return path(timezone(function))


def witness_of(path: Path | None, timezone: str | None) -> Callable[[Instrument], Witness] | None:
    """Return a function that reads the bars the options name for an instrument; None if they name none.

    Raises
    ------
    ConfigError
        If a clock is given without bars.
    """
    if path is None:
        if timezone is not None:
            raise ConfigError(
                "--check-timezone is the clock of --check-against, but that is missing. Add it."
            )
        return None
    from aiopt.bars.importing.witness_bars import read_witness

    return partial(read_witness, path, timezone=timezone)
