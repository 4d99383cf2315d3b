"""Scoring a reader of charts against known truth, with controls.  Owns what is measured; asks nobody.

What is scored is *reading*: whether the answer says what is in the chart.  Whether reading pays is another
question, which only out-of-sample trading answers.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from aiopt.analyst.analysis import BIASES, Analysis, AnalysisRequest, AnalysisResult, Bias
from aiopt.analyst.rules_calibration import calibrated_confidence
from aiopt.analyst.scoring import Calibration, Share, calibration, wilson

Reader = Callable[[AnalysisRequest], Awaitable[AnalysisResult]]
Variant = Literal["upright", "mirrored", "shuffled", "blank"]

HORIZON = 30
"""Bars after a reading over which the price is looked at."""

VARIANTS: tuple[Variant, ...] = ("upright", "mirrored", "shuffled", "blank")

MIRROR_BIAS: dict[str, Bias] = {"long": "short", "short": "long", "neutral": "neutral"}


@dataclass(frozen=True, eq=False, kw_only=True)
class EvalCase:
    """One chart with its truth.

    Attributes
    ----------
    request : AnalysisRequest
        What the reader gets.
    variant : {"upright", "mirrored", "shuffled", "blank"}
        A chart, or one of its controls.
    number : int
        The same for a chart and its controls.
    kind : str
        Pattern that is in it; ``"none"`` for none.
    bias : {"long", "short", "neutral"}
        Side that stands for.
    first_bar, last_bar : int
        Where it is.
    move : float
        Change of the price over the `HORIZON` bars after those that are read; 0 where there are none.
    """

    request: AnalysisRequest
    variant: Variant
    number: int
    kind: str
    bias: Bias
    first_bar: int
    last_bar: int
    move: float = 0.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader said of one case.

    `valid` is False where the rules had to answer for a model; `followed` tells whether the price then went
    the way of the bias, None where there is no bias or no later price.
    """

    variant: Variant
    number: int
    kind: str
    truth: Bias
    valid: bool
    bias: Bias
    confidence: float
    stated: float
    named: bool
    patterns: int
    followed: bool | None = None
    error: str = ""


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """How well one reader reads.

    Attributes
    ----------
    reader : str
        Who.
    valid : Share
        Answers that were valid at all; an invalid one counts as wrong everywhere below.
    bias : Share
        Upright charts whose bias was right.
    named : Share
        Upright charts with a pattern whose pattern was named, at bars that overlap it.
    named_by_chance : float or None
        Share that would be named if each reading were held against the truth of another chart.
    patterns_per_chart : float
        Patterns named per upright chart: who names many hits more.
    mirror : Share
        Mirrored charts whose bias was the mirror image of the upright chart's.
    shuffled : Share
        Shuffled charts on which the bias was still "right": chance, if the reader reads the pattern.
    blank_neutral : Share
        Blank charts called neutral.
    blank_patterns : float
        Patterns named per blank chart.
    long_share : Share
        Long among all long and short answers on upright and mirrored charts, where truth is even.
    calibration : Calibration
        Of the combined confidence, upright charts.
    stated_calibration : Calibration
        Of what the reader said of itself.
    confusion : dict
        Truth, then answer, to counts; upright charts, ``"invalid"`` included.
    kinds : dict
        Per kind of pattern, how often it was named.
    followed : Share
        Readings with a side, of upright charts, after which the price went that way within `HORIZON` bars.
        None of it is known for generated charts.
    circular : bool
        Whether truth comes from what the reader itself reads with: `bias`, `named`, `confusion`, `kinds` and
        calibration then say nothing.
    errors : dict of str to int
        The most frequent reasons of invalid answers.
    calibrated : Calibration or None
        Of the combined confidence after `aiopt.analyst.rules_calibration`; None for models, whose map comes
        with their checkpoint.
    """

    reader: str
    valid: Share
    bias: Share
    named: Share
    named_by_chance: float | None
    patterns_per_chart: float
    mirror: Share
    shuffled: Share
    blank_neutral: Share
    blank_patterns: float
    long_share: Share
    calibration: Calibration
    stated_calibration: Calibration
    confusion: dict[str, dict[str, int]]
    kinds: dict[str, Share]
    followed: Share
    circular: bool = False
    errors: dict[str, int] = {}
    calibrated: Calibration | None = None


async def ask_all(
    cases: Sequence[EvalCase],
    reader: Reader,
    *,
    model: bool,
    concurrency: int = 8,
    progress: Callable[[float], None] | None = None,
) -> tuple[list[Answer], list[Analysis]]:
    """Have a reader read every case.

    Parameters
    ----------
    cases : sequence of EvalCase
        What to read.
    reader : callable
        Who reads.
    model : bool
        Whether a model is judged, whose fallback to the rules is no valid answer of its own.
    concurrency : int
        Charts read at once.
    progress : callable, optional
        Called with the charts read.

    Returns
    -------
    tuple
        Answers and readings, in the order of `cases`.
    """
    gate = asyncio.Semaphore(concurrency)
    done = 0

    async def ask(case: EvalCase) -> tuple[Answer, Analysis]:
        nonlocal done
        async with gate:
            analysis = (await reader(case.request)).analysis
        done += 1
        if progress is not None:
            progress(done)
        valid = not model or analysis.source == "model"
        return _answer(case, analysis, valid), analysis

    pairs = await asyncio.gather(*(ask(case) for case in cases))
    return [answer for answer, _ in pairs], [analysis for _, analysis in pairs]


def _answer(case: EvalCase, analysis: Analysis, valid: bool) -> Answer:
    return Answer(
        variant=case.variant,
        number=case.number,
        kind=case.kind,
        truth=case.bias,
        valid=valid,
        bias=analysis.bias,
        confidence=analysis.confidence,
        stated=analysis.confidence_parts.stated,
        named=valid and names(analysis, case),
        patterns=len(analysis.patterns) if valid else 0,
        followed=_followed(analysis.bias, case.move) if valid else None,
        error=analysis.fallback_reason,
    )


def names(analysis: Analysis, case: EvalCase) -> bool:
    """Tell whether a reading names a case's pattern with bars that overlap it."""
    return any(
        pattern.kind == case.kind
        and pattern.first_bar <= case.last_bar
        and case.first_bar <= pattern.last_bar
        for pattern in analysis.patterns
    )


def score(
    reader: str,
    cases: Sequence[EvalCase],
    answers: Sequence[Answer],
    readings: Sequence[Analysis],
    *,
    seed: int,
    circular: bool = False,
) -> Scores:
    """Return how well a reader read.

    Parameters
    ----------
    reader : str
        Name for the report.
    cases, answers, readings : sequence
        As `ask_all` takes and returns them.
    seed : int
        Of the pairing behind `Scores.named_by_chance`.
    circular : bool
        Whether the truth was made with what the reader reads with.
    """
    groups: dict[str, list[Answer]] = {variant: [] for variant in VARIANTS}
    for answer in answers:
        groups[answer.variant].append(answer)
    upright, blank = groups["upright"], groups["blank"]
    by_number = {answer.number: answer for answer in upright}
    mirror = [
        answer.valid
        and by_number[answer.number].valid
        and answer.bias == MIRROR_BIAS[by_number[answer.number].bias]
        for answer in groups["mirrored"]
    ]
    sided = [a for a in [*upright, *groups["mirrored"]] if a.valid and a.bias != "neutral"]
    confusion = {truth: Counter[str]() for truth in BIASES}
    for answer in upright:
        confusion[answer.truth][answer.bias if answer.valid else "invalid"] += 1
    with_pattern = [answer for answer in upright if answer.kind != "none"]
    rated = [answer for answer in upright if answer.valid]
    right = [_right(answer) for answer in rated]
    return Scores(
        reader=reader,
        valid=_share(answer.valid for answer in answers),
        bias=_share(_right(answer) for answer in upright),
        named=_share(answer.named for answer in with_pattern),
        named_by_chance=_named_by_chance(cases, answers, readings, seed),
        patterns_per_chart=_mean(answer.patterns for answer in upright),
        mirror=_share(mirror),
        shuffled=_share(_right(answer) for answer in groups["shuffled"]),
        blank_neutral=_share(answer.valid and answer.bias == "neutral" for answer in blank),
        blank_patterns=_mean(answer.patterns for answer in blank),
        long_share=_share(answer.bias == "long" for answer in sided),
        calibration=calibration([answer.confidence for answer in rated], right),
        stated_calibration=calibration([answer.stated for answer in rated], right),
        confusion={truth: dict(counts) for truth, counts in confusion.items()},
        kinds={
            kind: _share(answer.named for answer in with_pattern if answer.kind == kind)
            for kind in dict.fromkeys(answer.kind for answer in with_pattern)
        },
        followed=_share(answer.followed for answer in upright if answer.followed is not None),
        circular=circular,
        errors=dict(Counter(answer.error for answer in answers if not answer.valid).most_common(5)),
        calibrated=_calibrated(answers, readings),
    )


def _calibrated(answers: Sequence[Answer], readings: Sequence[Analysis]) -> Calibration | None:
    """Return the calibration of mapped confidences; None where a reading has no map."""
    pairs = [
        (calibrated_confidence(reading), _right(answer))
        for answer, reading in zip(answers, readings, strict=True)
        if answer.variant == "upright" and answer.valid
    ]
    known = [(value, hit) for value, hit in pairs if value is not None]
    if not known or len(known) != len(pairs):
        return None
    return calibration([value for value, _ in known], [hit for _, hit in known])


def baselines(cases: Sequence[EvalCase]) -> dict[str, float]:
    """Return the accuracy of guessing: evenly at random, and always the most frequent bias."""
    counts = Counter(case.bias for case in cases if case.variant == "upright")
    total = sum(counts.values())
    return {"chance": 1 / len(BIASES), "majority": max(counts.values()) / total if total else 0.0}


def _named_by_chance(
    cases: Sequence[EvalCase], answers: Sequence[Answer], readings: Sequence[Analysis], seed: int
) -> float | None:
    """Return how often a pattern is named by the reading of a chart that holds another kind."""
    pool = [
        (case, answer.valid, reading)
        for case, answer, reading in zip(cases, answers, readings, strict=True)
        if case.variant == "upright" and case.kind != "none"
    ]
    rng = random.Random(seed)
    hits = total = 0
    for case, _, _ in pool:
        others = [one for one in pool if one[0].kind != case.kind]
        for _, valid, reading in rng.sample(others, min(20, len(others))):
            total += 1
            hits += valid and names(reading, case)
    return hits / total if total else None


def _followed(bias: Bias, move: float) -> bool | None:
    return None if bias == "neutral" or move == 0.0 else (move > 0) == (bias == "long")


def _right(answer: Answer) -> bool:
    return answer.valid and answer.bias == answer.truth


def _share(values: Iterable[bool]) -> Share:
    found = [bool(value) for value in values]
    return wilson(sum(found), len(found))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
