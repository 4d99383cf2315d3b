"""Types of expressions: names, operators, history.  Owns the scopes in which names are declared.

Knows no function; the type of a call is asked of the class that inherits this one, `aiopt.pine.call_rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiopt.errors import did_you_mean
from aiopt.pine.builtins import FUNCTIONS, VARIABLES, PineType
from aiopt.pine.findings import Finding, Notes
from aiopt.pine.syntax import converts, dotted, weakest

MAX_HISTORY = 5000
"""Bars back that a script may look on TradingView."""


_NUMBERS = frozenset({"int", "float"})


@dataclass
class Scope:
    """Names declared in one block."""

    names: dict[str, PineType] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)  # inputs and tuple members: never reassigned


class ExpressionTypes(Notes):
    """Types of expressions; records findings, and raises `Broken` where an expression has no type."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(findings)
        self._scopes = [Scope()]

    @property
    def _global(self) -> bool:
        return len(self._scopes) == 1

    def _single_call(self, node: Any) -> PineType:
        """Return the type of a call that gives one value."""
        raise NotImplementedError

    def _single(self, node: Any) -> PineType:
        """Return the type of an expression with one value."""
        handlers: dict[str, Callable[[Any], PineType]] = {
            "Constant": self._constant,
            "Name": self._variable,
            "Attribute": self._variable,
            "UnaryOp": self._unary,
            "BinOp": self._binary,
            "Compare": self._compare,
            "BoolOp": self._boolean,
            "Conditional": self._conditional,
            "Subscript": self._history,
            "Call": self._single_call,
        }
        handler = handlers.get(type(node).__name__)
        if handler is None:
            kind = type(node).__name__
            raise self.fail(node, "construct", f"{kind} is not among the expressions of a generated script.")
        return handler(node)

    def _constant(self, node: Any) -> PineType:
        value = node.value
        if getattr(node, "kind", None) == "#":
            return PineType("color", "const")
        for type_, base in ((bool, "bool"), (int, "int"), (float, "float"), (str, "string")):
            if isinstance(value, type_):
                return PineType(base, "const")
        raise self.fail(
            node, "construct", f"A literal of type {type(value).__name__} is not used in scripts."
        )

    def _variable(self, node: Any) -> PineType:
        name = dotted(node)
        if name == "na":
            return PineType("na", "const")
        for scope in reversed(self._scopes):
            if name in scope.names:
                return scope.names[name]
        if name in VARIABLES:
            return VARIABLES[name]
        if name in FUNCTIONS:
            raise self.fail(node, "call", f"{name} is a function. Call it: {name}(...).")
        known = [*VARIABLES, *(known for scope in self._scopes for known in scope.names)]
        raise self.fail(
            node, "undeclared", f"{name!r} must be declared or built in.{did_you_mean(str(name), known)}"
        )

    def _unary(self, node: Any) -> PineType:
        if type(node.op).__name__ == "Not":
            return self._require(node.operand, "bool", "The operand of `not`")
        return self._require(node.operand, "float", "The operand of a sign")

    def _binary(self, node: Any) -> PineType:
        left, right = self._single(node.left), self._single(node.right)
        operator = type(node.op).__name__
        if operator == "Add" and left.base == right.base == "string":
            return PineType("string", weakest((left, right)))
        for side in (left, right):
            if side.base not in _NUMBERS:
                raise self.fail(
                    node, "type", f"Arithmetic needs numbers, but got {left.base} and {right.base}."
                )
        if operator in {"Div", "Mod"} and getattr(node.right, "value", None) in {0}:
            self.note(node, "division", "The divisor is zero. The result would be na on every bar.")
        whole = left.base == right.base == "int" and operator != "Div"
        return PineType("int" if whole else "float", weakest((left, right)))

    def _compare(self, node: Any) -> PineType:
        if len(node.ops) > 1:
            raise self.fail(node, "comparison", "Comparisons cannot be chained. Join two of them by `and`.")
        left, right = self._single(node.left), self._single(node.comparators[0])
        if "na" in {left.base, right.base}:
            raise self.fail(node, "comparison", "A comparison with na is never true. Write na(x).")
        numbers = left.base in _NUMBERS and right.base in _NUMBERS
        equality = type(node.ops[0]).__name__ in {"Eq", "NotEq"}
        if not numbers and not (equality and left.base == right.base):
            raise self.fail(node, "type", f"{left.base} and {right.base} cannot be compared like that.")
        return PineType("bool", weakest((left, right)))

    def _boolean(self, node: Any) -> PineType:
        word = type(node.op).__name__.lower()
        return PineType(
            "bool", weakest([self._require(v, "bool", f"An operand of `{word}`") for v in node.values])
        )

    def _conditional(self, node: Any) -> PineType:
        test = self._require(node.test, "bool", "The condition of `?`")
        body, orelse = self._single(node.body), self._single(node.orelse)
        bases = {body.base, orelse.base} - {"na"}
        if len(bases) == 2 and not bases <= _NUMBERS:
            raise self.fail(
                node,
                "type",
                f"Both results of `?` must be of one type, but are {body.base} and {orelse.base}.",
            )
        base = "float" if len(bases) == 2 else next(iter(bases), "na")
        return PineType(base, weakest((test, body, orelse)))

    def _history(self, node: Any) -> PineType:
        value = self._single(node.value)
        if type(node.value).__name__ not in {"Name", "Attribute"}:
            self.note(
                node, "history", "`[]` must follow a variable. Give the expression a variable of its own."
            )
        if value.qualifier in {"const", "input"}:
            self.note(node, "history", "A constant or an input has no history. Leave `[]` out.")
        offset = self._require(node.slice, "int", "The number in `[]`")
        literal = getattr(node.slice, "value", None)
        if type(node.slice).__name__ == "UnaryOp" or (
            isinstance(literal, int) and not 0 <= literal <= MAX_HISTORY
        ):
            self.note(
                node, "history", f"`0 <= bars <= {MAX_HISTORY}` must hold in `[]`. The future is unknown."
            )
        return PineType(value.base, weakest((value, offset, PineType(value.base, "series"))))

    def _require(self, node: Any, base: str, what: str) -> PineType:
        """Return the type of an expression that must be convertible to `base`."""
        given = self._single(node)
        if not converts(given.base, base) or given.base == "na":
            raise self.fail(node, "type", f"{what} must be {base}, but is {given.base}.")
        return given
