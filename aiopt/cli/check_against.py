"""The options ``--check-against`` and ``--check-timezone`` of the commands that import.

Owns their wording.  Reads and compares nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def check_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as `check_path` and `check_timezone`."""
    path = click.option(
        "--check-against",
        "check_path",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Check the clock against these bars of the same market: highs, lows and closes must agree "
        "without a shift.",
    )
    timezone = click.option(
        "--check-timezone", metavar="CLOCK", help="Clock of the bars of --check-against, if not their own."
    )
    return path(timezone(function))
