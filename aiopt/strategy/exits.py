"""Exits beside stop, target and signal, as numbers: what a spec's moving stops and time stops ask for.

Owns distances in quote currency and the bars on which a clock strikes.  Who moves a stop is the engine's
business.

Rules
-----
* Everything is decided at the close of a bar and acts from the open of the next.
* Distances are those of the signal bar, as the stop's and the target's: an ATR is fixed there.
* The best price is the highest bid since the entry's open for a long, the lowest ask for a short: the prices
  at which the position could have been closed.
* A clock strikes on the bar whose close is the first at or past its time on a local day.  Where no bar closed
  between that time and midnight, it strikes on the first bar of the next day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.indicators.wall_clock import utc_offsets_ns
from aiopt.strategy.distances import Away, LaidLevel, away_of, laid_level
from aiopt.strategy.spec import (
    BreakEven,
    PriceDistance,
    RiskSize,
    StrategySpec,
    TimeStop,
    TrailingStop,
)
from aiopt.strategy.spec_targets import SHARE_TOLERANCE, targets_of
from aiopt.strategy.targets import TargetPlan
from aiopt.utc import MINUTE_NS, MINUTES_PER_DAY


class Clock(NamedTuple):
    """A time of day in a zone."""

    minute: int
    zone: str


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """The further exits of a spec, its parameters resolved.

    Attributes
    ----------
    trail, trail_after : Away or None
        Distance of a trailing stop, and the move after which it begins.
    even_after : Away or None
        Move after which the stop lies at the entry.
    even_plus : float
        Distance of that stop from the entry, quote currency.
    time_bars : int
        Bars after which a position is closed; 0 for never.
    clock : Clock or None
        Time at which it is closed.
    targets : TargetPlan or None
        Parts that leave at targets of their own.
    stop, target : LaidLevel or None
        `stop_loss` and `take_profit`, where they are laid from the entry's own price.
    """

    trail: Away | None = None
    trail_after: Away | None = None
    even_after: Away | None = None
    even_plus: float = 0.0
    time_bars: int = 0
    clock: Clock | None = None
    targets: TargetPlan | None = None
    stop: LaidLevel | None = None
    target: LaidLevel | None = None

    @property
    def moves(self) -> bool:
        """Whether stops move."""
        return self.trail is not None or self.even_after is not None


def exit_plan(spec: StrategySpec, *, pip_size: float, tick_size: float) -> ExitPlan | None:
    """Return a strategy's further exits; None where it has none.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    pip_size, tick_size : float
        Of the instrument, quote currency.
    """
    trailing, even, time = spec.trailing_stop, spec.break_even, spec.time_stop
    plan = ExitPlan(
        trail=_away(spec, trailing.distance, pip_size) if isinstance(trailing, TrailingStop) else None,
        trail_after=_away(spec, trailing.after, pip_size) if isinstance(trailing, TrailingStop) else None,
        even_after=_away(spec, even.after, pip_size) if isinstance(even, BreakEven) else None,
        even_plus=float(spec.value_of(even.plus_pips)) * pip_size if isinstance(even, BreakEven) else 0.0,
        time_bars=int(spec.value_of(time.bars)) if isinstance(time, TimeStop) and time.bars else 0,
        clock=_clock(time) if isinstance(time, TimeStop) else None,
        targets=_targets(spec, pip_size),
        stop=laid_level(spec, spec.stop_loss, pip_size, tick_size),
        target=laid_level(spec, spec.take_profit, pip_size, tick_size),
    )
    return None if plan == ExitPlan() else plan


def _clock(time: TimeStop) -> Clock | None:
    minute = time.at_minute
    return None if minute is None else Clock(minute, time.zone)


def _away(spec: StrategySpec, distance: PriceDistance | None, pip_size: float) -> Away | None:
    return None if distance is None else away_of(spec, distance, pip_size)


def _targets(spec: StrategySpec, pip_size: float) -> TargetPlan | None:
    targets = targets_of(spec)
    if not targets:
        return None
    shares = tuple(float(spec.value_of(target.share)) for target in targets)
    return TargetPlan(
        shares=shares,
        distances=tuple(away_of(spec, target.distance, pip_size) for target in targets),
        step=spec.size.step if isinstance(spec.size, RiskSize) else 1,
        closes_all=sum(shares) >= 100.0 - SHARE_TOLERANCE,
    )


def next_strikes(
    clock: Clock | None, ts_open_ns: npt.NDArray[np.int64], bar_ns: int
) -> npt.NDArray[np.int64]:
    """Return for every bar the first bar from it on at whose close a clock strikes.

    Parameters
    ----------
    clock : Clock or None
        None strikes never.
    ts_open_ns : ndarray of shape (n_bars,), int64
        Opening times, UTC.
    bar_ns : int
        Length of a bar.

    Returns
    -------
    ndarray of shape (n_bars,), int64
        `n_bars` where it strikes no more.
    """
    n_bars = ts_open_ns.size
    if clock is None:
        return np.full(n_bars, n_bars, dtype=np.int64)
    bars = np.where(strikes(clock, ts_open_ns, bar_ns), np.arange(n_bars), n_bars)
    return np.minimum.accumulate(bars[::-1])[::-1]


def strikes(clock: Clock, ts_open_ns: npt.NDArray[np.int64], bar_ns: int) -> npt.NDArray[np.bool_]:
    """Return at which bars' closes a clock strikes; never at that of the first.

    Parameters
    ----------
    clock : Clock
        Time of day.
    ts_open_ns : ndarray of shape (n_bars,), int64
        Opening times, UTC.
    bar_ns : int
        Length of a bar.
    """
    ends = ts_open_ns + bar_ns
    minutes = (ends + utc_offsets_ns(clock.zone, ends)) // MINUTE_NS
    day = minutes // MINUTES_PER_DAY
    past = minutes - day * MINUTES_PER_DAY >= clock.minute
    struck = np.zeros(ts_open_ns.size, dtype=bool)
    # By the day of the week, as the script can tell it.
    other_day = day[1:] % 7 != day[:-1] % 7
    struck[1:] = np.where(past[1:], ~past[:-1] | other_day, ~past[:-1] & other_day)
    return struck
