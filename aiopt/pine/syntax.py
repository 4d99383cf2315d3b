"""The syntax tree of a script, by pynescript, and what is asked of its nodes.  Knows no rule of meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aiopt.pine.builtins import ENUMERATIONS, QUALIFIERS, PineType, Qualifier
from aiopt.pine.findings import Finding

SUPPORTED_VERSIONS = (5, 6)

_VERSION_LINE = re.compile(r"//@version=(\d+)\s*$")
_VERSION_MARK = re.compile(r"\s*//\s*@version")


def check_version_line(text: str) -> list[Finding]:
    """Return what is wrong with the line that states the version."""
    lines = text.splitlines()
    marks = [number for number, line in enumerate(lines, start=1) if _VERSION_MARK.match(line)]
    match = _VERSION_LINE.match(lines[0]) if lines else None
    if match is None or int(match[1]) not in SUPPORTED_VERSIONS:
        given = lines[0] if lines else ""
        return [
            Finding(
                1,
                "version",
                f"The first line must be //@version=6 (or 5), but it is {given!r}. Add it at the top.",
            )
        ]
    return [
        Finding(n, "version", "The version may be stated once only. Remove this line.") for n in marks[1:]
    ]


def parse(text: str) -> Any:
    """Return the syntax tree, or the finding that says why there is none."""
    # Imported here: building the ANTLR parser costs a tenth of a second that `aiopt --help` need not pay.
    from pynescript import ast
    from pynescript.ast.error import SyntaxError as PineSyntaxError

    from aiopt.pine.parser_tables import load_tables

    load_tables()
    try:
        return ast.parse(text if text.endswith("\n") else text + "\n")
    except (PineSyntaxError, SyntaxError, ValueError) as failure:
        return Finding(
            _failure_line(failure), "syntax", f"Cannot parse the script: {failure.args[0]}. Correct the line."
        )


def _failure_line(failure: Exception) -> int:
    details = failure.args[1] if len(failure.args) > 1 else None
    line = getattr(details, "lineno", None) or getattr(failure, "lineno", None)
    return line if isinstance(line, int) else 1


def dotted(node: Any) -> str | None:
    """Return ``"ta.ema"`` for an attribute chain or name, None for any other expression."""
    parts: list[str] = []
    while type(node).__name__ == "Attribute":
        parts.append(node.attr)
        node = node.value
    if type(node).__name__ != "Name":
        return None
    return ".".join([node.id, *reversed(parts)])


def weakest(types: Sequence[PineType]) -> Qualifier:
    """Return the qualifier of a value made of values of these types."""
    return max((type_.qualifier for type_ in types), key=QUALIFIERS.index, default="const")


def number(argument: tuple[Any, PineType] | None) -> float | None:
    """Return the value of a literal number, with its sign; None for anything else."""
    if argument is None:
        return None
    node = argument[0]
    sign = 1
    if type(node).__name__ == "UnaryOp" and type(node.op).__name__ == "USub":
        node, sign = node.operand, -1
    value = getattr(node, "value", None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return sign * value


def converts(given: str, wanted: str) -> bool:
    """Return whether Pine converts a value of type `given` to `wanted` by itself."""
    if given == wanted:
        return True
    if given == "na":
        return wanted not in ENUMERATIONS and wanted != "void"
    return given == "int" and wanted == "float"
