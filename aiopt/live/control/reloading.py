"""A configuration read again while its session runs: what may change, what may not, and why.

Owns which settings decide nothing that has happened.  Knows neither where a configuration comes from nor how
a session takes it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aiopt.bus.commands import Refusal
from aiopt.config import decode
from aiopt.live.session.live_config import LiveConfig

RELOADED = (
    "guard.limits",
    "guard.on_failure",
    "feed.speed",
    "at_end",
    "on_start",
    "profile",
)
"""Settings that take effect from the next quote on."""

_INSTEAD = {
    "strategies": "Use `aiopt live set|spec|mode|size`, or begin a new session.",
    "analyst": "Use `aiopt live model`, or begin a new session.",
    "bus": "Stop the session and run it again with it.",
    "patterns": "Stop the session and run it again with it.",
    "quotes_every_s": "Stop the session and run it again with it.",
}
_NEW = "Begin a new session with it (--out)."


def differences(old: LiveConfig, new: LiveConfig) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two configurations: old and new value by dotted name.

    Names are those of `RELOADED`, or as deep as mappings go.
    """
    found: dict[str, tuple[Any, Any]] = {}
    _compare("", msgspec.to_builtins(old), msgspec.to_builtins(new), found)
    return found


def _compare(name: str, old: Any, new: Any, found: dict[str, tuple[Any, Any]]) -> None:
    if old == new:
        return
    if name in RELOADED or not (isinstance(old, dict) and isinstance(new, dict)):
        found[name] = (old, new)
        return
    for key in old | new:
        _compare(f"{name}.{key}" if name else key, old.get(key), new.get(key), found)


def reload_refusal(old: LiveConfig, new: LiveConfig) -> Refusal | None:
    """Return why a configuration may not take another's place while the session runs; None if it may."""
    fixed = [name for name in differences(old, new) if name not in RELOADED]
    if not fixed:
        return None
    ways = {_INSTEAD.get(name.split(".")[0], _NEW): None for name in fixed}
    reason = (
        f"Only {', '.join(RELOADED)} may change while a session runs, but {', '.join(fixed)} differ"
        f"{'s' if len(fixed) == 1 else ''} too, and nothing was changed. {' '.join(ways)}"
    )
    return Refusal(rule="not_supported", reason=reason)


def settings_of(config: LiveConfig) -> dict[str, Any]:
    """Return the settings of a configuration that may change, by the names of `RELOADED`."""
    plain = msgspec.to_builtins(config)
    found = {}
    for name in RELOADED:
        value: Any = plain
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        found[name] = value
    return found


def with_settings(config: LiveConfig, settings: dict[str, Any]) -> LiveConfig:
    """Return a configuration with the settings that another one has, as `settings_of` returned them.

    Raises
    ------
    ConfigError
        If they are none.
    """
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for name, value in settings.items():
        *path, last = name.split(".")
        place = plain
        for key in path:
            place = place[key]
        if last in place:
            place[last] = value
    return decode(plain, LiveConfig, where="the settings of the session")
