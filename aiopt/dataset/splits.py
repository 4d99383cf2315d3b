"""Splits by time that no label crosses.

Owns purge and embargo and the statistics of the train split.  Knows rows by the number of their bar alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.dataset.dataset_config import SplitConfig
from aiopt.errors import ConfigError

SPLITS = ("train", "validation", "test")
"""In the order of time."""


class ColumnScale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistics of one feature over the train split alone.

    Attributes
    ----------
    mean, std : float
        Mean and population standard deviation; a constant feature has `std` 1, so that it scales to 0.
    """

    mean: float
    std: float


def split_rows(bars: NDArray[np.int64], config: SplitConfig, longest: int) -> dict[str, NDArray[np.int64]]:
    """Divide rows by time.

    With purge p, embargo e and borders b (first bar of validation, first bar of test), a split that ends at b
    keeps bars with ``bar + p < b``, so its labels end before b; the one that starts there keeps
    ``bar >= b + e``.

    Parameters
    ----------
    bars : ndarray of shape (n_rows,), int64
        Number of each row's decision bar, increasing.
    config : SplitConfig
        Shares, purge and embargo.
    longest : int
        Bars after the decision bar that labels read.

    Returns
    -------
    dict of str to ndarray of int64
        Positions in `bars` of each split that has a share; those purged or under embargo are in none.

    Raises
    ------
    ConfigError
        If the purge is shorter than the labels, or a split that has a share is left without rows.
    """
    purge, embargo = config.widths(longest)
    count = bars.size
    edges = [0, round(config.train * count), round((config.train + config.validation) * count), count]
    found: dict[str, NDArray[np.int64]] = {}
    shares = (config.train, config.validation, config.test)
    for number, (name, share) in enumerate(zip(SPLITS, shares, strict=True)):
        if share == 0:
            continue
        rows = np.arange(edges[number], edges[number + 1])
        if rows.size and edges[number] > 0:
            rows = rows[bars[rows] >= bars[edges[number]] + embargo]
        if rows.size and edges[number + 1] < count:
            rows = rows[bars[rows] + purge < bars[edges[number + 1]]]
        if not rows.size:
            msg = (
                f"Every split must have rows, but {name} has none of {count} left after a purge of {purge} "
                f"and an embargo of {embargo} bars. Give more bars, shorter horizons or a larger share."
            )
            raise ConfigError(msg)
        found[name] = rows
    return found


def fit_scale(columns: Mapping[str, NDArray[np.float64]], train: NDArray[np.int64]) -> dict[str, ColumnScale]:
    """Return mean and standard deviation of each column over the rows `train`."""
    scales = {}
    for name, values in columns.items():
        part = values[train]
        std = float(part.std())
        constant = std <= 1e-12 * max(1.0, float(np.abs(part).max()))
        scales[name] = ColumnScale(mean=float(part.mean()), std=1.0 if constant else std)
    return scales
