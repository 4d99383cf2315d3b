"""`aiopt model train`: fine-tune a checkpoint on datasets.  Knows options and wording."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.cli.options import OutFolder, json_option
from aiopt.cli.output import emit, stderr_console

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.training.loop import StepReport
    from aiopt.training.training import TrainingResult
    from cluster.training.beside_serving import WhileServing
    from cluster.training.job import Device, Engine

SHOWN_EVERY_S = 5.0


@click.command(
    epilog="Example: aiopt model train training.yaml --data data/datasets/eurusd-5m "
    "--base openbmb/MiniCPM-V-4.6 --out trainings/first"
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="A dataset with conversations; may be repeated.",
)
@click.option(
    "--base", required=True, help="Checkpoint to start from: folder, training, or hub id with @revision."
)
@click.option("--out", required=True, type=OutFolder(), help="The training's folder.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: the GPU where there is one.",
)
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that train together.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "local", "ray"]),
    default="auto",
    show_default=True,
    help="auto: this process, or Ray for more than one worker.",
)
@click.option(
    "--while-serving",
    type=click.Choice(["auto", "share", "drain", "refuse"]),
    default="auto",
    show_default=True,
    help="Where models are served from here. auto: share the memory if the plan fits beside them, else ask; "
    "drain: finish requests, free the memory, and serve again, proved, when the training ends or dies.",
)
@click.option(
    "--plan", "only_plan", is_flag=True, help="Check everything, show the memory plan, train nothing."
)
@json_option
def train(
    config: Path | None,
    data: tuple[Path, ...],
    base: str,
    out: Path,
    device: Device,
    workers: int,
    engine: Engine,
    while_serving: WhileServing,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Fine-tune a checkpoint, or go on with a training that was killed.

    CONFIG is a YAML or JSON file (docs/how-to/training.md has the keys); AIOPT_TRAINING__KEY variables
    override it.  The folder OUT, once finished, is what `aiopt model swap` and `aiopt serve up` take.
    """
    from cluster.training.job import run_job, training_job

    console = stderr_console()
    job = training_job(config, data=data, base=base, out=out, device=device)
    if only_plan:
        from aiopt.training.training import prepare

        ready = prepare(job)
        usable = job.device_bytes / 2**30
        document = {"plan": ready.plan, "total_bytes": ready.plan.total, "device_bytes": job.device_bytes}
        emit(
            as_json,
            document,
            lambda shown: shown.print(
                f"{ready.plan.describe()}. {job.device} has {usable:.2f} GiB.", soft_wrap=True
            ),
        )
        return
    console.print("Checking base, data, memory and disk …")
    shown = _Shown(console)

    def note(text: str) -> None:
        console.print(text, soft_wrap=True)

    result = run_job(
        job,
        engine=engine,
        workers=workers,
        report=shown.report,
        note=note,
        while_serving=while_serving,
        ask=_ask,
    )
    emit(as_json, result, lambda console: _print(console, result))


def _ask(question: str) -> bool:
    """Ask on a terminal; elsewhere nobody answers."""
    if not sys.stdin.isatty():
        return False
    return click.confirm(question, err=True)


class _Shown:
    """Prints steps: every look at the probe, the first and last, else one in some seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = -SHOWN_EVERY_S

    def report(self, row: StepReport) -> None:
        from cluster.training.job import step_text

        now = time.monotonic()
        if row.look is None and row.step < row.steps and now - self._last < SHOWN_EVERY_S:
            return
        self._last = now
        self._console.print(step_text(row), soft_wrap=True)


def _print(console: Any, result: TrainingResult) -> None:
    console.print(f"{result.steps_done:,} steps, {result.tokens:,} tokens.", soft_wrap=True)
    if result.look is not None:
        console.print(
            f"Kept step {result.step:,}: {result.look.accuracy:.1%} of {result.look.rows} rows of the probe "
            f"answered right, loss {result.look.loss:.4f}.",
            soft_wrap=True,
        )
    console.print(f"{result.checkpoint} revision {result.revision[:12]}", soft_wrap=True)
    console.print(f"weights {result.weights_hash[:12]}, identity {result.identity[:12]}", soft_wrap=True)
