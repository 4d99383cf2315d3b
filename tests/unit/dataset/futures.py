"""Bars with another future, for tests that nothing known at a bar depends on later ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aiopt.bars.schema import BarArrays, BarSet


def shaken(bars: BarSet, first: int, seed: int) -> BarSet:
    """Return the bars with every price and volume from bar `first` on replaced by others."""
    rng = np.random.default_rng(seed)

    def shake(side: BarArrays) -> BarArrays:
        factor = np.ones(len(side))
        factor[first:] = rng.uniform(0.5, 1.5, len(side) - first)
        volume = side.volume.copy()
        volume[first:] = rng.integers(0, 9, len(side) - first)
        prices = {name: getattr(side, name) * factor for name in ("open", "high", "low", "close")}
        return replace(side, volume=volume, **prices)

    return replace(bars, bid=shake(bars.bid), ask=shake(bars.ask))
