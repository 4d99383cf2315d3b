"""Stop and target of an entry that are laid from its own price, by the rules of `aiopt.strategy.distances`.

Owns the way from a fill to prices.  Orders are the strategy's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from aiopt.strategy.distances import LaidLevel
from aiopt.strategy.exits import ExitPlan


class LaidLevels:
    """Lays stops and targets from fills.

    Parameters
    ----------
    plan : ExitPlan
        What the strategy asks for.
    tick : float
        Smallest price step of the bars.
    decimals : int
        Of prices.
    """

    def __init__(self, plan: ExitPlan, tick: float, decimals: int) -> None:
        self._stop, self._target = plan.stop, plan.target
        self._tick, self._decimals = tick, decimals
        self.stop_waits = plan.stop is not None and plan.stop.waits
        self.target_waits = plan.target is not None and plan.target.waits

    def distances(self, value_of: Callable[[str], float]) -> tuple[float, float]:
        """Return how far stop and target lie, by series on the signal bar; NaN for those not laid."""
        levels = (self._stop, self._target)
        stop, target = (math.nan if level is None else level.away.at(value_of) for level in levels)
        return stop, target

    def around(
        self, entry: float, side: int, distances: tuple[float, float], known: tuple[float, float]
    ) -> tuple[float, float]:
        """Return stop and target of a fill.

        Parameters
        ----------
        entry : float
            Its price.
        side : int
            1 or -1.
        distances : tuple of float
            From `distances`.
        known : tuple of float
            Stop and target as the signal knew them.
        """
        return (
            self._laid(self._stop, entry, distances[0], -side, known[0]),
            self._laid(self._target, entry, distances[1], side, known[1]),
        )

    def _laid(self, level: LaidLevel | None, entry: float, away: float, sign: int, known: float) -> float:
        if level is None:
            return known
        return round(level.price(entry, away, sign=sign, tick=self._tick), self._decimals)
