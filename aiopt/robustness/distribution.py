"""Many paths as a distribution.  Owns quantiles and fans; knows no scenario."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiopt.robustness.robustness_file import Quantiles

FloatArray = NDArray[np.float64]

LEVELS = (0.05, 0.25, 0.50, 0.75, 0.95)
"""Of quantiles and fans."""

FAN_POINTS = 120
"""Points of time at which a fan is kept, at most."""

_DECIMALS = 2


def quantiles(values: Sequence[float] | FloatArray) -> Quantiles | None:
    """Return the quantiles of the finite values, to six significant decimals; None without any."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return None
    found = np.quantile(finite, LEVELS).round(6) + 0.0
    q05, q25, q50, q75, q95 = found.tolist()
    return Quantiles(q05=q05, q25=q25, q50=q50, q75=q75, q95=q95)


def fan_places(n_periods: int) -> NDArray[np.int64]:
    """Return the periods at whose ends a fan is kept, the last among them."""
    count = min(FAN_POINTS, n_periods)
    return np.unique(np.linspace(0, n_periods - 1, count).round().astype(np.int64))


def cumulated(pnl: FloatArray, places: NDArray[np.int64]) -> FloatArray:
    """Return the profit so far at the ends of some periods."""
    return np.cumsum(pnl)[places]


def fan(curves: Sequence[FloatArray]) -> list[list[float]]:
    """Return the quantiles of curves, level by level, in cents."""
    found = np.quantile(np.array(curves), LEVELS, axis=0).round(_DECIMALS) + 0.0
    return [level.tolist() for level in found]


def known(value: float) -> float | None:
    """Return None for what is no number."""
    return value if math.isfinite(value) else None
