"""Paired comparison: by brute force, with its promise of coverage, and blind to what both share."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from aiopt.analyst.pairing import compare_paired, mcnemar
from aiopt.errors import MetricInputError


def test_the_exact_test_is_that_of_scipy_and_of_binomials() -> None:
    for one, other in ((0, 0), (3, 9), (10, 10), (0, 6), (40, 80)):
        expected = 1.0 if one + other == 0 else binomtest(one, one + other).pvalue
        assert mcnemar(one, other) == pytest.approx(expected)
    assert mcnemar(1, 5) == pytest.approx(2 * (comb(6, 0) + comb(6, 1)) / 2**6)


def test_counts_and_difference() -> None:
    found = compare_paired(
        [True, True, False, True], [True, False, False, False], ["a", "b", "c", "d"], seed=1
    )
    assert (found.first, found.second, found.difference) == (0.75, 0.25, 0.5)
    assert (found.only_first, found.only_second, found.questions, found.charts) == (2, 0, 4, 4)
    assert found == compare_paired(
        [True, True, False, True], [True, False, False, False], ["a", "b", "c", "d"], seed=1
    )


def draw(rng: np.random.Generator, gain: float, tasks: int) -> tuple[list[bool], list[bool], list[str]]:
    """Return 150 charts whose difficulty both readers and all tasks of a chart share."""
    hard = np.repeat(rng.uniform(0.2, 0.9, 150), tasks)
    luck = rng.random(hard.size)
    first = luck < hard + gain
    second = np.where(rng.random(hard.size) < 0.8, luck < hard, rng.random(hard.size) < hard)
    return first.tolist(), second.tolist(), np.repeat(np.arange(150), tasks).astype(str).tolist()


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    held = [
        found.low <= 0.05 <= found.high
        for _ in range(120)
        for found in [compare_paired(*draw(rng, 0.05, 3), seed=1, n_resamples=300)]
    ]
    assert 0.88 <= np.mean(held) <= 0.99


def test_a_better_reader_is_told_and_equal_ones_are_left_open() -> None:
    rng = np.random.default_rng(6)
    assert compare_paired(*draw(rng, 0.25, 3), seed=1).verdict == "first"
    first, second, charts = draw(rng, 0.25, 3)
    assert compare_paired(second, first, charts, seed=1).verdict == "second"
    assert compare_paired(first, first, charts, seed=1).verdict == "open"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([True], [], ["a"]), "got 1, 0 answers for 1 questions"),
        (([], [], []), "at least one question"),
    ],
)
def test_bad_input(arguments: tuple, message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        compare_paired(*arguments, seed=1)
    with pytest.raises(MetricInputError, match="n_resamples >= 100"):
        compare_paired([True], [True], ["a"], seed=1, n_resamples=5)
