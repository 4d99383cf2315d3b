"""The condition language: text such as ``"crossover(rsi, oversold)"`` to a tree of frozen nodes and back.

Owns the grammar, its limits and the canonical text.  Knows neither the strategy whose names a condition uses
(`aiopt.strategy.spec` resolves them) nor how it is evaluated (`aiopt.strategy.evaluation`).

Grammar
-------
::

    condition  := condition and condition | condition or condition | not condition
                | value < value  (also <= > >= == !=; no chains)
                | crossover(value, value) | crossunder(value, value)
                | rising(value, bars) | falling(value, bars)
    value      := number | name | indicator.output | name[n] | indicator.output[n]
                | value + value  (also - * /) | -value | (value)
                | abs(value) | min(value, value) | max(value, value)
                | highest(value, bars) | lowest(value, bars)
    bars       := whole number | name of a whole-number parameter
    name       := open high low close volume hl2 hlc3 ohlc4 | a parameter | an indicator with one output

Text is parsed with Python's `ast` against this list; nothing is ever evaluated by Python.

Meaning
-------
* ``a`` and ``b`` are equal if ``|a - b| <= 1e-10``; every comparison and crossing uses that.
* A comparison with NaN is false (`not` of it is true); ``x / 0`` is NaN.
* ``x[n]`` is the value n bars ago, NaN before the first bar.
* ``crossover(a, b)``: ``a > b`` now and ``a <= b`` on the bar before.
* ``rising(x, n)``: ``x > x[1] > ... > x[n]``; `falling` mirrors it.
* ``highest(x, n)``: the greatest number among the last n bars including this one; NaN before the n-th bar.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from aiopt.errors import SpecError
from aiopt.strategy.nearest_forms import nearest_function

SERIES = ("open", "high", "low", "close", "volume", "hl2", "hlc3", "ohlc4")
"""Names of the bar's own series."""

EQUALITY_TOLERANCE = 1e-10
"""Values closer than this are equal, as in every Pine engine."""

MAX_TEXT = 1000
MAX_DEPTH = 24
MAX_NODES = 200
MAX_HISTORY = 500

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; never negative (``-5`` is ``Negate(Number(5))``)."""

    value: int | float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or self.value < 0 or abs(self.value) > 2**53:
            msg = f"A number must be finite and between 0 and 2**53, but got {self.value!r}. Use another."
            raise SpecError(msg)


@dataclass(frozen=True, slots=True)
class Series:
    """A series of the bar itself, one of `SERIES`."""

    name: str


@dataclass(frozen=True, slots=True)
class Name:
    """A parameter or an indicator with one output; the strategy says which."""

    name: str


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an indicator with several, ``indicator.output``."""

    indicator: str
    output: str


@dataclass(frozen=True, slots=True)
class History:
    """The value `bars` bars ago of a series or indicator."""

    operand: Series | Name | Output
    bars: int


@dataclass(frozen=True, slots=True)
class Negate:
    """Unary minus."""

    operand: Value


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left operator right`` with one of ``+ - * /``."""

    operator: str
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Call:
    """A function of `FUNCTIONS`; a condition or a value depending on the function."""

    function: str
    arguments: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """``left operator right`` with one of ``< <= > >= == !=``."""

    operator: str
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Not:
    """Negation of a condition."""

    operand: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more conditions."""

    operands: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more conditions."""

    operands: tuple[Condition, ...]


Value = Number | Series | Name | Output | History | Negate | Arithmetic | Call
Condition = Compare | Not | And | Or | Call
Node = Value | Condition


@dataclass(frozen=True, slots=True)
class FunctionDef:
    """Signature of a function: `values` numeric arguments, then `bars` a number of bars or not."""

    values: int
    bars: bool
    condition: bool

    @property
    def arity(self) -> int:
        """How many arguments the function takes."""
        return self.values + self.bars


FUNCTIONS: dict[str, FunctionDef] = {
    "crossover": FunctionDef(values=2, bars=False, condition=True),
    "crossunder": FunctionDef(values=2, bars=False, condition=True),
    "rising": FunctionDef(values=1, bars=True, condition=True),
    "falling": FunctionDef(values=1, bars=True, condition=True),
    "abs": FunctionDef(values=1, bars=False, condition=False),
    "min": FunctionDef(values=2, bars=False, condition=False),
    "max": FunctionDef(values=2, bars=False, condition=False),
    "highest": FunctionDef(values=1, bars=True, condition=False),
    "lowest": FunctionDef(values=1, bars=True, condition=False),
}

RESERVED = frozenset(SERIES) | frozenset(FUNCTIONS)
"""Names a parameter or indicator must not have."""

_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def check_name(name: str, what: str) -> None:
    """Raise unless `name` can name a parameter, an indicator or a strategy.

    Raises
    ------
    SpecError
        If it is not a letter followed by at most 63 letters, digits or underscores, or is a word of the
        language.
    """
    if NAME_PATTERN.match(name) is None:
        msg = (
            f"{what} must be a letter, then at most 63 letters, digits or underscores, but got {name!r}. "
            "Rename it."
        )
        raise SpecError(msg)
    if name in RESERVED or keyword.iskeyword(name):
        msg = f"{what} must not be a word of the condition language, but got {name!r}. Rename it."
        raise SpecError(msg)


def is_condition(node: Node) -> bool:
    """Return whether a node is true or false (rather than a number)."""
    if isinstance(node, Call):
        return FUNCTIONS[node.function].condition
    return isinstance(node, Compare | Not | And | Or)


@lru_cache(maxsize=4096)
def parse_condition(text: str) -> Condition:
    """Parse a condition; a text seen before gives the same tree, as a sweep asks for each thousands of times.

    Parameters
    ----------
    text : str
        At most 1000 ASCII characters; see the grammar in the module's docstring.

    Returns
    -------
    Condition
        The tree; `format_condition` turns it into canonical text.

    Raises
    ------
    SpecError
        With the column (from 1) and what was expected there.

    Examples
    --------
    >>> format_condition(parse_condition("(rsi>50) and not(close<hl2[1])"))
    'rsi > 50 and not close < hl2[1]'
    """
    node = _Parser(text).parse()
    if not is_condition(node):
        msg = (
            f"The condition {text!r} is a number, not true or false. Compare it with "
            "something, e.g. `rsi > 50`."
        )
        raise SpecError(msg)
    return node  # type: ignore[return-value]  # is_condition has just said so


def parse_value(text: str) -> Value:
    """Parse a numeric expression, e.g. ``"fast_length * 2"``; limits and errors as in `parse_condition`."""
    node = _Parser(text).parse()
    if is_condition(node):
        msg = f"The value {text!r} is true or false, not a number. Remove the comparison."
        raise SpecError(msg)
    return node  # type: ignore[return-value]


class _Parser:
    """Turns Python's syntax tree into ours, refusing everything that is not in the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._nodes = 0

    def parse(self) -> Node:
        text = self._text
        if not isinstance(text, str) or not text.strip():
            msg = f"A condition is a text, but got {text!r}. Write one, or leave the key out."
            raise SpecError(msg)
        if len(text) > MAX_TEXT:
            msg = f"The condition has {len(text)} characters, and {MAX_TEXT} are allowed. Shorten it."
            raise SpecError(msg)
        if not text.isascii():
            column = next(i for i, letter in enumerate(text) if not letter.isascii()) + 1
            raise self._error("only ASCII characters are allowed", column, repr(text[column - 1]))
        line = " ".join(text.split())
        self._text = line
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # e.g. "1and 2": ours to judge, not Python's
                tree = ast.parse(line, mode="eval")
        except SyntaxError as failure:
            raise self._error(
                f"it cannot be read ({failure.msg})", failure.offset or len(line) + 1
            ) from failure
        except (ValueError, MemoryError, RecursionError) as failure:
            raise self._error(f"it cannot be read ({failure})", 1) from failure
        return self._node(tree.body, 1)

    def _error(self, rule: str, column: int, found: str = "") -> SpecError:
        part = f" at {found}" if found else ""
        end = "" if rule.endswith(("?", ".")) and not part else "."
        return SpecError(f"Condition {self._text!r}, column {column}: {rule}{part}{end}")

    def _refuse(self, node: ast.expr, rule: str) -> SpecError:
        found = ast.get_source_segment(self._text, node)
        return self._error(rule, node.col_offset + 1, repr(found) if found else "")

    def _node(self, node: ast.expr, depth: int) -> Node:
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise self._error(f"it must be nested at most {MAX_DEPTH} deep; split it up", node.col_offset + 1)
        if self._nodes > MAX_NODES:
            raise self._error(f"it must have at most {MAX_NODES} parts; shorten it", node.col_offset + 1)
        match node:
            case ast.BoolOp():
                operands = tuple(self._condition(value, depth + 1) for value in node.values)
                return And(operands) if isinstance(node.op, ast.And) else Or(operands)
            case ast.UnaryOp(op=ast.Not()):
                return Not(self._condition(node.operand, depth + 1))
            case ast.UnaryOp(op=ast.USub()):
                return Negate(self._value(node.operand, depth + 1))
            case ast.BinOp() if type(node.op) in _OPERATORS:
                left, right = self._value(node.left, depth + 1), self._value(node.right, depth + 1)
                return Arithmetic(_OPERATORS[type(node.op)], left, right)
            case ast.Compare():
                return self._compare(node, depth)
            case ast.Call():
                return self._call(node, depth)
            case ast.Constant():
                return self._number(node)
            case ast.Name() | ast.Attribute():
                return self._reference(node)
            case ast.Subscript():
                return self._history(node)
        raise self._refuse(
            node,
            "only numbers, names, x[n], + - * /, comparisons, and/or/not "
            f"and the functions {', '.join(FUNCTIONS)} are allowed; not the expression",
        )

    def _condition(self, node: ast.expr, depth: int) -> Condition:
        result = self._node(node, depth)
        if not is_condition(result):
            raise self._refuse(node, "and, or, not need conditions, but this is a number: compare it")
        return result  # type: ignore[return-value]

    def _value(self, node: ast.expr, depth: int) -> Value:
        result = self._node(node, depth)
        if is_condition(result):
            raise self._refuse(node, "a number is needed, but this is true or false")
        return result  # type: ignore[return-value]

    def _compare(self, node: ast.Compare, depth: int) -> Compare:
        if len(node.ops) != 1:
            raise self._refuse(node, "comparisons must not be chained: write `a < b and b < c`")
        operator = _COMPARISONS.get(type(node.ops[0]))
        if operator is None:
            raise self._refuse(node, "a comparison must be one of < <= > >= == !=")
        left = self._value(node.left, depth + 1)
        return Compare(operator, left, self._value(node.comparators[0], depth + 1))

    def _call(self, node: ast.Call, depth: int) -> Call:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name is None or name not in FUNCTIONS:
            shown = name or ast.get_source_segment(self._text, node.func) or "?"
            hint = nearest_function(shown, FUNCTIONS)
            raise self._error(f"unknown function {shown!r}.{hint}", node.col_offset + 1)
        definition = FUNCTIONS[name]
        if node.keywords:
            raise self._refuse(node, f"{name} takes its arguments by position")
        if len(node.args) != definition.arity:
            rule = f"{name} takes {definition.arity} argument(s), but got {len(node.args)}"
            raise self._refuse(node, rule)
        arguments = [self._value(argument, depth + 1) for argument in node.args]
        if definition.bars:
            self._check_bars(name, node.args[-1], arguments[-1])
        return Call(name, tuple(arguments))

    def _check_bars(self, function: str, node: ast.expr, value: Value) -> None:
        if isinstance(value, Name):
            return
        if isinstance(value, Number) and isinstance(value.value, int) and 1 <= value.value <= MAX_HISTORY:
            return
        rule = f"{function} needs a whole number from 1 to {MAX_HISTORY}, or a parameter, in the last place"
        raise self._refuse(node, rule)

    def _number(self, node: ast.Constant) -> Number:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(node, "a number is needed")
        if not math.isfinite(value) or value > 2**53:
            raise self._refuse(node, "a number must be finite and at most 2**53")
        return Number(value)

    def _reference(self, node: ast.Name | ast.Attribute) -> Series | Name | Output:
        if isinstance(node, ast.Name):
            if node.id in FUNCTIONS:
                raise self._refuse(node, f"the function {node.id} needs its arguments in parentheses")
            return Series(node.id) if node.id in SERIES else Name(self._checked(node, node.id))
        if not isinstance(node.value, ast.Name):
            raise self._refuse(node, "an indicator's output is written indicator.output")
        return Output(self._checked(node, node.value.id), self._checked(node, node.attr))

    def _checked(self, node: ast.expr, name: str) -> str:
        if NAME_PATTERN.match(name) is None:
            raise self._refuse(
                node, "a name must be a letter followed by at most 63 letters, digits or underscores"
            )
        return name

    def _history(self, node: ast.Subscript) -> History:
        if not isinstance(node.value, ast.Name | ast.Attribute):
            raise self._refuse(node, "x[n] needs a series or an indicator before the bracket")
        bars = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(bars, bool) or not isinstance(bars, int) or not 1 <= bars <= MAX_HISTORY:
            raise self._refuse(node, f"x[n] needs a whole number n from 1 to {MAX_HISTORY}")
        self._nodes += 1
        return History(self._reference(node.value), bars)


_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _MINUS, _ATOM = range(8)


def format_condition(node: Node) -> str:
    """Return the canonical text of a tree; ``parse_condition(format_condition(tree)) == tree``."""
    match node:
        case Number(value):
            return repr(value)
        case Series(name) | Name(name):
            return name
        case Output(indicator, output):
            return f"{indicator}.{output}"
        case History(operand, bars):
            return f"{format_condition(operand)}[{bars}]"
        case Call(function, arguments):
            return f"{function}({', '.join(map(format_condition, arguments))})"
        case Negate(operand):
            return "-" + _wrap(operand, _MINUS)
        case Arithmetic(operator, left, right):
            level = _level(node)
            return f"{_wrap(left, level)} {operator} {_wrap(right, level + 1)}"
        case Compare(operator, left, right):
            return f"{_wrap(left, _SUM)} {operator} {_wrap(right, _SUM)}"
        case Not(operand):
            return "not " + _wrap(operand, _NOT)
        case And(operands):
            return " and ".join(_wrap(operand, _AND + 1) for operand in operands)
        case Or(operands):
            return " or ".join(_wrap(operand, _OR + 1) for operand in operands)
    msg = f"Not a node of a condition: {node!r}"  # type: ignore[unreachable]
    raise TypeError(msg)


def _level(node: Node) -> int:
    match node:
        case Or():
            return _OR
        case And():
            return _AND
        case Not():
            return _NOT
        case Compare():
            return _COMPARE
        case Arithmetic(operator="+" | "-"):
            return _SUM
        case Arithmetic():
            return _PRODUCT
        case Negate():
            return _MINUS
    return _ATOM


def _wrap(node: Node, minimum: int) -> str:
    text = format_condition(node)
    return f"({text})" if _level(node) < minimum else text


def children(node: Node) -> tuple[Node, ...]:
    """Return the direct parts of a node, left to right."""
    match node:
        case Arithmetic() | Compare():
            return (node.left, node.right)
        case And() | Or():
            return node.operands
        case Not() | Negate() | History():
            return (node.operand,)
        case Call():
            return node.arguments
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and everything below it, depth first, left to right."""
    yield node
    for child in children(node):
        yield from walk(child)
