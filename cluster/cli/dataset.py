"""The command `aiopt dataset`: build training sets from bars, and look at one.

Owns flags, the choice between one process and the cluster for the charts, and what is printed.  Knows nothing
of features or labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.cli.dataset_judge import judge_command
from aiopt.cli.dataset_trades import from_trades_command
from aiopt.cli.feature_logs import command as logs
from aiopt.cli.options import OutFolder, instrument_option, json_option
from aiopt.cli.output import Column, emit, minute_text, number, print_table, progress, text
from aiopt.errors import DataError, InputError
from cluster.cli.charts import engine_option

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.dataset import DatasetInfo
    from aiopt.dataset.tasks import TaskSetInfo


@click.group(epilog="Example: aiopt dataset build --bars data/bars/EURUSD/5m --out data/datasets/eurusd-5m")
def command() -> None:
    """Build training sets of features, labels and charts."""


command.add_command(logs, "logs")
command.add_command(judge_command, "judge")
command.add_command(from_trades_command, "from-trades")


@command.command(
    epilog="Example: aiopt dataset build --bars data/bars/EURUSD/5m --out data/datasets/eurusd-5m "
    "--images embed --stride 20 --messages-horizon 12"
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--bars",
    "bars_path",
    type=click.Path(path_type=Path),
    help="A folder with bid.parquet and ask.parquet, or one Parquet file of bars. Needed but for a set of "
    "tasks, whose configuration names its sources.",
)
@click.option("--out", "out_dir", required=True, type=OutFolder(), help="Dataset's folder.")
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option("--horizons", help="Bars ahead, comma-separated, e.g. 6,12,24.")
@click.option("--threshold", type=float, help="Smallest move that makes a label BUY or SELL.")
@click.option("--threshold-unit", type=click.Choice(["atr", "pips"]), help="Unit of the threshold.")
@click.option("--costs/--no-costs", default=None, help="Take spread and commission off the labels.")
@click.option(
    "--images",
    type=click.Choice(["none", "embed", "files"]),
    help="Draw a chart per row, in the Parquet file or as files.",
)
@click.option("--stride", type=int, help="Take one bar in so many as a row.")
@click.option(
    "--across-gaps",
    type=click.Choice(["drop", "keep"]),
    help="What to do with rows whose window, label or features span a gap or a weekend. Default: drop.",
)
@click.option(
    "--messages-horizon",
    type=int,
    help="Add a conversation per row; the label at this horizon is its answer.",
)
@engine_option
@json_option
def build(
    config: Path | None,
    bars_path: Path | None,
    out_dir: Path,
    timeframe: str | None,
    symbol: str | None,
    engine: str,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Build a dataset from bars, or finish one whose build was interrupted.

    CONFIG is a YAML or JSON file (docs/how-to/datasets.md has the keys); options and AIOPT_DATASET__KEY
    variables override it.  This process or the cluster draws the charts; the files are the same.  A CONFIG
    with `sources` makes a set of tasks (docs/how-to/tasks.md): charts of generators and bars, with questions.
    """
    if config is not None and _is_task_config(config):
        given = {"bars": bars_path, "timeframe": timeframe, "symbol": symbol, **overrides}
        _build_tasks(config, out_dir, [name for name, value in given.items() if value is not None], as_json)
        return
    if bars_path is None:
        raise InputError("A dataset is built from bars, but none are named. Add --bars.")
    from aiopt.bars.files import load_bar_set
    from aiopt.dataset import build_dataset, plan_rows
    from aiopt.dataset.overrides import DatasetOverrides, load_dataset_config
    from cluster.drawing import renderer

    settings = load_dataset_config(config, DatasetOverrides(**overrides))
    bars = load_bar_set(bars_path, timeframe=timeframe, symbol=symbol)
    plan = plan_rows(bars, settings)
    with (
        progress("Building the dataset, rows", plan.rows) as report,
        renderer(0 if settings.images is None else plan.rows, engine) as render,
    ):
        info = build_dataset(
            bars, out_dir, settings, plan=plan, render=render, progress=lambda done, _: report(done)
        )
    document = {"out": str(out_dir), **_facts(info)}
    emit(as_json, document, lambda console: _print(console, document, info))


def _is_task_config(config: Path) -> bool:
    from aiopt.config import read_mapping

    return "sources" in read_mapping(config)


def _build_tasks(config: Path, out_dir: Path, given: list[str], as_json: bool) -> None:
    from aiopt.config import load_config
    from aiopt.dataset.tasks import TaskSetConfig, build_tasks
    from aiopt.dataset.tasks.task_charts import plan_charts

    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        msg = f"A set of tasks is built from its configuration alone, but {options} is given too. "
        raise InputError(f"{msg}Leave it out, and say it in {config}.")
    settings = load_config(config, TaskSetConfig, env_prefix="AIOPT_TASKS")
    plan = plan_charts(settings)
    with progress("Building the tasks, charts", sum(plan.counts.values())) as report:
        info = build_tasks(settings, out_dir, plan=plan, progress=report)
    _emit_tasks(info, out_dir, as_json, verified=False)


@command.command(epilog="Example: aiopt dataset show data/datasets/eurusd-5m --verify")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Compare every file with its recorded SHA-256.")
@json_option
def show(folder: Path, verify: bool, as_json: bool) -> None:
    """Show what a dataset holds: rows, class balance, what was left out and why."""
    from aiopt.dataset import DatasetInfo, read_info, verify_files
    from aiopt.dataset.tasks import read_task_info
    from aiopt.dataset.tasks.task_info import is_task_set

    info = read_task_info(folder) if is_task_set(folder) else read_info(folder)
    problems = verify_files(folder, info) if verify else []
    if problems:
        raise DataError(
            f"The files are not as recorded: {'; '.join(problems)}. Build the dataset again.", file=folder
        )
    if not isinstance(info, DatasetInfo):
        _emit_tasks(info, folder, as_json, verified=verify)
        return
    document = {"out": str(folder), "verified": verify, **_facts(info)}
    emit(as_json, document, lambda console: _print(console, document, info))


@command.command(epilog="Example: aiopt dataset check data/datasets/eurusd-5m")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def check(folder: Path, as_json: bool) -> None:
    """Hold every answer of a dataset against the grammar of the serving engines.

    An answer that it rejects would train a model to say what it cannot say in service; the first such row is
    named.
    """
    from aiopt.dataset import check_answers, read_info
    from aiopt.dataset.tasks import read_task_info
    from aiopt.dataset.tasks.task_info import is_task_set

    info = read_task_info(folder) if is_task_set(folder) else read_info(folder)
    with progress("Checking answers, rows", info.rows) as report:
        checked = check_answers(folder, progress=report)
    document = {"out": str(folder), "answers": checked}
    emit(
        as_json, document, lambda console: console.print(f"All {checked:,} answers can be given in service.")
    )


def _facts(info: DatasetInfo) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(info)
    del facts["scale"]
    return facts


def _print(console: Console, document: dict[str, Any], info: DatasetInfo) -> None:
    console.print(
        f"{info.rows:,} rows of {info.bars:,} {info.timeframe} bars of {info.instrument}"
        f"{', synthetic data' if info.synthetic else ''}: {len(info.feature_columns)} features, "
        f"{len(info.label_columns)} labels, {len(info.files)} files, "
        f"{sum(file.bytes for file in info.files) / 2**20:.1f} MiB in {document['out']}",
        soft_wrap=True,
    )
    columns: tuple[Column | str, ...] = (
        *("split", number("rows"), text("first decision (UTC)"), text("last decision (UTC)"), "label"),
        *map(number, ("SELL", "HOLD", "BUY")),
    )
    rows = []
    for name, split in info.splits.items():
        spans = (minute_text(split.first_decision_ns), minute_text(split.last_decision_ns))
        lead = (name, f"{split.rows:,}", *spans)
        for label, counts in split.balance.items():
            shares = (f"{counts[side] / split.rows:.1%}" for side in ("SELL", "HOLD", "BUY"))
            rows.append((*lead, label.removeprefix("label_"), *shares))
            lead = ("", "", "", "")
    print_table(console, columns, rows)
    reasons = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in info.left_out.items() if n)
    console.print(
        f"Left out: {reasons or 'nothing'}. Purge {info.purge_bars} bars, embargo {info.embargo_bars} bars."
    )


def _emit_tasks(info: TaskSetInfo, folder: Path, as_json: bool, *, verified: bool) -> None:
    import msgspec

    document = {"out": str(folder), "verified": verified, **msgspec.to_builtins(info)}
    emit(as_json, document, lambda console: _print_tasks(console, info, folder))


def _print_tasks(console: Console, info: TaskSetInfo, folder: Path) -> None:
    """Print charts and spans per split, then each task's classes, where they come from, and the majority."""
    whose = "generated charts" if info.synthetic else f"charts, real ones of {info.instrument}"
    console.print(
        f"{info.rows:,} questions about {info.charts:,} {whose}, in {folder}", soft_wrap=True, markup=False
    )
    columns: tuple[Column | str, ...] = (
        *("split", number("charts"), number("questions")),
        *(text("first chart (UTC)"), text("last chart (UTC)")),
    )
    rows = []
    for name, split in info.splits.items():
        first, last = split.first_decision_ns, split.last_decision_ns
        spans = ["" if at is None else minute_text(at) for at in (first, last)]
        rows.append((name, f"{split.charts:,}", f"{split.rows:,}", *spans))
    print_table(console, columns, rows)
    print_table(
        console,
        (*("task", text("answers from"), text("split"), text("classes")), number("majority right")),
        [row for task in info.tasks for row in _task_rows(info, task)],
    )
    if any(task.from_future for task in info.tasks.values()):
        console.print("Answers from the future are what came after a chart, never what it shows.")
    reasons = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in info.left_out.items() if n)
    console.print(f"Windows left out: {reasons or 'none'}.")


def _task_rows(info: TaskSetInfo, task: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    lead = (task, info.tasks[task].origin)
    for name, split in info.splits.items():
        counts = split.balance.get(task)
        if counts is None:
            continue
        total = sum(counts.values())
        most = sorted(counts.items(), key=lambda item: -item[1])[:4]
        shown = ", ".join(f"{choice} {n / total:.0%}" for choice, n in most)
        majority = split.majority.get(task)
        share = "" if majority is None else f"{majority.share:.1%}"
        rows.append((*lead, name, f"{shown}, …" if len(counts) > len(most) else shown, share))
        lead = ("", "")
    return rows or [(*lead, "", "not of classes", "")]
