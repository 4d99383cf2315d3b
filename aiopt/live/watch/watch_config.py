"""What the watchdog minds and what it does about it.  Owns the settings and their rules alone."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from aiopt.errors import ConfigError

Action = Literal["alert", "no_entries", "flatten"]
ACTIONS = ("alert", "no_entries", "flatten")

_WHOLE = ("back_limit", "confirm_quotes", "recover_quotes", "window")


class WatchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds; None: that is not minded.

    Attributes
    ----------
    stale_after_s : float or None
        Seconds of open market without a new quote after which the feed is stale.
    halt_after_s : float or None
        Seconds stale, for whatever cause, after which it is halted.
    frozen_after_s : float or None
        Seconds with quotes that all have one price after which it is stale.
    max_lag_s : float or None
        Seconds that a quote's stamp may lie behind its arrival.  A feed that is polled is minutes late: say
        so.
    max_ahead_s : float or None
        Seconds that a stamp may lie before its arrival; such a quote is dropped, as bars are cut by stamps.
    back_limit : int
        Quotes in a row with a stamp before the last one's, all dropped, after which the feed is halted.
    jump_pips, jump_factor : float
        A price is absurd if it is further from the median of the last `window` quotes than both `jump_pips`
        and `jump_factor` times their robust range (1.4826 times the median distance from the median).
    window : int
        Quotes of that median.
    confirm_quotes : int
        An absurd price is dropped; that many in a row that lie within `jump_pips` of each other are a real
        move, and the last of them is taken.
    max_spread_pips : float or None
        A wider quote is taken, but the feed is stale.
    recover_quotes : int
        Good quotes in a row, and
    recover_s : float
        seconds of them, after which the feed is live again.
    resume : str
        How it leaves *halted*: ``"self"``, by the same rule, or ``"person"``, by `FeedWatch.reset` alone.
    on_stale, on_halted : tuple of str
        What is done: ``"alert"``, ``"no_entries"``, ``"flatten"``.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    stale_after_s: float | None = 60.0
    halt_after_s: float | None = 600.0
    frozen_after_s: float | None = 900.0
    max_lag_s: float | None = 10.0
    max_ahead_s: float | None = 2.0
    back_limit: int = 20
    jump_pips: float = 50.0
    jump_factor: float = 20.0
    window: int = 60
    confirm_quotes: int = 5
    max_spread_pips: float | None = 10.0
    recover_quotes: int = 5
    recover_s: float = 2.0
    resume: Literal["self", "person"] = "self"
    on_stale: tuple[Action, ...] = ("alert", "no_entries")
    on_halted: tuple[Action, ...] = ("alert", "no_entries")

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name in ("on_stale", "on_halted"):
                if set(value) - set(ACTIONS):
                    msg = f"`{name}` may name {', '.join(ACTIONS)}, but got {value!r}. Choose of them."
                    raise ConfigError(msg)
            elif name == "resume":
                if value not in ("self", "person"):
                    raise ConfigError(f"`resume` must be self or person, but got {value!r}. Choose one.")
            elif name in _WHOLE:
                if not 1 <= value <= 10_000:
                    msg = f"`1 <= {name} <= 10000` must hold, but got {name}={value!r}. Choose another."
                    raise ConfigError(msg)
            elif name == "recover_s":
                if not 0 <= value < math.inf:
                    raise ConfigError(f"`0 <= recover_s < inf` must hold, but got {value!r}. Choose e.g. 2.")
            elif value is not None and not 0 < value < math.inf:  # refuses NaN too
                msg = f"`0 < {name} < inf` must hold, but got {name}={value!r}. "
                raise ConfigError(msg + "Choose another, or leave it out.")
