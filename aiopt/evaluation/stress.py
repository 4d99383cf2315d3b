"""What is left of a profit when trading costs more.

Owns the arithmetic of extra costs on totals; trades are not simulated again, so stops and targets stay where
they were.  Knows nothing of strategies.
"""

from __future__ import annotations

import math

from aiopt.evaluation.arrays import require


def stressed_profit(
    net_pnl: float,
    *,
    units: float,
    commission: float,
    extra_spread_pips: float,
    commission_factor: float,
    pip_size: float,
) -> float:
    """Return the profit after a wider spread and a higher commission.

    ``net_pnl − extra_spread_pips · pip_size · units − (commission_factor − 1) · commission``: a round trip
    pays the spread once, half at each end.

    Parameters
    ----------
    net_pnl : float
        Profit after the costs of the backtest, quote currency.
    units : float
        Sum of the sizes of all round trips, units of base currency.
    commission : float
        Commission paid, at least 0, quote currency.
    extra_spread_pips : float
        Added to the spread, at least 0.
    commission_factor : float
        At least 1.
    pip_size : float
        Quote currency per pip and unit.

    Returns
    -------
    float
        Quote currency.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    _check(units, commission, pip_size)
    require(
        extra_spread_pips >= 0, "extra_spread_pips >= 0", f"{extra_spread_pips}", "Costs are not negative."
    )
    require(commission_factor >= 1, "commission_factor >= 1", f"{commission_factor}", "1 changes nothing.")
    return net_pnl - extra_spread_pips * pip_size * units - (commission_factor - 1) * commission


def break_even_extra_spread_pips(net_pnl: float, *, units: float, pip_size: float) -> float:
    """Return how much wider the spread may be until the profit is gone.

    Parameters
    ----------
    net_pnl : float
        Quote currency.
    units : float
        Sum of the sizes of all round trips, units of base currency.
    pip_size : float
        Quote currency per pip and unit.

    Returns
    -------
    float
        Pips; negative if there is no profit to lose, NaN without trades.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    _check(units, 0.0, pip_size)
    return net_pnl / (units * pip_size) if units > 0 else float("nan")


def _check(units: float, commission: float, pip_size: float) -> None:
    require(0 <= units < math.inf, "0 <= units < inf", f"units={units}", "Sum the sizes of the trades.")
    require(commission >= 0, "commission >= 0", f"commission={commission}", "Commission is what was paid.")
    require(
        0 < pip_size < math.inf,
        "pip_size > 0",
        f"pip_size={pip_size}",
        "Use the instrument's, e.g. 0.0001 for EURUSD and 0.01 for USDJPY.",
    )
