"""Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

Owns the statistic only.  Source: Bailey, Borwein, López de Prado and Zhu, "The Probability of Backtest
Overfitting", Journal of Computational Finance 20(4), 2017, doi:10.21314/JCF.2016.322.

The periods are cut into S blocks.  For each of the C(S, S/2) ways to call half of the blocks in-sample, the
trial with the best in-sample Sharpe ratio is looked up in the other half.  PBO is the share of ways in which
it ends at or below the median there.

The paper cuts without regard to trades: one that is open where an in-sample block meets an out-of-sample
block earns in both, and speaks for itself.  So the periods of in-sample blocks next to such a boundary can be
purged (López de Prado, "Advances in Financial Machine Learning", Wiley, 2018, chapter 7).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aiopt.compiled import compiled
from aiopt.errors import MetricInputError
from aiopt.evaluation.arrays import FloatArray, finite_matrix, require

IntArray = npt.NDArray[np.int64]

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


def probability_of_overfitting(returns: npt.ArrayLike, *, n_blocks: int = 10, purge: int = 0) -> Overfitting:
    """Return how often choosing the best trial in-sample chooses no better than the median out of sample.

    Parameters
    ----------
    returns : array_like of shape (n_periods, n_trials)
        Profit or return per period.  Finite.  A trial without variance in a half has Sharpe ratio 0 there.
    n_blocks : int
        Even, 2 to 16; blocks are as equal in length as possible.
    purge : int
        Periods left out of an in-sample block on each side where it meets an out-of-sample block.  A block
        has at least two more than twice as many.

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
    return overfitting_of_parts([returns], n_blocks=n_blocks, purge=purge)


def overfitting_of_parts(
    parts: Iterable[npt.ArrayLike], *, n_blocks: int = 10, purge: int = 0
) -> Overfitting:
    """Return the same of trials that come a few at a time; only their sums per block are kept.

    Parameters
    ----------
    parts : iterable of array_like of shape (n_periods, n_trials_of_the_part)
        As `returns` of `probability_of_overfitting`.
    n_blocks, purge
        As there.

    Raises
    ------
    MetricInputError
        As there.
    """
    require(
        n_blocks % 2 == 0 and 2 <= n_blocks <= 16,
        "2 <= n_blocks <= 16, even",
        f"n_blocks={n_blocks}",
        "Use 10.",
    )
    found, n_trials, varies = [], 0, False
    for part in parts:
        values = finite_matrix(part, "returns")
        n_trials += values.shape[1]
        varies = varies or bool((np.ptp(values, axis=0) > 0).any())
        found.append(Blocks.of(np.ascontiguousarray(values.T), n_blocks, (purge,))[0])
    require(n_trials >= 2, "n_trials >= 2", f"n_trials={n_trials}", "PBO compares trials: pass several.")
    if not varies:
        msg = "At least one trial must vary, but all are constant. There is nothing to choose from."
        raise MetricInputError(msg)
    return overfitting_of_blocks(Blocks.joined(found))


def overfitting_of_blocks(blocks: Blocks) -> Overfitting:
    """Return the same of at least two trials, of which only sums per block are left."""
    n_blocks, n_trials = blocks.whole.sums.shape
    splits = _splits(n_blocks)
    step = max(1, _CHUNK // n_trials)
    judged = [_judge(splits[i : i + step], blocks) for i in range(0, len(splits), step)]
    ranks = np.concatenate([rank for rank, _ in judged])
    lost = np.concatenate([loss for _, loss in judged])
    omega = ranks / (n_trials + 1)
    logits = np.log(omega / (1 - omega))
    # Compared as ranks: the log odds of the middle are 0 only up to rounding.
    return Overfitting(
        pbo=float(np.mean(2 * ranks <= n_trials + 1)),
        logits=logits,
        probability_of_loss=float(np.mean(lost)),
    )


def _check_length(n_periods: int, n_blocks: int, purge: int) -> None:
    require(
        n_periods >= 2 * n_blocks,
        "n_periods >= 2 * n_blocks",
        f"n_periods={n_periods}, n_blocks={n_blocks}",
        "Use a longer series or fewer blocks.",
    )
    require(
        purge >= 0 and 2 * purge + 2 <= n_periods // n_blocks,
        "purge >= 0 and 2 * purge + 2 <= n_periods // n_blocks",
        f"purge={purge}, n_periods={n_periods}, n_blocks={n_blocks}",
        "Purge fewer periods or use fewer blocks.",
    )


def _splits(n_blocks: int) -> FloatArray:
    """Return one row per split, 1 for blocks in-sample."""
    chosen = np.array(list(itertools.combinations(range(n_blocks), n_blocks // 2)))
    splits = np.zeros((len(chosen), n_blocks))
    np.put_along_axis(splits, chosen, 1.0, axis=1)
    return splits


@dataclass(frozen=True)
class _Sums:
    """Of some periods of each block: their number, and per trial the sum and the sum of squares."""

    counts: FloatArray
    sums: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, values: FloatArray, starts: IntArray, stops: IntArray) -> _Sums:
        """Return the sums of trials, shape (n_trials, n_periods), over some stretches."""
        chosen = [values[:, a:b] for a, b in zip(starts, stops, strict=True)]
        return cls(
            counts=(stops - starts).astype(np.float64),
            sums=np.array([part.sum(axis=1) for part in chosen]),
            squares=np.array([(part**2).sum(axis=1) for part in chosen]),
        )

    @classmethod
    def joined(cls, parts: Sequence[_Sums]) -> _Sums:
        """Return the sums of the trials of several parts."""
        return cls(
            counts=parts[0].counts,
            sums=np.concatenate([part.sums for part in parts], axis=1),
            squares=np.concatenate([part.squares for part in parts], axis=1),
        )

    def over(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the same over the blocks of each split; shapes (n_splits, 1 or n_trials)."""
        # einsum, not BLAS: the same bits whatever the number of threads.
        return (
            np.einsum("sb,b->s", weights, self.counts)[:, None],
            np.einsum("sb,bt->st", weights, self.sums, optimize=False),
            np.einsum("sb,bt->st", weights, self.squares, optimize=False),
        )


@dataclass(frozen=True)
class Blocks:
    """Sums of trials over whole blocks, and over the periods at their ends that a purge takes off."""

    whole: _Sums
    head: _Sums
    tail: _Sums

    @classmethod
    def of(cls, profits: FloatArray, n_blocks: int, purges: Sequence[int]) -> list[Blocks]:
        """Return the blocks of some trials for each purge.

        Parameters
        ----------
        profits : ndarray of shape (n_trials, n_periods)
            Finite, each trial's periods side by side in memory: so are its sums the same to the last bit,
            whatever trials come with it.
        n_blocks, purges
            As in `overfitting_of_parts`.

        Raises
        ------
        MetricInputError
            As there.
        """
        n_periods = profits.shape[1]
        for purge in purges:
            _check_length(n_periods, n_blocks, purge)
        # Every trial on its own scale, so that sums of squares lose no digits.
        scale = np.abs(profits).max(axis=1)
        values = profits / np.where(scale > 0, scale, 1.0)[:, None]
        edges = np.append(np.arange(n_blocks) * n_periods // n_blocks, n_periods)
        starts, stops = edges[:-1], edges[1:]
        whole = _Sums.of(values, starts, stops)
        return [
            cls(whole, _Sums.of(values, starts, starts + purge), _Sums.of(values, stops - purge, stops))
            for purge in purges
        ]

    @classmethod
    def joined(cls, parts: Sequence[Blocks]) -> Blocks:
        """Return the blocks of the trials of several parts."""
        return cls(
            whole=_Sums.joined([part.whole for part in parts]),
            head=_Sums.joined([part.head for part in parts]),
            tail=_Sums.joined([part.tail for part in parts]),
        )

    def inside(self, splits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return Sharpe ratio and mean of the blocks in-sample, purged where they meet the others."""
        beside = 1.0 - splits
        head, tail = np.zeros_like(splits), np.zeros_like(splits)
        head[:, 1:] = splits[:, 1:] * beside[:, :-1]
        tail[:, :-1] = splits[:, :-1] * beside[:, 1:]
        kept = [
            whole - first - last
            for whole, first, last in zip(
                self.whole.over(splits), self.head.over(head), self.tail.over(tail), strict=True
            )
        ]
        return _sharpe(*kept)

    def outside(self, splits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return Sharpe ratio and mean of the other blocks."""
        return _sharpe(*self.whole.over(1.0 - splits))


def _judge(splits: FloatArray, blocks: Blocks) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return, per split, the out-of-sample rank of the trial chosen in-sample, and whether it lost."""
    inside, _ = blocks.inside(splits)
    outside, mean = blocks.outside(splits)
    rows = np.arange(len(splits))
    best = inside.argmax(axis=1)
    own = outside[rows, best][:, None]
    # Average rank, 1 = worst.
    below, equal = (outside < own).sum(axis=1), (outside == own).sum(axis=1)
    return below + (equal + 1) / 2, mean[rows, best] < 0


def _sharpe(n: FloatArray, sums: FloatArray, squares: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = sums / n
    variance = squares / n - mean**2
    ratio = np.zeros_like(mean)
    np.divide(mean, np.sqrt(np.maximum(variance, 0.0)), out=ratio, where=variance > 1e-14)
    return ratio, mean


def longest_holdings(profits: FloatArray) -> IntArray:
    """Return each trial's longest run of periods with a profit or loss: no trade was open for longer.

    Parameters
    ----------
    profits : ndarray of shape (n_trials, n_periods)
        Positions marked to market, so that a period in which one is open has a profit or loss; trades that
        follow each other without a pause make one run.
    """
    longest = np.zeros(len(profits), dtype=np.int64)
    _longest_runs(np.ascontiguousarray(profits), longest)
    return longest


@compiled
def _longest_runs(profits: FloatArray, longest: IntArray) -> None:
    for row in range(len(profits)):
        run = 0
        for profit in profits[row]:
            run = run + 1 if profit != 0.0 else 0
            longest[row] = max(longest[row], run)
