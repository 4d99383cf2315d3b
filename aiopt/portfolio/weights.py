"""Weights of strategies from their profits: by inverse volatility, and so that each contributes equal risk.

Pure arithmetic on arrays; knows no fold and no run.
"""

from __future__ import annotations

import numpy as np

from aiopt.errors import MetricInputError
from aiopt.evaluation.arrays import FloatArray

SHRINKAGE = 0.01
"""Share by which correlations are drawn towards 0, so that exact opposites have weights too."""

_TOLERANCE = 1e-12
_MOST_STEPS = 20_000


def equal_weights(profits: FloatArray) -> FloatArray:
    """Return the same weight for each column that varies.

    Parameters
    ----------
    profits : ndarray of shape (n_periods, n)
        Profit per period of each strategy.

    Returns
    -------
    ndarray of shape (n,)
        Sum 1; equal for all if none varies.
    """
    return _normalised((_volatility(profits) > 0).astype(np.float64))


def inverse_volatility_weights(profits: FloatArray) -> FloatArray:
    """Return weights in inverse proportion to the standard deviation, 0 for a column that does not vary.

    Parameters and result as in `equal_weights`.
    """
    deviation = _volatility(profits)
    varying = deviation > 0
    return _normalised(np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varying))


def equal_risk_weights(profits: FloatArray) -> FloatArray:
    """Return the weights with which each strategy contributes the same to the variance of the sum.

    With covariance Σ they solve ``w_i (Σ w)_i = w_j (Σ w)_j`` for all i and j with positive w: the unique
    minimum of ``w'Σw / 2 - Σ ln w``, found coordinate by coordinate.  Correlations are first drawn towards 0
    by `SHRINKAGE`.  A column that does not vary gets 0.

    Parameters and result as in `equal_weights`.

    Raises
    ------
    MetricInputError
        If the profits are not finite.
    """
    if not np.isfinite(profits).all():
        raise MetricInputError("`profits` must be finite, but some are not. Leave those periods out.")
    deviation = _volatility(profits)
    varying = np.flatnonzero(deviation > 0)
    weights = np.zeros_like(deviation)
    if varying.size:
        weights[varying] = _equal_contributions(shrunk_correlation(profits[:, varying])) / deviation[varying]
    return _normalised(weights)


def risk_shares(weights: FloatArray, covariance: FloatArray) -> FloatArray | None:
    """Return the share of each strategy in the variance of the weighted sum; None if that does not vary."""
    contributions = weights * (covariance @ weights)
    total = float(contributions.sum())
    return contributions / total if total > 0 else None


def shrunk_correlation(profits: FloatArray) -> FloatArray:
    """Return the correlation matrix of columns that vary, drawn towards 0 by `SHRINKAGE`."""
    found = np.atleast_2d(np.corrcoef(profits, rowvar=False)) * (1 - SHRINKAGE)
    np.fill_diagonal(found, 1.0)
    return found


def _equal_contributions(correlation: FloatArray) -> FloatArray:
    """Return y with ``y_i (C y)_i = 1`` for all i, by cyclic descent."""
    y = np.ones(len(correlation))
    for _ in range(_MOST_STEPS):
        for i in range(y.size):
            others = float(correlation[i] @ y) - y[i]
            y[i] = (np.sqrt(others * others + 4.0) - others) / 2.0
        if np.abs(y * (correlation @ y) - 1.0).max() < _TOLERANCE:
            break
    return y


def _volatility(profits: FloatArray) -> FloatArray:
    found = profits.std(axis=0, ddof=1) if len(profits) > 1 else np.zeros(profits.shape[1])
    # Of a constant column rounding leaves some.
    return np.where(np.ptp(profits, axis=0) > 0, found, 0.0) if len(profits) else found


def _normalised(weights: FloatArray) -> FloatArray:
    total = float(weights.sum())
    return weights / total if total > 0 else np.full(weights.size, 1.0 / weights.size)
