"""Two readers on the same charts: is one better, and by how much.  Owns the formulas only.

Pairing matters: charts differ far more than readers do, and both saw the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from aiopt.errors import MetricInputError


class PairedShares(msgspec.Struct, frozen=True, kw_only=True):
    """The difference of two readers' accuracies over the same questions.

    Attributes
    ----------
    questions, charts : int
        What both were asked.
    first, second : float
        Their accuracies.
    difference : float
        First minus second.
    low, high : float
        95 % interval of the difference: percentiles over charts drawn again with all their questions.
    only_first, only_second : int
        Questions that one of them alone had right.
    p_value : float
        Exact two-sided McNemar test of these two counts, which takes questions as independent; where charts
        have several questions, the interval is the one to believe.
    """

    questions: int
    charts: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float

    @property
    def verdict(self) -> str:
        """``"first"`` or ``"second"`` where the interval leaves zero on one side, else ``"open"``."""
        return "first" if self.low > 0 else "second" if self.high < 0 else "open"


def compare_paired(
    first: Sequence[bool],
    second: Sequence[bool],
    charts: Sequence[str],
    *,
    seed: int,
    n_resamples: int = 4_000,
) -> PairedShares:
    """Compare two readers.

    Parameters
    ----------
    first, second : sequence of bool
        Whether each was right, by question.
    charts : sequence of str
        The chart of each question: all questions of a chart are drawn together.
    seed : int
        Of the resamples: same seed, same interval.
    n_resamples : int
        How many.

    Raises
    ------
    MetricInputError
        If the lengths differ, there is no question, or fewer than 100 resamples are asked for.
    """
    if not len(first) == len(second) == len(charts):
        msg = f"Readers must be compared on the same questions, but got {len(first)}, {len(second)} answers"
        raise MetricInputError(f"{msg} for {len(charts)} questions. Give one of each.")
    if not charts:
        raise MetricInputError("Readers must be compared on at least one question, but got none. Give some.")
    if n_resamples < 100:
        msg = f"`n_resamples >= 100` must hold for an interval, but got {n_resamples}. Draw more."
        raise MetricInputError(msg)
    gain = np.asarray(first, np.int64) - np.asarray(second, np.int64)
    _, chart = np.unique(np.asarray(charts, dtype=np.str_), return_inverse=True)
    count = int(chart.max()) + 1
    gains = np.bincount(chart, weights=gain, minlength=count)
    sizes = np.bincount(chart, minlength=count).astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn = np.empty(n_resamples)
    for i in range(n_resamples):
        picked = rng.integers(count, size=count)
        drawn[i] = gains[picked].sum() / sizes[picked].sum()
    low, high = (float(value) for value in np.quantile(drawn, [0.025, 0.975]))
    only_first, only_second = int((gain > 0).sum()), int((gain < 0).sum())
    return PairedShares(
        questions=len(charts),
        charts=count,
        first=float(np.mean(first)),
        second=float(np.mean(second)),
        difference=float(gain.mean()),
        low=low,
        high=high,
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: discordant pairs as a binomial at one half."""
    total, least = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) - total * math.log(2)
        for k in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))
