"""A position in parts that leave at targets of their own: how it is cut, and where the targets lie.

Owns these two rules.  Who closes a part, and when, is the engine's business.

Rules
-----
* Every part is a bracket of its own: its target, and the stop that all parts share.  What leaves by a target
  or by the stop is a closed trade per part; what leaves at an open (exit signal, reversal, time) is one trade
  of all that is left, as one market order closes it.
* Parts are rounded down to whole steps of the size: `step` of a size by risk, else one unit.  What rounding
  leaves over belongs to the last part: the rest, which has the strategy's `take_profit` or no target, or the
  last target where the shares sum up to 100.  A part of no whole step is none: a position too small to be
  cut is one part.
* A target that would lie nearer than the one before it lies at that one's price.
* Distances are those of the signal bar, as the stop's and the target's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiopt.strategy.distances import Away

STEP_TOLERANCE = 1e-9
"""A share that misses a whole step by less has it: 33.3 per cent of 1,000 are 333, whatever floats say."""


class TargetPlan(NamedTuple):
    """The targets of a spec, its parameters resolved.

    Attributes
    ----------
    shares : tuple of float
        Per cent of the quantity, the nearest target first.
    distances : tuple of Away
        From the close of the signal bar.
    step : int
        Units of which parts are whole multiples.
    closes_all : bool
        Whether the shares sum up to 100, so that the last target takes what is left.
    """

    shares: tuple[float, ...]
    distances: tuple[Away, ...]
    step: int
    closes_all: bool

    def split(self, units: float) -> list[float]:
        """Return the units of each target's part and of the rest; some may be 0.0, their sum is `units`."""
        step = float(self.step)
        parts = [math.floor(units * share / 100.0 / step + STEP_TOLERANCE) * step for share in self.shares]
        if self.closes_all:
            parts[-1] = units - sum(parts[:-1])
        return [*parts, units - sum(parts)]
