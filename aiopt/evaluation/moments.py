"""Sums of powers of profits, stretch by stretch: what Sharpe ratios over any of them are made of.

Owns the table and its arithmetic; it is small whatever the number of periods.  Knows no fold and no trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray

IntArray = npt.NDArray[np.int64]

POWERS = 4
"""Profits, their squares, cubes and fourth powers: mean, variance, skewness and kurtosis."""

_LEAST_VARIATION = 1e-12
"""Of the mean square: below it profits do not vary but for rounding."""


@dataclass(frozen=True)
class Cuts:
    """Periods cut at edges into pieces, so that every stretch between two edges is some pieces.

    Attributes
    ----------
    edges : tuple of int
        Ascending periods; piece i is ``[edges[i], edges[i + 1])``.
    """

    edges: tuple[int, ...]

    @classmethod
    def of(cls, edges: Iterable[int]) -> Cuts:
        """Return the cuts at these edges, in any order, some perhaps twice."""
        return cls(tuple(sorted(set(edges))))

    @property
    def lengths(self) -> IntArray:
        """Periods of each piece."""
        return np.diff(np.array(self.edges, dtype=np.int64))

    def pieces(self, start: int, stop: int) -> tuple[int, ...]:
        """Return the pieces of a stretch whose ends are edges; none if it is empty."""
        if start >= stop:
            return ()
        return tuple(range(self.edges.index(start), self.edges.index(stop)))

    def sums(self, pnl: npt.ArrayLike) -> FloatArray:
        """Return the sums of powers of profits per period.

        Parameters
        ----------
        pnl : array_like of shape (n_periods,)
            Covers all edges.

        Returns
        -------
        ndarray of shape (POWERS, n_pieces)
        """
        values = np.asarray(pnl, dtype=np.float64)[self.edges[0] : self.edges[-1]]
        starts = np.array(self.edges[:-1], dtype=np.int64) - self.edges[0]
        powers = np.zeros((POWERS, values.size))
        # A power is slow, and most profits are zero.
        busy = np.flatnonzero(values)
        for power in range(1, POWERS + 1):
            powers[power - 1, busy] = values[busy] ** power
        return np.asarray(np.add.reduceat(powers, starts, axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Moments:
    """Moments of one or many series over some periods.

    Attributes
    ----------
    n : int
        Periods.
    sums : ndarray of shape (POWERS, ...)
        Sums of the powers.
    """

    n: int
    sums: FloatArray

    @property
    def sharpe(self) -> FloatArray:
        """Sharpe ratio per period; NaN for fewer than two periods or profits that do not vary."""
        if self.n < 2:
            return np.full(self.sums.shape[1:], np.nan)
        mean, square = self.sums[0] / self.n, self.sums[1] / self.n
        variance = square - mean**2
        varies = variance > _LEAST_VARIATION * square
        deviation = np.sqrt(np.where(varies, variance, 1.0) * self.n / (self.n - 1))
        return np.where(varies, mean / deviation, np.nan)

    @property
    def shape(self) -> tuple[float, float]:
        """Skewness and kurtosis of one series, 0 and 3 for a normal one; NaN where it does not vary."""
        first, second, third, fourth = (float(value) / self.n for value in self.sums)
        variance = second - first**2
        if not variance > _LEAST_VARIATION * second:
            return math.nan, math.nan
        skewness = (third - 3 * first * second + 2 * first**3) / variance**1.5
        kurtosis = (fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4) / variance**2
        return skewness, kurtosis


def moments_over(cuts: Cuts, table: FloatArray, pieces: Sequence[int]) -> Moments:
    """Return the moments of every series over some pieces.

    Parameters
    ----------
    cuts : Cuts
        Of the table.
    table : ndarray of shape (POWERS, n_series, n_pieces)
        `Cuts.sums` of each series.
    pieces : sequence of int
        Which pieces.
    """
    chosen = list(pieces)
    return Moments(n=int(cuts.lengths[chosen].sum()), sums=table[:, :, chosen].sum(axis=2))


def moments_of_path(cuts: Cuts, table: FloatArray, steps: Sequence[tuple[int, Sequence[int]]]) -> Moments:
    """Return the moments of a path that follows one series after another.

    Parameters
    ----------
    cuts, table
        As in `moments_over`.
    steps : sequence of (int, sequence of int)
        Which series, over which pieces.
    """
    total, n = np.zeros(POWERS), 0
    for series, pieces in steps:
        total += table[:, series, list(pieces)].sum(axis=1)
        n += int(cuts.lengths[list(pieces)].sum())
    return Moments(n=n, sums=total)
