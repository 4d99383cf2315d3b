"""Distances of stops and targets as numbers, their parameters resolved.

Owns what a distance is a multiple of, and where a price lies that is laid from the entry's own.  Who acts on
it is not its business.

Rules
-----
* Distances are fixed at the close of the signal bar, but for per cent of the entry's price.
* From the entry's price lie whole ticks, the nearest number of them (halves up) and at least one: TradingView
  counts ``loss`` and ``profit`` of `strategy.exit` in ticks.
* A level that is rounded away lies half a tick farther, less what float noise could be, before it is rounded
  to the nearest tick: a price on the grid stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from aiopt.strategy.spec_parts import PriceDistance

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

CLOSE = "close"
"""The bar's own series that per cent are taken of; no indicator may have its name."""


FARTHER_TICKS = 0.5 - 1e-9
"""Half a tick, less what a price on the grid may lie beside it by float noise."""


class Away(NamedTuple):
    """A distance: quote currency, or a multiple of a series where it names one.

    Attributes
    ----------
    value : float
        Quote currency, or times the series.
    series : str or None
        Id of an indicator, or `CLOSE`.
    farther : float
        What rounding away adds, quote currency.
    """

    value: float
    series: str | None
    farther: float = 0.0

    def at(self, value_of: Callable[[str], float]) -> float:
        """Return it in quote currency; `value_of` says what a series is on the signal bar."""
        return (self.value if self.series is None else self.value * value_of(self.series)) + self.farther


class LaidLevel(NamedTuple):
    """A stop or target that is laid from the entry's own price.

    Attributes
    ----------
    away : Away
        How far; where `of_entry`, the share of that price.
    of_entry : bool
        Whether it is a share of the entry's price rather than of what the signal bar had.
    waits : bool
        Whether it acts from the close of the entry bar on rather than from the fill.
    farther : float
        What rounding away adds to a share of the entry's price, quote currency.
    """

    away: Away
    of_entry: bool
    waits: bool
    farther: float = 0.0

    def price(self, entry: float, away: float, *, sign: int, tick: float) -> float:
        """Return where it lies.

        Parameters
        ----------
        entry : float
            The entry's price.
        away : float
            `Away.at` of the signal bar.
        sign : int
            1 for a price above the entry's, -1 for one below.
        tick : float
            Smallest price step.
        """
        away = away * entry + self.farther if self.of_entry else away
        return entry + sign * whole_ticks(away, tick) * tick


def whole_ticks(away: float, tick: float) -> int:
    """Return the ticks of a distance from the entry's price."""
    return max(1, math.floor(away / tick + 0.5))


def laid_level(
    spec: StrategySpec, distance: PriceDistance | None, pip_size: float, tick_size: float
) -> LaidLevel | None:
    """Return a level that is laid from the entry's price; None where it lies from the signal bar's close."""
    if distance is None or distance.is_from_signal:
        return None
    away, waits = level_away(spec, distance, pip_size, tick_size), distance.origin == "position"
    if waits and distance.unit == "percent":
        return LaidLevel(Away(away.value, None), of_entry=True, waits=True, farther=away.farther)
    return LaidLevel(away, of_entry=False, waits=waits)


def level_away(spec: StrategySpec, distance: PriceDistance, pip_size: float, tick_size: float) -> Away:
    """Return how far a strategy's `stop_loss` or `take_profit` lies before it is rounded to the nearest tick.

    Parameters as of `away_of`; `tick_size` is the smallest price step.
    """
    away = away_of(spec, distance, pip_size)
    return away._replace(farther=FARTHER_TICKS * tick_size) if distance.rounding == "away" else away


def away_of(spec: StrategySpec, distance: PriceDistance, pip_size: float) -> Away:
    """Return a distance of a strategy.

    Parameters
    ----------
    spec : StrategySpec
        Whose parameters it may name.
    distance : PriceDistance
        What is said.
    pip_size : float
        Of the instrument, quote currency.
    """
    value = float(spec.value_of(distance.value))
    if distance.unit == "percent":
        return Away(value / 100.0, CLOSE)
    if distance.unit == "pips":
        return Away(value * pip_size, None)
    return Away(value, distance.indicator)
