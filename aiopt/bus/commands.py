"""What a session can be told to do: typed commands, each of one version.

Owns the fields of every command, the ranges they are held to, and what can become of one.  Knows nothing of
who carries them out.

A command is named by its `id`, chosen by whoever sends it: sent twice, it is one command.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aiopt.bus.events import Id, Name, Price, Stamp
from aiopt.errors import ConfigError, did_you_mean

ParameterValue = int | float | bool | str

Rule = Literal[
    "schema",  # another version, an unknown command or field
    "session",  # meant for another session
    "expired",  # later than its sender wanted
    "id_reused",  # the id of another command
    "unknown_strategy",
    "unknown_parameter",
    "unknown_position",
    "unknown_model",
    "out_of_range",
    "wrong_type",
    "bad_spec",
    "bad_config",
    "market_closed",
    "state",  # not in the state the session is in
    "limit",  # a risk limit stands against it
    "not_supported",
]
"""Why a command may be refused."""


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command"):
    """What every command has.

    Attributes
    ----------
    id : str
        Chosen by the sender; the same command keeps it when it is sent again.
    session : str
        Which session is meant.
    by : str
        Who asks, for the audit journal.
    made_ns : int
        When, nanoseconds since 1970 by the sender's clock.
    expires_ns : int or None
        After this moment it is refused instead: what is urgent now may be wrong tomorrow.
    """

    id: Id
    session: Name
    by: Name
    made_ns: Stamp
    expires_ns: Stamp | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                msg = f"`{name}` must be finite, but is {value}"
                raise ValueError(msg)

    @property
    def name(self) -> str:
        """The tag of the command's type, as in the documents on the bus."""
        return str(self.__struct_config__.tag)

    def __repr__(self) -> str:
        return f"<{self.name} {self.id} for {self.session} by {self.by}>"


class PauseEntries(Command, frozen=True, kw_only=True, tag="pause_entries"):
    """Open no new positions, of one strategy or of all; exits go on."""

    schema: Literal[1] = 1
    strategy: Name | None = None


class ResumeEntries(Command, frozen=True, kw_only=True, tag="resume_entries"):
    """Open new positions again, of one strategy or of all."""

    schema: Literal[1] = 1
    strategy: Name | None = None


class SetParameters(Command, frozen=True, kw_only=True, tag="set_parameters"):
    """Give parameters of a strategy other values, within the ranges of its spec; all of them or none."""

    schema: Literal[1] = 1
    strategy: Name
    values: Annotated[dict[str, ParameterValue], Meta(min_length=1)]


class SetLevels(Command, frozen=True, kw_only=True, tag="set_levels"):
    """Move the stop loss, the target or both of an open position; what is not given stays."""

    schema: Literal[1] = 1
    strategy: Name
    position_id: Id
    stop: Price | None = None
    target: Price | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop is None and self.target is None:
            msg = "`stop` or `target` must be given"
            raise ValueError(msg)


class SetSizeFactor(Command, frozen=True, kw_only=True, tag="set_size_factor"):
    """Multiply the size of new positions, of one strategy or of all, by a factor in [0, 10]."""

    schema: Literal[1] = 1
    strategy: Name | None = None
    factor: Annotated[float, Meta(ge=0, le=10)]


class SwapSpec(Command, frozen=True, kw_only=True, tag="swap_spec"):
    """Let a strategy go on by another spec, given as the document that `aiopt specs show --json` prints."""

    schema: Literal[1] = 1
    strategy: Name
    spec: Annotated[dict[str, Any], Meta(min_length=1)]


class SwitchModel(Command, frozen=True, kw_only=True, tag="switch_model"):
    """Ask another model for readings; None: read by rules."""

    schema: Literal[1] = 1
    model: Name | None


class SetMode(Command, frozen=True, kw_only=True, tag="set_mode"):
    """Trade, or only observe: then signals and would-be trades are told and no order is sent."""

    schema: Literal[1] = 1
    strategy: Name | None = None
    mode: Literal["observe", "trade"]


class ReloadConfig(Command, frozen=True, kw_only=True, tag="reload_config"):
    """Go on by the settings of a configuration that may change while a session runs; all of them or none."""

    schema: Literal[1] = 1
    config: Annotated[dict[str, Any], Meta(min_length=1)]


class Flatten(Command, frozen=True, kw_only=True, tag="flatten"):
    """Cancel the orders and close the positions of one strategy or of all."""

    schema: Literal[1] = 1
    strategy: Name | None = None


class Kill(Command, frozen=True, kw_only=True, tag="kill"):
    """No new orders, cancel, close, confirm flat, halt."""

    schema: Literal[1] = 1
    reason: Name


class StopSession(Command, frozen=True, kw_only=True, tag="stop_session"):
    """End the session in order; `flatten` says whether positions are closed first."""

    schema: Literal[1] = 1
    flatten: bool


COMMAND_TYPES: tuple[type[Command], ...] = (
    *(PauseEntries, ResumeEntries, SetParameters, SetLevels, SetSizeFactor, SwapSpec),
    *(SwitchModel, SetMode, ReloadConfig, Flatten, Kill, StopSession),
)
"""Every type of command."""

COMMANDS: dict[str, type[Command]] = {str(kind.__struct_config__.tag): kind for kind in COMMAND_TYPES}
"""Type by tag."""


class Effect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a command changed: as it was and as it is."""

    before: dict[str, Any]
    after: dict[str, Any]

    def __post_init__(self) -> None:
        # A TypeError here names who made it, not the journal that could not write it later.
        msgspec.json.encode((self.before, self.after))


class Refusal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a command was not carried out; nothing was changed."""

    rule: Rule
    reason: str


class ParameterRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a parameter may be: between `low` and `high`, or one of `choices`."""

    low: float | None = None
    high: float | None = None
    whole: bool = False
    choices: tuple[ParameterValue, ...] = ()

    def __post_init__(self) -> None:
        bounded = self.low is not None and self.high is not None and self.low <= self.high
        if bounded == bool(self.choices):
            msg = f"A range must have `low <= high` or `choices`, but got {msgspec.to_builtins(self)}. "
            raise ConfigError(msg + "Give one of the two.")

    def refusal(self, name: str, value: ParameterValue) -> Refusal | None:
        """Return why a value may not be taken; None where it may."""
        if self.choices:
            # True == 1 and 1 == 1.0 in Python; a choice is meant by its type too.
            if any(type(value) is type(one) and value == one for one in self.choices):
                return None
            text = ", ".join(map(repr, self.choices))
            return Refusal(rule="out_of_range", reason=f"{name} must be one of {text}, but got {value!r}.")
        if isinstance(value, bool | str) or (self.whole and not float(value).is_integer()):
            kind = "a whole number" if self.whole else "a number"
            return Refusal(rule="wrong_type", reason=f"{name} must be {kind}, but got {value!r}.")
        low, high = self.low or 0.0, self.high or 0.0
        if not low <= value <= high:
            reason = f"`{low:g} <= {name} <= {high:g}` must hold, but got {value:g}."
            return Refusal(rule="out_of_range", reason=reason)
        return None


def refused_parameters(
    values: Mapping[str, ParameterValue], ranges: Mapping[str, ParameterRange]
) -> Refusal | None:
    """Return the first reason against new values of parameters; None where all may be taken.

    Parameters
    ----------
    values : mapping of str to int, float, bool or str
        What is asked for.
    ranges : mapping of str to ParameterRange
        Every parameter that may be set.
    """
    for name, value in values.items():
        if name not in ranges:
            reason = f"There is no parameter {name!r} to set.{did_you_mean(name, ranges)}"
            return Refusal(rule="unknown_parameter", reason=reason)
        refusal = ranges[name].refusal(name, value)
        if refusal is not None:
            return refusal
    return None
