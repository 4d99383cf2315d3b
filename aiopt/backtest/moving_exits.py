"""The stop of an open position as it moves, and the close at which its time is up.

Owns where the stop lies after each close, by the rules of `aiopt.strategy.exits`.  Knows bars and one
position; orders are the strategy's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.growing_bars import GrowingBars
from aiopt.bars.schema import BarSet
from aiopt.strategy.exits import ExitPlan, next_strikes, strikes
from aiopt.strategy.signals import round_to_tick
from aiopt.trades import ExitReason

FloatArray = NDArray[np.float64]

_NEVER = 2**62
_STATE = ("side", "stop", "seen", "best", "trail", "trail_from", "even", "even_from")


class MovingExits:
    """Follows one position after the other.

    Parameters
    ----------
    plan : ExitPlan
        What the strategy asks for.
    bars : BarSet or GrowingBars
        Bid and ask; bars that grow are looked at as far as they have come.
    decimals : int
        Of prices.
    """

    def __init__(self, plan: ExitPlan, bars: BarSet | GrowingBars, decimals: int) -> None:
        self.plan = plan
        self.due_bar = _NEVER
        """The bar at whose close the position's time is up; on bars that grow a clock makes it known late."""
        self._growing = bars if isinstance(bars, GrowingBars) else None
        self._strikes = None
        if isinstance(bars, BarSet):
            self._strikes = next_strikes(plan.clock, bars.bid.ts_open_ns, bars.timeframe.ns)
        self._tick = bars.price_step
        self._highs, self._lows = bars.bid.high, bars.ask.low
        self._decimals = decimals

    def open(
        self,
        *,
        side: int,
        entry_bar: int,
        entry_price: float,
        stop: float,
        trail: float,
        trail_after: float,
        even_after: float,
    ) -> None:
        """Take up a position.

        Parameters
        ----------
        side : int
            1 or -1.
        entry_bar : int
            Bar at whose open it was entered.
        entry_price, stop : float
            `stop` NaN: it began without one.
        trail, trail_after, even_after : float
            Distances in quote currency; NaN where the plan has none.
        """
        self._side, self._stop = side, stop
        self._seen, self._best = entry_bar - 1, -math.inf
        self._trail = trail
        self._trail_from = self._level(entry_price, trail_after) if not math.isnan(trail_after) else -math.inf
        self._even = self._level(entry_price, self.plan.even_plus)
        after = math.nan if math.isnan(even_after) else self._level(entry_price, even_after)
        self._even_from = max(after, self._even)  # NaN where there is none, as it comes first
        due = entry_bar + self.plan.time_bars - 1 if self.plan.time_bars else _NEVER
        self.due_bar = due if self._strikes is None else min(due, int(self._strikes[entry_bar]))

    def put(self, stop: float) -> None:
        """Let the position's own stop lie elsewhere; what moves it goes on from there."""
        self._stop = stop

    def is_due(self, bar: int) -> bool:
        """Return whether the position's time is up at the close of a bar, asked at every close it is held."""
        bars, clock = self._growing, self.plan.clock
        if bars is not None and clock is not None and 0 < bar < self.due_bar:
            times = bars.bid.ts_open_ns[bar - 1 : bar + 1]
            if strikes(clock, times, bars.timeframe.ns)[-1]:
                self.due_bar = bar
        return bar >= self.due_bar

    def save(self) -> dict[str, Any]:
        """Return the state of the present position as plain data; empty before the first."""
        if not hasattr(self, "_side"):
            return {}
        return {"due_bar": self.due_bar} | {name: getattr(self, f"_{name}") for name in _STATE}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `save` returned."""
        if state:
            self.due_bar = state["due_bar"]
            for name in _STATE:
                setattr(self, f"_{name}", state[name])

    def stop_after(self, bar: int) -> tuple[float, ExitReason]:
        """Return where the stop lies from the close of `bar` on, NaN for nowhere, and what put it there."""
        self._best = self._best_up_to(bar)
        self._seen = bar
        level, number = self._placed(np.array([self._best]))
        reasons: tuple[ExitReason, ...] = ("stop_loss", "break_even", "trailing")
        return float(level[0]), reasons[int(number[0])]

    def stops_on(self, start: int, end: int) -> FloatArray:
        """Return where the stop lies on bars [start, end) if nothing ends the position; NaN for nowhere."""
        before = self._best_up_to(start - 1)
        best = np.maximum.accumulate(np.concatenate([[before], self._extremes(start, end - 1)]))
        return self._placed(best)[0]

    def _best_up_to(self, bar: int) -> float:
        """Return the best price up to a bar's close, its sign turned for a short."""
        if bar <= self._seen:
            return self._best
        return max(self._best, float(self._extremes(self._seen + 1, bar + 1).max()))

    def _extremes(self, start: int, end: int) -> FloatArray:
        part = self._highs[start:end] if self._side > 0 else -self._lows[start:end]
        return np.round(part, self._decimals)

    def _placed(self, best: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return stops and the numbers of what put them there, given best prices (turned for a short)."""
        side = self._side
        level = np.full(best.size, -math.inf if math.isnan(self._stop) else side * self._stop)
        number = np.zeros(best.size, dtype=np.int64)
        even = np.where(best >= self._even_from, self._even, -math.inf)
        trail = np.full(best.size, -math.inf)
        if not math.isnan(self._trail):
            rounded = side * round_to_tick(side * (best - self._trail), self._tick)
            trail = np.where(best >= self._trail_from, rounded, -math.inf)
        for candidate, reason in ((even, 1), (trail, 2)):
            number[candidate > level] = reason
            level = np.maximum(level, candidate)
        return np.where(np.isinf(level), math.nan, side * level), number

    def _level(self, entry: float, away: float) -> float:
        """Return a price so far from the entry in favour of the position, its sign turned for a short."""
        side = self._side
        return side * float(round_to_tick(np.array(entry + side * away), self._tick))
