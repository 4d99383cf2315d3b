"""Whether the best of several paths is more than the best of as many paths without an edge.

Owns three tests of profits over the same periods, all on the same stationary-bootstrap resamples:

- **max-T with step-down** (Romano and Wolf, "Stepwise Multiple Testing as Formalized Data Snooping",
  Econometrica 73(4), 2005; p-values as in "Efficient computation of adjusted p-values for resampling-based
  stepdown multiple testing", Statistics and Probability Letters 113, 2016): an adjusted p-value per path; the
  chance that *any* path without an edge gets one of at most 5% is at most 5%, whatever the correlations;
- **Reality Check** (White, "A Reality Check for Data Snooping", Econometrica 68(5), 2000): one p-value for
  the best mean, in money;
- **SPA** (Hansen, "A Test for Superior Predictive Ability", Journal of Business and Economic Statistics
  23(4), 2005): one p-value for the best t statistic, where paths that lose plainly count less.

The t statistics are studentised anew in every resample: paths that trade rarely or win small and lose large
have skewed means, and the normal distribution says "luck" too seldom of them.  They are balanced (Romano and
Wolf, "Balanced control of generalized error rates", Annals of Statistics 38(1), 2010): divided by the
heaviness of each path's own tail, so that one such path does not set the bar for all.  Knows nothing of
strategies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from aiopt.evaluation.arrays import FloatArray, finite_matrix, require
from aiopt.evaluation.block_bootstrap import (
    ResampledMeans,
    mean_errors,
    politis_white_length,
    resample_means,
)

LEAST_PERIODS = 20
"""Of fewer periods nothing is said: a resample of them has too few blocks."""

_TAIL = 0.95
"""Where the tails of paths are compared."""

_NAN = float("nan")


class EarlierTests(NamedTuple):
    """What was tested on the same data before, with paths that are not at hand: taken as independent.

    Attributes
    ----------
    families : int
        Of as many paths as are compared now.
    singles : int
        Of one path each.
    """

    families: int = 0
    singles: int = 0


NO_EARLIER = EarlierTests()


@dataclass(frozen=True)
class ManyPaths:
    """Result of `compare_paths`.

    Attributes
    ----------
    t_statistics : ndarray of shape (n_paths,)
        Mean over its standard error; NaN where a path does not vary.
    p_values : ndarray of shape (n_paths,)
        Max-T, adjusted for all paths by step-down; 1 where a path does not vary; NaN of a path that was only
        compared with, and throughout where there are too few periods.
    critical_t : float
        The t statistic that the best path needs if its tails are no heavier than normal: the `level`
        quantile of the best of all paths without an edge.  NaN as `spa`.
    reality_check, spa : float
        One p-value for all paths together; NaN where nothing varies or there are too few periods.
    block_length : float
        Expected block length used, in periods.
    n_periods : int
        Periods resampled.
    n_resamples, seed : int
        As given.
    """

    t_statistics: FloatArray
    p_values: FloatArray
    critical_t: float
    reality_check: float
    spa: float
    block_length: float
    n_periods: int
    n_resamples: int
    seed: int


def compare_paths(
    paths: npt.ArrayLike,
    *,
    seed: int,
    tested: Sequence[bool] | None = None,
    n_resamples: int = 1000,
    block_length: float | None = None,
    level: float = 0.95,
    earlier: EarlierTests = NO_EARLIER,
) -> ManyPaths:
    """Test all paths together against the hypothesis that none earns anything.

    Parameters
    ----------
    paths : array_like of shape (n_periods, n_paths)
        Profit per period, over the same periods.  All paths among which the best was looked for, bad ones and
        copies too.
    seed : int
        Same seed, same p-values.
    tested : sequence of bool, optional
        False for paths that nothing is claimed of (too few trades): they stay among those the best was looked
        for, at every step, and get no p-value.
    n_resamples : int
        At least 100.  No p-value is below ``1 / (n_resamples + 1)``.
    block_length : float, optional
        Expected length of a block in periods; by default `common_block_length`.
    level : float
        In (0, 1); of `ManyPaths.critical_t`.
    earlier : EarlierTests
        P-values of paths and the critical t are adjusted for it (Šidák): ``1 - (1 - p)^(1 + families)
        (1 - q)^singles`` with the p-value ``q`` of the path had it been the only one.

    Raises
    ------
    MetricInputError
        If `paths` is not a finite matrix or an argument is out of range.
    """
    values = finite_matrix(paths, "paths")
    require(n_resamples >= 100, "n_resamples >= 100", f"n_resamples={n_resamples}", "Use 1000.")
    n_periods, n_paths = values.shape
    length = common_block_length(values) if block_length is None else block_length
    errors = mean_errors(values, block_length=length)
    varies = errors > 0
    asked = varies if tested is None else varies & np.asarray(tested, dtype=np.bool_)
    statistics = np.full(n_paths, _NAN)
    if varies.any():
        statistics[varies] = values[:, varies].mean(axis=0) / errors[varies]
    p_values = np.ones(n_paths)
    if tested is not None:
        p_values[~np.asarray(tested, dtype=np.bool_)] = _NAN
    critical, reality, spa = _NAN, _NAN, _NAN
    if n_periods < LEAST_PERIODS:
        p_values[:] = _NAN
    elif asked.any():
        active, claims = values[:, varies], asked[varies]
        resampled = resample_means(active, n_resamples=n_resamples, block_length=length, seed=seed)
        tails, studentised = _balanced(_studentised(resampled))
        observed = statistics[asked] / tails[claims]
        adjusted = step_down(observed, studentised[:, claims], beside=studentised[:, ~claims])
        alone = ((studentised[:, claims] >= observed).sum(axis=0) + 1) / (n_resamples + 1)
        p_values[asked] = _with_earlier(adjusted, alone, earlier)
        critical = _critical(studentised.max(axis=1), level, earlier)
        means = active.mean(axis=0)
        reality = _share_above(float(means[claims].max()), resampled.means.max(axis=1))
        spa = _superior_ability(means, errors[varies], claims, resampled, n_periods)
    return ManyPaths(
        t_statistics=statistics,
        p_values=p_values,
        critical_t=critical,
        reality_check=reality,
        spa=spa,
        block_length=length,
        n_periods=n_periods,
        n_resamples=n_resamples,
        seed=seed,
    )


def _with_earlier(p_values: FloatArray, alone: FloatArray, earlier: EarlierTests) -> FloatArray:
    """Return p-values adjusted for independent tests before; `alone` are those of single paths."""
    if not any(earlier):
        return p_values
    most = 1 - 1e-16
    families = (1 + earlier.families) * np.log1p(-np.minimum(p_values, most))
    return -np.expm1(families + earlier.singles * np.log1p(-np.minimum(alone, most)))


def _critical(largest: FloatArray, level: float, earlier: EarlierTests) -> float:
    """Return the statistic below which the best of all paths, and of those before, stays at a level."""
    if not earlier.singles:
        return float(np.quantile(largest, level ** (1 / (1 + earlier.families)), method="higher"))
    ordered = np.sort(largest)
    below = np.arange(1, ordered.size + 1) / (ordered.size + 1)
    # The statistics are balanced: the tail of a single path is about normal.
    enough = below ** (1 + earlier.families) * ndtr(ordered) ** earlier.singles >= level
    return float(ordered[enough][0]) if enough.any() else math.inf


def common_block_length(paths: npt.ArrayLike) -> float:
    """Return one block length for several paths: the mean of their Politis-White lengths, at most ``√n``.

    The mean, because of many series without dependence a few have a long length by luck; the bound leaves a
    resample of n periods about ``√n`` blocks to choose from.
    """
    values = finite_matrix(paths, "paths")
    varying = [column for column in values.T if np.ptp(column) > 0] if len(values) else []
    if not varying:
        return 1.0
    mean = math.fsum(politis_white_length(column) for column in varying) / len(varying)
    return max(1.0, min(mean, math.sqrt(len(values))))


def step_down(
    observed: Sequence[float] | FloatArray, resampled: FloatArray, *, beside: FloatArray | None = None
) -> FloatArray:
    """Return p-values adjusted for all statistics, the largest first: Romano and Wolf's step-down.

    The p-value of the largest is the share of resamples whose largest statistic is at least as large; that
    of the second leaves the first out, and so on; none is below that of a larger statistic.

    Parameters
    ----------
    observed : array_like of shape (n,)
        Statistics that speak for a path where they are large.
    resampled : ndarray of shape (n_resamples, n)
        The same where there is nothing to find.
    beside : ndarray of shape (n_resamples, m), optional
        Of statistics that are among the largest looked for at every step.

    Returns
    -------
    ndarray of shape (n,)
        The observed statistic counts as one of its own resamples, so none is 0.
    """
    values = np.asarray(observed, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    # Column j: the largest of the j-th best and of all worse ones.
    largest = np.maximum.accumulate(resampled[:, order[::-1]], axis=1)[:, ::-1]
    if beside is not None and beside.shape[1]:
        largest = np.maximum(largest, beside.max(axis=1)[:, None])
    exceeding = (largest >= values[order][None, :]).sum(axis=0)
    adjusted = np.empty(values.size)
    adjusted[order] = np.maximum.accumulate((exceeding + 1) / (len(resampled) + 1))
    return adjusted


def _studentised(resampled: ResampledMeans) -> FloatArray:
    """Return t statistics of resamples; without an error, infinite in the direction of the mean."""
    means, errors = resampled.means, resampled.errors
    bare = np.where(means > 0, np.inf, np.where(means < 0, -np.inf, 0.0))
    return np.divide(means, errors, out=bare, where=errors > 0)


def _balanced(studentised: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how heavy the upper tail of each path is, and the statistics divided by it.

    A path with one large loss has resamples without it, and in those its t statistic is high.  Left alone it
    would set the bar for all others.  So each path is measured in its own 95% quantile, where that is above
    the normal one: 1 for paths with ordinary tails, and infinite for a path that often has no error at all.
    """
    tails = np.maximum(1.0, np.quantile(studentised, _TAIL, axis=0, method="higher") / ndtri(_TAIL))
    hopeless = np.isinf(tails)
    balanced = studentised / np.where(hopeless, 1.0, tails)
    balanced[:, hopeless] = 0.0
    return tails, balanced


def _superior_ability(
    means: FloatArray, errors: FloatArray, claims: npt.NDArray[np.bool_], resampled: ResampledMeans, n: int
) -> float:
    """Return Hansen's consistent p-value."""
    # A path this far below 0 keeps its loss in the resamples, so it can hardly be their best.
    floor = -errors * math.sqrt(2 * math.log(math.log(n)))
    centre = np.where(means < floor, means, 0.0)
    observed = max(0.0, float((means[claims] / errors[claims]).max()))
    largest = ((resampled.means + centre) / errors).max(axis=1)
    return _share_above(observed, np.maximum(largest, 0.0))


def _share_above(observed: float, resampled: FloatArray) -> float:
    return float((int((resampled >= observed).sum()) + 1) / (resampled.size + 1))
