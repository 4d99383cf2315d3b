"""Which type stands for which: conversions, the common type of two, and letters bound by arguments.

Owns Pine's rules of types without a script.  A type that is not known fits everywhere, so that no valid
script is refused for what the checker cannot see.
"""

from __future__ import annotations

from aiopt.pine.checking.scopes import UNKNOWN
from aiopt.pine.reference.types import QUALIFIERS, VARIABLES, Type, weakest

NUMBERS = frozenset({"int", "float"})
PRIMITIVES = frozenset({"int", "float", "bool", "string", "color"})
_FLAGS = frozenset({"plot_simple_display", "plot_display"})


def is_unknown(type_: Type) -> bool:
    """Return whether nothing can be said of a value."""
    return type_.base == "unknown" or type_.base in VARIABLES


def stricter_or_same(given: str, wanted: str) -> bool:
    """Return whether a value of qualifier `given` may stand where `wanted` is asked."""
    return QUALIFIERS.index(given) <= QUALIFIERS.index(wanted)


def converts(given: Type, wanted: Type, *, version: int) -> bool:
    """Return whether Pine takes a value of type `given` where `wanted` is asked, qualifiers aside."""
    if is_unknown(given) or is_unknown(wanted) or wanted.base == "any":
        return given.base not in {"void", "tuple"} or wanted.base != "any"
    if "|" in wanted.base:
        return any(converts(given, Type(base), version=version) for base in wanted.base.split("|"))
    if given.base == "na":
        return wanted.base not in {"void", "tuple"} and not (version >= 6 and wanted.base == "bool")
    if given.base != wanted.base:
        return _widens(given.base, wanted.base, version)
    if len(given.args) != len(wanted.args):
        return not given.args or not wanted.args
    return all(_same(one, other, version) for one, other in zip(given.args, wanted.args, strict=True))


def _widens(given: str, wanted: str, version: int) -> bool:
    if given == "int" and wanted == "float":
        return True
    if version < 6 and wanted == "bool":
        return given in NUMBERS
    return given == "plot_simple_display" and wanted == "plot_display"


def _same(one: Type, other: Type, version: int) -> bool:
    """Elements of collections: an int collection is taken for a float one, nothing else is converted."""
    if is_unknown(one) or is_unknown(other) or one.base == "na":
        return True
    return one.base == other.base or (one.base == "int" and other.base == "float")


def join(one: Type, other: Type) -> Type | None:
    """Return the type of a value that is of either type, None if there is none."""
    qualifier = weakest((one.qualifier, other.qualifier))
    if is_unknown(one) or is_unknown(other):
        return UNKNOWN
    if one.base == "na":
        return other.qualified(qualifier)
    if other.base == "na":
        return one.qualified(qualifier)
    if one.base == other.base:
        if one.base == "tuple":
            return _join_tuples(one, other)
        return (one if one.args else other).qualified(qualifier)
    if {one.base, other.base} == NUMBERS:
        return Type("float", qualifier)
    if {one.base, other.base} == _FLAGS:
        return Type("plot_display", qualifier)
    return None


def _join_tuples(one: Type, other: Type) -> Type | None:
    if len(one.args) != len(other.args):
        return None
    joined = [join(left, right) for left, right in zip(one.args, other.args, strict=True)]
    return Type("tuple", "series", tuple(UNKNOWN if part is None else part for part in joined))


class Binding:
    """What the letters of one signature stand for in one call."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._bound: dict[str, Type] = {}
        self._fixed: set[str] = set()

    def fix(self, letter: str, type_: Type) -> None:
        """Say what a letter between angle brackets stands for."""
        self._bound[letter] = type_
        self._fixed.add(letter)

    def accepts(self, wanted: Type, given: Type) -> bool:
        """Return whether an argument fits a parameter, and bind the letters in it."""
        if wanted.base in VARIABLES and not wanted.args:
            return self._bind(wanted.base, given)
        if wanted.args and given.base == wanted.base and len(given.args) == len(wanted.args):
            return all(
                self._fix_or_match(one, other) for one, other in zip(wanted.args, given.args, strict=True)
            )
        return converts(given, wanted, version=self._version)

    def _fix_or_match(self, wanted: Type, given: Type) -> bool:
        if wanted.base not in VARIABLES:
            return self.accepts(wanted, given)
        if is_unknown(given):
            return True
        if wanted.base in "NC" and given.base not in NUMBERS:
            return False
        known = self._bound.get(wanted.base)
        if known is not None and wanted.base not in self._fixed:
            self.fix(wanted.base, given)
            return converts(known, given, version=self._version)
        if known is not None and wanted.base != "N":
            return _same(given, known, self._version) or _same(known, given, self._version)
        joined = given if known is None else join(known, given)
        self.fix(wanted.base, UNKNOWN if joined is None else joined)
        return joined is not None

    def _bind(self, letter: str, given: Type) -> bool:
        if given.base == "void":
            return False
        if is_unknown(given):
            self._bound.setdefault(letter, UNKNOWN)
            return True
        allowed = {"N": NUMBERS, "C": NUMBERS | {"bool"}}.get(letter)
        if allowed is not None and given.base not in allowed | {"na"}:
            return False
        known = self._bound.get(letter)
        if known is None:
            self._bound[letter] = given
            return True
        if letter in self._fixed and letter != "N":
            return converts(given, known, version=self._version)
        joined = join(known, given)
        if joined is None:
            return False
        self._bound[letter] = joined
        return True

    def result(self, returns: Type, qualifiers: list[str]) -> Type:
        """Return the type of the result: letters replaced, the qualifier that of the arguments if asked."""
        if returns.base in VARIABLES and not returns.args:
            found = self._bound.get(returns.base, UNKNOWN)
        elif returns.args:
            found = self._filled(returns, qualifiers)
        else:
            found = Type(returns.base, "series", (), "const")
        if is_unknown(found) or found.base == "tuple":
            return found
        if returns.qualifier == "weakest":
            return found.qualified(weakest(qualifiers, returns.floor))
        return found.qualified(returns.qualifier)

    def _filled(self, returns: Type, qualifiers: list[str]) -> Type:
        args = tuple(self.result(arg, qualifiers) for arg in returns.args)
        if returns.base == "array" and args and args[0].base == "tuple":
            return Type("tuple", "series", tuple(Type("array", "series", (part,)) for part in args[0].args))
        return Type(returns.base, "series", args)
