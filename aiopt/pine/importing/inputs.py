"""Inputs: their defaults become values, their limits what a search may try.

Knows the ``input.*`` functions; nothing of what an input is used for.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from dataclasses import dataclass

from aiopt.pine.importing.symbols import Symbol, constant
from aiopt.pine.parsing.nodes import Node
from aiopt.strategy.conditions import NAME_PATTERN, RESERVED
from aiopt.strategy.dimensions import Choice, Dimension, FloatRange, IntRange

_NUMBERS = {"input.int": int, "input.float": float, "input.price": float}
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, eq=False)
class InputValue:
    """One input.

    Attributes
    ----------
    key : str
        Of its symbol.
    variable, title : str
        As the script names it; empty where it does not.
    default : Symbol
        As written.
    number : int or float or None
        The default of a number.
    low, high, step : float or None
        ``minval``, ``maxval``, ``step``.
    options : tuple of float
        ``options`` of a number.
    place : Node
        The call.
    """

    key: str
    variable: str
    title: str
    default: Symbol
    number: int | float | None
    low: float | None
    high: float | None
    step: float | None
    options: tuple[float, ...]
    place: Node

    @property
    def is_number(self) -> bool:
        """Whether it is a number a strategy may sweep."""
        return self.number is not None

    @property
    def shown(self) -> str:
        """What a person knows it by."""
        return self.title or self.variable or "input"

    @property
    def wanted_name(self) -> str:
        """The parameter's name that it asks for: what our own scripts call it, else its variable in words."""
        words = snake_case(self.variable.removesuffix("Input") or self.variable)
        if NAME_PATTERN.match(self.title) and snake_case(self.title) in (words, snake_case(self.variable)):
            return self.title
        return words or "input"

    @property
    def dimension(self) -> Dimension | None:
        """The values between its limits, or of its options; None where the script names no end."""
        assert self.number is not None
        if len(set(self.options)) > 1:
            return Choice(tuple(_like(self.number, one) for one in self.options))
        if self.low is None or self.high is None or not self.low < self.high:
            return None
        if isinstance(self.number, int):
            return IntRange(int(self.low), int(self.high), max(1, int(self.step or 1)))
        return FloatRange(float(self.low), float(self.high), self.step)


def _like(number: int | float, value: float) -> int | float:
    return int(value) if isinstance(number, int) else float(value)


def read_input(
    name: str, args: dict[str, Symbol], node: Node, variable: str, count: int
) -> InputValue | None:
    """Return an input; None if its default says no value.

    Parameters
    ----------
    name : str
        ``input.int`` and so on.
    args : dict of str to Symbol
        By parameter.
    node : Node
        The call.
    variable : str
        The variable that is declared with it, or empty.
    count : int
        How many numbers there were before.
    """
    default = args.get("defval")
    if default is None or default.op == "opaque":
        return None
    kind = _NUMBERS.get(name)
    value = constant(default)
    if kind is None and name == "input" and value is not None:
        kind = float if isinstance(default.args[0], float) else int
    if kind is not None and value is None:
        return None
    title = args["title"].text if "title" in args and args["title"].op == "string" else ""
    options = args.get("options")
    listed = [constant(one) for one in options.symbols()] if options is not None else []

    def limit(which: str) -> float | None:
        return constant(args[which]) if which in args else None

    return InputValue(
        key=f"{count}",
        variable=variable,
        title=title,
        default=default,
        number=None if kind is None or value is None else kind(value),
        low=limit("minval"),
        high=limit("maxval"),
        step=limit("step"),
        options=tuple(one for one in listed if one is not None) if kind is not None else (),
        place=node,
    )


def snake_case(text: str) -> str:
    """Return ``fastLength`` as ``fast_length``; what is no letter or digit becomes one underscore."""
    words = _WORD.sub("_", text)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def free_name(wanted: str, taken: Collection[str], fallback: str) -> str:
    """Return a name of a parameter or indicator: `wanted` mended, with a number behind it where taken."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", wanted).lstrip("_0123456789")[:56] or fallback
    if not NAME_PATTERN.match(name):
        name = fallback
    base, suffix = name, 2
    while name in taken or name in RESERVED or keyword.iskeyword(name):
        name = f"{base}_{suffix}"
        suffix += 1
    return name
