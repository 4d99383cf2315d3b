"""`aiopt model compare`: two checkpoints on the same charts, and the swap.  Knows options and wording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import OutFolder, json_option, typed
from aiopt.cli.output import emit, number, print_table, progress, stderr_console, text
from aiopt.errors import EXIT_FAILED, EXIT_OK
from cluster import lifecycle
from cluster.cli.node import state_dir_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiopt.dataset.judging import Asked, Reading
    from aiopt.dataset.tasks.task_config import PictureConfig
    from aiopt.promotion import Candidate, Comparison
    from aiopt.serving.backend import Operation


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What the command line says of `compare`; fields as the options' help has it."""

    first: str
    second: str
    data: Path
    out: Path
    rule: Path | None
    trained_on: tuple[Path, ...]
    swap_if_better: bool
    model: str | None
    url: str | None
    state_dir: Path | None
    as_json: bool


@click.command(
    epilog="Example: aiopt model compare openbmb/MiniCPM-V-4.6 trainings/first --data data/datasets/tasks "
    "--out comparisons/first"
)
@click.argument("first")
@click.argument("second")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="A set of tasks.")
@click.option("--out", required=True, type=OutFolder(), help="Folder for report and proposal.")
@click.option(
    "--rule",
    type=click.Path(path_type=Path),
    help="YAML file of the promotion rule (docs/how-to/training.md has the keys).",
)
@click.option(
    "--trained-on",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Dataset SECOND was trained on, where it does not say so itself. Repeat it for several.",
)
@click.option("--swap-if-better", is_flag=True, help="Swap SECOND in if the rule says yes.")
@click.option("--name", "model", help="Served name to swap. Default: the endpoint's default.")
@click.option(
    "--url", help="Endpoint, http://HOST:PORT. Default: $AIOPT_SERVE_URL, else the one started here."
)
@state_dir_option
@json_option
@typed(CompareOptions)
def compare(options: CompareOptions) -> int:
    """Judge two checkpoints on the same charts, and whether SECOND may take the place of FIRST.

    Each is a folder, a training, a proposal or a hub id.  Both answer the same questions, with controls;
    gains are paired, the look at the split is counted, and whoever saw the charts or their time is refused.
    OUT gets comparison.html, comparison.json and, unless the verdict is no, proposal.json, which
    `aiopt model swap` takes.
    """
    from aiopt.promotion import compare as compare_two
    from aiopt.promotion import load_promotion_config, open_candidate

    folder = lifecycle.state_dir(options.state_dir)
    rule = load_promotion_config(options.rule)
    first = open_candidate(options.first, folder)
    second = open_candidate(options.second, folder, trained_on=options.trained_on)
    console = stderr_console()
    result = compare_two(
        first,
        second,
        options.data,
        options.out,
        rule,
        _reads(options.data),
        progress=lambda line: console.print(line, soft_wrap=True),
    )
    operation = None
    if options.swap_if_better and result.decision.promote == "yes":
        operation = _swap(options, folder)
    document = {"comparison": result, "operation": operation}
    emit(options.as_json, document, lambda shown: _print(shown, options, result, operation))
    return EXIT_FAILED if operation is not None and operation.state == "refused" else EXIT_OK


class _Reads:
    """Asks a checkpoint in this process, with a bar of progress."""

    def __init__(self, numbers: bool) -> None:
        self._numbers = numbers

    def __call__(
        self, candidate: Candidate, asked: Sequence[Asked], pictures: PictureConfig
    ) -> list[Reading]:
        from aiopt.training.reading import FreeReader

        reader = FreeReader(Path(candidate.checkpoint.path))
        with progress(f"Reading by {candidate.name}, questions", len(asked)) as done:
            return reader.answers(asked, pictures, numbers=self._numbers, progress=done)


def _reads(data: Path) -> _Reads:
    from aiopt.dataset.tasks.task_info import read_task_info

    return _Reads(read_task_info(data).config.numbers)


def _swap(options: CompareOptions, folder: Path) -> Operation:
    """Swap what was proposed in, and follow it to its end."""
    from aiopt.promotion.comparison import PROPOSAL_FILE
    from aiopt.serving.endpoint import admin_client, named_checkpoint

    source = named_checkpoint(str(options.out / PROPOSAL_FILE))
    with admin_client(folder, options.url) as client:
        operation = client.begin("swap", model=options.model, checkpoint=source)
        for current in client.follow(operation):
            operation = current
    return operation


def _print(
    console: Console, options: CompareOptions, result: Comparison, operation: Operation | None
) -> None:
    columns = (text("task"), *map(number, ("questions", "first", "second", "gain", "95 %")))
    rows: list[tuple[Any, ...]] = [
        (
            name,
            f"{pair.questions:,}",
            f"{pair.second:.1%}",
            f"{pair.first:.1%}",
            f"{pair.difference:+.1%}",
            f"[{pair.low:+.1%}, {pair.high:+.1%}]",
        )
        for name, pair in result.compared.items()
    ]
    print_table(console, columns, rows)
    console.print(f"promote: {result.decision.promote}", markup=False)
    for reason in result.decision.reasons:
        console.print(f"  {reason}", markup=False, soft_wrap=True)
    console.print(f"{options.out / 'comparison.html'}", soft_wrap=True)
    if operation is not None:
        console.print(f"swap {operation.state}: {operation.message}", markup=False, soft_wrap=True)
    elif result.decision.promote != "no":
        console.print(f"aiopt model swap {options.out / 'proposal.json'}", markup=False, soft_wrap=True)
