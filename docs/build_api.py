"""Build the reference of the Python functions from their docstrings: `make docs`.

Owns what is shown: the calls that `aiopt` and `cluster` offer, the parts of a strategy and the errors.  A
warning (a type that nobody can resolve, say) is an error, so no page has a hole.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import click
import pdoc

SHOWN = (
    "aiopt.face",
    r"!aiopt\.face\.indicators",  # lends every indicator at its first use
    "aiopt.strategy.spec",
    "aiopt.errors",
    "cluster.face",
)
"""Modules as pdoc takes them; `!` leaves one out."""

OUT = Path(__file__).resolve().parents[1] / "build" / "api"


def build(out: Path) -> None:
    """Write one page per module, an index and a search index into `out`.

    Raises
    ------
    UserWarning
        If pdoc cannot show something as it is.
    """
    pdoc.render.configure(docformat="numpy", footer_text="aiopt", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pdoc.pdoc(*SHOWN, output_directory=out)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    build(target)
    click.echo(f"wrote {target / 'index.html'}")
