"""Scores of a reader on a split of a set of tasks: against truth, majority and rules, with controls.

Owns what is measured.  Asks nobody and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from aiopt.analyst.answers import why_refused
from aiopt.analyst.calibrating import FEWEST_ANSWERS, Calibrator, fit_calibrator
from aiopt.analyst.pairing import PairedShares, compare_paired
from aiopt.analyst.scoring import Calibration, Share, calibration, wilson
from aiopt.analyst.shown import TOUCH_SHARE
from aiopt.bars.schema import BarArrays
from aiopt.dataset.judging.asking import VARIANTS, Asked
from aiopt.dataset.judging.explained import shuffled_explained
from aiopt.dataset.judging.readings import Reading
from aiopt.dataset.tasks.task_info import TaskSetInfo
from aiopt.dataset.tasks.task_kinds import TASKS
from aiopt.errors import DataError

LEAST_OVERLAP = 0.5
"""A pattern is located if the bars named and the true ones share at least this of their union."""


_SEED = 1
"""Of the paired intervals."""


class TaskScore(msgspec.Struct, frozen=True, kw_only=True):
    """How well one reader does one task on one split.  Intervals: 95 %, Wilson; paired ones: bootstrap.

    Attributes
    ----------
    task, origin : str
        What was asked, and where the truth comes from.
    from_future : bool
        Whether the truth is what came after the chart.
    valid : Share
        Answers of the task's schema; any other counts as wrong everywhere below.
    accuracy : Share
        Right answers to upright charts.
    majority : Share or None
        How often the most frequent class of *train* is right on these charts.
    rules : Share or None
        How often the rules are; None where they say nothing about the task.
    against_majority, against_rules : PairedShares or None
        The reader minus these, on the same charts.
    located : Share or None
        Of patterns whose kind was right, those whose bars were too.
    controls : dict of str to Share
        Accuracy on controls, see `aiopt.dataset.judging.asking`.
    controls_upright : Share or None
        Accuracy on the upright charts of these controls.
    shuffled_explained : Share or None
        Shuffled charts on which being right needs no leak, see `aiopt.dataset.judging.explained`.
    calibration, calibrated : Calibration or None
        Of what the reader says of its answers; after a map fitted on the validation split alone.
    """

    task: str
    origin: str
    from_future: bool
    valid: Share
    accuracy: Share
    majority: Share | None = None
    rules: Share | None = None
    against_majority: PairedShares | None = None
    against_rules: PairedShares | None = None
    located: Share | None = None
    controls: dict[str, Share] = {}
    controls_upright: Share | None = None
    shuffled_explained: Share | None = None
    calibration: Calibration | None = None
    calibrated: Calibration | None = None


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A reader on a split.

    Attributes
    ----------
    reader, split : str
        Who, and on what.
    set_key : str
        `TaskSetInfo.key` of the set.
    scores : tuple of TaskScore
        Of the tasks it answered, in the set's order.
    look : int
        How often this split has been looked at, this time included; 0 for train and validation.
    """

    reader: str
    split: str
    set_key: str
    scores: tuple[TaskScore, ...]
    look: int = 0


def judge(
    reader: str,
    info: TaskSetInfo,
    split: str,
    asked: Sequence[Asked],
    readings: Iterable[Reading],
    *,
    rules: Iterable[Reading] = (),
    calibrators: Mapping[str, Calibrator] | None = None,
) -> Judgement:
    """Return how well a reader reads.

    Parameters
    ----------
    reader : str
        Name for the report.
    info : TaskSetInfo
        Of the set.
    split : str
        Which split `asked` is of.
    asked : sequence of Asked
        The questions; one without a reading counts as wrong, in a task of which there is any reading.
    readings : iterable of Reading
        The answers.
    rules : iterable of Reading
        The rules' answers to the same questions.
    calibrators : mapping of str to Calibrator, optional
        By task, from `fit_calibrators` on validation charts.

    Raises
    ------
    DataError
        If no reading answers any question, or one answers a question that was not asked.
    """
    answers = {one.name: one for one in readings}
    ruled = {one.name: one for one in rules}
    names = {one.name for one in asked}
    strange = next((name for name in answers if name not in names), None)
    if not answers or strange is not None:
        what = "there is no reading" if strange is None else f"{' '.join(strange)} was not asked"
        msg = f"Readings must answer the questions of the split {split!r} of this set, but {what}."
        raise DataError(f"{msg} Read that split.")
    scores = []
    for task in info.tasks:
        questions = [one for one in asked if one.task == task]
        if any(one.name in answers for one in questions):
            majority = info.splits["train"].majority.get(task)
            scores.append(
                _score(
                    task,
                    questions,
                    answers,
                    ruled,
                    None if majority is None else majority.choice,
                    (calibrators or {}).get(task),
                )
            )
    return Judgement(reader=reader, split=split, set_key=info.key, scores=tuple(scores))


def _score(
    task: str,
    questions: Sequence[Asked],
    answers: Mapping[tuple[str, str, str], Reading],
    rules: Mapping[tuple[str, str, str], Reading],
    majority: str | None,
    calibrator: Calibrator | None,
) -> TaskScore:
    upright = [one for one in questions if one.variant == "upright"]
    charts = [one.sample for one in upright]
    right = [is_right(one, answers.get(one.name)) for one in upright]
    found: dict[str, Any] = {}
    if majority is not None:
        guessed = [TASKS[task].choice(one.truth) == majority for one in upright]
        found["majority"] = _share(guessed)
        found["against_majority"] = compare_paired(right, guessed, charts, seed=_SEED)
    if any(one.name in rules for one in upright):
        by_rules = [is_right(one, rules.get(one.name)) for one in upright]
        found["rules"] = _share(by_rules)
        found["against_rules"] = compare_paired(right, by_rules, charts, seed=_SEED)
    controls: dict[str, Share] = {
        variant: _share(is_right(one, answers.get(one.name)) for one in questions if one.variant == variant)
        for variant in VARIANTS[1:]
        # A file of readings may lack the controls; they are then not measured, not failed.
        if any(one.variant == variant and one.name in answers for one in questions)
    }
    if controls:
        controlled = {one.sample for one in questions if one.variant in controls}
        found["controls_upright"] = _share(
            hit for one, hit in zip(upright, right, strict=True) if one.sample in controlled
        )
    if "shuffled" in controls:
        shuffled = [one for one in questions if one.variant == "shuffled"]
        found["shuffled_explained"] = shuffled_explained(task, shuffled)
    if task == "pattern":
        named = [one for one, hit in zip(upright, right, strict=True) if hit and one.truth["kind"] != "none"]
        found["located"] = _share(_located(one, answers[one.name]) for one in named)
    rated = [
        (answers[one.name].confidence, hit)
        for one, hit in zip(upright, right, strict=True)
        if one.name in answers and answers[one.name].confidence is not None
    ]
    if rated:
        said, hits = [float(value or 0.0) for value, _ in rated], [hit for _, hit in rated]
        found["calibration"] = calibration(said, hits)
        if calibrator is not None:
            found["calibrated"] = calibration([calibrator(value) for value in said], hits)
    return TaskScore(
        task=task,
        origin=TASKS[task].origin,
        from_future=TASKS[task].from_future,
        valid=_share(value_of(one, answers.get(one.name)) is not None for one in upright),
        accuracy=_share(right),
        controls=controls,
        **found,
    )


def value_of(asked: Asked, reading: Reading | None) -> Mapping[str, Any] | None:
    """Return the answer of a reading; None where there is none of the task's schema."""
    if reading is None or not reading.answer or why_refused(reading.answer, asked.answer_schema):
        return None
    value: Mapping[str, Any] = msgspec.json.decode(reading.answer)
    return value


def is_right(asked: Asked, reading: Reading | None) -> bool:
    """Tell whether a reading answers a question rightly.

    Classes must be equal (of `pattern` the kind, of `strategy` the family, of `analysis` the bias); both
    prices of `levels` must be within a twentieth of the chart's range of the true ones.
    """
    value = value_of(asked, reading)
    if value is None:
        return False
    if asked.task == "levels":
        near = TOUCH_SHARE * _height(asked.bars)
        return all(abs(value[name] - asked.truth[name]) <= near for name in ("support", "resistance"))
    task = TASKS[asked.task]
    return task.choice(value) == task.choice(asked.truth)


def fit_calibrators(asked: Sequence[Asked], readings: Iterable[Reading]) -> dict[str, Calibrator]:
    """Return a calibrator per task, from upright charts of the validation split.

    A task of which fewer than `FEWEST_ANSWERS` readings say how sure they are has none.
    """
    answers = {one.name: one for one in readings}
    rated: dict[str, list[tuple[float, bool]]] = {}
    for one in asked:
        reading = answers.get(one.name)
        if one.variant == "upright" and reading is not None and reading.confidence is not None:
            rated.setdefault(one.task, []).append((reading.confidence, is_right(one, reading)))
    return {
        task: fit_calibrator([value for value, _ in pairs], [hit for _, hit in pairs])
        for task, pairs in rated.items()
        if len(pairs) >= FEWEST_ANSWERS
    }


def compare_readings(
    asked: Sequence[Asked], first: Iterable[Reading], second: Iterable[Reading], *, seed: int = 1
) -> dict[str, PairedShares]:
    """Compare two readers on the same upright charts.

    Parameters
    ----------
    asked : sequence of Asked
        The questions.
    first, second : iterable of Reading
        Their answers; only tasks that both answer are compared, and in these a missing answer is wrong.
    seed : int
        Of the intervals.

    Returns
    -------
    dict of str to PairedShares
        By task; over all of these ``"all"``.

    Raises
    ------
    DataError
        If they have no task in common.
    """
    one, other = ({reading.name: reading for reading in readings} for readings in (first, second))
    upright = [question for question in asked if question.variant == "upright"]
    tasks = [
        task
        for task in dict.fromkeys(question.task for question in upright)
        if all(
            any(question.name in answers for question in upright if question.task == task)
            for answers in (one, other)
        )
    ]
    if not tasks:
        msg = "Two readers must answer a task in common to be compared, but they do not. Read the same split."
        raise DataError(msg)
    found = {}
    for name in (*tasks, "all"):
        questions = [
            question for question in upright if question.task in (tasks if name == "all" else [name])
        ]
        found[name] = compare_paired(
            [is_right(question, one.get(question.name)) for question in questions],
            [is_right(question, other.get(question.name)) for question in questions],
            [question.sample for question in questions],
            seed=seed,
        )
    return found


def _located(asked: Asked, reading: Reading) -> bool:
    value = value_of(asked, reading) or asked.truth
    first, last = int(value["first_bar"]), int(value["last_bar"])
    true_first, true_last = int(asked.truth["first_bar"]), int(asked.truth["last_bar"])
    shared = min(last, true_last) - max(first, true_first) + 1
    union = max(last, true_last) - min(first, true_first) + 1
    return first <= last and shared >= LEAST_OVERLAP * union


def _height(bars: BarArrays) -> float:
    return float(bars.high.max() - bars.low.min())


def _share(values: Iterable[bool]) -> Share:
    found = [bool(value) for value in values]
    return wilson(sum(found), len(found))
