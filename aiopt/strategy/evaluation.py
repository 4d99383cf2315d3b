"""Evaluation of condition trees, over whole arrays and bar by bar, with one meaning.

Owns the semantics stated in `aiopt.strategy.conditions` (tolerant comparisons, NaN is false, history).  Knows
nothing of strategies, sessions or stops.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from aiopt.errors import SpecError
from aiopt.indicators.windows import NAN, FloatArray, WindowMax, WindowMin, previous, window_max, window_min
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
    Value,
    format_condition,
    walk,
)

BoolArray = npt.NDArray[np.bool_]

Environment = Mapping[str, FloatArray | float]
"""Name to values: series and indicators as arrays of shape (n_bars,), ``macd.signal`` for one output of
several, parameters as numbers."""


def evaluate(tree: Condition, environment: Environment, n_bars: int) -> BoolArray:
    """Return where a condition holds.

    Parameters
    ----------
    tree : Condition
        From `parse_condition`.
    environment : mapping
        A value for every name in the tree.
    n_bars : int
        Length of the arrays.

    Returns
    -------
    ndarray of shape (n_bars,), bool

    Raises
    ------
    SpecError
        If the environment lacks a name.
    """
    with np.errstate(all="ignore"):  # overflow and inf - inf give inf and NaN, whose comparisons are defined
        return _ArrayEvaluation(environment, n_bars).condition(tree)


def evaluate_value(tree: Value, environment: Environment, n_bars: int) -> FloatArray:
    """Return the values of a numeric expression, shape (n_bars,); see `evaluate`."""
    with np.errstate(all="ignore"):
        return _ArrayEvaluation(environment, n_bars).values(tree)


class _ArrayEvaluation:
    def __init__(self, environment: Environment, n_bars: int) -> None:
        self._environment = environment
        self._n_bars = n_bars

    def condition(self, node: Condition) -> BoolArray:
        match node:
            case And(operands):
                return np.logical_and.reduce([self.condition(operand) for operand in operands])
            case Or(operands):
                return np.logical_or.reduce([self.condition(operand) for operand in operands])
            case Not(operand):
                return ~self.condition(operand)
            case Compare(operator, left, right):
                return _COMPARE_ARRAYS[operator](self.values(left) - self.values(right))
            case Call("crossover" | "crossunder", (left, right)):
                difference = self.values(left) - self.values(right)
                if node.function == "crossunder":
                    difference = -difference
                return (difference > EQUALITY_TOLERANCE) & (previous(difference) <= EQUALITY_TOLERANCE)
            case Call("rising" | "falling", (value, _)):
                return self._monotone(node.function, self.values(value), self._bars(node))
        raise TypeError(f"Not a condition: {node!r}")

    def _monotone(self, function: str, values: FloatArray, bars: int) -> BoolArray:
        steps = values - previous(values)
        if function == "falling":
            steps = -steps
        rises = np.cumsum(steps > EQUALITY_TOLERANCE)
        result = rises >= bars
        result[bars:] = rises[bars:] - rises[:-bars] == bars
        return result

    def _bars(self, node: Call) -> int:
        return _bars(node, self._environment)

    def values(self, node: Value) -> FloatArray:
        """Return the values as an array of shape (n_bars,)."""
        result = np.asarray(self._value(node), dtype=np.float64)
        return result if result.ndim else np.full(self._n_bars, result)

    def _value(self, node: Value) -> FloatArray | float:
        match node:
            case Number(value):
                return float(value)
            case Series() | Name() | Output():
                return _lookup(self._environment, node)
            case History(operand, bars):
                return previous(self.values(operand), bars)
            case Negate(operand):
                return -self._value(operand)
            case Arithmetic("/", left, right):
                divisor = self.values(right)
                zero = np.abs(divisor) <= EQUALITY_TOLERANCE  # a difference of equals is seldom exactly 0
                return np.where(zero, NAN, self._value(left) / np.where(zero, 1.0, divisor))
            case Arithmetic(operator, left, right):
                return _ARITHMETIC_ARRAYS[operator](self._value(left), self._value(right))
            case Call("abs", (value,)):
                return np.abs(self._value(value))
            case Call("min", (left, right)):
                return np.minimum(self._value(left), self._value(right))
            case Call("max", (left, right)):
                return np.maximum(self._value(left), self._value(right))
            case Call("highest", (value, _)):
                return window_max(self.values(value), self._bars(node))
            case Call("lowest", (value, _)):
                return window_min(self.values(value), self._bars(node))
        raise TypeError(f"Not a value: {node!r}")


_COMPARE_ARRAYS: dict[str, Callable[[FloatArray], BoolArray]] = {
    "<": lambda difference: difference < -EQUALITY_TOLERANCE,
    "<=": lambda difference: difference <= EQUALITY_TOLERANCE,
    ">": lambda difference: difference > EQUALITY_TOLERANCE,
    ">=": lambda difference: difference >= -EQUALITY_TOLERANCE,
    "==": lambda difference: np.abs(difference) <= EQUALITY_TOLERANCE,
    "!=": lambda difference: np.abs(difference) > EQUALITY_TOLERANCE,
}

_ARITHMETIC_ARRAYS: dict[str, Callable[..., FloatArray]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
}


def _lookup(
    environment: Mapping[str, FloatArray | float], node: Series | Name | Output
) -> FloatArray | float:
    key = format_condition(node)
    try:
        return environment[key]
    except KeyError:
        msg = f"A condition's names must all have values, but {key!r} has none. Give it one."
        raise SpecError(msg) from None


def _bars(node: Call, environment: Mapping[str, FloatArray | float]) -> int:
    last = node.arguments[-1]
    value = last.value if isinstance(last, Number) else environment[format_condition(last)]
    return int(value)


# --- bar by bar -------------------------------------------------------------------------------------------


class _Step(Protocol):
    """One node of a compiled tree: takes the bar's values, returns its own value; may hold past values."""

    def update(self, values: Mapping[str, float]) -> float: ...


class _Test(Protocol):
    """One condition node of a compiled tree."""

    def update(self, values: Mapping[str, float]) -> bool: ...


class StreamingCondition:
    """Streaming twin of `evaluate`: one condition with the ring buffers its history needs.

    Parameters
    ----------
    tree : Condition
        From `parse_condition`.
    params : mapping of str to number
        Values of the parameters, fixed for the life of the object.
    """

    def __init__(self, tree: Condition, params: Mapping[str, float]) -> None:
        self._test = _compile_condition(tree, params)

    def update(self, values: Mapping[str, float]) -> bool:
        """Add one bar; return whether the condition holds on it.

        Parameters
        ----------
        values : mapping of str to float
            This bar's series and indicator outputs by name.
        """
        return self._test.update(values)


def _compile_condition(node: Condition, params: Mapping[str, float]) -> _Test:
    match node:
        case And(operands):
            return _All([_compile_condition(operand, params) for operand in operands])
        case Or(operands):
            return _Any([_compile_condition(operand, params) for operand in operands])
        case Not(operand):
            return _Inverse(_compile_condition(operand, params))
        case Compare(operator, left, right):
            difference = _difference(left, right, params)
            return _Comparison(difference, _COMPARE_FLOATS[operator])
        case Call("crossover", (left, right)):
            return _Cross(_difference(left, right, params), 1.0)
        case Call("crossunder", (left, right)):
            return _Cross(_difference(left, right, params), -1.0)
        case Call("rising", (value, _)):
            return _Monotone(_compile_value(value, params), 1.0, _bars(node, params))
        case Call("falling", (value, _)):
            return _Monotone(_compile_value(value, params), -1.0, _bars(node, params))
    raise TypeError(f"Not a condition: {node!r}")


def _difference(left: Value, right: Value, params: Mapping[str, float]) -> _Step:
    return _Binary(_compile_value(left, params), _compile_value(right, params), _ARITHMETIC_FLOATS["-"])


def _compile_value(node: Value, params: Mapping[str, float]) -> _Step:
    match node:
        case Number(value):
            return _Constant(float(value))
        case Name(name) if name in params:
            return _Constant(float(params[name]))
        case Series() | Name() | Output():
            return _Current(format_condition(node))
        case History(operand, bars):
            return _Past(_compile_value(operand, params), bars)
        case Negate(operand):
            return _Unary(_compile_value(operand, params), lambda value: -value)
        case Arithmetic(operator, left, right):
            function = _ARITHMETIC_FLOATS[operator]
            return _Binary(_compile_value(left, params), _compile_value(right, params), function)
        case Call("abs", (value,)):
            return _Unary(_compile_value(value, params), abs)
        case Call("min" | "max", (left, right)):
            choose = _minimum if node.function == "min" else _maximum
            return _Binary(_compile_value(left, params), _compile_value(right, params), choose)
        case Call("highest" | "lowest", (value, _)):
            window = WindowMax if node.function == "highest" else WindowMin
            return _Unary(_compile_value(value, params), window(_bars(node, params)).update)
    raise TypeError(f"Not a value: {node!r}")


def _divide(left: float, right: float) -> float:
    return NAN if abs(right) <= EQUALITY_TOLERANCE else left / right


def _minimum(left: float, right: float) -> float:
    return NAN if math.isnan(left) or math.isnan(right) else min(left, right)


def _maximum(left: float, right: float) -> float:
    return NAN if math.isnan(left) or math.isnan(right) else max(left, right)


_ARITHMETIC_FLOATS: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
}

_COMPARE_FLOATS: dict[str, Callable[[float], bool]] = {
    "<": lambda difference: difference < -EQUALITY_TOLERANCE,
    "<=": lambda difference: difference <= EQUALITY_TOLERANCE,
    ">": lambda difference: difference > EQUALITY_TOLERANCE,
    ">=": lambda difference: difference >= -EQUALITY_TOLERANCE,
    "==": lambda difference: abs(difference) <= EQUALITY_TOLERANCE,
    "!=": lambda difference: abs(difference) > EQUALITY_TOLERANCE,
}


class _Constant:
    def __init__(self, value: float) -> None:
        self._value = value

    def update(self, values: Mapping[str, float]) -> float:
        return self._value


class _Current:
    def __init__(self, key: str) -> None:
        self._key = key

    def update(self, values: Mapping[str, float]) -> float:
        return values[self._key]


class _Past:
    def __init__(self, operand: _Step, bars: int) -> None:
        self._operand = operand
        self._ring = deque([NAN] * bars, maxlen=bars)

    def update(self, values: Mapping[str, float]) -> float:
        oldest = self._ring[0]
        self._ring.append(self._operand.update(values))
        return oldest


class _Unary:
    def __init__(self, operand: _Step, function: Callable[[float], float]) -> None:
        self._operand = operand
        self._function = function

    def update(self, values: Mapping[str, float]) -> float:
        return self._function(self._operand.update(values))


class _Binary:
    def __init__(self, left: _Step, right: _Step, function: Callable[[float, float], float]) -> None:
        self._left = left
        self._right = right
        self._function = function

    def update(self, values: Mapping[str, float]) -> float:
        return self._function(self._left.update(values), self._right.update(values))


class _Comparison:
    def __init__(self, difference: _Step, test: Callable[[float], bool]) -> None:
        self._difference = difference
        self._test = test

    def update(self, values: Mapping[str, float]) -> bool:
        return self._test(self._difference.update(values))


class _Cross:
    def __init__(self, difference: _Step, sign: float) -> None:
        self._difference = difference
        self._sign = sign
        self._before = NAN

    def update(self, values: Mapping[str, float]) -> bool:
        now, before = self._sign * self._difference.update(values), self._before
        self._before = now
        return now > EQUALITY_TOLERANCE and before <= EQUALITY_TOLERANCE


class _Monotone:
    def __init__(self, operand: _Step, sign: float, bars: int) -> None:
        self._operand = operand
        self._sign = sign
        self._bars = bars
        self._before = NAN
        self._run = 0

    def update(self, values: Mapping[str, float]) -> bool:
        now = self._operand.update(values)
        self._run = self._run + 1 if self._sign * (now - self._before) > EQUALITY_TOLERANCE else 0
        self._before = now
        return self._run >= self._bars


# All parts see every bar: a part skipped because the answer is known would lose its history.


class _All:
    def __init__(self, parts: list[_Test]) -> None:
        self._parts = parts

    def update(self, values: Mapping[str, float]) -> bool:
        held = [part.update(values) for part in self._parts]
        return all(held)


class _Any:
    def __init__(self, parts: list[_Test]) -> None:
        self._parts = parts

    def update(self, values: Mapping[str, float]) -> bool:
        held = [part.update(values) for part in self._parts]
        return any(held)


class _Inverse:
    def __init__(self, part: _Test) -> None:
        self._part = part

    def update(self, values: Mapping[str, float]) -> bool:
        return not self._part.update(values)


def names_of(node: Node) -> set[str]:
    """Return the names a tree reads: ``close``, ``rsi``, ``macd.signal``, parameters."""
    return {format_condition(part) for part in walk(node) if isinstance(part, Series | Name | Output)}
