"""Options by which strategies of the library are chosen.  Owns flags only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from aiopt.library.records import Filter

Command = TypeVar("Command", bound=Callable[..., Any])

_CHOOSE = (
    click.option("--family", help="Strategies of this family."),
    click.option("--source", type=click.Choice(["spec", "run"]), help="By which way it came in."),
    click.option("--tag", help="Strategies with this tag."),
    click.option("--instrument", help="Evaluated on this market, e.g. EURUSD."),
    click.option("--timeframe", help="Evaluated on bars of this length, e.g. 5m."),
    click.option("--verdict", help="With this verdict, e.g. weak."),
    click.option("--survives/--fails", default=None, help="Whose verdict is that it survives, or does not."),
    click.option("--min-trades", type=click.IntRange(0), help="With so many trades out of sample at least."),
)
_PAGE = (
    click.option(
        "--order",
        type=click.Choice(["added", "name", "sharpe", "deflated"]),
        default="added",
        show_default=True,
        help="The newest first; by name; by Sharpe or deflated Sharpe ratio out of sample, the best first.",
    ),
    click.option(
        "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Rows of a page."
    ),
    click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="Rows to pass over."),
)


def choosing_options(command: Command) -> Command:
    """Add the options that choose strategies."""
    for option in reversed(_CHOOSE):
        command = option(command)
    return command


def filter_options(command: Command) -> Command:
    """Add the options that choose strategies, and those that page."""
    for option in reversed(_PAGE):
        command = option(command)
    return choosing_options(command)


def filter_of(words: str, values: dict[str, Any]) -> Filter:
    """Return what the options choose."""
    from aiopt.library import Filter

    return Filter(text=words, **values)
