"""Fitting the calibration of a checkpoint on the validation split of a set of tasks, and on nothing else.

Owns which answers count and how the error after the map is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiopt.analyst.analysis import Analysis, AnalysisRequest
from aiopt.analyst.calibrating import FEWEST_ANSWERS, fit_calibrator, fit_isotonic, fit_temperature
from aiopt.analyst.checkpoint_calibration import READING, CheckpointCalibration, TaskCalibration
from aiopt.analyst.confidence import combined
from aiopt.analyst.prompts import SHORT_PROMPT
from aiopt.analyst.replies import parse_analysis
from aiopt.analyst.scoring import calibration
from aiopt.analyst.settings import SHORT_CHART
from aiopt.analyst.short_reading import SHORT_QUESTIONS, parse_choice, put_together
from aiopt.dataset.judging.asking import Asked
from aiopt.dataset.judging.judging import is_right
from aiopt.dataset.judging.readings import Reading
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.errors import DataError, ReplyError

Pairs = list[tuple[float, bool]]
"""What was said of answers, and whether they were right."""


def fit_checkpoint_calibration(
    asked: Sequence[Asked],
    readings: Iterable[Reading],
    *,
    revision: str,
    data: str,
    pictures: PictureConfig | None = None,
) -> CheckpointCalibration:
    """Return the calibration of a checkpoint.

    Of short tasks the confidence is that of the reading; of ``analysis`` it is the one the analyst would give
    the answer: stated by the model, combined with what the bars say (`aiopt.analyst.confidence`).  Of
    ``short/1``, the reading put together where every short question of a chart is answered, it is what is
    stated of the bias; fitted only if the charts are those the analyst would show.

    Parameters
    ----------
    asked : sequence of Asked
        Questions of a validation split; controls are passed over.
    readings : iterable of Reading
        The checkpoint's answers.
    revision : str
        Of the checkpoint.
    data : str
        Key of the set.
    pictures : PictureConfig, optional
        How the charts were drawn; without it no ``short/1`` is fitted.

    Raises
    ------
    DataError
        If no task has `FEWEST_ANSWERS` answers that say how sure they are.
    """
    answers = {one.name: one for one in readings}
    rated: dict[str, Pairs] = {}
    for one in asked:
        reading = answers.get(one.name)
        said = None if reading is None or one.variant != "upright" else _confidence(one, reading)
        if said is not None:
            rated.setdefault(one.task, []).append((said, is_right(one, reading)))
    as_asked = pictures is not None and pictures.spec() == SHORT_CHART and not pictures.mark_synthetic
    composed = short_readings(asked, answers.values()) if as_asked else []
    if composed:
        rated[SHORT_PROMPT] = [(one.stated, one.right) for one in composed]
    enough = {task: pairs for task, pairs in rated.items() if len(pairs) >= FEWEST_ANSWERS}
    if not enough:
        counts = ", ".join(f"{task} {len(pairs)}" for task, pairs in rated.items()) or "none at all"
        msg = f"A calibration must be fitted on {FEWEST_ANSWERS} answers that say how sure they are, but got "
        raise DataError(f"{msg}{counts}. Give a set with more validation charts, or the task `analysis`.")
    tasks = {task: _fitted(pairs) for task, pairs in enough.items()}
    return CheckpointCalibration(revision=revision, data=data, tasks=tasks)


@dataclass(frozen=True)
class ShortReading:
    """A reading put together from a reader's short answers, and the true one.

    Attributes
    ----------
    analysis, truth : Analysis
        Put together from the reader's answers, and from the true ones.
    """

    analysis: Analysis
    truth: Analysis

    @property
    def stated(self) -> float:
        """How sure the reader is of its bias."""
        return self.analysis.confidence_parts.stated

    @property
    def right(self) -> bool:
        """Whether the bias is the true one."""
        return self.analysis.bias == self.truth.bias


def short_readings(asked: Iterable[Asked], readings: Iterable[Reading]) -> list[ShortReading]:
    """Return the readings that short answers give, of every upright chart with all of them.

    Parameters
    ----------
    asked : iterable of Asked
        Questions of a split.
    readings : iterable of Reading
        A reader's answers; a chart whose bias has no confidence is passed over.
    """
    answers = {one.name: one for one in readings}
    charts: dict[str, dict[str, Asked]] = {}
    for one in asked:
        if one.variant == "upright" and one.task in SHORT_QUESTIONS:
            charts.setdefault(one.sample, {})[one.task] = one
    found = []
    for questions in charts.values():
        said = {task: answers.get(one.name) for task, one in questions.items()}
        if set(said) != set(SHORT_QUESTIONS):
            continue
        sure = said["bias"].confidence if said["bias"] is not None else None
        try:
            choices = {
                task: parse_choice(task, "" if one is None else one.answer) for task, one in said.items()
            }
        except ReplyError:
            # No answer to one of the questions: there is no reading then.
            continue
        if sure is None:
            continue
        request = AnalysisRequest(bars=questions["bias"].bars)
        truth = {task: str(one.truth[task]) for task, one in questions.items()}
        analysis = put_together(request, choices, sure, model="")
        found.append(ShortReading(analysis, put_together(request, truth, 1.0, model="")))
    return found


def _confidence(asked: Asked, reading: Reading) -> float | None:
    if asked.task != READING:
        return reading.confidence
    request = AnalysisRequest(bars=asked.bars)
    try:
        return combined(parse_analysis(reading.answer, request), request).confidence
    except ReplyError:
        # No reading, so nothing that the analyst would give a confidence.
        return None


def _fitted(pairs: Pairs) -> TaskCalibration:
    said, right = [value for value, _ in pairs], [hit for _, hit in pairs]
    found = fit_calibrator(said, right)
    fit = fit_temperature if found.method == "temperature" else fit_isotonic
    told: list[float] = [0.0] * len(pairs)
    for half in (0, 1):
        other = [number for number in range(len(pairs)) if number % 2 != half]
        mapped = fit([said[number] for number in other], [right[number] for number in other])
        for number in range(half, len(pairs), 2):
            told[number] = mapped(said[number])
    before, after = calibration(said, right).ece, calibration(told, right).ece
    assert before is not None
    assert after is not None
    return TaskCalibration(calibrator=found, n=len(pairs), ece_before=before, ece_after=after)
