"""`aiopt report`: writes the report of a run again.  Owns the command only; `aiopt.report` does the work."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from aiopt.cli.options import OutFile, json_option
from aiopt.cli.output import emit
from aiopt.outputs import PAGE


@click.command(
    "report",
    epilog="Example: aiopt report runs/eurusd-default --out report.html",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=OutFile(PAGE),
    help="Page to write instead of RUN/report.html; report.json and the CSV files go beside it.",
)
@json_option
def command(run: Path, out: Path | None, as_json: bool) -> None:
    """Write the report of RUN, a run folder, again: report.html, report.json, trades.csv, entries.csv.

    Needs only the files of the run folder.  An unfinished run gets a report of what is there.
    """
    from aiopt.report import write_report
    from aiopt.runs import load_run

    page = write_report(run, out=out).absolute()
    folder = load_run(run)
    document = {
        "run": folder.run_id,
        "status": folder.state.status,
        "finished": folder.finished,
        "missing": list(folder.missing),
        "report": str(page),
        "json": str(page.with_name("report.json")),
        "trades_csv": str(page.with_name("trades.csv")),
        "entries_csv": str(page.with_name("entries.csv")),
        "bytes": page.stat().st_size,
    }

    def human(console: Console) -> None:
        console.print(f"Report: {page}", soft_wrap=True)
        if folder.missing:
            console.print(f"The run is unfinished; not there yet: {', '.join(folder.describe_missing())}.")

    emit(as_json, document, human)
