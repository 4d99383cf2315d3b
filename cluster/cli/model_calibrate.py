"""`aiopt model calibrate`: how often a checkpoint is right when it says how sure it is.  Knows options."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, number, print_table, progress
from cluster.cli.model_verify import check_revision

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.analyst.chat import ChatReply, ChatRequest
    from aiopt.analyst.checkpoint_calibration import CheckpointCalibration
    from aiopt.dataset.judging import Asked, Reading
    from aiopt.dataset.tasks import TaskSetInfo

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="Example: aiopt model calibrate trainings/first --data data/datasets/tasks "
    "--endpoint http://127.0.0.1:8000/v1"
)
@click.argument("checkpoint")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Set of tasks whose validation split is read.",
)
@click.option(
    "--endpoint", help="OpenAI-compatible API where the checkpoint is served. Default: this process reads."
)
@click.option("--model", default="minicpm", show_default=True, help="Served name.")
@click.option("--charts", type=click.IntRange(1), help="Most charts, spread over the split. Default: all.")
@json_option
def calibrate(
    checkpoint: str, data: Path, endpoint: str | None, model: str, charts: int | None, as_json: bool
) -> None:
    """Measure how often CHECKPOINT is right at each confidence, and write that beside its weights.

    The map (temperature or isotonic, whichever predicts better) is fitted on validation charts alone.  The
    file aiopt_calibration.json is no part of the checkpoint's revision; `aiopt analyst read --calibration`
    and `scan --calibration` use it where that revision answers.
    """
    from aiopt.analyst.checkpoint_calibration import write_calibration
    from aiopt.dataset.judging import asked_of
    from aiopt.dataset.judging.calibrated import fit_checkpoint_calibration
    from aiopt.dataset.tasks import read_task_info
    from aiopt.serving.checkpoint.sources import resolve
    from aiopt.serving.checkpoint.validation import validate
    from cluster import lifecycle

    found = validate(resolve(checkpoint, lifecycle.state_dir()))
    info = read_task_info(data)
    asked = list(asked_of(data, info, "validation", most=charts, controls=0))
    if endpoint is None:
        from aiopt.eyes.answering import CheckpointReader

        with progress("Reading, questions", len(asked)) as done:
            reader = CheckpointReader(Path(found.path))
            readings = reader.answers_to(asked, info.config.pictures, progress=done)
    else:
        readings = _ask(asked, info, endpoint, model, found.revision)
    fitted = fit_checkpoint_calibration(
        asked, readings, revision=found.revision, data=info.key, pictures=info.config.pictures
    )
    path = write_calibration(Path(found.path), fitted)
    document = {"file": str(path), "calibration": fitted}
    emit(as_json, document, lambda console: _print(console, fitted, path))


def _ask(asked: list[Asked], info: TaskSetInfo, endpoint: str, model: str, revision: str) -> list[Reading]:
    """Ask the served checkpoint every question; another revision that answers is refused."""
    from aiopt.analyst import AnalystSettings
    from aiopt.analyst.client import ChatClient
    from aiopt.dataset.judging.readings import endpoint_readings

    settings = AnalystSettings(
        endpoint=endpoint, models=(model,), numbers=info.config.numbers, max_tokens=1024
    )
    answered: set[str] = set()

    async def ask() -> list[Reading]:
        async with ChatClient(settings) as client:

            async def complete(request: ChatRequest) -> ChatReply:
                reply = await client.complete(request)
                answered.add(reply.model_revision)
                return reply

            with progress(f"Reading by {model}, questions", len(asked)) as done:
                return await endpoint_readings(asked, complete, settings, info.config.pictures, progress=done)

    found = asyncio.run(ask())
    check_revision(answered, revision, model)
    return found


def _print(console: Console, fitted: CheckpointCalibration, path: Path) -> None:
    columns = ("task", "map", number("charts"), number("ECE before"), number("ECE after"))
    rows = [
        (name, one.calibrator.method, f"{one.n:,}", f"{one.ece_before:.3f}", f"{one.ece_after:.3f}")
        for name, one in fitted.tasks.items()
    ]
    print_table(console, columns, rows)
    console.print("ECE after: each half of the validation charts by a map fitted on the other half.")
    console.print(f"Revision {fitted.revision[:12]}: {path}", soft_wrap=True, markup=False)
