"""A strategy as readable YAML.  Owns quoting and order; knows no rule of a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from aiopt.strategy.spec_exits import EXIT_FIELDS
from aiopt.strategy.spec_limits import LIMIT_FIELDS
from aiopt.strategy.spec_parts import TIME_OF_DAY
from aiopt.yaml_text import looks_like_number


def plain_mapping(spec: msgspec.Struct) -> dict[str, Any]:
    """Return a spec as plain data for a file, without the fields that have no value."""
    data = msgspec.to_builtins(spec)
    if isinstance(data["session"], dict):
        data["session"]["weekdays"] = list(data["session"]["weekdays"])
    for name in ("stop_loss", "take_profit"):
        if isinstance(data[name], dict):
            data[name] = {key: value for key, value in data[name].items() if value is not None}
    for name in (*EXIT_FIELDS, *LIMIT_FIELDS):
        if name in data:
            data[name] = _without_none(data[name])
    return {key: value for key, value in data.items() if value not in (None, "", {})}


def _without_none(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_none(item) for key, item in value.items() if item is not None}


class _Dumper(yaml.SafeDumper):
    """Writes in quotes what some reader of YAML takes for a number, and short lists on one line."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if TIME_OF_DAY.match(text) or looks_like_number(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML for people, keys in their order."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
