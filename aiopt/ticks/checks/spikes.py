"""Spikes: quotes far from those around them.

Owns the robust z-score.  Knows nothing of treatments or files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 11
"""Ticks of the running median a spike is measured against; a step of six or more ticks is no spike."""

SCALE_WINDOW = 51
"""Ticks whose median change is the local scale of a spike."""

MAD_TO_SIGMA = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""


def find_spikes(mid: NDArray[np.float64], tick_size: float, spike_z: float) -> NDArray[np.int64]:
    """Return which ticks of a day are spikes.

    With ``d_i = |mid_i - mid_(i-1)|`` and ``m_i`` the median mid of the eleven ticks ``i-5 … i+5``, tick i
    is a spike if ``|mid_i - m_i| > spike_z * s_i``, where the scale ``s_i`` is the largest of

    - 1.4826 times the median of the day's changes that are not zero,
    - 1.4826 times the median of ``d`` over the 51 ticks ``i-25 … i+25``, so that the seconds after a news
      release are measured by themselves,
    - one price step.

    Windows look five (25) ticks ahead, which cleaning may and a strategy may not.  They do not reach beyond
    the array: its first and last value are repeated, so the first and the last tick are never spikes.

    Parameters
    ----------
    mid : ndarray of float64, shape (n,)
        Mid prices in order of time.
    tick_size : float
        Price step.
    spike_z : float
        Threshold, positive.

    Returns
    -------
    ndarray of int64, shape (n_spikes,)
        Indices, ascending; none if there are fewer than eleven ticks.
    """
    none = np.zeros(0, dtype=np.int64)
    if mid.size < WINDOW:
        return none
    change = np.abs(np.diff(mid, prepend=mid[0]))
    half = WINDOW // 2
    largest = float(change.max())
    # The median is the mid of one of the five ticks on either side, so a spike has a change of a fifth of its
    # distance beside it.  Where there is none, nothing has to be sorted.
    if half * largest <= spike_z * tick_size:
        return none
    moved = change[change > tick_size / 4]
    typical = float(np.median(moved)) if moved.size else 0.0
    least = max(MAD_TO_SIGMA * typical, tick_size)
    jumps = np.flatnonzero(change * half > spike_z * least * (1 - 1e-9))
    if not jumps.size:
        return none
    near = (jumps[:, None] + np.arange(-half - 1, half + 1)).ravel()
    at = np.unique(near[(near >= 0) & (near < mid.size)])
    distance = np.abs(mid[at] - _running_median(mid, at, WINDOW))
    far = distance > spike_z * least
    at, distance = at[far], distance[far]
    scale = np.maximum(MAD_TO_SIGMA * _running_median(change, at, SCALE_WINDOW), least)
    return np.asarray(at[distance > spike_z * scale], dtype=np.int64)


def _running_median(values: NDArray[np.float64], at: NDArray[np.int64], window: int) -> NDArray[Any]:
    """Return the medians of the windows around the elements `at`; the ends are repeated."""
    half = window // 2
    result = np.empty(at.size)
    for start in range(0, at.size, 65_536):
        rows = at[start : start + 65_536, None] + np.arange(-half, half + 1)
        result[start : start + rows.shape[0]] = np.median(values[rows.clip(0, values.size - 1)], axis=1)
    return result
