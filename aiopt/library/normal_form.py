"""The normal form of a strategy: what it does, not what it is called.  Owns when two specs are the same.

Two specs have one normal form if they differ in no more than

* names: of the strategy, its family, its parameters and indicators, and its description;
* whether a number stands in a condition, an argument or a distance, or is a parameter of that value;
* the order and the nesting of ``and`` and ``or``, and conditions that are said twice in one of them;
* how a comparison is written: ``a > b`` and ``b < a``, ``a == b`` and ``b == a``, ``crossover(a, b)`` and
  ``crossunder(b, a)``;
* ``not`` over ``and`` and ``or`` (De Morgan), and twice ``not``;
* the order of the terms of one ``+`` or ``*``, and of ``min`` and ``max``.

Each of these gives the same signal on every bar, NaN included.  What does not is kept apart: ``not a < b`` is
true where a value is NaN and ``a >= b`` is not; ``(a + b) + c`` rounds otherwise than ``a + (b + c)``.  Two
specs that trade alike for deeper reasons have two forms.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aiopt.config import canonical_json, content_hash
from aiopt.strategy.conditions import (
    And,
    Arithmetic,
    Call,
    Compare,
    History,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Or,
    Output,
    Series,
)
from aiopt.strategy.spec import CONDITION_FIELDS, StrategySpec

Form = Any
"""Plain data: lists, texts, numbers."""

_RENAMED = ("name", "family", "description", "params", "indicators")
_WORDS = frozenset(
    {"unit", "origin", "rounding", "kind", "timezone", "at", "start", "end", "by", "confidence", "without"}
    | {"bias", "trend", "volatility", "patterns", "no_patterns"}
)
"""Fields of a spec whose texts are words of their own; any other text there names a parameter."""

_MIRRORED = {">": "<", ">=": "<="}
_SYMMETRIC = {"==", "!="}
_COMMUTING = {"+", "*"}


def strategy_id(spec: StrategySpec) -> str:
    """Return the hex SHA-256 of the normal form: what a strategy is known by in the library."""
    return content_hash(normal_form(spec))


def structure_id(spec: StrategySpec) -> str:
    """Return the hash of the normal form without its numbers: equal for all settings of one idea."""
    return content_hash(_Writer(spec, numbers=False).form())


def normal_form(spec: StrategySpec) -> Form:
    """Return what a strategy does as plain data, see above.

    Parameters
    ----------
    spec : StrategySpec
        With its parameters at their values.
    """
    return _Writer(spec, numbers=True).form()


class _Writer:
    """Writes one spec.

    Parameters
    ----------
    spec : StrategySpec
        What is written.
    numbers : bool
        False leaves their places empty.
    """

    def __init__(self, spec: StrategySpec, *, numbers: bool) -> None:
        self._spec, self._numbers = spec, numbers

    def form(self) -> Form:
        """Return the whole form."""
        parts = msgspec.to_builtins(self._spec)
        form = {
            field: self._part(field, value)
            for field, value in parts.items()
            if value is not None and field not in _RENAMED and field not in CONDITION_FIELDS
        }
        for field, tree in self._spec.trees.items():
            form[field] = self._node(tree, negated=False)
        return form

    def _part(self, field: str, value: Any) -> Form:
        """Return stops, session, size and the like, their parameters replaced by values."""
        if isinstance(value, dict):
            return {name: self._part(name, one) for name, one in value.items() if one is not None}
        if isinstance(value, list | tuple):
            return [self._part(field, one) for one in value]
        if field == "indicator" and isinstance(value, str):
            return self._indicator(value)
        if isinstance(value, str):
            return value if field in _WORDS or value not in self._spec.params else self._number(value)
        return value if isinstance(value, bool) or field == "weekdays" else self._number(value)

    def _number(self, value: int | float | str) -> Form:
        if not self._numbers:
            return "#"
        found = self._spec.value_of(value)
        # 30 and 30.0 are one number.
        return int(found) if isinstance(found, float) and found.is_integer() else found

    def _indicator(self, name: str) -> Form:
        indicator, kind = self._spec.indicators[name], self._spec.definition(name)
        args = {
            key: value if isinstance(value, str) else self._number(value)
            for key, value in self._spec.resolved_args(name).items()
        }
        source = indicator.source if "source" in kind.inputs else ""
        return ["indicator", indicator.kind, source, args]

    def _node(self, node: Node, *, negated: bool) -> Form:
        match node:
            case Not(operand):
                return self._node(operand, negated=not negated)
            case And() | Or():
                return self._joined(node, negated=negated)
        form = self._plain(node)
        return ["not", form] if negated else form

    def _joined(self, node: And | Or, *, negated: bool) -> Form:
        """Return operands that commute: nested ones taken in, sorted, each once."""
        word = "and" if isinstance(node, And) != negated else "or"
        found: dict[bytes, Form] = {}
        for operand in node.operands:
            form = self._node(operand, negated=negated)
            for one in form[1:] if form[0] == word else [form]:
                found[canonical_json(one)] = one
        operands = [found[key] for key in sorted(found)]
        return operands[0] if len(operands) == 1 else [word, *operands]

    def _plain(self, node: Node) -> Form:
        match node:
            case Number(value):
                return self._number(value)
            case Series(name):
                return name
            case Name(name):
                return self._number(name) if name in self._spec.params else self._indicator(name)
            case Output(indicator, output):
                return ["output", self._indicator(indicator), output]
            case History(operand, bars):
                return ["ago", self._plain(operand), bars if self._numbers else "#"]
            case Negate(operand):
                inner = self._plain(operand)
                return -inner if isinstance(inner, int | float) else ["-", inner]
            case Arithmetic(operator, left, right):
                return self._two(operator, left, right, commutes=operator in _COMMUTING)
        return self._asked(node)

    def _asked(self, node: Node) -> Form:
        """Return a comparison or a call, the one of two ways to write it that both are turned to."""
        match node:
            case Compare(operator, left, right):
                if operator in _MIRRORED:
                    return self._two(_MIRRORED[operator], right, left, commutes=False)
                return self._two(operator, left, right, commutes=operator in _SYMMETRIC)
            case Call("crossunder", (left, right)):
                return self._two("crossover", right, left, commutes=False)
            case Call(("min" | "max") as function, (left, right)):
                return self._two(function, left, right, commutes=True)
            case Call(function, arguments):
                return [function, *map(self._plain, arguments)]
        msg = f"Not a node of a condition: {node!r}"
        raise TypeError(msg)

    def _two(self, word: str, left: Node, right: Node, *, commutes: bool) -> Form:
        operands = [self._plain(left), self._plain(right)]
        return [word, *(sorted(operands, key=canonical_json) if commutes else operands)]
