"""Which limits hold.  Owns the settings and their rules alone."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from aiopt.errors import ConfigError

BreachAction = Literal["refuse", "kill"]


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Risk limits in front of every order; None: that limit does not hold.

    Attributes
    ----------
    max_position_units : float or None
        Units a strategy may hold in an instrument on one side, its entries at work and the order included.
    max_notional : float or None
        Account currency; value of all that is held on both sides by all strategies, entries included.
    max_orders_per_minute : int or None
        Orders of all strategies in 60 seconds, exits counted and not refused.
    max_daily_loss : float or None
        Account currency; fall of the equity since the trading day began, at 17:00 New York.  Reached once, it
        holds until the next trading day.
    max_drawdown : float or None
        Share of the highest equity, in (0, 1].  Reached once, it holds until a person resets it.
    max_spread_pips : float or None
        Of the quote an entry would fill at.
    max_quote_age_s : float or None
        Seconds since that quote.
    on_loss : str
        What a reached daily loss or drawdown does: ``"refuse"`` entries, or ``"kill"``: the kill switch.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    max_position_units: float | None = None
    max_notional: float | None = None
    max_orders_per_minute: int | None = None
    max_daily_loss: float | None = None
    max_drawdown: float | None = None
    max_spread_pips: float | None = None
    max_quote_age_s: float | None = None
    on_loss: BreachAction = "refuse"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "on_loss":
                if value not in ("refuse", "kill"):
                    raise ConfigError(f"`on_loss` must be refuse or kill, but got {value!r}. Choose one.")
            elif value is not None and not 0 < value < math.inf:  # refuses NaN too
                msg = f"`0 < {name} < inf` must hold, but got {name}={value!r}. "
                raise ConfigError(msg + "Choose another, or leave it out.")
        if self.max_drawdown is not None and self.max_drawdown > 1:
            msg = (
                f"`max_drawdown` is a share of the peak, at most 1, but got {self.max_drawdown!r}. E.g. 0.1."
            )
            raise ConfigError(msg)
