"""Hold a pattern beside a symbol: the same meaning, with holes that take any value.

A pattern is read from Pine text like a script.  Variables may have other names as long as each stands for one
of the pattern's; sums and products may be written in either order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from aiopt.pine.importing.reading import read_script
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.symbols import State, Symbol
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.reference.table import builtins

HOLE = "HOLE_"
"""How names of holes begin."""

_COMMUTES = frozenset({"+", "*"})


@dataclass
class Match:
    """What a pattern was matched with.

    Attributes
    ----------
    holes : dict of str to Symbol
        Without the names' beginning.
    keys : dict of str to str
        The pattern's variables and those of the script.
    """

    holes: dict[str, Symbol] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    _done: set[tuple[int, int]] = field(default_factory=set)

    def copy(self) -> Match:
        """Return one that may fail without harm."""
        return Match(dict(self.holes), dict(self.keys), set(self._done))

    def take(self, other: Match) -> None:
        """Become another."""
        self.holes, self.keys, self._done = other.holes, other.keys, other._done


class Matcher:
    """Matches symbols of a script with those of a pattern.

    Parameters
    ----------
    pattern, script : dict of str to State
        The variables of each.
    """

    def __init__(self, pattern: dict[str, State], script: dict[str, State]) -> None:
        self._pattern, self._script = pattern, script

    def match(self, pattern: Symbol, symbol: Symbol, found: Match | None = None) -> Match | None:
        """Return what the holes hold, None if the two say something else."""
        result = Match() if found is None else found
        return result if self._same(pattern, symbol, result) else None

    def _same(self, pattern: Symbol, symbol: Symbol, found: Match) -> bool:
        pair = (id(pattern), id(symbol))
        if pair in found._done:
            return True
        if pattern.op == "opaque":
            return False
        if pattern.op == "hole":
            return _bind(found, pattern.text, symbol)
        if pattern.op == "hist" and pattern.at(0).op == "hole" and symbol.op == "past":
            state = self._script.get(symbol.text)
            return (
                state is not None
                and _bind(found, pattern.at(0).text, state.final)
                and self._same(pattern.at(1), symbol.at(1), found)
            )
        if pattern.op != symbol.op or len(pattern.args) != len(symbol.args):
            return False
        if pattern.op in ("carry", "past"):
            same = self._same_variable(pattern, symbol, found)
        elif pattern.op in _COMMUTES:
            same = self._same_in_some_order(pattern, symbol, found)
        else:
            same = all(self._same_arg(a, b, found) for a, b in zip(pattern.args, symbol.args, strict=True))
        if same:
            found._done.add(pair)
        return same

    def _same_arg(self, one: object, other: object, found: Match) -> bool:
        if isinstance(one, Symbol):
            return isinstance(other, Symbol) and self._same(one, other, found)
        return not isinstance(other, Symbol) and one == other

    def _same_in_some_order(self, pattern: Symbol, symbol: Symbol, found: Match) -> bool:
        left, right = pattern.at(0), pattern.at(1)
        for one, other in ((symbol.at(0), symbol.at(1)), (symbol.at(1), symbol.at(0))):
            attempt = found.copy()
            if self._same(left, one, attempt) and self._same(right, other, attempt):
                found.take(attempt)
                return True
        return False

    def _same_variable(self, pattern: Symbol, symbol: Symbol, found: Match) -> bool:
        if pattern.op == "past" and not self._same_arg(pattern.args[1], symbol.args[1], found):
            return False
        key, other = pattern.text, symbol.text
        if key in found.keys:
            return found.keys[key] == other
        if other in found.keys.values() or key not in self._pattern or other not in self._script:
            return False
        found.keys[key] = other
        mine, theirs = self._pattern[key], self._script[other]
        return self._same(mine.start, theirs.start, found) and self._same(mine.final, theirs.final, found)


def _bind(found: Match, name: str, symbol: Symbol) -> bool:
    name = name.removeprefix(HOLE)
    known = found.holes.get(name)
    if known is None:
        found.holes[name] = symbol
        return True
    return known is symbol


def read_pattern(lines: Iterable[str]) -> Reading:
    """Return what lines of Pine say, names that begin with `HOLE` as holes."""
    return _read("\n".join(lines) + "\n")


@cache
def _read(text: str) -> Reading:
    parsed = parse_script(text)
    assert not parsed.errors, (text, parsed.errors)
    return read_script(parsed.tree, builtins(6), holes=lambda name: name.startswith(HOLE))
