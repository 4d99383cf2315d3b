"""Fitting the calibration of a checkpoint on the validation split of a set of tasks, and on nothing else.

Owns which answers count and how the error after the map is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiopt.analyst.analysis import AnalysisRequest
from aiopt.analyst.calibrating import FEWEST_ANSWERS, fit_calibrator, fit_isotonic, fit_temperature
from aiopt.analyst.checkpoint_calibration import READING, CheckpointCalibration, TaskCalibration
from aiopt.analyst.confidence import combined
from aiopt.analyst.replies import parse_analysis
from aiopt.analyst.scoring import calibration
from aiopt.dataset.judging.asking import Asked
from aiopt.dataset.judging.judging import is_right
from aiopt.dataset.judging.readings import Reading
from aiopt.errors import DataError, ReplyError

Pairs = list[tuple[float, bool]]
"""What was said of answers, and whether they were right."""


def fit_checkpoint_calibration(
    asked: Sequence[Asked], readings: Iterable[Reading], *, revision: str, data: str
) -> CheckpointCalibration:
    """Return the calibration of a checkpoint.

    Of short tasks the confidence is that of the reading; of ``analysis`` it is the one the analyst would give
    the answer: stated by the model, combined with what the bars say (`aiopt.analyst.confidence`).

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
    enough = {task: pairs for task, pairs in rated.items() if len(pairs) >= FEWEST_ANSWERS}
    if not enough:
        counts = ", ".join(f"{task} {len(pairs)}" for task, pairs in rated.items()) or "none at all"
        msg = f"A calibration must be fitted on {FEWEST_ANSWERS} answers that say how sure they are, but got "
        raise DataError(f"{msg}{counts}. Give a set with more validation charts, or the task `analysis`.")
    tasks = {task: _fitted(pairs) for task, pairs in enough.items()}
    return CheckpointCalibration(revision=revision, data=data, tasks=tasks)


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
