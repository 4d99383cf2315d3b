"""A position of the engine in parts, each with a target of its own, by the rules of `aiopt.strategy.targets`.

Owns how an entry is cut and what is kept of each part.  Orders are the strategy's business.

Each part is a position of the venue: it is entered by an order of its own, at the same quote, and has a stop
and a target of its own.  NautilusTrader sets all reduce-only orders of a position to what is left of it after
every fill, so parts of one position would grow into one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiopt.backtest.growing_bars import GrowingBars
from aiopt.bars.schema import BarSet
from aiopt.strategy.signals import price_digits
from aiopt.strategy.targets import TargetPlan


@dataclass(slots=True)
class Part:
    """What is held of one part.

    Attributes
    ----------
    units : float
        Its size, positive.
    target : float
        Price of its target; NaN for none.
    position_id : nautilus PositionId
        The venue's position.
    stop_order : nautilus Order or None
        Its stop, while one is in the market.
    resting : list of nautilus Order
        Its stop and target.
    entry_ts_ns, entry_price : int, float
        Of the fill that opened it.
    is_open : bool
        Whether it is still held.
    """

    units: float
    target: float
    position_id: Any
    stop_order: Any
    resting: list[Any]
    entry_ts_ns: int = 0
    entry_price: float = math.nan
    is_open: bool = True


class TargetParts:
    """Cuts entries into parts.

    Parameters
    ----------
    plan : TargetPlan
        What the strategy asks for.
    bars : BarSet or GrowingBars
        Targets are measured from the bid's closes.
    """

    def __init__(self, plan: TargetPlan, bars: BarSet | GrowingBars) -> None:
        self._plan = plan
        self._close = bars.bid.close
        self._tick = bars.price_step
        self._digits = price_digits(self._tick)

    # reason: what an entry is made of
    def of(
        self, units: float, *, side: int, bar: int, last_target: float, value_of: Callable[[str], float]
    ) -> list[tuple[float, float]]:
        """Return units and target price of every part of an entry, the nearest target first.

        Parameters
        ----------
        units : float
            Of the whole entry.
        side : int
            1 or -1.
        bar : int
            The signal's bar.
        last_target : float
            Price of the strategy's `take_profit`; NaN without one.
        value_of : callable
            What an indicator is on the signal's bar.
        """
        close, reached = float(self._close[bar]), -math.inf
        levels = []
        for distance in self._plan.distances:
            price = close + side * distance.at(value_of)
            reached = max(reached, side * self._rounded(price))
            levels.append(side * reached)
        levels.append(last_target if math.isnan(last_target) else side * max(reached, side * last_target))
        parts = zip(self._plan.split(units), levels, strict=True)
        return [(size, level) for size, level in parts if size > 0]

    def _rounded(self, price: float) -> float:
        return round(math.floor(price / self._tick + 0.5) * self._tick, self._digits)
