"""Events and commands as JSON documents and back.

Owns what is said of a document that cannot be read.  Knows nothing of transports.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, Union

import msgspec

from aiopt.bus.commands import COMMAND_TYPES, COMMANDS, Command
from aiopt.bus.events import EVENT_TYPES, EVENTS, Event
from aiopt.bus.failures import BusMessageError
from aiopt.errors import did_you_mean

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]+)`")
_SHOWN = 200


class _Head(msgspec.Struct):
    """What says which type and version a document is of."""

    kind: str | None = None
    command: str | None = None
    id: str | None = None
    schema: int | None = None


_EVENT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[EVENT_TYPES])  # noqa: UP007 - of a tuple
_COMMAND: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[COMMAND_TYPES])  # noqa: UP007 - of a tuple
_HEAD = msgspec.json.Decoder(_Head)
_ENCODER = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """Return an event as JSON.

    Raises
    ------
    BusMessageError
        If a field breaks its rule, so that no reader could take it.
    """
    payload = _ENCODER.encode(event)
    decode_event(payload)
    return payload


def decode_event(payload: bytes) -> Event:
    """Return the event that a JSON document holds.

    Raises
    ------
    BusMessageError
        If it is not JSON, of an unknown kind or another version, or breaks a rule of its kind.
    """
    try:
        event: Event = _EVENT.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as failure:
        raise _unreadable(payload, failure, "event", EVENTS) from failure
    return event


def encode_command(command: Command) -> bytes:
    """Return a command as JSON.

    Raises
    ------
    BusMessageError
        If a field breaks its rule.
    """
    payload = _ENCODER.encode(command)
    decode_command(payload)
    return payload


def decode_command(payload: bytes) -> Command:
    """Return the command that a JSON document holds.

    Raises
    ------
    BusMessageError
        If it is not JSON, of an unknown kind or another version, or breaks a rule of its kind.
    """
    try:
        command: Command = _COMMAND.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as failure:
        raise _unreadable(payload, failure, "command", COMMANDS) from failure
    return command


def head_of(payload: bytes) -> tuple[str | None, str | None]:
    """Return name and id of a document as far as they can be read, also where the rest cannot."""
    try:
        head = _HEAD.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None, None
    return head.kind or head.command, head.id


def _unreadable(payload: bytes, failure: Exception, what: str, known: dict[str, Any]) -> BusMessageError:
    shown = payload[:_SHOWN].decode("utf-8", "replace")
    try:
        head = _HEAD.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        msg = f"A message of the bus must be a JSON object with an {what}, but got {shown!r} ({failure})."
        return BusMessageError(msg + " Find out who writes to this stream.")
    name = head.kind if what == "event" else head.command
    if name is None or name not in known:
        hint = did_you_mean(name or "", known)
        msg = f"There is no {what} {name!r} in this version of aiopt.{hint} Use the version that wrote it."
        return BusMessageError(msg)
    if head.schema is not None and head.schema != 1:
        msg = (
            f"Schema 1 of {what} {name!r} must be used, but got schema {head.schema}: another version of "
            "aiopt wrote it. Use that version."
        )
        return BusMessageError(msg)
    text = str(failure)
    match = _UNKNOWN_FIELD.search(text)
    hint = did_you_mean(match[1], known[name].__struct_fields__) if match else ""
    return BusMessageError(f"The {what} {name!r} with id {head.id!r} breaks its schema: {text}.{hint}")
