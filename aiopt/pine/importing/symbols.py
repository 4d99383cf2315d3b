"""What a script's expressions mean, as shared nodes: names resolved, functions inlined, choices made.

Owns the nodes and how they are made: the same meaning is the same object.  A node that depends on settings
of the script alone is made with them, so a switch over a fixed option leaves one branch.  Knows no statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from aiopt.pine.parsing.nodes import Node

Leaf = str | int | float | bool


@dataclass(frozen=True, eq=False, slots=True)
class Symbol:
    """One value of a script.

    Attributes
    ----------
    op : str
        ``number``, ``bool``, ``string``, ``na``, ``name`` (a built-in), ``input``, ``hole`` (of a pattern),
        ``carry`` (a variable as the bar before left it), ``past`` (the same through ``[n]``), ``hist``,
        ``call`` (name, then parameter names and values in turn), ``item``, ``tuple``, ``neg``, ``not``,
        ``cond``, ``opaque`` (what has no meaning here: rule and reason), or a binary operator.
    args : tuple
        Symbols and plain values.
    place : Node
        Where it was first written.
    """

    op: str
    args: tuple[Symbol | Leaf, ...]
    place: Node

    def symbols(self) -> tuple[Symbol, ...]:
        """Return the symbols right below."""
        return tuple(arg for arg in self.args if isinstance(arg, Symbol))

    def at(self, index: int) -> Symbol:
        """Return the argument of that place, which is a symbol."""
        found = self.args[index]
        assert isinstance(found, Symbol), self
        return found

    @property
    def text(self) -> str:
        """The first argument as text."""
        return str(self.args[0])


@dataclass
class State:
    """A variable that is assigned again: its value before the first bar and at the end of each."""

    start: Symbol
    final: Symbol


NOWHERE = Node(1, 1, 1, 1)
LOGIC = ("and", "or")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
ARITHMETIC = ("+", "-", "*", "/", "%")


@dataclass
class Symbols:
    """Makes symbols, each meaning once; holds the variables' states."""

    _known: dict[tuple[object, ...], Symbol] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    _varies: dict[int, bool] = field(default_factory=dict)

    def make(self, op: str, *args: Symbol | Leaf, place: Node = NOWHERE) -> Symbol:
        """Return the symbol of this meaning."""
        key = (op, *((id(arg),) if isinstance(arg, Symbol) else (type(arg), arg) for arg in args))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Symbol(op, args, place)
        return found

    def boolean(self, value: bool, place: Node = NOWHERE) -> Symbol:
        """Return true or false."""
        return self.make("bool", value, place=place)

    def binary(self, op: str, left: Symbol, right: Symbol, place: Node = NOWHERE) -> Symbol:
        """Return ``left op right``; what settings decide is decided."""
        if op in LOGIC:
            decides = op == "or"
            for one, other in ((left, right), (right, left)):
                if one.op == "bool":
                    return one if one.args[0] is decides else other
        if op in ("==", "!="):
            plain = ("string", "bool", "number")
            if left.op in plain and right.op in plain and left.op == right.op:
                return self.boolean((left.args[0] == right.args[0]) == (op == "=="), place)
            for one, other in ((left, right), (right, left)):
                if one.op == "bool":
                    return other if one.args[0] is (op == "==") else self.negation(other, place)
        if op == "+" and left.op == right.op == "string":
            return self.make("string", left.text + right.text, place=place)
        return self.make(op, left, right, place=place)

    def negation(self, operand: Symbol, place: Node = NOWHERE) -> Symbol:
        """Return ``not operand``."""
        if operand.op == "bool":
            return self.boolean(not operand.args[0], place)
        if operand.op == "not":
            return operand.at(0)
        return self.make("not", operand, place=place)

    def choice(self, test: Symbol, then: Symbol, otherwise: Symbol, place: Node = NOWHERE) -> Symbol:
        """Return ``test ? then : otherwise``."""
        if test.op == "bool":
            return then if test.args[0] else otherwise
        return then if then is otherwise else self.make("cond", test, then, otherwise, place=place)

    def history(self, value: Symbol, bars: Symbol, place: Node = NOWHERE) -> Symbol:
        """Return ``value[bars]``; what is the same on every bar has no past of its own."""
        if not self.varies(value):
            return value
        return self.make("hist", value, bars, place=place)

    def varies(self, symbol: Symbol) -> bool:
        """Return whether a symbol may differ from bar to bar."""
        found = self._varies.get(id(symbol))
        if found is None:
            if symbol.op in ("carry", "past", "hole", "opaque") or (
                symbol.op == "call" and not symbol.text.startswith("math.")
            ):
                found = True
            elif symbol.op == "name":
                found = "." not in symbol.text or symbol.text.startswith(
                    ("strategy.", "barstate.", "session.", "ta.")
                )
            else:
                found = any(self.varies(part) for part in symbol.symbols())
            self._varies[id(symbol)] = found
        return found

    def number(self, value: float, place: Node = NOWHERE) -> Symbol:
        """Return a literal."""
        return self.make("number", value, place=place)

    def crossing(self, over: bool, left: Symbol, right: Symbol, place: Node = NOWHERE) -> Symbol:
        """Return ``ta.crossover`` or ``ta.crossunder`` as the two comparisons that it is."""
        one = self.number(1)
        now, before = (">", "<=") if over else ("<", ">=")
        past = self.binary(before, self.history(left, one, place), self.history(right, one, place), place)
        return self.binary("and", self.binary(now, left, right, place), past, place)


def conjuncts(symbol: Symbol, op: str = "and") -> Iterator[Symbol]:
    """Yield the operands of a chain of ``and`` (or another operator), nested ones too."""
    if symbol.op == op:
        yield from conjuncts(symbol.at(0), op)
        yield from conjuncts(symbol.at(1), op)
    else:
        yield symbol


def spine(symbol: Symbol, op: str) -> list[Symbol]:
    """Return the operands of ``a op b op c`` as written, those in brackets on the right left whole."""
    found: list[Symbol] = []
    while symbol.op == op:
        found.append(symbol.at(1))
        symbol = symbol.at(0)
    return [symbol, *reversed(found)]


def below(symbol: Symbol) -> Iterator[Symbol]:
    """Yield a symbol and all below it, each once."""
    seen: set[int] = set()
    waiting = [symbol]
    while waiting:
        current = waiting.pop()
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            waiting += reversed(current.symbols())


def call_args(symbol: Symbol) -> dict[str, Symbol]:
    """Return the arguments of a call by their parameters."""
    rest = symbol.args[1:]
    names, values = rest[::2], rest[1::2]
    return {str(n): v for n, v in zip(names, values, strict=True) if isinstance(v, Symbol)}


def constant(symbol: Symbol) -> float | None:
    """Return the value of an expression of literals, None if it is none."""
    if symbol.op == "number":
        value = symbol.args[0]
        assert isinstance(value, int | float)
        return float(value)
    if symbol.op == "neg":
        inner = constant(symbol.at(0))
        return None if inner is None else -inner
    if symbol.op in ("+", "-", "*", "/"):
        left, right = constant(symbol.at(0)), constant(symbol.at(1))
        if left is None or right is None or (symbol.op == "/" and right == 0.0):
            return None
        return {"+": left + right, "-": left - right, "*": left * right}.get(
            symbol.op, left / right if right else 0.0
        )
    return None
