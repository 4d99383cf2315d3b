"""Answers of readers: the rules', a file's, an endpoint's; one record for all.

Owns the record, its file, and what the rules answer to which task.  Judges nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from aiopt.analyst.analysis import Analysis, AnalysisRequest
from aiopt.analyst.answers import answer_text
from aiopt.analyst.asking import NO_ANSWER
from aiopt.analyst.chat import ChatRequest, Complete
from aiopt.analyst.prompts import image_part
from aiopt.analyst.rule_reader import RULES_VERSION, read_by_rules
from aiopt.analyst.settings import AnalystSettings
from aiopt.analyst.shown import ENGULFING_BARS
from aiopt.dataset.judging.asking import Asked
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.errors import DataError
from aiopt.files import atomic_path

RULES = f"rules ({RULES_VERSION})"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.

    Attributes
    ----------
    sample, task, variant : str
        The question, as `Asked` names it.
    answer : str
        Text; empty where there was none.
    confidence : float or None
        How sure the reader is of it, in [0, 1]; None where it does not say.
    """

    sample: str
    task: str
    variant: str
    answer: str
    confidence: float | None = None

    @property
    def name(self) -> tuple[str, str, str]:
        """Sample, task and variant."""
        return self.sample, self.task, self.variant


def rules_readings(asked: Iterable[Asked], *, progress: Callable[[int], None] | None = None) -> list[Reading]:
    """Return what the rule-based reader answers, to the tasks it has an answer to.

    Parameters
    ----------
    asked : iterable of Asked
        The questions.
    progress : callable, optional
        Called with the questions done.
    """
    found = []
    last: tuple[str, str] | None = None
    analysis: Analysis | None = None
    for number, one in enumerate(asked, 1):
        # Questions of one chart come together, and are read once.
        if (one.sample, one.variant) != last or analysis is None:
            analysis = read_by_rules(AnalysisRequest(bars=one.bars))
            last = (one.sample, one.variant)
        value = rules_answer(one.task, analysis, len(one.bars))
        if value is not None:
            confidence = analysis.confidence if one.task == "bias" else None
            text = answer_text(value, one.answer_schema)
            found.append(
                Reading(
                    sample=one.sample,
                    task=one.task,
                    variant=one.variant,
                    answer=text,
                    confidence=confidence,
                )
            )
        if progress is not None:
            progress(number)
    return found


def rules_answer(task: str, analysis: Analysis, n_bars: int) -> Mapping[str, Any] | None:
    """Return what a reading by rules says to a task; None where it says nothing about it."""
    regime = {"trend": analysis.regime.trend, "volatility": analysis.regime.volatility}
    if task in regime:
        return {task: regime[task]}
    if task in ("regime", "state"):
        return regime
    if task == "bias":
        return {"bias": analysis.bias}
    if task in ("forward", "outcome_long", "outcome_short"):
        return _expected(task, analysis.bias)
    if task == "pattern":
        if not analysis.patterns:
            return {"kind": "none", "first_bar": 0, "last_bar": 0}
        last = analysis.patterns[-1]
        return {"kind": last.kind, "first_bar": last.first_bar, "last_bar": last.last_bar}
    if task == "engulfing":
        fresh = [one.kind for one in analysis.patterns if one.last_bar >= n_bars - ENGULFING_BARS]
        named = [kind for kind in fresh if kind.endswith("_engulfing")]
        return {"engulfing": named[-1].removesuffix("_engulfing") if named else "none"}
    return None


def _expected(task: str, bias: str) -> Mapping[str, Any]:
    """Return what a bias says of what comes: the price goes its way, and positions of its side win."""
    if task == "forward":
        return {"forward": {"long": "up", "short": "down", "neutral": "flat"}[bias]}
    return {"outcome": {"neutral": "flat", task.removeprefix("outcome_"): "win"}.get(bias, "loss")}


async def endpoint_readings(
    asked: Sequence[Asked],
    complete: Complete,
    settings: AnalystSettings,
    pictures: PictureConfig,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Reading]:
    """Ask a model every question, with the picture as the set draws it and the schema as its grammar.

    Parameters
    ----------
    asked : sequence of Asked
        The questions.
    complete : callable
        Asks the model.
    settings : AnalystSettings
        Model, length of replies, requests in flight, whether pictures and numbers are sent.
    pictures : PictureConfig
        How charts are drawn.
    progress : callable, optional
        Called with the questions answered.

    Returns
    -------
    list of Reading
        In the order of `asked`; the answer is empty where there was no reply.
    """
    gate = asyncio.Semaphore(settings.concurrency)
    done = 0

    async def ask(one: Asked) -> Reading:
        nonlocal done
        async with gate:
            question = ChatRequest(
                model=settings.models[0],
                messages=_wire_messages(one, settings, pictures),
                schema=one.answer_schema,
                schema_name=one.task,
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                seed=settings.seed,
            )
            try:
                text = (await complete(question)).text
            except NO_ANSWER:
                text = ""
        done += 1
        if progress is not None:
            progress(done)
        return Reading(sample=one.sample, task=one.task, variant=one.variant, answer=text)

    return list(await asyncio.gather(*map(ask, asked)))


def _wire_messages(one: Asked, settings: AnalystSettings, pictures: PictureConfig) -> list[dict[str, Any]]:
    """Return the messages of training in the form of OpenAI's API."""
    found = []
    for message in one.messages(numbers=settings.numbers):
        parts: list[dict[str, Any]] = []
        for part in message["content"]:
            if part["type"] == "text":
                parts.append({"type": "text", "text": part["text"]})
            elif settings.picture:
                parts.append(image_part(pictures.draw(one.bars)))
        content: Any = parts if len(parts) > 1 else parts[0]["text"]
        found.append({"role": message["role"], "content": content})
    return found


# --- files ------------------------------------------------------------------------------------------------

_COLUMNS = {
    "sample": pl.String,
    "task": pl.String,
    "variant": pl.String,
    "answer": pl.String,
    "confidence": pl.Float64,
}


def write_readings(path: Path, readings: Sequence[Reading]) -> None:
    """Write readings to a Parquet file.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    table = pl.DataFrame([msgspec.to_builtins(one) for one in readings], schema=_COLUMNS)
    with atomic_path(Path(path)) as temporary:
        table.write_parquet(temporary)


def read_readings(path: Path) -> list[Reading]:
    """Read a Parquet file of readings: columns sample, task, answer, and where there variant and confidence.

    Raises
    ------
    DataError
        If it cannot be read, lacks a column, answers a question twice or holds a confidence outside [0, 1]:
        names the row.
    """
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as failure:
        raise DataError(f"The file cannot be read: {failure}. Give Parquet.", file=path) from failure
    lacking = [name for name in ("sample", "task", "answer") if name not in table.columns]
    if lacking:
        msg = f"Readings must have the columns sample, task and answer, but {', '.join(lacking)} is missing."
        raise DataError(f"{msg} Write them with `write_readings`.", file=path)
    found: list[Reading] = []
    seen: set[tuple[str, str, str]] = set()
    for row, values in enumerate(table.iter_rows(named=True)):
        confidence = values.get("confidence")
        reading = Reading(
            sample=str(values["sample"]),
            task=str(values["task"]),
            variant=str(values.get("variant") or "upright"),
            answer=str(values["answer"] or ""),
            confidence=None if confidence is None else float(confidence),
        )
        if reading.confidence is not None and not 0 <= reading.confidence <= 1:
            msg = f"`0 <= confidence <= 1` must hold, but got {reading.confidence}. Correct it."
            raise DataError(msg, file=path, row=row)
        if reading.name in seen:
            msg = f"A question must be answered once, but {' '.join(reading.name)} is twice. Remove one."
            raise DataError(msg, file=path, row=row)
        seen.add(reading.name)
        found.append(reading)
    return found
