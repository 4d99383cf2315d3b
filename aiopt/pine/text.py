"""Pieces of Pine text: literals, comments, names.  Owns escaping, so that no value can become code."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from decimal import Decimal

from aiopt.errors import PineError
from aiopt.pine.checking.words import RESERVED
from aiopt.pine.reference.table import VERSIONS, builtins

COMMENT_WIDTH = 100
"""Longest comment line, in characters."""


def string_literal(text: str) -> str:
    r"""Return `text` as a Pine string: one line, quotes and backslashes escaped.

    Examples
    --------
    >>> print(string_literal('say "a\\b"'))
    "say \"a\\b\""
    """
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def one_line(text: str) -> str:
    """Return `text` with every line break and control character as a space, runs of spaces joined.

    A comment or string that could hold a line break could hold code.
    """
    spaced = (
        " " if unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp", "Cs"} else letter for letter in text
    )
    return " ".join("".join(spaced).split())


def comment(text: str) -> list[str]:
    """Return `text` as comment lines of at most `COMMENT_WIDTH` characters.

    A line that began with ``@version`` would be an instruction to the compiler, so the sign is left out.
    """
    lines: list[str] = []
    line = "//"
    for word in one_line(text).replace("@version", "version").split(" "):
        if len(line) + 1 + len(word) > COMMENT_WIDTH and line not in {"//", "//  "}:
            lines.append(line)
            line = "//  "
        line = f"{line} {word}"
    return [*lines, line]


def number(value: int | float) -> str:
    """Return a number as a Pine literal that reads back as the same float64, without an exponent.

    Examples
    --------
    >>> number(0.0001), number(30.0), number(14), number(-2.5)
    ('0.0001', '30.0', '14', '-2.5')
    """
    if isinstance(value, int):
        return str(value)
    text = format(Decimal(repr(value)), "f")
    return text if "." in text else f"{text}.0"


def float_number(value: int | float) -> str:
    """Return a number as a Pine *float* literal; two whole literals would divide without a fraction in v5."""
    return number(float(value))


def camel_case(name: str) -> str:
    """Return ``snake_case`` as ``camelCase``, the spelling of Pine's style guide."""
    first, *rest = [part for part in name.split("_") if part] or [name]
    return first[:1].lower() + first[1:] + "".join(part[:1].upper() + part[1:] for part in rest)


class Names:
    """Hands out variable names, each once and none that Pine knows already."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        table = builtins(VERSIONS[-1])
        self._taken: set[str] = {*reserved, *RESERVED, *table.namespaces, *table.names}

    def take(self, wanted: str) -> str:
        """Return `wanted`, or the first of ``wanted2``, ``wanted3``, … that is free.

        Raises
        ------
        PineError
            If `wanted` is not made of ASCII letters, digits and underscores, or starts with a digit.
        """
        if not wanted.isascii() or not wanted.isidentifier():
            msg = f"A Pine name must be ASCII letters, digits and underscores, but got {wanted!r}. Rename it."
            raise PineError(msg)
        name = wanted
        suffix = 2
        while name in self._taken:
            name = f"{wanted}{suffix}"
            suffix += 1
        self._taken.add(name)
        return name
