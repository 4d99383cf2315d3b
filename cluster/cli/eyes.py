"""``aiopt eyes``: make the shipped picture reader from its recipe, and show what it sees."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiopt.cli.options import OutFolder, json_option
from aiopt.cli.output import emit, number, print_table, stderr_console, text

if TYPE_CHECKING:
    from aiopt.eyes.heads import HeadsReport
    from aiopt.eyes.recipe import Say
    from aiopt.training.loop import StepReport

SHOWN_EVERY_S = 5.0

_PATH = click.Path(path_type=Path)


@click.group("eyes", epilog="Example: aiopt eyes show data/eyes")
def command() -> None:
    """Make and show the shipped eyes: a tiny picture reader of MiniCPM-V 4.6's architecture."""


@command.command(epilog="Example: aiopt eyes make data/eyes --config jobs/eyes.yaml --bars data/bars")
@click.argument("out", type=OutFolder())
@click.option(
    "--config", type=_PATH, default=Path("jobs/eyes.yaml"), show_default=True, help="The recipe, YAML."
)
@click.option("--bars", type=_PATH, help="Folder of imported bars, for the real charts. Default: none.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="That train together, one thread each.",
)
def make(out: Path, config: Path, bars: Path | None, processes: int) -> None:
    """Build the charts, train the eyes and the baseline, judge both once, and print the table.

    Everything follows from the recipe's seeds.  The same command goes on where it was stopped; steps that are
    done are left alone.  The eyes are OUT/training/checkpoint, which `aiopt serve up --model` takes.
    """
    # Before torch is imported: a step of a tiny model is too little for several threads to share.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from aiopt.eyes.eyes_config import load_eyes_config
    from aiopt.eyes.making import make_eyes, page_of

    recipe = load_eyes_config(config)
    make_eyes(recipe, out, bars=bars, processes=processes, say=_Shown().say())
    click.echo(page_of(out), nl=False)


@command.command(epilog="Example: aiopt eyes show data/eyes")
@click.argument("out", type=_PATH)
def show(out: Path) -> None:
    """Print the table of finished eyes as Markdown: right answers, baselines, controls, comparisons."""
    from aiopt.eyes.making import page_of

    click.echo(page_of(out), nl=False)


@command.command(epilog="Example: aiopt eyes read data/eyes/training/checkpoint data/bars/EURUSD/1h")
@click.argument("checkpoint", type=_PATH)
@click.argument("bars", type=_PATH)
@click.option("--symbol", help="Whose bars, where the folder holds several.")
@click.option("--timeframe", help="Which bars, where the folder holds several.")
@click.option("--task", "tasks", multiple=True, help="Ask this alone; repeat it for several.")
@json_option
def read(
    checkpoint: Path,
    bars: Path,
    symbol: str | None,
    timeframe: str | None,
    tasks: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw the last 120 of BARS and let CHECKPOINT answer questions about the chart, without an engine.

    How sure it is, is what it says of itself, not calibrated; `aiopt eyes show` tells how often it is right.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from aiopt.analyst.planted import N_BARS
    from aiopt.bars.files import load_bar_set
    from aiopt.dataset.tasks import TASKS
    from aiopt.dataset.tasks.task_config import DEFAULT_TASKS, PictureConfig
    from aiopt.errors import ConfigError, DataError, did_you_mean

    for task in tasks:
        if task not in TASKS:
            raise ConfigError(f"There is no task {task!r}. {did_you_mean(task, TASKS).strip()}")
    found = load_bar_set(bars, timeframe=timeframe, symbol=symbol).bid
    if len(found) < N_BARS:
        msg = f"A chart of the eyes has {N_BARS} bars, but there are {len(found)}. Give more."
        raise DataError(msg, file=bars)
    from aiopt.eyes.answering import CheckpointReader, questions_of

    asked = questions_of(found.slice(len(found) - N_BARS, len(found)), tasks or DEFAULT_TASKS)
    readings = CheckpointReader(checkpoint).answers_to(asked, PictureConfig(mark_synthetic=False))
    rows = [
        {"task": one.task, "answer": TASKS[one.task].choice(json.loads(one.answer)), "sure": one.confidence}
        for one in readings
    ]
    emit(
        as_json,
        {"sample": asked[0].sample, "readings": rows},
        lambda console: print_table(
            console,
            (text("question"), text("answer"), number("sure")),
            [(str(row["task"]), str(row["answer"]), f"{row['sure']:.1%}") for row in rows],
        ),
    )


class _Shown:
    """Prints how it stands: every look, else a line in some seconds."""

    def __init__(self) -> None:
        self._console = stderr_console()
        self._last = -SHOWN_EVERY_S

    def say(self) -> Say:
        """Return it as the recipe wants it."""
        from aiopt.eyes.recipe import Say

        return Say(note=self._line, step=self._step, heads=self._heads, count=self._count)

    def _line(self, words: str) -> None:
        self._console.print(words, soft_wrap=True, markup=False)

    def _now_and_then(self, words: str, *, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self._last >= SHOWN_EVERY_S:
            self._last = now
            self._line(f"  {words}")

    def _step(self, row: StepReport) -> None:
        look = "" if row.look is None else f", probe {row.look.accuracy:.1%} of {row.look.rows}"
        left = f"{row.eta_s / 60:.0f} min left"
        self._now_and_then(
            f"step {row.step:,}/{row.steps:,} {row.stage}: loss {row.loss:.4f}{look}, {left}",
            always=row.look is not None,
        )

    def _heads(self, name: str, row: HeadsReport) -> None:
        held = "" if row.held_accuracy is None else f", validation {row.held_accuracy:.1%}"
        self._now_and_then(f"{name}, step {row.step:,}: loss {row.loss:.4f}{held}", always=bool(held))

    def _count(self, what: str, done: int, of: int) -> None:
        self._now_and_then(f"{what}: {done:,}" + (f" of {of:,}" if of else ""))
