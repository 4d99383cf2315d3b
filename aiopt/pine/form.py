"""The form of an emitted script: strategy or indicator, costs, alerts, plots, the ranges of its inputs.

Owns the choices and their limits.  Knows no text; a form never changes which trades a script makes.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from aiopt.errors import ConfigError
from aiopt.strategy.dimensions import Dimension

Kind = Literal["strategy", "indicator"]

MAX_COMMISSION_PCT = 5.0
MAX_SLIPPAGE_TICKS = 1000


class ScriptCosts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs that a script declares; TradingView charges them in its own figures.

    Attributes
    ----------
    commission_pct : float
        Per order, per cent of its value.
    slippage_ticks : int
        On every market and stop order.

    Raises
    ------
    ConfigError
        If one is negative or absurdly large.
    """

    commission_pct: float = 0.0
    slippage_ticks: int = 0

    def __post_init__(self) -> None:
        given = self.commission_pct
        if not (math.isfinite(given) and 0.0 <= given <= MAX_COMMISSION_PCT):
            msg = (
                f"`0 <= commission_pct <= {MAX_COMMISSION_PCT:g}` must hold, but got {given}. "
                "Give per cent of an order's value, e.g. 0.002 for 20 per million."
            )
            raise ConfigError(msg)
        if not 0 <= self.slippage_ticks <= MAX_SLIPPAGE_TICKS:
            msg = (
                f"`0 <= slippage_ticks <= {MAX_SLIPPAGE_TICKS}` must hold, but got {self.slippage_ticks}. "
                "Give whole ticks; a pip of EUR/USD has 10."
            )
            raise ConfigError(msg)

    @property
    def is_free(self) -> bool:
        """True if nothing is charged."""
        return self.commission_pct == 0.0 and self.slippage_ticks == 0


class ScriptForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a strategy is written.

    Attributes
    ----------
    kind : "strategy" or "indicator"
        An indicator shows the signals and alerts on them; it holds no position and books no trade.
    costs : ScriptCosts
        Declared by a strategy.  Without costs its trades' prices are the parity backtest's.
    alerts : bool
        Orders carry a JSON message, which an alert sends with ``{{strategy.order.alert_message}}``.
    plots : bool
        Stops and targets on the chart, indicators and signals in the data window.
    ranges : dict of str to Dimension
        What was swept, by parameter: the limits and the step of its input.
    """

    kind: Kind = "strategy"
    costs: ScriptCosts = ScriptCosts()
    alerts: bool = True
    plots: bool = True
    ranges: dict[str, Dimension] = {}
