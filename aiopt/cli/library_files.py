"""``aiopt library import|export|backup|restore|verify``.  Flags and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from aiopt.cli.library_options import choosing_options, filter_of
from aiopt.cli.options import PATH, OutFile, json_option
from aiopt.cli.output import emit, number, print_table, progress, size_text, text
from aiopt.errors import EXIT_FAILED, EXIT_OK
from aiopt.outputs import LIBRARY, LIBRARY_LINES

if TYPE_CHECKING:
    from aiopt.evaluation.folds import WalkForwardPlan
    from aiopt.library.verifying import Verification
    from aiopt.ranking.trials import TrialRow


@click.command("import", epilog="Example: aiopt library import runs/eurusd-default")
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--licence", default="own", show_default=True, help="Of the strategies that are new.")
@click.option("--origin", help="Where those come from. Default: the run.")
@json_option
def import_command(runs: tuple[Path, ...], licence: str, origin: str | None, as_json: bool) -> None:
    """Take in the ranked strategies of RUNS, folders of finished runs, with what they earned out of sample.

    A run that is known changes nothing.
    """
    from aiopt.library import Origin, open_library
    from aiopt.runs import load_run

    folders = [load_run(path) for path in runs]
    with open_library() as library:
        found = [
            library.import_run(one, Origin(licence=licence, origin=origin or f"run {one.run_id}"))
            for one in folders
        ]

    def human(console: Console) -> None:
        for one in found:
            said = (
                f"{one.evaluations} evaluations, {one.strategies} new strategies"
                if one.new
                else "known already"
            )
            console.print(f"{one.name}: {said}.", markup=False, soft_wrap=True)

    emit(as_json, {"runs": msgspec.to_builtins(found)}, human)


@click.command("export", epilog="Example: aiopt library export --out strategies.jsonl --survives")
@click.option("--out", required=True, type=OutFile(LIBRARY_LINES), help="File of JSON lines.")
@choosing_options
@json_option
def export_command(out: Path, as_json: bool, **values: Any) -> None:
    """Write strategies with specs, evaluations and history, one JSON document a line."""
    from aiopt.library import open_library

    wanted = filter_of("", values)
    with open_library() as library:
        total = library.find(wanted, limit=1).total
        with progress("strategies", total, quiet_s=2.0) as report:
            count = library.export(out, wanted, report)
    emit(
        as_json,
        {"out": str(out), "strategies": count},
        lambda console: console.print(f"{count:,} strategies in {out}", markup=False, soft_wrap=True),
    )


@click.command("backup", epilog="Example: aiopt library backup --out library.dump")
@click.option("--out", required=True, type=OutFile(LIBRARY), help="File.")
@json_option
def backup_command(out: Path, as_json: bool) -> None:
    """Write all of the library to one file, as it is at one moment, while others may go on writing."""
    from aiopt.library import open_library

    with open_library() as library:
        size = library.backup(out)
    emit(
        as_json,
        {"out": str(out), "bytes": size},
        lambda console: console.print(f"{out}: {size_text(size)}", markup=False, soft_wrap=True),
    )


@click.command("restore", epilog="Example: aiopt library restore library.dump")
@click.argument("file", type=PATH)
@json_option
def restore_command(file: Path, as_json: bool) -> None:
    """Read the backup FILE into an empty database: all of it or nothing.  One with tables is left alone."""
    from aiopt.library import restore_library

    with restore_library(file) as library:
        found = library.status()
    said = f"{found.strategies:,} strategies and {found.evaluations:,} evaluations are back in {found.place}"
    emit(as_json, found, lambda console: console.print(said, markup=False, soft_wrap=True))


@click.command("verify", epilog="Example: aiopt library verify --rerun 3")
@click.option(
    "--rerun",
    "count",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Evaluations, chosen at random, to run again and compare to the cent.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same choice.")
@json_option
def verify_command(count: int, seed: int, as_json: bool) -> int:
    """Check every hash and sum, and run evaluations again from their run folders.

    Exit code 1 if something is not as it should be.  An evaluation whose run folder is gone cannot be run
    again; it is named, and is no fault.
    """
    from aiopt.library import open_library

    with open_library() as library, progress("evaluations run again", count or None) as report:
        found = library.verify(_rerun, count=count, seed=seed, progress=report)
    emit(as_json, found, lambda console: _print(console, found))
    return EXIT_FAILED if found.problems else EXIT_OK


def _rerun(folder: Path, trial_id: str) -> tuple[TrialRow, WalkForwardPlan]:
    from aiopt.optimize.rerunning import find_trial, rerun_trial
    from aiopt.runs import load_run

    run = load_run(folder)
    row, plan = find_trial(run, trial_id)
    return rerun_trial(run, row, plan), plan


def _print(console: Console, found: Verification) -> None:
    console.print(
        f"{found.spellings:,} specs, {found.runs:,} runs and {found.evaluations:,} evaluations were checked."
    )
    if found.reruns:
        said = {True: "the same to the cent", False: "DIFFERS", None: "not possible"}
        rows = [
            (
                one.run,
                one.strategy[:12],
                f"{one.recorded:,.2f}",
                "" if one.again is None else f"{one.again:,.2f}",
                said[one.same],
                one.note,
            )
            for one in found.reruns
        ]
        columns = ("run", "spec", number("recorded"), number("again"), "outcome", text("note"))
        print_table(console, columns, rows)
    for problem in found.problems:
        console.print(f"PROBLEM: {problem}", markup=False, soft_wrap=True)
    console.print(f"{len(found.problems)} problems." if found.problems else "All is well.")
