"""`aiopt model verify-served`: whether a served checkpoint says what transformers says.  Knows options."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, number, print_table, progress, text
from aiopt.errors import EXIT_FAILED, EXIT_OK, AioptError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rich.console import Console

    from aiopt.analyst.chat import ChatReply
    from aiopt.training.records import Record
    from aiopt.training.served_equality import Dtype, Question, ServedEquality

SHOWN = 5
"""Answers that differ, printed in full; `--json` has all."""


@click.command(
    epilog="Example: aiopt model verify-served trainings/first --data data/datasets/tasks "
    "--endpoint http://127.0.0.1:8000/v1"
)
@click.argument("checkpoint")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Dataset whose questions are asked."
)
@click.option("--endpoint", required=True, help="OpenAI-compatible API where the checkpoint is served.")
@click.option("--model", default="minicpm", show_default=True, help="Served name.")
@click.option("--split", default="validation", show_default=True, help="Whose questions are asked.")
@click.option("--charts", type=click.IntRange(1), help="Most per kind of question, spread. Default: all.")
@click.option(
    "--dtype",
    type=click.Choice(["bfloat16", "float32"]),
    default="bfloat16",
    show_default=True,
    help="The engine's number format.",
)
@click.option(
    "--rounding",
    type=click.FloatRange(0),
    default=0.05,
    show_default=True,
    help="Another token is no fault where float32 finds it within so much log-probability of the likeliest.",
)
@json_option
def verify_served(
    checkpoint: str,
    data: Path,
    endpoint: str,
    model: str,
    split: str,
    charts: int | None,
    dtype: Dtype,
    rounding: float,
    as_json: bool,
) -> int:
    """Ask the served CHECKPOINT questions of a dataset and compare every token with transformers' answer.

    Greedily and free on both sides, each picture as the dataset has it.  Exit code 1 if a question was not
    answered or an answer differs by more than rounding.
    """
    from aiopt.serving.checkpoint.sources import resolve
    from aiopt.serving.checkpoint.validation import validate
    from aiopt.training.served_equality import GreedyTokens, compare_replies, questions_of
    from cluster import lifecycle

    found = validate(resolve(checkpoint, lifecycle.state_dir()))
    questions = questions_of(data, split, most=charts)
    reader = GreedyTokens(Path(found.path), dtype)
    replies = _ask(questions, endpoint, model, reader.longest)
    answered = {one.model_revision for one in replies if not isinstance(one, AioptError)}
    check_revision(answered, found.revision, model)
    with progress("Reading by transformers, questions", len(questions)) as done:
        result = compare_replies(questions, replies, reader, rounding=rounding, progress=done)
    document = {"revision": found.revision, "dtype": dtype, "same": result.same, "compared": result}
    emit(as_json, document, lambda console: _print(console, result, found.revision))
    return EXIT_OK if result.same else EXIT_FAILED


def check_revision(answered: Collection[str], revision: str, model: str) -> None:
    """Refuse answers of another checkpoint.

    Parameters
    ----------
    answered : collection of str
        Revisions that answered.
    revision : str
        The one that was to.
    model : str
        Served name.

    Raises
    ------
    ConfigError
        If another one, or one that does not say, is among them.
    """
    others = sorted(set(answered) - {revision})
    if others:
        msg = (
            f"The checkpoint that is named must be the one that answers, revision {revision[:12]}, but "
            f"{', '.join(one[:12] or 'one without a revision' for one in others)} answered as {model}. "
            "Swap it in first, or name the served one."
        )
        raise ConfigError(msg)


def _ask(
    questions: list[Question], endpoint: str, model: str, longest: Callable[[Record], int]
) -> list[ChatReply | AioptError]:
    from aiopt.analyst import AnalystSettings
    from aiopt.analyst.client import ChatClient
    from aiopt.training.served_equality import served_replies

    settings = AnalystSettings(endpoint=endpoint, models=(model,))

    async def ask() -> list[ChatReply | AioptError]:
        async with ChatClient(settings) as client:
            with progress(f"Reading by {model}, questions", len(questions)) as done:
                return await served_replies(
                    questions, client.complete, model, longest, at_once=settings.concurrency, progress=done
                )

    return asyncio.run(ask())


def _print(console: Console, result: ServedEquality, revision: str) -> None:
    columns = (text("question"), *map(number, ("asked", "equal", "by rounding", "different", "unanswered")))
    rows = [
        (task, *(f"{count:,}" for count in (one.asked, one.equal, one.near, one.different, one.unanswered)))
        for task, one in result.tasks.items()
    ]
    print_table(console, columns, rows)
    worse = [one for one in result.differences if not one.near(result.rounding)]
    for one in worse[:SHOWN]:
        behind = "not among the likely ones" if one.behind is None else f"{one.behind:.3f} behind"
        console.print(
            f"{one.task} {one.sample}, token {one.token}: transformers {one.transformers!r}, served "
            f"{one.served!r} ({behind})",
            markup=False,
            soft_wrap=True,
        )
    for reason in result.failures:
        console.print(f"Unanswered: {reason}", markup=False, soft_wrap=True)
    console.print(
        f"Revision {revision[:12]}: the served answers are {'' if result.same else 'not '}transformers'. By "
        f"rounding: the first other token is within {result.rounding:g} of log-probability in float32."
    )
