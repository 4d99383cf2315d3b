"""`aiopt runs`: list run folders and show one.  Owns the commands; `aiopt.runs` and `aiopt.report` read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiopt.cli.output import emit, json_option

if TYPE_CHECKING:
    from aiopt.report.document import Entry, Report
    from aiopt.runs import RunFolder


@click.group("runs", epilog="Example: aiopt runs list --runs-dir runs")
def command() -> None:
    """List runs and show what one found."""


@command.command("list", epilog="Example: aiopt runs list --json")
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder that holds the run folders.",
)
@json_option
def list_command(runs_dir: Path, as_json: bool) -> None:
    """List the runs of a folder with their state."""
    from aiopt.runs import list_runs

    runs = list_runs(runs_dir)
    document = {"runs_dir": str(runs_dir), "runs": [_overview(run) for run in runs]}

    def human(console: Console) -> None:
        if not runs:
            console.print(f"No run in {runs_dir}. Start one with: aiopt optimize jobs/optimize.yaml")
            return
        table = Table("Run", "Status", "Stage", "Not there yet", "Folder")
        for run in runs:
            note = run.state.error if run.state.status == "damaged" else ", ".join(run.missing)
            cells = (run.run_id, run.state.status, run.state.stage, note, str(run.path))
            table.add_row(*(escape(cell) for cell in cells))
        console.print(table)

    emit(as_json, document, human)


@command.command("show", epilog="Example: aiopt runs show runs/eurusd-default --json")
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def show_command(run: Path, as_json: bool) -> None:
    """Show the state, the hashes and the ranked entries of RUN, a run folder."""
    from aiopt.report.build import build_report
    from aiopt.runs import load_run

    folder = load_run(run)
    report = build_report(folder)
    document = {
        **_overview(folder),
        "headline": report.headline,
        "synthetic": None if report.data is None else report.data.synthetic,
        "data_hash": None if report.data is None else report.data.data_hash,
        "config_hash": report.config_hash,
        "seed": report.seed,
        "trials": None if report.sweep is None else report.sweep.trials,
        "failed": None if report.sweep is None else report.sweep.failed,
        "entries": [_entry(entry) for entry in report.entries],
    }
    emit(as_json, document, lambda console: _print(console, folder, report))


def _overview(run: RunFolder) -> dict[str, Any]:
    return {
        "run": run.run_id,
        "path": str(run.path),
        "status": run.state.status,
        "stage": run.state.stage,
        "finished": run.finished,
        "missing": list(run.missing),
        "error": run.state.error,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    windows = {}
    for window in entry.windows:
        windows[window.kind] = {
            "sharpe": window.sharpe.value,
            "net_pnl": window.net_pnl,
            "trades": window.trades,
            "max_drawdown": window.max_drawdown,
        }
    return {
        "rank": entry.rank,
        "name": entry.name,
        "family": entry.family,
        "timeframe": entry.timeframe,
        "score": entry.score,
        "params": entry.params,
        "deflated_sharpe": entry.deflated_sharpe,
        "pbo": entry.pbo,
        "survives": entry.survives,
        "grade": entry.grade,
        "verdict": entry.verdict,
        **windows,
    }


def _print(console: Console, folder: RunFolder, report: Report) -> None:
    from aiopt.report.html import badge, count, decimals, money, ratio

    if report.data is not None and report.data.synthetic:
        console.print("[bold yellow]SYNTHETIC DATA: these ticks were generated, not traded.[/]")
    console.print(
        f"[bold]{escape(folder.run_id)}[/]  {escape(folder.state.status)} {escape(folder.state.stage)}"
    )
    console.print(escape(report.headline))
    if report.data is not None:
        console.print(f"data {report.data.data_hash}", soft_wrap=True)
    if report.config_hash:
        console.print(f"configuration {report.config_hash}", soft_wrap=True)
    if folder.missing:
        console.print(f"Not there yet: {', '.join(folder.describe_missing())}.")
    if not report.entries:
        return
    table = Table(
        "#",
        "Strategy",
        "Score",
        "OOS Sharpe",
        "OOS net",
        "OOS trades",
        "Holdout net",
        "DSR",
        "PBO",
        "Verdict",
    )
    for index in (0, *range(2, 9)):
        table.columns[index].justify = "right"
    for entry in report.entries:
        out, hold = entry.window("out_of_sample"), entry.window("holdout")
        table.add_row(
            str(entry.rank),
            escape(f"{entry.family} {entry.timeframe}"),
            decimals(entry.score, 3),
            ratio(out.sharpe.value if out else None),
            money(out.net_pnl if out else None),
            count(out.trades if out else None),
            money(hold.net_pnl if hold else None),
            decimals(entry.deflated_sharpe, 3),
            decimals(entry.pbo, 2),
            badge(entry.grade),
        )
    console.print(table)
