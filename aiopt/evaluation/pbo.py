"""Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

Owns the statistic only.  Source: Bailey, Borwein, López de Prado and Zhu, "The Probability of Backtest
Overfitting", Journal of Computational Finance 20(4), 2017, doi:10.21314/JCF.2016.322.

The periods are cut into S blocks.  For each of the C(S, S/2) ways to call half of the blocks in-sample, the
trial with the best in-sample Sharpe ratio is looked up in the other half.  PBO is the share of ways in which
it ends at or below the median there.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aiopt.errors import MetricInputError
from aiopt.evaluation.arrays import FloatArray, finite_matrix, require

_CHUNK = 2_000_000
"""Elements of the splits-by-trials tables computed at once."""


@dataclass(frozen=True)
class Overfitting:
    """Result of `probability_of_overfitting`.

    Attributes
    ----------
    pbo : float
        In [0, 1]; choosing blindly gives 0.5 on average.
    logits : ndarray of shape (n_splits,)
        Log odds of the chosen trial's rank out of sample; PBO is the share at or below 0.
    probability_of_loss : float
        Share of splits in which the chosen trial lost money out of sample.
    """

    pbo: float
    logits: FloatArray
    probability_of_loss: float


def probability_of_overfitting(returns: npt.ArrayLike, *, n_blocks: int = 10) -> Overfitting:
    """Return how often choosing the best trial in-sample chooses no better than the median out of sample.

    Parameters
    ----------
    returns : array_like of shape (n_periods, n_trials)
        Profit or return per period.  Finite.  A trial without variance in a half has Sharpe ratio 0 there.
    n_blocks : int
        Even, 2 to 16; blocks are as equal in length as possible.

    Returns
    -------
    Overfitting
        A trial that equals all others ranks in the middle, and the middle belongs to the worse half, as in
        the paper; with few trials this lifts PBO on noise above 0.5.

    Raises
    ------
    MetricInputError
        If there are fewer than two trials, fewer than two periods per block, or no trial ever varies.
    """
    values = finite_matrix(returns, "returns")
    n_periods, n_trials = values.shape
    require(
        n_blocks % 2 == 0 and 2 <= n_blocks <= 16,
        "2 <= n_blocks <= 16, even",
        f"n_blocks={n_blocks}",
        "Use 10.",
    )
    require(n_trials >= 2, "n_trials >= 2", f"n_trials={n_trials}", "PBO compares trials: pass several.")
    require(
        n_periods >= 2 * n_blocks,
        "n_periods >= 2 * n_blocks",
        f"n_periods={n_periods}, n_blocks={n_blocks}",
        "Use a longer series or fewer blocks.",
    )
    if not (np.ptp(values, axis=0) > 0).any():
        msg = "At least one trial must vary, but all are constant. There is nothing to choose from."
        raise MetricInputError(msg)
    # Every trial on its own scale, so that sums of squares lose no digits.
    scale = np.abs(values).max(axis=0)
    values = values / np.where(scale > 0, scale, 1.0)
    starts = np.arange(n_blocks) * n_periods // n_blocks
    counts = np.diff(np.append(starts, n_periods)).astype(np.float64)
    sums = np.add.reduceat(values, starts, axis=0)
    squares = np.add.reduceat(values**2, starts, axis=0)
    splits = _splits(n_blocks)
    step = max(1, _CHUNK // n_trials)
    parts = [_judge(splits[i : i + step], counts, sums, squares) for i in range(0, len(splits), step)]
    ranks = np.concatenate([rank for rank, _ in parts])
    lost = np.concatenate([loss for _, loss in parts])
    omega = ranks / (n_trials + 1)
    logits = np.log(omega / (1 - omega))
    # Compared as ranks: the log odds of the middle are 0 only up to rounding.
    return Overfitting(
        pbo=float(np.mean(2 * ranks <= n_trials + 1)),
        logits=logits,
        probability_of_loss=float(np.mean(lost)),
    )


def _splits(n_blocks: int) -> FloatArray:
    """Return one row per split, 1 for blocks in-sample."""
    chosen = np.array(list(itertools.combinations(range(n_blocks), n_blocks // 2)))
    splits = np.zeros((len(chosen), n_blocks))
    np.put_along_axis(splits, chosen, 1.0, axis=1)
    return splits


def _judge(
    splits: FloatArray, counts: FloatArray, sums: FloatArray, squares: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return, per split, the out-of-sample rank of the trial chosen in-sample, and whether it lost."""
    inside, _ = _sharpe(splits, counts, sums, squares)
    outside, mean = _sharpe(1.0 - splits, counts, sums, squares)
    rows = np.arange(len(splits))
    best = inside.argmax(axis=1)
    own = outside[rows, best][:, None]
    # Average rank, 1 = worst.
    below, equal = (outside < own).sum(axis=1), (outside == own).sum(axis=1)
    return below + (equal + 1) / 2, mean[rows, best] < 0


def _sharpe(
    half: FloatArray, counts: FloatArray, sums: FloatArray, squares: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # einsum, not BLAS: the same bits whatever the number of threads.
    n = np.einsum("sb,b->s", half, counts)[:, None]
    mean = np.einsum("sb,bt->st", half, sums, optimize=False) / n
    variance = np.einsum("sb,bt->st", half, squares, optimize=False) / n - mean**2
    ratio = np.zeros_like(mean)
    np.divide(mean, np.sqrt(np.maximum(variance, 0.0)), out=ratio, where=variance > 1e-14)
    return ratio, mean
