"""YAML and JSON text to plain data, with one reading only.

Owns which scalar is what and refuses text that has two readings.  Knows no configuration.

PyYAML reads YAML 1.1, in which ``1e-5`` is a word, ``20:00`` is the number 1200, ``010`` is 8, a date is an
object and the second of two equal keys silently wins.  Here numbers are those of YAML 1.2 and JSON, times and
dates stay text, a whole number with a leading zero is refused, and so is a key that occurs twice.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """The safe loader with the rules of this module."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping whose keys are different.

        Raises
        ------
        yaml.constructor.ConstructorError
            Names the key that occurs twice and both lines.
        """
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if key in seen:
                problem = f"the key {key!r} occurs twice, in lines {seen[key]} and {line}. Remove one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen[key] = line
        return super().construct_mapping(node, deep)


def _refuse_leading_zero(loader: _Loader, node: yaml.ScalarNode) -> int:
    problem = (
        f"a whole number must not begin with 0, but got {node.value}: YAML 1.1 reads it as octal, "
        "YAML 1.2 as decimal. Leave the zeros out, or write it in quotes where it is text"
    )
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_AMBIGUOUS = "tag:aiopt,2026:leading-zero"
_REPLACED = {_INT, _FLOAT, "tag:yaml.org,2002:timestamp"}

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _REPLACED]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FRACTION = r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
_NUMBERS = {
    tag: re.compile(rf"(?:{pattern})\Z")
    for tag, pattern in (
        (_AMBIGUOUS, r"[-+]?0[0-9_]+"),
        (_INT, r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+"),
        (_FLOAT, rf"{_FRACTION}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
    )
}
for _tag, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, list("-+.0123456789"))
_Loader.add_constructor(_AMBIGUOUS, _refuse_leading_zero)


def load_yaml(text: str) -> Any:
    """Return the plain data of a YAML or JSON text.

    Parameters
    ----------
    text : str
        One document.

    Raises
    ------
    yaml.YAMLError
        If the text is not YAML, holds a key twice in one mapping or a number with two readings; the message
        names line and column.

    Examples
    --------
    >>> load_yaml("{step: 1e-5, opens: 20:00, day: 2018-01-02}")
    {'step': 1e-05, 'opens': '20:00', 'day': '2018-01-02'}
    """
    return yaml.load(text, Loader=_Loader)


def looks_like_number(text: str) -> bool:
    """Return whether a text has to be written in quotes to stay text."""
    return any(pattern.match(text) for pattern in _NUMBERS.values())
