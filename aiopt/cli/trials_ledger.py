"""``aiopt trials ledger``: every trial ever made, by whom and on what.  Owns what is printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, number, print_table, progress, text

if TYPE_CHECKING:
    from aiopt.ledger.overview import LedgerOverview


@click.command(epilog="Example: aiopt trials ledger --instrument EURUSD")
@click.option("--instrument", help="What was tried on one market alone, e.g. EURUSD.")
@click.option(
    "--add",
    "added",
    type=PATH,
    multiple=True,
    help="Record the trials of a run folder that a version without ledger made; may be repeated.",
)
@json_option
def ledger_command(instrument: str | None, added: Sequence[Path], as_json: bool) -> None:
    """Show every trial ever made and every holdout opened, by run, sweep and backtest.

    The number of trials that a ranking is judged by comes from here: those of others on the same market
    count too where their data overlaps the run's out-of-sample stretch.  Nothing is ever removed: a run that
    is deleted stays counted.  AIOPT_LEDGER_DIR says where the ledger lies, by default ~/.aiopt/ledger.
    """
    from aiopt.ledger import open_ledger
    from aiopt.ledger.overview import overview

    fresh = {str(path): _add(path) for path in added}
    ledger = open_ledger()
    size = ledger.path.stat().st_size if ledger.path.is_file() else 0
    with progress("ledger, bytes", size or None, quiet_s=1.0) as report:
        ledger.lines(lambda done, total: report(done))
    found = overview(ledger, instrument)
    document: dict[str, Any] = {"ledger": str(ledger.path), "added": fresh, **found.document()}
    emit(as_json, document, lambda console: _print(console, ledger.path, found, fresh))


def _add(run_dir: Path) -> int:
    from aiopt.optimize.recounting import count_run
    from aiopt.runs import load_run

    return count_run(load_run(run_dir))


def _print(console: Console, path: Path, found: LedgerOverview, added: dict[str, int]) -> None:
    for run, fresh in added.items():
        console.print(f"{run}: {fresh:,} trials that were not counted before.", markup=False, soft_wrap=True)
    if not found.authors:
        console.print("No trial is recorded.")
    else:
        columns = (
            "recorded",
            "by",
            text("name"),
            text("market"),
            text("data"),
            number("trials"),
            number("new"),
        )
        rows = [
            (
                one.at[:10],
                one.kind,
                one.name,
                one.market,
                one.span,
                f"{one.trials:,}",
                f"{one.fresh:,}",
            )
            for one in found.authors
        ]
        print_table(console, columns, rows)
        console.print("new: trials that nobody had made before; failed ones count.")
    for market in found.markets:
        console.print(
            f"{market.market}: {market.distinct:,} distinct trials, holdouts opened: {market.openings:,}."
        )
    if found.openings:
        console.print()
        print_table(
            console,
            ("opened", "by", text("name"), text("market"), text("holdout")),
            [(one.at[:10], one.kind, one.name, one.market, one.span) for one in found.openings],
        )
    console.print(f"Ledger: {path}", markup=False, soft_wrap=True)
