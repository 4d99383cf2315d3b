"""How many independent trials a set of correlated ones is worth.

Owns the estimate, from the eigenvalues of the trials' correlation matrix, in memory that does not grow with
the number of trials.  Knows no strategy.

With N trials and eigenvalues ``λ`` the number is ``(Σ λ)² / Σ λ²``, the participation ratio (Bretherton,
Widmann, Dymnikov, Wallace and Bladé, "The Effective Number of Spatial Degrees of Freedom of a Time-Varying
Field", Journal of Climate 12, 1999).  The sum of squared eigenvalues is the sum of all squared correlations,
so no eigenvalue is computed; and the correlations are sums over units of time, so a table of units by units,
to which trials are added a few at a time, is all that is kept.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray, finite_matrix, require

MOST_UNITS = 1000
"""The table of units by units has 8 MB, whatever the number of trials."""

ENOUGH_UNITS = 100
"""A day is taken for a unit only if it leaves this many: fewer cannot tell strangers from relatives."""

_NAN = float("nan")


def periods_per_unit(n_periods: int, periods_per_day: int) -> int:
    """Return how many periods are summed before trials are correlated: a day, fewer of a short span.

    Parameters
    ----------
    n_periods, periods_per_day : int
        At least 1.
    """
    fits = [count for count in range(periods_per_day, 0, -1) if periods_per_day % count == 0]
    unit = next((count for count in fits if n_periods // count >= ENOUGH_UNITS), 1)
    return unit * max(1, math.ceil(n_periods / unit / MOST_UNITS))


class EffectiveTrials:
    """Takes trials a few at a time and says how many independent ones they are worth.

    Parameters
    ----------
    n_periods : int
        Length of every trial.
    per_unit : int
        Periods per unit, from `periods_per_unit`; the last unit may be shorter.
    """

    def __init__(self, n_periods: int, per_unit: int = 1) -> None:
        require(per_unit >= 1, "per_unit >= 1", f"per_unit={per_unit}", "Use `periods_per_unit`.")
        self._edges = np.arange(0, n_periods, per_unit)
        self._products = np.zeros((self._edges.size, self._edges.size))
        self._touched = np.zeros(self._edges.size, dtype=np.bool_)
        self._trials = 0

    def add(self, profits: npt.ArrayLike) -> None:
        """Take some trials.

        Parameters
        ----------
        profits : array_like of shape (n_trials, n_periods)
            Finite.  Trials that do not vary are left out.

        Raises
        ------
        MetricInputError
            If `profits` is not a finite matrix.
        """
        values = finite_matrix(profits, "profits")
        if values.size:
            self.add_units(self.units_of(values))

    def units_of(self, profits: FloatArray) -> FloatArray:
        """Return the profits of trials summed per unit, shape (n_trials, n_units)."""
        return np.add.reduceat(profits, self._edges, axis=1)

    def add_units(self, units: FloatArray) -> None:
        """Take some trials, their profits summed by `units_of`."""
        centred = units - units.mean(axis=1, keepdims=True)
        size = np.sqrt((centred**2).sum(axis=1))
        varies = size > 1e-12 * np.abs(units).max(axis=1) * math.sqrt(self._edges.size)
        unit_vectors = centred[varies] / size[varies, None]
        self._products += unit_vectors.T @ unit_vectors
        self._touched |= (units[varies] != 0).any(axis=0)
        self._trials += int(varies.sum())

    def number(self) -> float:
        """Return the number of independent trials.

        Correlations of strangers are not 0 but vary by ``1 / (units - 1)``, which many trials add up to
        relatives; the mean squared correlation is corrected for it, as an adjusted R² is.  Units in which no
        trial earned or lost do not count.

        Returns
        -------
        float
            Between 1 and the number of trials that vary; NaN if there is none.  To six digits: how a sum of
            many products is rounded depends on the number of threads.
        """
        n = self._trials
        if n < 2:
            return float(n) if n else _NAN
        pairs = (float((self._products**2).sum()) - n) / (n * (n - 1))
        by_chance = 1 / max(1, int(self._touched.sum()) - 1)
        related = min(1.0, max(0.0, (pairs - by_chance) / (1 - by_chance))) if by_chance < 1 else 1.0
        return float(f"{n / (1 + (n - 1) * related):.6g}")


def effective_trials(profits: npt.ArrayLike, *, per_unit: int = 1) -> float:
    """Return how many independent trials a set of correlated ones is worth.

    Parameters
    ----------
    profits : array_like of shape (n_trials, n_periods)
        Finite.  Trials that do not vary are left out.
    per_unit : int
        Periods summed before trials are correlated.

    Returns
    -------
    float
        As `EffectiveTrials.number`.

    Raises
    ------
    MetricInputError
        If `profits` is not a finite matrix.
    """
    values: FloatArray = finite_matrix(profits, "profits")
    found = EffectiveTrials(values.shape[1], per_unit)
    found.add(values)
    return found.number()
