"""How large an entry is, over whole arrays and bar by bar: fixed, by risk, and scaled by a reading.

Owns both formulas.  Knows stops as distances; what margin allows is the account's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from aiopt.indicators.windows import FloatArray
from aiopt.strategy.spec import RiskSize, StrategySpec

Balance = float | FloatArray
"""An account in quote currency: one figure, or its worth at the close of each bar."""

MAX_UNITS = 1e9
"""Largest position by risk or by a factor: in a market without any range the formula would have no bound."""

_WHOLE = 1e-6
"""Float noise below a whole number of units is none less."""


def size_step(spec: StrategySpec) -> int | None:
    """Return the units to which sizes by risk are rounded down; None for fixed sizes."""
    return spec.size.step if isinstance(spec.size, RiskSize) else None


def scaled_units(units: int, factor: FloatArray | None, n_bars: int) -> FloatArray:
    """Return a fixed size on every bar: whole units, where a factor is given rounded down.

    Parameters
    ----------
    units : int
        As the strategy has it.
    factor : ndarray of shape (n_bars,) or None
        Of readings.
    n_bars : int
        Length of the result.
    """
    if factor is None:
        return np.full(n_bars, float(units))
    return np.minimum(np.floor(units * factor + _WHOLE), MAX_UNITS)


def units_on_bars(
    spec: StrategySpec, stop: FloatArray, initial_balance: Balance, factor: FloatArray | None = None
) -> FloatArray:
    """Return the size of an entry signalled on each bar, before the account's margin.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    stop : ndarray of shape (n_bars,)
        Distance of its stop, quote currency.
    initial_balance : float or ndarray of shape (n_bars,)
        See `Balance`.
    factor : ndarray of shape (n_bars,), optional
        Of readings: scales units, or the risk.
    """
    size = spec.size
    if not isinstance(size, RiskSize):
        return scaled_units(size.units, factor, stop.size)
    balance = initial_balance if factor is None else initial_balance * factor
    risked = balance * size.risk_pct / 100.0
    measurable = stop > 0.0  # False for NaN
    with np.errstate(over="ignore"):  # a vanishing stop: infinite, then capped
        steps = np.floor(np.minimum(risked / np.where(measurable, stop, 1.0), MAX_UNITS) / size.step)
    return np.where(measurable, steps * size.step, 0.0)


def streaming_units(spec: StrategySpec, initial_balance: Balance) -> Callable[[float, int, float], float]:
    """Return the streaming twin of `units_on_bars`: takes the stop's distance, the bar and the factor."""
    size = spec.size
    if not isinstance(size, RiskSize):
        fixed = size.units

        def whole(stop: float, bar: int, factor: float) -> float:
            return min(float(math.floor(fixed * factor + _WHOLE)), MAX_UNITS)

        return whole
    risk_pct, step = size.risk_pct, size.step

    def units(stop: float, bar: int, factor: float) -> float:
        if not stop > 0.0:
            return 0.0
        balance = initial_balance if isinstance(initial_balance, float) else float(initial_balance[bar])
        return math.floor(min(balance * factor * risk_pct / 100.0 / stop, MAX_UNITS) / step) * float(step)

    return units
