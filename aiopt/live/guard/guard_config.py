"""The settings of everything that guards a session.  Owns that they belong together."""

from __future__ import annotations

import msgspec

from aiopt.errors import ConfigError
from aiopt.live.limits.kill_switch import KillConfig
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.limits.strategy_states import OnFailure
from aiopt.live.watch.watch_config import WatchConfig


class GuardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What guards a session.

    Attributes
    ----------
    limits : LimitsConfig
        In front of every entry.
    kill : KillConfig
        Patience of the kill switch.
    watch : WatchConfig or None
        Of every feed; None: quotes are taken as they come, as in a proof by replay.
    on_failure : str
        What becomes of the position of a strategy that raised: ``"keep_stop"`` or ``"flatten"``.

    Raises
    ------
    ConfigError
        If `on_failure` is neither.
    """

    limits: LimitsConfig = LimitsConfig()
    kill: KillConfig = KillConfig()
    watch: WatchConfig | None = None
    on_failure: OnFailure = "flatten"

    def __post_init__(self) -> None:
        if self.on_failure not in ("keep_stop", "flatten"):
            msg = f"`on_failure` must be keep_stop or flatten, but got {self.on_failure!r}. Choose one."
            raise ConfigError(msg)

    @property
    def lasting(self) -> GuardConfig:
        """What must stay the same while a session lives: all but the limits and what failures leave."""
        return msgspec.structs.replace(self, limits=LimitsConfig(), on_failure="flatten")
