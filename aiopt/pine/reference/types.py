"""Types and signatures of Pine, and the notation in which the table of built-ins writes them.

Owns what a type is: a base, a qualifier, and what a collection holds.  Knows no name of a built-in.

Notation
--------
``(source: series float, length: simple int) -> series float``
    ``name?:`` is optional, ``...name:`` may repeat, ``@6`` exists since version 6, ``@5`` until version 5.
``weakest float``
    A result whose qualifier is the weakest of the arguments'; ``weakest simple float`` is never stricter.
``T K V``
    Stand for any type, the same one wherever they occur; ``N`` for int or float, ``C`` for int, float or
    bool, ``E`` for an enum.  ``<T>(…)`` takes them between angle brackets too, as in ``array.new<T>()``.
``options int``
    A list of constants, as the `options` of an input take it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

QUALIFIERS: Final = ("const", "input", "simple", "series")
"""From the strictest to the weakest: a value may stand where its own or a weaker qualifier is asked."""

VARIABLES: Final = frozenset("TKVNCE")
"""Bases that stand for a type that the arguments decide."""

_TOKEN = re.compile(r"\s*(->|\.\.\.|[A-Za-z_][A-Za-z0-9_.]*(?:\|[A-Za-z_.]+)*|@\d|[?:,<>()\[\]])")


@dataclass(frozen=True)
class Type:
    """A type with its qualifier.

    Attributes
    ----------
    base : str
        ``int``, ``float``, ``bool``, ``string``, ``color``, ``na`` (the literal), ``void``, ``any``,
        ``tuple``, ``array``, ``map``, ``matrix``, ``options``, a type of the table, a type or an enum of the
        script, a letter of `VARIABLES`, or several joined by ``|``.
    qualifier : str
        One of `QUALIFIERS`, or ``weakest``.
    args : tuple of Type
        What a collection or a tuple holds.
    floor : str
        With ``weakest``: the strictest qualifier that the result may have.
    """

    base: str
    qualifier: str = "series"
    args: tuple[Type, ...] = ()
    floor: str = "const"

    def __str__(self) -> str:
        inner = ", ".join(arg.bare for arg in self.args)
        if self.base == "tuple":
            return f"[{inner}]"
        return f"{self.qualifier} {self.bare}"

    @property
    def bare(self) -> str:
        """The type without its qualifier, as a script writes it."""
        inner = ", ".join(arg.bare for arg in self.args)
        if self.base == "tuple":
            return f"[{inner}]"
        name = self.base.replace("|", " or ")
        return f"{name}<{inner}>" if self.args else name

    def qualified(self, qualifier: str) -> Type:
        """Return the same type with another qualifier."""
        return self if qualifier == self.qualifier else Type(self.base, qualifier, self.args)


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, its type with the weakest qualifier it accepts, and when it exists."""

    name: str
    type: Type
    required: bool
    repeats: bool = False
    since: int = 5
    until: int | None = None


@dataclass(frozen=True)
class Signature:
    """One way of calling a function.

    Attributes
    ----------
    template : tuple of str
        Letters that stand between angle brackets.
    parameters : tuple of Parameter
        In positional order; only the last one may repeat.
    returns : Type
        The result; ``void`` if there is none.
    """

    template: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    returns: Type


class _Reader:
    """Read the notation from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != text.replace(" ", ""):
            raise ValueError(f"cannot read the signature {text!r}")
        self._at = 0

    @property
    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek
        if not token or (wanted is not None and token != wanted):
            raise ValueError(f"expected {wanted or 'a name'} in the signature {self._text!r}")
        self._at += 1
        return token

    def accept(self, token: str) -> bool:
        found = self.peek == token
        self._at += found
        return found

    def type(self) -> Type:
        if self.accept("["):
            items = [self.type()]
            while self.accept(","):
                items.append(self.type())
            self.take("]")
            return Type("tuple", "series", tuple(items))
        word = self.take()
        if word == "options":
            return Type("options", "const", (Type(self.take(), "const"),))
        qualifier, floor = "series", "const"
        if word == "weakest":
            qualifier, word = "weakest", self.take()
            if word in QUALIFIERS:
                floor, word = word, self.take()
        elif word in QUALIFIERS:
            qualifier, word = word, self.take()
        args: list[Type] = []
        if self.accept("<"):
            args.append(self.type())
            while self.accept(","):
                args.append(self.type())
            self.take(">")
        return Type(word, qualifier, tuple(args), floor)

    def parameter(self) -> Parameter:
        repeats = self.accept("...")
        name = self.take()
        required = not self.accept("?")
        self.take(":")
        type_ = self.type()
        since, until = 5, None
        if self.peek.startswith("@"):
            version = int(self.take()[1:])
            since, until = (5, 5) if version == 5 else (version, None)
        return Parameter(name, type_, required, repeats, since, until)

    def signature(self) -> Signature:
        template: list[str] = []
        if self.accept("<"):
            template.append(self.take())
            while self.accept(","):
                template.append(self.take())
            self.take(">")
        self.take("(")
        parameters: list[Parameter] = []
        while not self.accept(")"):
            parameters.append(self.parameter())
            if self.peek != ")":
                self.take(",")
        self.take("->")
        return Signature(tuple(template), tuple(parameters), self.end(self.type()))

    def end(self, result: Type) -> Type:
        if self.peek:
            raise ValueError(f"{self.peek!r} is left over in the signature {self._text!r}")
        return result


@cache
def parse_type(text: str) -> Type:
    """Return the type that `text` writes, e.g. ``series float`` or ``array<T>``.

    Raises
    ------
    ValueError
        If the text is not in the notation.
    """
    reader = _Reader(text)
    return reader.end(reader.type())


@cache
def parse_signature(text: str) -> Signature:
    """Return the signature that `text` writes.

    Raises
    ------
    ValueError
        If the text is not in the notation.
    """
    return _Reader(text).signature()


def weakest(qualifiers: list[str] | tuple[str, ...], floor: str = "const") -> str:
    """Return the weakest of some qualifiers, and no stricter one than `floor`."""
    return max((*qualifiers, floor), key=QUALIFIERS.index)
