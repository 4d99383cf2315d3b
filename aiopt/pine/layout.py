"""The layout of a script's lines: nothing computed twice, no line too long.

Works on emitted text, statement by statement; knows neither strategies nor what a function does, only that
two equal expressions at global scope have equal values on every bar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_WIDTH = 120
"""Longest line of code, where the text can be broken at all."""

_DECLARATION = re.compile(r"(?P<type>float|int|bool) (?P<name>\w+) = (?P<value>.+)\Z")
_TUPLE = re.compile(r"\[(?P<names>[\w, ]+)\] = (?P<value>.+)\Z")
_REASSIGNED = re.compile(r"\s*(\w+) :=")
_PIECE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|//.*\Z")
"""What is not code: strings and comments."""

_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?!\w)")
_INPUT = "input."


def without_repeats(lines: Sequence[str]) -> list[str]:
    """Return the statements of a script with every repeated declaration left out.

    A variable whose whole value is an expression that an earlier variable has is replaced by that earlier
    one, unless a name in it is assigned again somewhere.

    Examples
    --------
    >>> without_repeats(["float a = ta.tr(true)", "float b = ta.tr(true)", "float c = b / 2.0"])
    ['float a = ta.tr(true)', 'float c = a / 2.0']
    """
    changing = {match[1] for line in lines if (match := _REASSIGNED.match(line))}
    renamed: dict[str, str] = {}
    seen: dict[str, list[str]] = {}
    kept = []
    for original in lines:
        line = _rename(original, renamed)
        declared = _declared(line)
        if declared is None:
            kept.append(line)
            continue
        key, names = declared
        if _INPUT in key or changing.intersection([*names, *_NAME.findall(line)]):
            kept.append(line)
        elif key in seen:
            renamed |= dict(zip(names, seen[key], strict=True))
        else:
            seen[key] = names
            kept.append(line)
    return kept


def _declared(line: str) -> tuple[str, list[str]] | None:
    """Return what a declaration at global scope is equal by, and its names."""
    if match := _DECLARATION.match(line):
        return f"{match['type']} {match['value']}", [match["name"]]
    if match := _TUPLE.match(line):
        names = match["names"].split(", ")
        return f"[{len(names)}] {match['value']}", names
    return None


def _rename(line: str, renamed: dict[str, str]) -> str:
    if not renamed:
        return line
    parts, position = [], 0
    for piece in _PIECE.finditer(line):
        parts += [_NAME.sub(lambda m: renamed.get(m[0], m[0]), line[position : piece.start()]), piece[0]]
        position = piece.end()
    parts.append(_NAME.sub(lambda m: renamed.get(m[0], m[0]), line[position:]))
    return "".join(parts)


def wrapped(line: str) -> list[str]:
    """Return one statement as lines of at most `MAX_WIDTH` characters, broken after commas and operators.

    Continuations are indented by two characters more than a block is, so never by a multiple of four, which
    would begin a new statement in Pine.  A line that cannot be broken stays as it is; comments too.
    """
    if len(line) <= MAX_WIDTH or line.lstrip().startswith("//"):
        return [line]
    indent = len(line) - len(line.lstrip())
    assert indent % 4 == 0, line
    room = " " * (indent + 6)
    broken, rest = [], line
    while len(rest) > MAX_WIDTH:
        breaks = _breaks(rest)
        fitting = [at for at in breaks if at <= MAX_WIDTH]
        at = fitting[-1] if fitting else next(iter(breaks), None)
        if at is None:
            break
        broken.append(rest[:at].rstrip())
        rest = room + rest[at:].lstrip()
    return [*broken, rest]


def _breaks(line: str) -> list[int]:
    """Return where a line may be broken: after a comma or an operator, outside of strings, in order."""
    strings = [piece.span() for piece in _PIECE.finditer(line)]
    first = len(line) - len(line.lstrip()) + 1
    found = [match.end() for match in re.finditer(r", | and | or | \+ | \? | : ", line)]
    return [at for at in found if at > first and not any(start < at <= end for start, end in strings)]
