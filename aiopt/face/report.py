"""The report of a run in a notebook: written where the user says, and shown.

Owns the call.  What the page says is `aiopt.report`'s.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from aiopt.face import html
from aiopt.face.run import Run


class ReportPage:
    """A report that was written.

    Attributes
    ----------
    path : Path
        The page; `aiopt.report.writer.files_beside` names what lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"<ReportPage: {self.path}>"

    def _repr_html_(self) -> str:
        # As a document of its own: the page has a style sheet and a script.
        page = escape(self.path.read_text(encoding="utf-8"), quote=True)
        frame = f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:1px solid #8888"></iframe>'
        return html.card(str(self.path), frame)


def report(run: Run | Path | str, *, out: Path | str | None = None) -> ReportPage:
    """Write the report of a run: a page, the same as JSON, and tables as CSV.

    Parameters
    ----------
    run : Run, Path or str
        A run folder; of an unfinished run the report says what is there.
    out : Path or str, optional
        The page to write, or a folder for it; by default ``report.html`` in the run folder.
        Beside ``NAME.html`` lie ``NAME.json``, ``NAME.trades.csv`` and ``NAME.entries.csv``.

    Returns
    -------
    ReportPage

    Raises
    ------
    NotARunError, RunFileError
        If the folder is no run, or a file of it is damaged.
    StorageError
        If the disk is full or the folder not writable.
    """
    from aiopt.report.writer import write_report
    from aiopt.runs import REPORT_HTML

    folder = run.path if isinstance(run, Run) else Path(run)
    page = None if out is None else Path(out)
    if page is not None and page.suffix.lower() not in {".html", ".htm"}:
        page = page / REPORT_HTML
    return ReportPage(write_report(folder, out=page))
