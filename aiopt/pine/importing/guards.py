"""The conditions under which an order is called, taken apart: position, readiness, session, and what is left.

Owns what is dropped because a strategy of ours has it anyway.  Knows neither stops nor targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiopt.pine.importing.indicators import Indicators
from aiopt.pine.importing.sessions import Sessions
from aiopt.pine.importing.symbols import Symbol, Symbols, conjuncts, constant, spine
from aiopt.strategy.conditions import SERIES

LONG, FLAT, SHORT = "long", "flat", "short"
EVERY = frozenset({LONG, FLAT, SHORT})

_SIZE = {
    ">": frozenset({LONG}),
    ">=": frozenset({LONG, FLAT}),
    "<": frozenset({SHORT}),
    "<=": frozenset({SHORT, FLAT}),
    "==": frozenset({FLAT}),
    "!=": frozenset({LONG, SHORT}),
}
_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}
_OPEN = frozenset({LONG, SHORT})
_TRADES = {
    (">", 0): _OPEN,
    ("!=", 0): _OPEN,
    (">=", 1): _OPEN,
    ("==", 0): frozenset({FLAT}),
    ("<", 1): frozenset({FLAT}),
    ("<=", 0): frozenset({FLAT}),
}


def position_test(symbol: Symbol) -> frozenset[str] | None:
    """Return in which positions a test of the position holds, None if it is another condition."""
    if symbol.op == "not":
        inner = position_test(symbol.at(0))
        return None if inner is None else EVERY - inner
    if symbol.op == "or":
        parts = [position_test(part) for part in symbol.symbols()]
        known = [part for part in parts if part is not None]
        return frozenset().union(*known) if len(known) == len(parts) else None
    if symbol.op not in _SIZE:
        return None
    left, right, sign = symbol.at(0), symbol.at(1), symbol.op
    if constant(left) is not None:
        left, right, sign = right, left, _MIRRORED[sign]
    value = constant(right)
    if left.op != "name" or value is None:
        return None
    if left.text == "strategy.position_size" and value == 0:
        return _SIZE[sign]
    if left.text == "strategy.opentrades":
        return _TRADES.get((sign, int(value)))
    return None


@dataclass
class Guard:
    """The parts of an order's conditions.

    Attributes
    ----------
    core : list of Symbol
        What is left for the condition language.
    allowed : frozenset of str
        Positions in which the order is called.
    sessions : list of Symbol
        Tests that the bar lies in a session.
    tests_position : bool
        Whether it tests the position at all.
    confirmed : list of Symbol
        ``barstate.isconfirmed``, true on every closed bar.
    """

    core: list[Symbol] = field(default_factory=list)
    allowed: frozenset[str] = EVERY
    sessions: list[Symbol] = field(default_factory=list)
    tests_position: bool = False
    confirmed: list[Symbol] = field(default_factory=list)

    @property
    def ids(self) -> frozenset[int]:
        """The smallest parts of the core, for comparison."""
        return frozenset(id(part) for one in self.core for part in conjuncts(one))


class Guards:
    """Takes conditions apart.

    Parameters
    ----------
    symbols, indicators, sessions
        Of the script.
    """

    def __init__(self, symbols: Symbols, indicators: Indicators, sessions: Sessions) -> None:
        self._make, self._indicators, self._sessions = symbols, indicators, sessions
        self.sized: set[int] = set()
        self.waited: dict[int, Symbol] = {}

    def of(self, conditions: Iterable[Symbol], *, sessions: bool = True) -> Guard:
        """Return the parts of conditions that must all hold."""
        found = Guard()
        for condition in conditions:
            self._take(condition, found, sessions=sessions)
        return found

    def _take(self, symbol: Symbol, found: Guard, *, sessions: bool) -> None:
        for piece in spine(symbol, "and"):
            if self._is_special(piece, found, sessions=sessions):
                continue
            nested = piece.op == "and" and any(
                self._is_special(part, Guard(), sessions=sessions) for part in conjuncts(piece)
            )
            if nested:
                self._take(piece, found, sessions=sessions)
            else:
                found.core.append(piece)

    def _is_special(self, piece: Symbol, found: Guard, *, sessions: bool) -> bool:
        """Record a piece that is no condition of the market; return whether it was one."""
        allowed = position_test(piece)
        if allowed is not None:
            found.allowed &= allowed
            found.tests_position = True
            return True
        if piece.op == "name" and piece.text == "barstate.isconfirmed":
            found.confirmed.append(piece)
            return True
        if self._is_readiness(piece) or id(piece) in self.sized:
            return True
        if sessions and self._sessions.session(piece) is not None:
            found.sessions.append(piece)
            return True
        return False

    def _is_readiness(self, piece: Symbol) -> bool:
        """Whether it asks for a value of an indicator, which every strategy of ours waits for."""
        if piece.op != "not" or piece.at(0).op != "call" or piece.at(0).text != "na":
            return False
        inner = piece.at(0).at(2)
        if self._indicators.find(inner) is not None:
            self.waited[id(inner)] = inner
            return True
        return inner.op == "name" and inner.text in SERIES

    def joined(self, parts: Sequence[Symbol]) -> Symbol | None:
        """Return parts as one condition, None if there are none."""
        if not parts:
            return None
        result = parts[0]
        for part in parts[1:]:
            result = self._make.binary("and", result, part, part.place)
        return result


def part_ids(core: Iterable[Symbol]) -> frozenset[int]:
    """Return the smallest parts of a condition, for comparison."""
    return frozenset(id(part) for one in core for part in conjuncts(one))


def opposed(core: Sequence[Symbol], other: Sequence[Symbol]) -> bool:
    """Return whether two conditions never hold on one bar: they compare the same two the opposite way."""
    turned = {">": ("<", "<="), "<": (">", ">="), ">=": ("<",), "<=": (">",)}
    mirrored = {">": (">", ">="), "<": ("<", "<="), ">=": (">",), "<=": ("<",)}
    for one in (part for whole in core for part in conjuncts(whole)):
        for two in (part for whole in other for part in conjuncts(whole)):
            if two.op in turned.get(one.op, ()) and one.args == two.args:
                return True
            if two.op in mirrored.get(one.op, ()) and one.args == two.args[::-1]:
                return True
    return False
