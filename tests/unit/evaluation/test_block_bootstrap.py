"""Resampling many paths in the same blocks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from aiopt.errors import MetricInputError
from aiopt.evaluation.block_bootstrap import (
    draw_blocks,
    mean_errors,
    politis_white_length,
    ratio_influence,
    resample_means,
    resample_ratios,
)


def autoregressive(rng: np.random.Generator, n: int, carry: float) -> np.ndarray:
    shocks = rng.normal(size=n)
    for i in range(1, n):
        shocks[i] += carry * shocks[i - 1]
    return shocks


def test_blocks_begin_anywhere_and_have_the_length_asked_for() -> None:
    parts = list(draw_blocks(200, 400, block_length=8.0, seed=0))
    fresh = np.concatenate([one for one, _ in parts])
    starts = np.concatenate([one for _, one in parts])
    assert fresh.shape == starts.shape == (400, 200)
    assert fresh[:, 0].all()
    assert fresh[:, 1:].mean() == pytest.approx(1 / 8, rel=0.03)
    assert starts.min() >= 0
    assert starts.max() < 200
    counts = np.bincount(starts[fresh], minlength=200)
    assert counts.min() > 0.4 * counts.mean()


def test_ratios_equal_those_of_the_resampled_series() -> None:
    values = np.random.default_rng(4).standard_t(4, 41) * 300 + 30
    got = resample_ratios(values, n_resamples=15, block_length=3.0, seed=8)
    ((fresh, starts),) = draw_blocks(41, 15, block_length=3.0, seed=8)
    for row in range(15):
        begins = [*np.flatnonzero(fresh[row]), 41]
        blocks = [values[(starts[row, a] + np.arange(b - a)) % 41] for a, b in itertools.pairwise(begins)]
        series = np.concatenate(blocks)
        influence = np.split(ratio_influence(series), begins[1:-1])
        assert got.means[row] == pytest.approx(series.mean())
        assert got.ratios[row] == pytest.approx(series.mean() / series.std(ddof=1))
        assert got.mean_errors[row] == pytest.approx(
            math.sqrt(sum((block - series.mean()).sum() ** 2 for block in blocks)) / 41
        )
        assert got.ratio_errors[row] == pytest.approx(math.sqrt(sum(p.sum() ** 2 for p in influence)) / 41)


def test_moments_equal_those_of_the_resampled_series() -> None:
    paths = np.random.default_rng(0).normal(1, 2, (37, 3))
    got = resample_means(paths, n_resamples=20, block_length=4.0, seed=3)
    ((fresh, starts),) = draw_blocks(37, 20, block_length=4.0, seed=3)
    for row in range(20):
        begins = np.flatnonzero(fresh[row])
        blocks = [
            paths[(starts[row, a] + np.arange(b - a)) % 37]
            for a, b in zip(begins, [*begins[1:], 37], strict=True)
        ]
        series = np.vstack(blocks)
        mean = series.mean(axis=0)
        sums = np.array([(block - mean).sum(axis=0) for block in blocks])
        assert got.means[row] == pytest.approx(mean - paths.mean(axis=0))
        assert got.errors[row] == pytest.approx(np.sqrt((sums**2).sum(axis=0)) / 37)


def test_errors_are_what_resampling_gives() -> None:
    rng = np.random.default_rng(1)
    paths = np.column_stack([autoregressive(rng, 200, carry) for carry in (0.0, 0.5, -0.4)])
    exact = mean_errors(paths, block_length=6.0)
    drawn = resample_means(paths, n_resamples=8000, block_length=6.0, seed=1).means.std(axis=0)
    assert drawn == pytest.approx(exact, rel=0.03)
    assert mean_errors(paths, block_length=1.0) == pytest.approx(paths.std(axis=0) / math.sqrt(200))
    assert mean_errors(np.full((9, 2), 0.1), block_length=2.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("carry", [0.0, 0.3, 0.8])
def test_the_block_length_agrees_with_arch(carry: float) -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    rng = np.random.default_rng(int(10 * carry))
    ours, theirs = [], []
    for _ in range(30):
        series = autoregressive(rng, 500, carry)
        ours.append(politis_white_length(series))
        theirs.append(max(1.0, bootstrap.optimal_block_length(series)["stationary"].iloc[0]))
    # arch begins to look for the first insignificant lag at lag 0, the paper after it: one lag less here.
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.35)


def test_a_flat_or_short_series_has_blocks_of_one() -> None:
    assert politis_white_length(np.ones(50)) == 1.0
    assert politis_white_length([1.0, 2.0, 1.0]) == 1.0


def test_bad_lengths_are_refused() -> None:
    with pytest.raises(MetricInputError, match="block_length >= 1"):
        mean_errors(np.ones((5, 1)), block_length=0.0)
    with pytest.raises(MetricInputError, match="n_resamples >= 1"):
        resample_means(np.ones((5, 1)), n_resamples=0, block_length=1.0, seed=0)
