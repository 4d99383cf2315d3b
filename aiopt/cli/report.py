"""`aiopt report`: writes the report of a run again.  Owns the command only; `aiopt.report` does the work."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from aiopt.cli.options import OutFile, json_option
from aiopt.cli.output import emit, progress
from aiopt.outputs import PAGE


@click.command(
    "report",
    epilog="Example: aiopt report runs/eurusd-default --out report.html",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=OutFile(PAGE),
    help="Page to write instead of RUN/report.html; beside it NAME.json, NAME.trades.csv, NAME.entries.csv.",
)
@json_option
def command(run: Path, out: Path | None, as_json: bool) -> None:
    """Write the report of RUN, a run folder, again: report.html, report.json, trades.csv, entries.csv.

    Needs only the files of the run folder.  An unfinished run gets a report of what is there.
    """
    from aiopt.report import write_report
    from aiopt.report.writer import files_beside
    from aiopt.runs import load_run

    with progress("report, share of the trials read", 100.0, quiet_s=2.0) as report:
        page = write_report(run, out=out, progress=lambda done, total: report(100 * done / total)).absolute()
    folder = load_run(run)
    beside = files_beside(page)
    document = {
        "run": folder.run_id,
        "status": folder.state.status,
        "finished": folder.finished,
        "missing": list(folder.missing),
        "report": str(page),
        "json": str(beside.json),
        "trades_csv": str(beside.trades_csv),
        "entries_csv": str(beside.entries_csv),
        "bytes": page.stat().st_size,
    }

    def human(console: Console) -> None:
        console.print(f"Report: {page}", soft_wrap=True)
        if folder.missing:
            console.print(f"The run is unfinished; not there yet: {', '.join(folder.describe_missing())}.")

    emit(as_json, document, human)
