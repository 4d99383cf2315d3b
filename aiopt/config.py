"""Typed settings: file < environment < command line.

Owns decoding into frozen `msgspec.Struct` types and the wording of what is wrong with a value.  Knows no
particular configuration: each package declares its own struct.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import yaml

from aiopt.errors import ConfigError, InputError, did_you_mean
from aiopt.yaml_text import load_yaml

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `([^`]+)`(?: - at `([^`]+)`)?")
_WRONG_CHOICE = re.compile(r"^Invalid (?:enum )?value '?([^']*?)'? - at `([^`]+)`$")


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of a value: keys sorted, no white space."""
    return msgspec.json.encode(value, order="sorted")


def content_hash(value: object) -> str:
    """Return the hex SHA-256 of `canonical_json(value)`: equal content, equal hash, on every machine."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def decode(data: object, type_: type[T], *, where: str, error: type[InputError] = ConfigError) -> T:
    """Convert plain data (as parsed from YAML or JSON) to a typed struct.

    Parameters
    ----------
    data : object
        Dicts, lists, strings, numbers.
    type_ : type
        The `msgspec.Struct` to build.
    where : str
        Name of the source for the message, e.g. the file.
    error : type
        Error class to raise.

    Raises
    ------
    InputError
        Of class `error`, naming the key, the rule and, for a misspelt key, the nearest known one.
    """
    try:
        return msgspec.convert(data, type=type_)
    except msgspec.ValidationError as failure:
        text = str(failure)
        match = _UNKNOWN_FIELD.search(text)
        if match is not None:
            place = match[2] or "$"
            hint = did_you_mean(match[1], _known_keys(type_, place))
            text = f"Unknown key {match[1]!r} at {place}.{hint}"
        match = _WRONG_CHOICE.search(text)
        if match is not None:
            choices = _choices(type_, match[2])
            if choices:
                text += f". Choose one of {', '.join(choices)}.{_nearest(match[1], choices)}"
        raise error(f"{where}: {text}") from failure


def _choices(type_: Any, place: str) -> list[str]:
    """Return what may stand at JSON path `place` below `type_`: values of a `Literal`, tags of a union."""
    parent, _, last = _without_indices(place).rpartition(".")
    outer = _type_at(type_, parent)
    found = {field.encode_name: field.type for field in _struct_fields(outer)}.get(last)
    literals = [str(value) for value in _literals(found)]
    tags = [struct.__struct_config__.tag for struct in _structs(outer)]
    return literals or sorted(str(tag) for tag in tags if tag is not None)


def _nearest(value: str, choices: list[str]) -> str:
    hint = did_you_mean(value, choices)
    return hint if "Did you mean" in hint else ""


def _literals(type_: Any) -> list[Any]:
    """Return the values of the `Literal` types in a type."""
    arguments = getattr(type_, "__args__", ())
    if getattr(type_, "__origin__", None) is Literal:
        return list(arguments)
    return [value for argument in arguments for value in _literals(argument)]


def _known_keys(type_: Any, place: str) -> list[str]:
    """Return the field names of the struct at JSON path `place` below `type_` (best effort: a hint only)."""
    return [field.encode_name for field in _struct_fields(_type_at(type_, place))]


def _without_indices(place: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", place)


def _type_at(type_: Any, place: str) -> Any:
    """Return the type at JSON path `place` below `type_`, as far as it can be followed."""
    current = type_
    for name in [piece for piece in _without_indices(place).lstrip("$").split(".") if piece]:
        fields = {field.encode_name: field.type for field in _struct_fields(current)}
        current = fields.get(name, current)
    return current


def _struct_fields(type_: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields of a struct type, looking through unions, lists and dict values."""
    return tuple(field for struct in _structs(type_) for field in msgspec.structs.fields(struct))


def _structs(type_: Any) -> list[type[msgspec.Struct]]:
    """Return the struct types in a type, looking through unions, lists and dict values."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return [type_]
    return [struct for argument in getattr(type_, "__args__", ()) for struct in _structs(argument)]


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that must hold one mapping.

    Raises
    ------
    ConfigError
        If the file is missing, not YAML/JSON, or its top level is not a mapping.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. Check the path.")
    try:
        data = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        raise ConfigError(f"{path}: the file is no valid YAML or JSON: {failure}") from failure
    if data is None:
        return {}
    if not isinstance(data, dict):
        msg = (
            f"{path} must hold keys and values, but it holds a {type(data).__name__}. Write "
            "e.g. `name: value`."
        )
        raise ConfigError(msg)
    return data


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `override` laid over it, mappings merged key by key, everything else replaced."""
    result = dict(base)
    for key, value in override.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def environment_overrides(prefix: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Collect ``PREFIX_A__B=value`` variables as nested settings ``{"a": {"b": value}}``.

    Values are read as YAML scalars, so ``AIOPT_OPTIMIZE__TRIALS=40`` is a number.
    """
    result: dict[str, Any] = {}
    for name, text in sorted((os.environ if environ is None else environ).items()):
        if not name.startswith(prefix + "__"):
            continue
        keys = [key.lower() for key in name[len(prefix) + 2 :].split("__")]
        try:
            nested: Any = load_yaml(text)
        except yaml.YAMLError as failure:
            msg = f"The environment variable {name} holds no YAML value: {text!r}: {failure}"
            raise ConfigError(msg) from failure
        for key in reversed(keys):
            nested = {key: nested}
        result = merge(result, nested)
    return result


def load_config(
    path: Path | None,
    type_: type[T],
    *,
    env_prefix: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> T:
    """Build a typed configuration: defaults < file < environment < `overrides`.

    Parameters
    ----------
    path : Path or None
        YAML or JSON file; None for defaults only.
    type_ : type
        Frozen struct with ``forbid_unknown_fields``.
    env_prefix : str, optional
        Take ``{env_prefix}__KEY`` variables from the environment.
    overrides : mapping, optional
        Highest precedence, usually from the command line.

    Raises
    ------
    ConfigError
        Names the file, the key and the rule.
    """
    data: dict[str, Any] = {} if path is None else read_mapping(path)
    if env_prefix is not None:
        data = merge(data, environment_overrides(env_prefix))
    if overrides:
        data = merge(data, overrides)
    return decode(data, type_, where=str(path) if path is not None else "configuration")
