"""Statistics of right and wrong answers: intervals, calibration, confusion.  Owns the formulas only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from aiopt.errors import MetricInputError

Z_95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


class Share(msgspec.Struct, frozen=True):
    """A share of successes with its 95 % Wilson interval.

    Attributes
    ----------
    successes, n : int
        Counts.
    value : float or None
        Their quotient; None if `n` is 0.
    low, high : float
        Ends of the interval; 0 and 1 if `n` is 0.
    """

    successes: int
    n: int
    value: float | None
    low: float
    high: float


class Bin(msgspec.Struct, frozen=True):
    """Answers of similar confidence: `low` up to `high` (excluded, but for the last)."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


class Calibration(msgspec.Struct, frozen=True):
    """How far confidence tells how often answers are right.

    Attributes
    ----------
    n : int
        Answers.
    bins : tuple of Bin
        Of equal width.
    ece : float or None
        Expected calibration error: the bins' distances of accuracy and confidence, weighted by answers.
    brier : float or None
        Mean of ``(confidence - right)²``; 0.25 for a constant 0.5.
    brier_base : float or None
        Brier score of always saying the overall accuracy: what confidence must beat to tell anything.
    """

    n: int
    bins: tuple[Bin, ...]
    ece: float | None
    brier: float | None
    brier_base: float | None


def wilson(successes: int, n: int) -> Share:
    """Return a share with its 95 % Wilson score interval (Wilson 1927).

    Raises
    ------
    MetricInputError
        Unless ``0 <= successes <= n``.
    """
    if not 0 <= successes <= n:
        msg = f"`0 <= successes <= n` must hold, but got successes={successes}, n={n}."
        raise MetricInputError(msg)
    if n == 0:
        return Share(0, 0, None, 0.0, 1.0)
    p, z2 = successes / n, Z_95 * Z_95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # The ends are 0 and 1 exactly there; rounding would miss them by an ulp.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Share(successes, n, p, low, high)


def calibration(confidences: Sequence[float], right: Sequence[bool], *, bins: int = 5) -> Calibration:
    """Return reliability table, expected calibration error and Brier score.

    Parameters
    ----------
    confidences : sequence of float
        In [0, 1].
    right : sequence of bool
        Of the same length.
    bins : int
        Number of bins of equal width.

    Raises
    ------
    MetricInputError
        If the lengths differ or a confidence is out of range.
    """
    if len(confidences) != len(right):
        msg = f"Confidences and outcomes must pair up, but got {len(confidences)} and {len(right)}."
        raise MetricInputError(msg)
    if not all(0 <= value <= 1 for value in confidences):
        raise MetricInputError("`0 <= confidence <= 1` must hold for all, but does not.")
    n = len(right)
    table: list[Bin] = []
    ece = 0.0
    for index in range(bins):
        members = [i for i, value in enumerate(confidences) if min(int(value * bins), bins - 1) == index]
        mean = rate = None
        if members:
            mean = sum(confidences[i] for i in members) / len(members)
            rate = sum(right[i] for i in members) / len(members)
            ece += len(members) / n * abs(mean - rate)
        table.append(Bin(index / bins, (index + 1) / bins, len(members), mean, rate))
    if n == 0:
        return Calibration(0, tuple(table), None, None, None)
    brier = sum((value - hit) ** 2 for value, hit in zip(confidences, right, strict=True)) / n
    base = sum(right) / n
    return Calibration(n, tuple(table), ece, brier, base * (1 - base))
