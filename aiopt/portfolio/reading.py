"""Reading ``portfolio.json`` of a run folder.  Owns its name."""

from __future__ import annotations

from pathlib import Path

from aiopt.portfolio.portfolio_file import FORMAT, RunPortfolio
from aiopt.runs import RunFileError, read_json

PORTFOLIO = "portfolio.json"


def read_portfolio(run_dir: Path) -> RunPortfolio | None:
    """Return what is said of a run's entries together, or None where it was not made.

    Raises
    ------
    RunFileError
        If the file is damaged or of another version.
    """
    path = run_dir / PORTFOLIO
    if not path.is_file():
        return None
    found = read_json(path, RunPortfolio)
    if found.format != FORMAT:
        msg = f"{path} has format {found.format}, and this version of aiopt reads {FORMAT}. "
        raise RunFileError(msg + "Read it with the version that state.json names.")
    return found
