"""Conditions as Pine expressions.  Owns the translation of the condition tree; knows no indicator.

What keeps state between bars (crossings, runs, extremes) is lifted into global variables, because Pine v6
skips the right side of `and` and `or`.  Two built-ins are written out because engines differ on them:

* Crossings: the comparison operators treat values within 1e-10 as equal in every engine, `ta.crossover` and
  `ta.crossunder` do not in all of them; and a close equal to its own average is not rare.
* `rising` and `falling` are counters: TradingView's `ta.rising` compares with *each* of the last bars, ours
  bar by bar.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping

from aiopt.pine.text import Names, float_number
from aiopt.strategy.conditions import (
    EQUALITY_TOLERANCE,
    And,
    Arithmetic,
    Call,
    Compare,
    Condition,
    History,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Or,
    Output,
    Series,
    format_condition,
    walk,
)

_INLINE = {"abs": "math.abs", "min": "math.min", "max": "math.max"}

_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def folded(node: Node) -> float | None:
    """Return the value of an expression of literals, computed as the backtest does, or None if it is none.

    Examples
    --------
    >>> from aiopt.strategy.conditions import Arithmetic, Number
    >>> folded(Arithmetic("/", Number(1), Number(4)))
    0.25
    """
    match node:
        case Number(value):
            return float(value)
        case Negate(operand):
            inner = folded(operand)
            return None if inner is None else -inner
        case Arithmetic(sign, left, right):
            first, second = folded(left), folded(right)
            if first is None or second is None or (sign == "/" and abs(second) <= EQUALITY_TOLERANCE):
                return None
            result = _OPERATORS[sign](first, second)
            return result if math.isfinite(result) else None
    return None


class ConditionWriter:
    """Turns condition trees into Pine; `lines` collects the global variables they need.

    Parameters
    ----------
    variables : mapping of str to str
        Name as in conditions (``"rsi"``, ``"macd.signal"``, a parameter) to the Pine variable.
    names : Names
        Where variable names are taken from.
    constants : collection of str
        Names that are the same on every bar: the parameters.
    """

    def __init__(self, variables: Mapping[str, str], names: Names, *, constants: Collection[str]) -> None:
        self._variables = variables
        self._constants = frozenset(constants)
        self._names = names
        self._lifted: dict[str, str] = {}  # canonical text of a call → its variable
        self.lines: list[str] = []

    def condition(self, tree: Condition) -> str:
        """Return a condition as a Pine expression of type bool."""
        match tree:
            case And(operands):
                return " and ".join(self.operand(operand) for operand in operands)
            case Or(operands):
                return " or ".join(self.operand(operand) for operand in operands)
            case Not(operand):
                # `not` binds tighter than a comparison in Pine.
                return f"not {self.operand(operand, negated=True)}"
            case Compare(sign, left, right):
                return f"{self._term(left)} {sign} {self._term(right)}"
            case Call():
                return self._call(tree)
        msg = f"Not a condition: {tree!r}"  # type: ignore[unreachable]
        raise TypeError(msg)

    def operand(self, tree: Condition, *, negated: bool = False) -> str:
        """Return a condition as an operand of `and`, `or`, or of `not` if `negated`."""
        text = self.condition(tree)
        bare = isinstance(tree, Call) or (not negated and isinstance(tree, Compare | Not))
        return text if bare else f"({text})"

    def value(self, node: Node) -> str:
        """Return a number as a Pine expression of type int or float."""
        constant = folded(node)
        if constant is not None:
            return float_number(constant)
        match node:
            case Series(name):
                return name
            case Name() | Output():
                return self._variables[format_condition(node)]
            case History(operand, bars):
                return f"{self.value(operand)}[{bars}]"
            case Negate(operand):
                return f"-{self._term(operand, tight=True)}"
            case Arithmetic(operator="/"):
                return self._quotient(node)
            case Arithmetic(sign, left, right):
                return f"{self._term(left)} {sign} {self._term(right, tight=True)}"
            case Call():
                return self._call(node)
        msg = f"Not a value: {node!r}"
        raise TypeError(msg)

    def _term(self, node: Node, *, tight: bool = False) -> str:
        """Return a value in parentheses if it is compound."""
        text = self.value(node)
        constant = folded(node)
        if constant is not None:
            return f"({text})" if tight and constant < 0 else text
        compound = isinstance(node, Arithmetic) or (tight and isinstance(node, Negate))
        return f"({text})" if compound else text

    def _quotient(self, node: Arithmetic) -> str:
        left, right = self._term(node.left), self._term(node.right, tight=True)
        divisor = folded(node.right)
        if divisor is not None:
            return self._undefined() if abs(divisor) <= EQUALITY_TOLERANCE else f"{left} / {right}"
        # Pine's `==` takes values within 1e-10 as equal, as the backtest's division does: a divisor that near
        # zero gives na.  Some engines would give infinity for an exact 0.
        return f"{right} == 0.0 ? na : {left} / {right}"

    def _undefined(self) -> str:
        name = self._names.take("undefined1")
        self.lines.append(f"float {name} = na")
        return name

    def _call(self, node: Call) -> str:
        if node.function in _INLINE:
            arguments = ", ".join(self.value(argument) for argument in node.arguments)
            return f"{_INLINE[node.function]}({arguments})"
        key = format_condition(node)
        if key not in self._lifted:
            self._lifted[key] = self._lift(node)
        return self._lifted[key]

    def _lift(self, node: Call) -> str:
        if node.function in {"crossover", "crossunder"}:
            return self._crossing(node)
        source, bars = self.value(node.arguments[0]), self._bars(node.arguments[1])
        if node.function in {"highest", "lowest"}:
            name = self._names.take(f"{node.function}1")
            self.lines.append(f"float {name} = ta.{node.function}({source}, {bars})")
            return name
        return self._run(node.function, source, bars)

    def _crossing(self, node: Call) -> str:
        name = self._names.take(f"{node.function}1")
        left, left_before = self._with_past(node.arguments[0], f"{name}Left")
        right, right_before = self._with_past(node.arguments[1], f"{name}Right")
        now, before = (">", "<=") if node.function == "crossover" else ("<", ">=")
        test = f"{left} {now} {right} and {left_before} {before} {right_before}"
        self.lines.append(f"bool {name} = {test}")
        return name

    def _with_past(self, node: Node, wanted: str) -> tuple[str, str]:
        """Return the value of this bar and of the one before; only variables have a past in Pine."""
        text = self.value(node)
        if not self._varies(node):
            return self._term(node), self._term(node)
        if not isinstance(node, Series | Name | Output):
            name = self._names.take(wanted)
            self.lines.append(f"float {name} = {text}")
            text = name
        return text, f"{text}[1]"

    def _varies(self, node: Node) -> bool:
        return any(
            isinstance(part, Series | Output) or (isinstance(part, Name) and part.name not in self._constants)
            for part in walk(node)
        )

    def _run(self, function: str, source: str, bars: str) -> str:
        """Lift `rising` or `falling` as a counter of bars in a row; return the condition."""
        name = self._names.take(f"{function}1")
        series, count = self._names.take(f"{name}Source"), self._names.take(f"{name}Bars")
        sign = ">" if function == "rising" else "<"
        self.lines += [
            f"float {series} = {source}",
            f"var int {count} = 0",
            f"{count} := {series} {sign} {series}[1] ? {count} + 1 : 0",
            f"bool {name} = {count} >= {bars}",
        ]
        return name

    def _bars(self, node: Node) -> str:
        if isinstance(node, Number):
            return str(node.value)
        return self.value(node)
