"""What readings decide in the screen: signals they hold back, sizes they scale.

Owns how `aiopt.strategy.reading_gate`'s arrays become bits and sizes of a run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.indicators.windows import FloatArray
from aiopt.screen.machine import ENTRY_LONG, ENTRY_SHORT
from aiopt.screen.orders import Sizing
from aiopt.strategy.reading_gate import GateArrays
from aiopt.strategy.sizes import scaled_units
from aiopt.strategy.spec import RiskSize, StrategySpec


def sizing_of(spec: StrategySpec, plain: Sizing, factor: FloatArray | None, n_bars: int) -> Sizing:
    """Return how large the entries of a spec are.

    Parameters
    ----------
    spec : StrategySpec
        With its size.
    plain : Sizing
        Account and prices.
    factor : ndarray of shape (n_bars,) or None
        Of readings.
    n_bars : int
        Of the series.
    """
    size = spec.size
    if isinstance(size, RiskSize):
        account = plain.account._replace(step=size.step)
        balance = plain.balance_quote if factor is None else plain.balance_quote * factor
        return plain._replace(risk_pct=float(size.risk_pct), account=account, balance_quote=balance)
    return plain._replace(fixed=scaled_units(size.units, factor, 1 if factor is None else n_bars))


def hold_back(flags: NDArray[np.uint8], gate: GateArrays | None, sizing: Sizing) -> None:
    """Take from signals, in place, the entries that readings refuse or leave less than one unit of."""
    if gate is None:
        return
    sized = sizing.fixed > 0.0 if sizing.fixed.size > 1 else np.True_
    flags[~(gate.long & sized)] &= np.uint8(255 - ENTRY_LONG)
    flags[~(gate.short & sized)] &= np.uint8(255 - ENTRY_SHORT)
