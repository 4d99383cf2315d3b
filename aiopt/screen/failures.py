"""What the screen raises.  Owns its two errors."""

from __future__ import annotations

from aiopt.errors import BacktestError, ConfigError


class BeyondScreenError(ConfigError):
    """Bars or assumptions that the screen cannot treat exactly; the engine can."""


class ScreenMismatchError(BacktestError):
    """The screen and the engine disagree on a trial: the screen must not be trusted."""
