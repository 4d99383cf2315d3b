"""Resampling several series together, in blocks: moments of each resample, and how long a block should be.

Owns the stationary bootstrap of many paths over the same periods, the rule for its block length and the
variance it gives a mean.  Knows no hypothesis: `aiopt.evaluation.bootstrap` makes intervals of one path of
it, `aiopt.evaluation.multiple_testing` tests of many.

Sources: Politis and Romano, "The Stationary Bootstrap", Journal of the American Statistical Association
89(428), 1994; Politis and White, "Automatic Block-Length Selection for the Dependent Bootstrap", Econometric
Reviews 23(1), 2004, with the correction of Patton, Politis and White, 28(4), 2009; Götze and Künsch,
"Second-order correctness of the blockwise bootstrap for stationary observations", Annals of Statistics 24(5),
1996, for the error of a resample from its own blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aiopt.compiled import compiled
from aiopt.evaluation.arrays import FloatArray, finite_matrix, finite_vector, require

CHUNK = 4_000_000
"""Random numbers drawn at once."""

_FLAT = 1e-12
"""A spread below this share of a path's largest value is rounding."""

_SIGNIFICANT = 2.0
"""An autocorrelation counts from this many of Politis and White's ``sqrt(log10(n) / n)`` on."""


@dataclass(frozen=True)
class ResampledMeans:
    """Result of `resample_means`.

    Attributes
    ----------
    means : ndarray of shape (n_resamples, n_paths)
        Mean of each resample, minus the observed mean.
    errors : ndarray of shape (n_resamples, n_paths)
        Standard error of that mean, from the resample's own blocks; 0 where all of them earned the same.
    """

    means: FloatArray
    errors: FloatArray


def resample_means(
    paths: npt.ArrayLike, *, n_resamples: int, block_length: float, seed: int
) -> ResampledMeans:
    """Resample several paths together by the stationary bootstrap: the same blocks for all.

    Parameters
    ----------
    paths : array_like of shape (n_periods, n_paths)
        Over the same periods.
    n_resamples : int
        At least 1.
    block_length : float
        Expected length of a block in periods, at least 1.
    seed : int
        Same seed, same resamples.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    values = finite_matrix(paths, "paths")
    require(n_resamples >= 1, "n_resamples >= 1", f"n_resamples={n_resamples}", "Use 1000.")
    sums = _wrapped_sums(values - values.mean(axis=0))
    means, errors = [], []
    for fresh, starts in draw_blocks(len(values), n_resamples, block_length=block_length, seed=seed):
        mean, error = _mean_and_error(sums, fresh, starts)
        means.append(mean)
        errors.append(error)
    return ResampledMeans(np.concatenate(means), np.concatenate(errors))


@dataclass(frozen=True)
class ResampledRatios:
    """Result of `resample_ratios`: mean and Sharpe ratio of each resample, with their standard errors.

    Attributes
    ----------
    means, mean_errors : ndarray of shape (n_resamples,)
        As in `ResampledMeans`, the observed mean not taken off.
    ratios, ratio_errors : ndarray of shape (n_resamples,)
        Mean over sample standard deviation, per period; NaN where a resample does not vary.
    """

    means: FloatArray
    mean_errors: FloatArray
    ratios: FloatArray
    ratio_errors: FloatArray


def resample_ratios(
    values: npt.ArrayLike, *, n_resamples: int, block_length: float, seed: int
) -> ResampledRatios:
    """Resample one path by the stationary bootstrap, with the errors of each resample from its own blocks.

    Parameters
    ----------
    values : array_like of shape (n_periods,)
        Profit per period; must vary.
    n_resamples, block_length, seed
        As in `resample_means`.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    series = finite_vector(values, "values")
    scale = float(np.abs(series).max())
    scaled = (series / scale)[:, None]
    sums, squares = _wrapped_sums(scaled)[:, 0], _wrapped_sums(scaled**2)[:, 0]
    parts = [
        _ratio_and_error(sums, squares, fresh, starts)
        for fresh, starts in draw_blocks(series.size, n_resamples, block_length=block_length, seed=seed)
    ]
    means, mean_errors_, ratios, ratio_errors = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    return ResampledRatios(means * scale, mean_errors_ * scale, ratios, ratio_errors)


def ratio_influence(values: npt.ArrayLike) -> FloatArray:
    """Return what each period adds to the error of the Sharpe ratio: its mean has the ratio's error.

    ``z - SR (z² - 1) / 2`` with ``z`` the standardised profit (Lo, "The Statistics of Sharpe Ratios",
    Financial Analysts Journal 58(4), 2002).

    Parameters
    ----------
    values : array_like of shape (n_periods,)
        Profit per period; must vary.
    """
    series = finite_vector(values, "values")
    mean, deviation = series.mean(), series.std()
    z = (series - mean) / deviation
    influence: FloatArray = z - mean / deviation / 2 * (z**2 - 1)
    return influence


def draw_blocks(
    n_periods: int, n_resamples: int, *, block_length: float, seed: int
) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]]:
    """Yield where blocks begin, and where in the series each begins, for some resamples at a time.

    Yields
    ------
    ndarray of shape (rows, n_periods), bool
        Whether a block begins at this place of the resample; always true at the first.
    ndarray of shape (rows, n_periods), int64
        The period a block that begins here starts with; blocks wrap round the end.
    """
    require(n_periods >= 1, "n_periods >= 1", f"n_periods={n_periods}", "Pass a longer series.")
    require(block_length >= 1, "block_length >= 1", f"block_length={block_length}", "A block has one period.")
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // n_periods)
    for first in range(0, n_resamples, step):
        rows = min(step, n_resamples - first)
        fresh = rng.random((rows, n_periods)) < 1 / block_length
        fresh[:, 0] = True
        yield fresh, rng.integers(0, n_periods, size=(rows, n_periods))


def mean_errors(paths: npt.ArrayLike, *, block_length: float) -> FloatArray:
    """Return the standard error of the mean of each path as the stationary bootstrap has it, exactly.

    ``sqrt((g0 + 2 Σ ((1 − i/n) q^i + (i/n) q^(n−i)) gi) / n)`` with autocovariances ``gi`` and
    ``q = 1 − 1/block_length``: what resampling infinitely often would give.

    Parameters
    ----------
    paths : array_like of shape (n_periods, n_paths)
        Profit per period.
    block_length : float
        Expected length of a block in periods, at least 1.

    Returns
    -------
    ndarray of shape (n_paths,)
        0 where a path does not vary.
    """
    values = finite_matrix(paths, "paths")
    require(block_length >= 1, "block_length >= 1", f"block_length={block_length}", "A block has one period.")
    n = len(values)
    if n < 2:
        return np.zeros(values.shape[1])
    centred = values - values.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    keep = 1 - 1 / block_length
    total = variance.copy()
    for lag in range(1, n):
        weight = (1 - lag / n) * keep**lag + lag / n * keep ** (n - lag)
        if weight < 1e-12 and lag < n // 2:
            continue
        if weight >= 1e-12:
            total += 2 * weight * (centred[lag:] * centred[:-lag]).sum(axis=0) / n
    flat = np.sqrt(variance) <= _FLAT * np.abs(values).max(axis=0, initial=0.0)
    # A sum of weighted autocovariances is not negative, but for rounding.
    return np.where(flat, 0.0, np.sqrt(np.maximum(total, 0.0) / n))


def politis_white_length(values: npt.ArrayLike) -> float:
    """Return the block length of the stationary bootstrap that Politis and White's rule gives a series.

    Parameters
    ----------
    values : array_like of shape (n,)
        Profit per period.

    Returns
    -------
    float
        At least 1 and at most ``min(3 √n, n / 3)``; 1 for a series that does not vary or is shorter than 8.
    """
    series = finite_vector(values, "values")
    n = series.size
    centred = series - series.mean() if n else series
    if n < 8 or not np.sqrt((centred**2).mean()) > _FLAT * np.abs(series).max():
        return 1.0
    enough = max(5, int(math.log10(n)))
    highest = min(n - 1, math.ceil(math.sqrt(n)) + enough)
    covariance = np.array(
        [float((centred[lag:] * centred[: n - lag]).sum()) / n for lag in range(highest + 1)]
    )
    bar = _SIGNIFICANT * math.sqrt(math.log10(n) / n)
    last = _last_significant(np.abs(covariance[1:] / covariance[0]) > bar, enough)
    width = min(2 * max(last, 1), highest)
    lags = np.arange(1, width + 1)
    # The flat-top window: 1 on the first half of the lags, falling to 0 on the second.
    window = np.minimum(1.0, 2 * (1 - lags / width))
    spectrum = covariance[0] + 2 * float((window * covariance[1 : width + 1]).sum())
    slope = 2 * float((window * lags * covariance[1 : width + 1]).sum())
    if not spectrum > 0:
        return 1.0
    best = float((slope**2 / spectrum**2) ** (1 / 3) * n ** (1 / 3))
    return max(1.0, min(best, 3 * math.sqrt(n), n / 3))


def _last_significant(significant: npt.NDArray[np.bool_], enough: int) -> int:
    """Return the lag after which `enough` autocorrelations in a row are not significant."""
    for lag in range(significant.size - enough + 1):
        if not significant[lag : lag + enough].any():
            return lag
    found = np.flatnonzero(significant)
    return int(found[-1]) + 1 if found.size else 0


def _wrapped_sums(values: FloatArray) -> FloatArray:
    """Return the sums up to each period of the series written twice, so that a block may wrap round."""
    sums = np.zeros((2 * len(values) + 1, values.shape[1]))
    np.cumsum(np.concatenate((values, values)), axis=0, out=sums[1:])
    return sums


@compiled
def _mean_and_error(
    sums: FloatArray, fresh: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    rows, n = fresh.shape
    paths = sums.shape[1]
    means, errors = np.empty((rows, paths)), np.empty((rows, paths))
    # Per path: the sum of the blocks' profits, of their squares, and of profit times length.
    total, squares, cross = np.empty(paths), np.empty(paths), np.empty(paths)
    for row in range(rows):
        total[:] = 0.0
        squares[:] = 0.0
        cross[:] = 0.0
        lengths = 0.0
        begin = 0
        while begin < n:
            end = begin + 1
            while end < n and not fresh[row, end]:
                end += 1
            length = end - begin
            low = starts[row, begin]
            for path in range(paths):
                earned = sums[low + length, path] - sums[low, path]
                total[path] += earned
                squares[path] += earned * earned
                cross[path] += earned * length
            lengths += length * length
            begin = end
        for path in range(paths):
            mean = total[path] / n
            spread = squares[path] - 2 * mean * cross[path] + mean * mean * lengths
            means[row, path] = mean
            # Differences of rounded squares: what is left of equal blocks is no spread.
            errors[row, path] = np.sqrt(spread) / n if spread > 1e-18 * squares[path] else 0.0
    return means, errors


@compiled
def _ratio_and_error(
    sums: FloatArray, squares: FloatArray, fresh: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    rows, n = fresh.shape
    means, errors = np.empty(rows), np.empty(rows)
    ratios, ratio_errors = np.empty(rows), np.empty(rows)
    earned, squared, lengths = np.empty(n), np.empty(n), np.empty(n)
    for row in range(rows):
        blocks, begin = 0, 0
        total, total_squared = 0.0, 0.0
        while begin < n:
            end = begin + 1
            while end < n and not fresh[row, end]:
                end += 1
            low = starts[row, begin]
            high = low + end - begin
            earned[blocks] = sums[high] - sums[low]
            squared[blocks] = squares[high] - squares[low]
            lengths[blocks] = end - begin
            total += earned[blocks]
            total_squared += squared[blocks]
            blocks += 1
            begin = end
        mean = total / n
        variance = total_squared / n - mean * mean
        spread = 0.0
        for block in range(blocks):
            spread += (earned[block] - lengths[block] * mean) ** 2
        means[row] = mean
        errors[row] = np.sqrt(spread) / n if spread > 1e-18 * total_squared else 0.0
        # Values are at most 1: what is left below this is rounding.
        if variance <= 1e-18 or n < 2:
            ratios[row], ratio_errors[row] = np.nan, np.nan
            continue
        deviation = np.sqrt(variance)
        ratio = mean / deviation
        spread = 0.0
        for block in range(blocks):
            shift = earned[block] - lengths[block] * mean
            power = squared[block] - 2 * mean * earned[block] + lengths[block] * mean * mean
            spread += (shift / deviation - ratio / 2 * (power / variance - lengths[block])) ** 2
        ratios[row] = ratio * np.sqrt((n - 1) / n)
        ratio_errors[row] = np.sqrt(spread) / n
    return means, errors, ratios, ratio_errors
