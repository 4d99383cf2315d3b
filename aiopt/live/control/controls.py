"""What commands have changed of a session: part of its committed state.

Owns the record, what it makes of an entry, and which commands were carried out.  Pauses and the kill switch
are the guard's own state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from aiopt.bus.commands import Effect
from aiopt.errors import ConfigError
from aiopt.live.paper.seam import VenueOrder

CONTROLS_VERSION = 1
STATE_KEY = "controls"
_COMMAND = "command:"

Mode = Literal["trade", "observe"]


class Controls(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What differs from the configuration.

    Attributes
    ----------
    version : int
        `CONTROLS_VERSION`.
    modes : dict of str to str
        ``"trade"`` or ``"observe"``, by strategy; as configured where there is none.
    factors : dict of str to float
        By which sizes of new positions are multiplied, by strategy; 1 where there is none.
    specs : dict of str to dict
        Documents of specs that strategies go on by, where a command changed them.
    touched : dict of str to list of str
        Commands that reached a strategy, each once: its trades are no backtest's any more.
    stopping : bool
        The session ends when nothing is open.
    settings : dict of str to any
        Of the configuration the session went by last, see `aiopt.live.control.reloading.settings_of`.
    """

    version: int = CONTROLS_VERSION
    modes: dict[str, Mode] = {}
    factors: dict[str, float] = {}
    specs: dict[str, dict[str, Any]] = {}
    touched: dict[str, list[str]] = {}
    stopping: bool = False
    settings: dict[str, Any] = {}

    def touch(self, strategy: str, command: str) -> None:
        """Take down that a command reached a strategy."""
        known = self.touched.setdefault(strategy, [])
        if command not in known:
            known.append(command)

    def refusal(self, order: VenueOrder) -> tuple[str, str] | None:
        """Return why an order may not go to the venue, rule and reason; None if it may."""
        if order.position_id is not None or self.modes.get(order.strategy, "trade") == "trade":
            return None
        return "observe", f"{order.strategy} is only observed: no entry is sent. Set its mode to trade."


class ControlState:
    """Controls and the commands that were carried out, as a session keeps them.

    Parameters
    ----------
    state : mapping of str to str
        The session's state.
    modes : mapping of str to str
        As configured.

    Raises
    ------
    ConfigError
        If the record is of another version.
    """

    def __init__(self, state: Mapping[str, str], modes: Mapping[str, Mode]) -> None:
        self.controls = controls_of(state) or Controls(
            modes={name: mode for name, mode in modes.items() if mode != "trade"}
        )
        self._applied = {
            key.removeprefix(_COMMAND): msgspec.json.decode(text, type=Effect)
            for key, text in state.items()
            if key.startswith(_COMMAND)
        }
        self._fresh: dict[str, Effect] = {}

    def __repr__(self) -> str:
        return f"<ControlState, {len(self._applied)} commands applied>"

    def applied(self, command_id: str) -> Effect | None:
        """Return what a command changed, if that is committed."""
        return self._applied.get(command_id)

    def note(self, command_id: str, effect: Effect) -> None:
        """Let the next commit hold that a command was carried out."""
        self._fresh[command_id] = effect

    def parts(self) -> dict[str, str]:
        """Return what the next commit has to hold."""
        parts = {
            f"{_COMMAND}{name}": msgspec.json.encode(effect).decode() for name, effect in self._fresh.items()
        }
        return parts | {STATE_KEY: msgspec.json.encode(self.controls).decode()}

    def committed(self) -> None:
        """Take note that a commit holds what `parts` returned."""
        self._applied |= self._fresh
        self._fresh = {}


def controls_of(state: Mapping[str, str]) -> Controls | None:
    """Return the controls in a session's state; None where no commit has any.

    Raises
    ------
    ConfigError
        If they are of another version.
    """
    text = state.get(STATE_KEY)
    if text is None:
        return None
    version = json.loads(text).get("version")
    if version != CONTROLS_VERSION:
        msg = f"The session's controls are of version {version}, but this aiopt reads {CONTROLS_VERSION}."
        raise ConfigError(f"{msg} Go on with the aiopt that wrote them, or begin a new session.")
    return msgspec.json.decode(text, type=Controls)


def changed_by(state: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return what made strategies differ from their backtest, by strategy.

    Commands by name, and ``"observe"`` of one that was configured to be only observed.
    """
    controls = controls_of(state)
    if controls is None:
        return {}
    found = {name: tuple(commands) for name, commands in controls.touched.items()}
    for name, mode in controls.modes.items():
        if mode == "observe" and name not in found:
            found[name] = ("observe",)
    return found
