"""Answers as the serving grammar writes them: the text of a value, and why a text is none.

An engine is held to a grammar made of the JSON schema (`aiopt.serving.engines.vllm_settings`: xgrammar, no
arbitrary white space).  It writes keys in the schema's order, no space, numbers with a bound with at most six
decimals and no exponent, and strings of limited length without quotes, backslashes and line ends.  A model
trained on any other text learns what it cannot say.

Owns that form for the part of JSON schema our schemas use; a test holds it against xgrammar itself, text by
text.  Anything else in a schema is refused, never guessed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiopt.errors import ConfigError, DataError

DECIMALS = 6
"""Most decimals of a number that has a bound."""

_FREE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(rf"-?(?:0|[1-9][0-9]*)(?:\.[0-9]{{1,{DECIMALS}}})?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_CHARACTERS = re.compile(r'[^"\\\r\n]*')
_UNWRITABLE = re.compile(r'["\\\x00-\x1f]')

_KEYS = {
    "object": {"type", "properties", "required", "additionalProperties"},
    "array": {"type", "items", "maxItems"},
    "string": {"type", "enum", "maxLength"},
    "integer": {"type", "minimum", "maximum"},
    "number": {"type", "minimum", "maximum", "exclusiveMinimum"},
}


class _Refused(Exception):
    """A text is not of the grammar: what is wrong, and at which character."""


def answer_text(value: Any, schema: Mapping[str, Any]) -> str:
    """Return a value as the serving grammar writes it.

    Parameters
    ----------
    value : Any
        Mappings, sequences, strings and numbers, as the schema has them.
    schema : mapping
        JSON schema of the answer.

    Raises
    ------
    DataError
        If the grammar has no text for the value: names the place and the rule.
    ConfigError
        If the schema uses what this form does not know.
    """
    text = _written(value, schema, "answer")
    reason = why_refused(text, schema)
    if reason:
        raise DataError(f"The serving grammar cannot write this answer: {reason} Correct the value: {text}")
    return text


def why_refused(text: str, schema: Mapping[str, Any]) -> str:
    """Return why the serving grammar rejects a text, naming place and rule; empty if it accepts it.

    Raises
    ------
    ConfigError
        If the schema uses what this form does not know.
    """
    try:
        end = _match(text, 0, schema, "answer")
        if end != len(text):
            raise _Refused(f"the answer must end at character {end}, but goes on with {_shown(text, end)}.")
    except _Refused as refused:
        return str(refused)
    return ""


# --- writing ----------------------------------------------------------------------------------------------


def _written(value: Any, schema: Mapping[str, Any], place: str) -> str:
    kind = _type_of(schema, place)
    if kind == "object":
        if not isinstance(value, Mapping) or set(value) != set(schema["properties"]):
            raise DataError(
                f"{place} must have the keys {', '.join(schema['properties'])}, but is {value!r}."
            )
        parts = (
            f"{json.dumps(name)}:{_written(value[name], part, f'{place}.{name}')}"
            for name, part in schema["properties"].items()
        )
        return "{" + ",".join(parts) + "}"
    if kind == "array":
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise DataError(f"{place} must be a list, but is {value!r}. Give a list.")
        items = (_written(item, schema["items"], f"{place}[{i}]") for i, item in enumerate(value))
        return "[" + ",".join(items) + "]"
    if kind == "string":
        if not isinstance(value, str) or _UNWRITABLE.search(value):
            msg = (
                f"{place} must be text without quotes, backslashes and control characters, but is {value!r}."
            )
            raise DataError(f"{msg} Reword it.")
        return f'"{value}"'
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{place} must be a finite number, but is {value!r}. Give a number.")
    if kind == "integer":
        if value != int(value):
            raise DataError(f"{place} must be a whole number, but is {value!r}. Round it.")
        return str(int(value))
    return _number(value)


def _number(value: float) -> str:
    """Return a number with at most `DECIMALS` decimals, without exponent and trailing zeros."""
    text = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


# --- matching ---------------------------------------------------------------------------------------------


def _match(text: str, at: int, schema: Mapping[str, Any], place: str) -> int:
    """Return the end of the part of `text` that `schema` describes and that begins at `at`."""
    return _MATCHERS[_type_of(schema, place)](text, at, schema, place)


def _match_object(text: str, at: int, schema: Mapping[str, Any], place: str) -> int:
    before = "{"
    for name, part in schema["properties"].items():
        at = _expect(text, at, f"{before}{json.dumps(name)}:", place)
        at = _match(text, at, part, f"{place}.{name}")
        before = ","
    return _expect(text, at, "}" if schema["properties"] else "{}", place)


def _match_array(text: str, at: int, schema: Mapping[str, Any], place: str) -> int:
    at = _expect(text, at, "[", place)
    if text.startswith("]", at):
        return at + 1
    for number in range(schema["maxItems"]):
        at = _match(text, at, schema["items"], f"{place}[{number}]")
        if text.startswith("]", at):
            return at + 1
        if number + 1 < schema["maxItems"]:
            at = _expect(text, at, ",", f"{place}[{number + 1}]")
    raise _Refused(f"{place} may have {schema['maxItems']} items, but goes on with {_shown(text, at)}.")


def _match_string(text: str, at: int, schema: Mapping[str, Any], place: str) -> int:
    if "enum" in schema:
        for choice in sorted(schema["enum"], key=len, reverse=True):
            if text.startswith(f'"{choice}"', at):
                return at + len(choice) + 2
        known = ", ".join(schema["enum"])
        raise _Refused(f"{place} must be one of {known}, but is {_shown(text, at)}.")
    at = _expect(text, at, '"', place)
    end = _CHARACTERS.match(text, at).end()  # type: ignore[union-attr]  # matches the empty text too
    if end - at > schema["maxLength"]:
        raise _Refused(f"{place} may have {schema['maxLength']} characters, but has {end - at}.")
    if not text.startswith('"', end):
        msg = f"{place} must be text without quotes, backslashes and line ends, but goes on with "
        raise _Refused(f"{msg}{_shown(text, end)}.")
    return end + 1


def _match_integer(text: str, at: int, schema: Mapping[str, Any], place: str) -> int:
    return _match_figure(_INTEGER, text, at, schema, place)


def _match_number(text: str, at: int, schema: Mapping[str, Any], place: str) -> int:
    bounded = set(schema) & {"minimum", "maximum", "exclusiveMinimum"}
    return _match_figure(_NUMBER if bounded else _FREE_NUMBER, text, at, schema, place)


def _match_figure(form: re.Pattern[str], text: str, at: int, schema: Mapping[str, Any], place: str) -> int:
    found = form.match(text, at)
    if found is None:
        raise _Refused(f"{place} must be a number, but is {_shown(text, at)}.")
    if text[found.end() : found.end() + 1] in {*"0123456789.eE"} - {""}:
        decimals = f" with at most {DECIMALS} decimals and no exponent" if form is _NUMBER else ""
        raise _Refused(f"{place} must be a number{decimals}, but is {_shown(text, at)}.")
    value = float(found[0])
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if not low <= value <= high or value <= schema.get("exclusiveMinimum", -math.inf):
        bounds = ", ".join(f"{name} {schema[name]:g}" for name in schema if name != "type")
        raise _Refused(f"{place} must keep to {bounds}, but is {found[0]}.")
    # Zero has a sign only with decimals, and where the bounds reach below it.
    signed = found[0] == "-0" or (found[0].startswith("-") and value == 0 and low >= 0)
    if signed and form is not _FREE_NUMBER:
        raise _Refused(f"{place} must have no sign at zero, but is {found[0]}.")
    return found.end()


_MATCHERS: dict[str, Callable[[str, int, Mapping[str, Any], str], int]] = {
    "object": _match_object,
    "array": _match_array,
    "string": _match_string,
    "integer": _match_integer,
    "number": _match_number,
}


def _expect(text: str, at: int, wanted: str, place: str) -> int:
    if not text.startswith(wanted, at):
        raise _Refused(f"{place} must go on with {wanted} at character {at}, but has {_shown(text, at)}.")
    return at + len(wanted)


def _shown(text: str, at: int) -> str:
    return f"{text[at : at + 24]!r}" if at < len(text) else "the end of the text"


def _type_of(schema: Mapping[str, Any], place: str) -> str:
    """Return the type of a schema, having made sure that all it says is known here."""
    kind = schema.get("type")
    beyond = set(schema) - _KEYS.get(str(kind), set())
    whole = {
        "object": schema.get("additionalProperties") is False
        and schema.get("required") == list(schema.get("properties", ())),
        "array": schema.get("maxItems", 0) > 0 and "items" in schema,
        "string": ("enum" in schema) != ("maxLength" in schema),
    }.get(str(kind), True)
    if kind not in _KEYS or beyond or not whole:
        msg = (
            f"The schema of {place} must be of the kinds that answers are written in, but is {dict(schema)}."
        )
        raise ConfigError(f"{msg} Use closed objects, lists with maxItems, enums, limited text and numbers.")
    return str(kind)
