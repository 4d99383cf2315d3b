"""``aiopt dataset judge``: score a reader of charts on a split of a set of tasks, and count the look."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import OutFile, json_option, typed
from aiopt.cli.output import emit, number, print_table, progress, text
from aiopt.errors import ConfigError
from aiopt.outputs import TABLE

if TYPE_CHECKING:
    from aiopt.analyst.pairing import PairedShares
    from aiopt.analyst.scoring import Share
    from aiopt.dataset.judging import Asked, Judgement, Reading
    from aiopt.dataset.tasks import TaskSetInfo

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What the command line says of `judge`; fields as the options' help has it."""

    folder: Path
    split: str
    tasks: tuple[str, ...]
    charts: int | None
    controls: int
    readings_path: Path | None
    against_path: Path | None
    endpoint: str | None
    model: str | None
    trained_on: tuple[Path, ...]
    out_path: Path | None
    as_json: bool


@click.command(
    epilog="Example: aiopt dataset judge data/datasets/tasks --split unseen_kinds "
    "--readings mine.parquet --trained-on data/datasets/tasks"
)
@click.argument("folder", type=_PATH)
@click.option(
    "--split",
    default="test",
    show_default=True,
    help="test, unseen_kinds, unseen_generators or unseen_instruments.",
)
@click.option("--task", "tasks", multiple=True, help="Ask this task alone; repeat it for several.")
@click.option("--charts", type=click.IntRange(1), help="Most charts, spread over the split. Default: all.")
@click.option(
    "--controls",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Charts also asked mirrored, shuffled, blank and noisy.",
)
@click.option("--readings", "readings_path", type=_PATH, help="Parquet file of answers, instead of a model.")
@click.option(
    "--against", "against_path", type=_PATH, help="Answers of a second reader, to compare on the same charts."
)
@click.option("--endpoint", help="OpenAI-compatible API to ask, e.g. http://127.0.0.1:8000/v1.")
@click.option("--model", help="Served name. Default: minicpm.")
@click.option(
    "--trained-on",
    type=_PATH,
    multiple=True,
    help="Dataset the reader was trained on; judging on what it saw is refused. Repeat it for several.",
)
@click.option("--out", "out_path", type=OutFile(TABLE), help="Write the answers to this Parquet file.")
@json_option
@typed(JudgeOptions)
def judge_command(options: JudgeOptions) -> None:
    """Score answers to a set of tasks against truth, majority and rules, with controls.

    Without --readings and --endpoint the rules are judged.  Confidence is calibrated on the validation split
    alone.  Every look at a test split is counted in looks.jsonl beside the data.
    """
    from aiopt.dataset.judging import (
        asked_of,
        compare_readings,
        judge,
        read_readings,
        record_look,
        refuse_overlap,
        rules_readings,
        write_readings,
    )
    from aiopt.dataset.tasks import read_task_info

    if options.readings_path is not None and options.endpoint is not None:
        raise ConfigError("Answers come from a file or from a model, but both are given. Leave one out.")
    info = read_task_info(options.folder)
    split, tasks = options.split, options.tasks or None
    if options.trained_on:
        refuse_overlap(options.trained_on, options.folder, split)
    asked = list(
        asked_of(options.folder, info, split, tasks=tasks, most=options.charts, controls=options.controls)
    )
    with progress("Reading by the rules, questions", len(asked)) as done:
        ruled = rules_readings(asked, progress=done)
    reader, readings = _read(options, info, asked, ruled)
    calibrators = _calibrators(options, info, reader, readings)
    if options.out_path is not None:
        write_readings(options.out_path, readings)
    asked_names = {one.name for one in asked}
    of_split = [one for one in readings if one.name in asked_names]
    found = judge(reader, info, split, asked, of_split, rules=ruled, calibrators=calibrators)
    compared: dict[str, PairedShares] = {}
    if options.against_path is not None:
        compared = compare_readings(asked, of_split, read_readings(options.against_path))
    questions = sum(one.variant == "upright" for one in asked)
    look = record_look(options.folder, info, split, reader=reader, questions=questions, at_ns=time.time_ns())
    document = {
        **_plain(found),
        "look": look,
        "compared": _plain(compared),
        "calibrators": _plain(calibrators),
    }
    emit(
        options.as_json,
        document,
        lambda console: _print(console, found, compared, look, options.against_path),
    )


def _read(
    options: JudgeOptions, info: TaskSetInfo, asked: list[Asked], ruled: list[Reading]
) -> tuple[str, list[Reading]]:
    """Return who reads, and the answers."""
    from aiopt.analyst import AnalystSettings
    from aiopt.analyst.client import ChatClient
    from aiopt.dataset.judging import read_readings
    from aiopt.dataset.judging.readings import RULES, endpoint_readings

    if options.readings_path is not None:
        return options.readings_path.stem, read_readings(options.readings_path)
    if options.endpoint is None:
        return RULES, ruled
    model = options.model or "minicpm"
    settings = AnalystSettings(
        endpoint=options.endpoint, models=(model,), numbers=info.config.numbers, max_tokens=1024
    )

    async def ask() -> list[Reading]:
        async with ChatClient(settings) as client:
            with progress(f"Reading by {model}, questions", len(asked)) as done:
                return await endpoint_readings(
                    asked, client.complete, settings, info.config.pictures, progress=done
                )

    return model, asyncio.run(ask())


def _calibrators(
    options: JudgeOptions, info: TaskSetInfo, reader: str, readings: list[Reading]
) -> dict[str, Any]:
    """Return the calibrators of a reader that says how sure it is, from validation charts alone."""
    from aiopt.dataset.judging import asked_of, rules_readings
    from aiopt.dataset.judging.judging import fit_calibrators
    from aiopt.dataset.judging.readings import RULES

    if all(one.confidence is None for one in readings):
        return {}
    validation = list(asked_of(options.folder, info, "validation", tasks=options.tasks or None, controls=0))
    return dict(fit_calibrators(validation, rules_readings(validation) if reader == RULES else readings))


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _percent(share: Share | None) -> str:
    if share is None or share.value is None:
        return ""
    return f"{share.value:.1%} [{share.low:.0%}, {share.high:.0%}]"


def _print(
    console: Console,
    found: Judgement,
    compared: dict[str, PairedShares],
    look: int,
    against: Path | None,
) -> None:
    from aiopt.dataset.judging.readings import RULES

    console.print(f"{found.reader} on {found.split}. Intervals: 95%, Wilson.", markup=False)
    columns = (
        *(text("task"), text("truth from"), number("charts")),
        *map(number, ("right", "majority", "rules", "mirrored", "noisy", "shuffled", "blank", "ECE")),
    )
    rows = []
    for one in found.scores:
        controls = [_percent(one.controls.get(name)) for name in ("mirrored", "noisy", "shuffled", "blank")]
        ece = ""
        if one.calibration is not None and one.calibration.ece is not None:
            ece = f"{one.calibration.ece:.3f}"
            if one.calibrated is not None and one.calibrated.ece is not None:
                ece += f" → {one.calibrated.ece:.3f}"
        shares = map(_percent, (one.accuracy, one.majority, one.rules))
        rows.append((one.task, one.origin, f"{one.accuracy.n:,}", *shares, *controls, ece))
    print_table(console, columns, rows)
    for one in found.scores:
        console.print(f"{one.task}: {_verdict(one.against_majority, 'the majority')}", markup=False)
        if one.rules is not None and found.reader != RULES:
            console.print(f"{one.task}: {_verdict(one.against_rules, 'the rules')}", markup=False)
    if any(one.from_future for one in found.scores):
        console.print("forward asks what came after the chart; being right there is no reading.")
    for task, pair in compared.items():
        other = "" if against is None else against.stem
        console.print(f"{task}: {_verdict(pair, other)}", markup=False)
    if look > 1:
        console.print(f"This is look {look} at {found.split}: only the first was at charts nobody had used.")
    elif look:
        console.print(f"This is the first look at {found.split}; it is recorded.")


def _verdict(pair: PairedShares | None, other: str) -> str:
    """Return what a paired comparison says, in a sentence."""
    if pair is None:
        return f"nothing to hold against {other}."
    word = {"first": "better than", "second": "worse than", "open": "not to be told from"}[pair.verdict]
    return (
        f"{word} {other} by {pair.difference:+.1%} [{pair.low:+.1%}, {pair.high:+.1%}] "
        f"on the same {pair.charts} charts."
    )
