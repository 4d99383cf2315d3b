"""``aiopt paths``: what other paths through a run's trials say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, number, print_table, progress, text
from aiopt.errors import EXIT_OK

if TYPE_CHECKING:
    from aiopt.paths.paths_file import LanePaths, RunPaths
    from aiopt.runs import RunFolder


@click.command(epilog="Example: aiopt paths runs/eurusd-default --segments 24")
@click.argument("run_dir", type=PATH)
@click.option(
    "--segments",
    type=int,
    help="Run all trials again through the screen on so many development segments; the run stays as it is.",
)
@click.option(
    "--nested",
    is_flag=True,
    help="Where the sampler learned: search anew for every split, keep the paths, write the report again.",
)
@click.option(
    "--conversion", type=PATH, help="With --segments or --nested: the run's conversion bars, if it used any."
)
@json_option
def command(run_dir: Path, segments: int | None, nested: bool, conversion: Path | None, as_json: bool) -> int:
    """Show the combinatorial paths and the walk-forward matrix of a ranked run.

    They say how much the result depends on the cut, beside the verdict.  A grid of other segments needs other
    backtests, because positions are closed at every segment's end: --segments makes them.

    Where the sampler learned, a path is one of the whole procedure only if the search, too, saw nothing but
    the path's train segments: --nested searches anew for each of the splits.  All its backtests count as
    trials in the ledger.
    """
    from aiopt.paths.paths_file import with_nested
    from aiopt.runs import NotARunError, load_run

    if nested and segments is not None:
        raise click.UsageError("--nested searches on the run's own segments. Leave --segments out.")
    run = load_run(run_dir)
    ranking = run.ranking
    if nested:
        _search_anew(run, conversion)
        run = load_run(run_dir)
    paths = run.paths if segments is None else _again(run, segments, conversion)
    if paths is not None and segments is None:
        paths = with_nested(paths, run.nested_paths)
    if ranking is None or paths is None:
        msg = f"{run_dir} must have a paths.json, but has none: it is not ranked yet, or an earlier version "
        raise NotARunError(msg + "ranked it. Finish the run, or repeat it with --force.")
    level = ranking.config.confidence
    emit(as_json, msgspec.to_builtins(paths), lambda console: _print(console, paths, level))
    return EXIT_OK


def _again(run: RunFolder, segments: int, conversion: Path | None) -> RunPaths:
    from aiopt.optimize.finer_grid import paths_on_grid

    with progress("screening trials", 100.0) as report:
        return paths_on_grid(
            run,
            segments,
            conversion=conversion,
            progress=lambda done, total: report(100 * done / total),
        )


def _search_anew(run: RunFolder, conversion: Path | None) -> None:
    from aiopt.optimize.nested_paths import NestedPaths, write_nested
    from aiopt.report import write_report

    nested = NestedPaths(run, conversion=conversion)
    click.echo(f"paths: {nested.statement()}", err=True)
    with progress("backtests of nested searches", 100.0) as report:
        found = nested.measure(lambda done, total: report(100 * done / total))
    write_nested(run, found)
    with progress("report, share of the trials read", 100.0, quiet_s=2.0) as report:
        write_report(run.path, progress=lambda done, total: report(100 * done / total))


def _print(console: Console, paths: RunPaths, confidence: float) -> None:
    from aiopt.paths.paths_file import matrix_reading, nested_text, walk_forward_reading
    from aiopt.report.paths_view import left_out_of_matrix

    console.print(
        f"{paths.combined_groups} groups of {paths.segments} development segments, {paths.tested_groups} "
        f"tested at a time: {paths.splits} splits, {paths.paths} paths."
    )
    columns = (
        "candidate",
        number("median Sharpe"),
        number("5 to 95 %"),
        number("paths that lose"),
        number("walk-forward"),
        text("in words"),
    )
    rows = [
        (
            f"{group.group}, lane {lane.lane}",
            _ratio(lane.median),
            f"{_ratio(lane.low)} to {_ratio(lane.high)}",
            f"{lane.share_negative:.0%}",
            _ratio(lane.walk_forward_sharpe),
            walk_forward_reading(lane),
        )
        for group in paths.groups
        for lane in _shown(group.lanes)
    ]
    print_table(console, columns, rows)
    for group in paths.groups:
        what = group.reason or matrix_reading(group.matrix, confidence)
        console.print(f"\n[bold]{group.group}[/bold]: {what}", highlight=False)
        cells = [
            (
                str(cell.train),
                str(cell.test),
                "anchored" if cell.anchored else "rolling",
                str(cell.folds),
                _ratio(cell.sharpe),
                f"{cell.net_pnl:,.2f}",
                f"{cell.trades:,}",
                _ratio(cell.p_value, 3),
                _ratio(cell.deflated_sharpe),
            )
            for cell in group.matrix
        ]
        if cells:
            heads = ("train", "test", "window", "folds", "Sharpe", "P&L", "trades", "p-value", "deflated")
            print_table(console, tuple(one if one == "window" else number(one) for one in heads), cells)
    left_out = left_out_of_matrix(paths.left_out) if paths.nested else paths.left_out
    for said in (nested_text(paths), left_out):
        if said:
            console.print(f"\n{said}")


def _shown(lanes: list[LanePaths]) -> list[LanePaths]:
    """Return the first lanes: what follows them is in the document."""
    return lanes[:2]


def _ratio(value: float | None, places: int = 2) -> str:
    return "-" if value is None else f"{value:.{places}f}"
