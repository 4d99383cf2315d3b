"""`aiopt runs`: list, show and delete run folders.  Owns flags and printing alone."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from aiopt.cli.options import PATH, json_option, runs_dir_option
from aiopt.cli.output import emit, number, print_table, size_text, stdout_console, text
from aiopt.errors import ConfigError, InputError, RunExistsError
from aiopt.series import series_name

if TYPE_CHECKING:
    from aiopt.report.document import Entry
    from aiopt.report.overview import RunOverview
    from aiopt.robustness.robustness_file import EntryRobustness
    from aiopt.runs import RunFolder


LEGEND = (
    "OOS: out of sample, on the walk-forward path.\n"
    "luck p: chance that the best of all candidates compared shows as much without an edge. "
    "0.05 and less is evidence.\n"
    "DSR: deflated Sharpe ratio, the probability that the Sharpe ratio is above what the best of "
    "as many trials without skill shows. 0.95 and more is evidence.\n"
    "PBO: probability of backtest overfitting, how often the best choice in sample is below the "
    "median out of sample. 0.5 is a coin toss, lower is better."
)
"""Explains the columns of the ranking where they stand."""


@click.group("runs", epilog="Example: aiopt runs list --runs-dir runs")
def command() -> None:
    """List runs, show what one found, delete what is not needed."""


@command.command("list", epilog="Example: aiopt runs list --json")
@runs_dir_option
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
        columns = ("run", "status", "stage", text("not there yet"), text("folder"))
        rows = []
        for run in runs:
            note = run.state.error if run.state.status == "damaged" else ", ".join(run.missing)
            rows.append((run.run_id, run.state.status, run.state.stage, note, str(run.path)))
        print_table(console, columns, rows)

    emit(as_json, document, human)


@command.command("show", epilog="Example: aiopt runs show runs/eurusd-default --json")
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def show_command(run: Path, as_json: bool) -> None:
    """Show the state, hashes and ranked entries of RUN, a run folder.

    Also why trials failed and why candidates were rejected, with counts.  For an interrupted sweep it shows
    what the journal has recorded.
    """
    from aiopt.report.overview import run_overview
    from aiopt.report.portfolio import sentence
    from aiopt.runs import load_run

    folder = load_run(run)
    found = run_overview(folder)
    markets = found.markets
    stressed = {} if folder.robustness is None else {one.rank: one for one in folder.robustness.entries}
    document = {
        **_overview(folder),
        "headline": found.headline,
        "synthetic": found.synthetic if markets else None,
        "data_hash": markets[0].data_hash if len(markets) == 1 else None,
        **({"markets": {one.instrument: one.data_hash for one in markets}} if len(markets) > 1 else {}),
        "config_hash": found.config_hash,
        "seed": found.seed,
        "trials": found.trials,
        "failed": found.failed,
        "earlier_trials": None
        if folder.ranking is None
        else folder.ranking.statistics.earlier_trials or None,
        "holdout_openings": [] if folder.ranking is None else list(folder.ranking.holdout_openings or ()),
        "entries": [{**_entry(entry), **_stressed(stressed.get(entry.rank))} for entry in found.entries],
        "portfolio": sentence(found.portfolio) if found.portfolio else None,
        "failure_reasons": found.failures,
        "rejection_reasons": found.rejections,
    }

    def human(console: Console) -> None:
        _print(console, folder, found)
        _print_robustness(console, found)
        if found.portfolio:
            console.print(f"Portfolio: {sentence(found.portfolio)}", markup=False, soft_wrap=True)
        _print_reasons(console, found)

    emit(as_json, document, human)


@command.command("delete", epilog="Example: aiopt runs delete --older-than 30d")
@click.argument("runs", nargs=-1, type=PATH)
@runs_dir_option
@click.option(
    "--older-than",
    metavar="AGE",
    help="All runs in the folder that were left alone for this long, e.g. 30d or 12h.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete_command(
    runs: tuple[Path, ...], runs_dir: Path, older_than: str | None, yes: bool, as_json: bool
) -> None:
    """Show the sizes of RUNS, run folders, ask, and delete them.

    A run that a process works on is refused, or with --older-than left alone.  The trials of a deleted run
    stay counted (see `aiopt trials ledger`).
    """
    chosen, busy = _chosen(runs, runs_dir, older_than)
    sizes = [(run, run.bytes()) for run in chosen]
    total = sum(size for _, size in sizes)
    if as_json and not yes and chosen:
        raise ConfigError("With --json nothing can be asked before deleting. Add --yes.")
    if not as_json:
        _print_chosen(sizes, busy)
    if chosen and not yes:
        agreed = click.confirm(f"Delete {len(chosen)} run(s), {size_text(total)}?", err=True)
        if not agreed:
            click.echo("Nothing was deleted.")
            return
    for run in chosen:
        _count(run)
        run.delete()
    document = {
        "deleted": [{"path": str(run.path), "bytes": size} for run, size in sizes],
        "bytes": total,
        "running": [str(run.path) for run in busy],
    }
    done = f"{len(chosen)} run(s) deleted, {size_text(total)}." if chosen else "Nothing to delete."
    emit(as_json, document, lambda console: console.print(done))


def _count(run: RunFolder) -> None:
    """Record what a run tried before it is gone: an interrupted one, or one made without a ledger."""
    from aiopt.ledger import open_ledger
    from aiopt.optimize.recounting import count_run

    if not run.has_trials:
        return
    open_ledger().prepare()
    try:
        count_run(run)
    except InputError as error:
        click.echo(f"The trials of {run.path} cannot be counted: {error}", err=True)


def _chosen(
    runs: Sequence[Path], runs_dir: Path, older_than: str | None
) -> tuple[list[RunFolder], list[RunFolder]]:
    """Return the runs to delete, and those of the age that are at work."""
    from aiopt.runs import list_runs, load_run

    if bool(runs) == (older_than is not None):
        raise ConfigError("Name the runs to delete, or give --older-than, e.g. --older-than 30d; not both.")
    if older_than is None:
        found = [load_run(path) for path in dict.fromkeys(runs)]
        for run in found:
            if run.is_running:
                msg = f"A process works on {run.path}, so it is not deleted. Stop it, or wait for its end."
                raise RunExistsError(msg)
        return found, []
    before = dt.datetime.now(dt.UTC) - _age(older_than)
    old = [run for run in list_runs(runs_dir) if run.last_active() < before]
    busy = [run for run in old if run.is_running]
    return [run for run in old if run not in busy], busy


def _age(text: str) -> dt.timedelta:
    match = re.fullmatch(r"(\d{1,5})([dh])", text.strip())
    if match is None:
        raise ConfigError(f"An age must be days or hours like 30d or 12h, but got {text!r}.")
    count = int(match[1])
    return dt.timedelta(days=count) if match[2] == "d" else dt.timedelta(hours=count)


def _print_chosen(sizes: Sequence[tuple[RunFolder, int]], busy: Sequence[RunFolder]) -> None:
    console = stdout_console()
    if sizes:
        rows = [
            (
                run.run_id,
                run.state.status,
                f"{run.last_active():%Y-%m-%d %H:%M}",
                size_text(size),
                str(run.path),
            )
            for run, size in sizes
        ]
        print_table(console, ("run", "status", "last worked on (UTC)", number("size"), text("folder")), rows)
    for run in busy:
        console.print(f"Left alone, a process works on it: {run.path}", markup=False, soft_wrap=True)


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
        **({"instrument": entry.instrument} if entry.instrument else {}),
        "score": entry.score,
        "params": entry.params,
        "p_value_family_wise": entry.p_value_family_wise,
        "deflated_sharpe": entry.deflated_sharpe,
        "pbo": entry.pbo,
        "survives": entry.survives,
        "grade": entry.grade,
        "verdict": entry.verdict,
        **windows,
    }


def _stressed(found: EntryRobustness | None) -> dict[str, Any]:
    """Return what an entry does under stress; nothing where that was not measured."""
    if found is None:
        return {}
    near = found.neighbourhood
    return {
        "robustness": {
            "failed": [gate.figure for gate in found.failed],
            "gates": {gate.figure: gate.passed for gate in found.gates},
            "share_profitable": {one.name: one.share_profitable for one in found.scenarios if one.draws},
            "neighbourhood": None if near is None else near.shape,
        }
    }


def _print_robustness(console: Console, report: RunOverview) -> None:
    from aiopt.report.robustness import outcome, shape
    from aiopt.robustness.robustness_file import confirmed_text

    if report.robustness is None:
        return
    if ran := confirmed_text(report.robustness):
        console.print(f"Robustness: {ran}", markup=False, soft_wrap=True)
    for one in report.robustness.entries:
        line = f"Robustness of entry {one.rank}: {outcome(one)} {shape(one)}"
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def _print(console: Console, folder: RunFolder, report: RunOverview) -> None:
    from aiopt.report.html import badge, count, decimals, money, ratio

    if report.synthetic:
        console.print("[bold yellow]SYNTHETIC DATA: these ticks were generated, not traded.[/]")
    console.print(
        f"[bold]{escape(folder.run_id)}[/]  {escape(folder.state.status)} {escape(folder.state.stage)}"
    )
    console.print(escape(report.headline))
    for line in report.ledger:
        console.print(line, markup=False)
    for data in report.markets:
        name = "data" if len(report.markets) == 1 else f"data of {data.instrument}"
        console.print(f"{name} {data.data_hash}", soft_wrap=True)
    if report.config_hash:
        console.print(f"configuration {report.config_hash}", soft_wrap=True)
    if folder.missing:
        console.print(f"Not there yet: {', '.join(folder.describe_missing())}.")
    if not report.entries:
        return
    columns = (
        number("#"),
        text("strategy"),
        number("score"),
        number("OOS P&L"),
        number("OOS Sharpe"),
        number("trades"),
        number("holdout"),
        number("luck p"),
        number("DSR"),
        number("PBO"),
        text("verdict"),
    )
    rows = []
    for entry in report.entries:
        out, hold = entry.window("out_of_sample"), entry.window("holdout")
        rows.append(
            (
                str(entry.rank),
                f"{entry.family}@{series_name(entry.instrument, entry.timeframe)}",
                decimals(entry.score, 3),
                money(out.net_pnl if out else None),
                ratio(out.sharpe.value if out else None),
                count(out.trades if out else None),
                money(hold.net_pnl if hold else None),
                decimals(entry.p_value_family_wise, 3),
                decimals(entry.deflated_sharpe, 3),
                decimals(entry.pbo, 2),
                badge(entry.grade),
            )
        )
    print_table(console, columns, rows)
    console.print(LEGEND)


def _print_reasons(console: Console, report: RunOverview) -> None:
    from aiopt.ranking.reasons import failure_lines, rejection_lines

    failed = failure_lines(report.failures, report.trials or 0)
    for line in (*failed, *rejection_lines(report.rejections, report.candidates)):
        console.print(line, markup=False, soft_wrap=True)
