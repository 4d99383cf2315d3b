"""The conditions of a spec as a program: a list of simple steps over columns, once per shape of spec.

Two specs have one shape if they differ in numbers alone.  Equal parts of conditions are computed once.  Owns
the translation of trees; what the steps do is `aiopt.screen.machine`'s, and must equal
`aiopt.strategy.evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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
    parse_condition,
)

SIGNALS = ("entry_long", "entry_short", "exit_long", "exit_short")
"""The conditions of a spec, in the order of a program's results."""


class Step(IntEnum):
    """What one step of a program does; the numbers are those of `aiopt.screen.machine`."""

    PAST = 0
    ADD = 1
    SUBTRACT = 2
    MULTIPLY = 3
    DIVIDE = 4
    NEGATE = 5
    ABSOLUTE = 6
    SMALLER = 7
    LARGER = 8
    LESS = 10
    LESS_EQUAL = 11
    GREATER = 12
    GREATER_EQUAL = 13
    EQUAL = 14
    NOT_EQUAL = 15
    CROSSOVER = 16
    CROSSUNDER = 17
    RISING = 18
    FALLING = 19
    AND = 20
    OR = 21
    NOT = 22
    NEVER = 23


REGISTER, COLUMN = 0, 1
"""Where an operand lies: in a register of floats, or in a column."""

_ARITHMETIC = {"+": Step.ADD, "-": Step.SUBTRACT, "*": Step.MULTIPLY, "/": Step.DIVIDE}
_COMPARISONS = {
    "<": Step.LESS,
    "<=": Step.LESS_EQUAL,
    ">": Step.GREATER,
    ">=": Step.GREATER_EQUAL,
    "==": Step.EQUAL,
    "!=": Step.NOT_EQUAL,
}
_CALLS = {
    "abs": Step.ABSOLUTE,
    "min": Step.SMALLER,
    "max": Step.LARGER,
    "crossover": Step.CROSSOVER,
    "crossunder": Step.CROSSUNDER,
    "rising": Step.RISING,
    "falling": Step.FALLING,
}


@dataclass(frozen=True, eq=False)
class Program:
    """Steps that say where the conditions of a shape of spec hold.

    Attributes
    ----------
    steps : ndarray of shape (n_steps, 7), int64
        Per step: `Step`, result register, place and number of the first operand, place and number of the
        second, number of the step's bars or state.  Conditions have registers of their own.
    columns : tuple of Value
        What the columns are: a series, an indicator's output, or an extreme.
    scalars : tuple of Value
        Values that are the same on every bar; they are given in the first registers of floats.
    bars : tuple of Value
        Numbers of bars that steps take.
    results : ndarray of shape (4,), int64
        Condition registers of `SIGNALS`.
    floats, conditions, states : int
        Registers and states needed.
    """

    steps: NDArray[np.int64]
    columns: tuple[Value, ...]
    scalars: tuple[Value, ...]
    bars: tuple[Value, ...]
    results: NDArray[np.int64]
    floats: int
    conditions: int
    states: int

    def __repr__(self) -> str:
        return f"Program({len(self.steps)} steps over {len(self.columns)} columns)"


def program_of(texts: Mapping[str, str | None], params: frozenset[str]) -> Program:
    """Return the program of a shape of spec.

    Parameters
    ----------
    texts : mapping of str to str or None
        Canonical conditions by the names of `SIGNALS`.
    params : frozenset of str
        Names that are numbers of the spec, not columns.
    """
    return _program(tuple(texts[name] for name in SIGNALS), params)


@lru_cache(maxsize=4096)
def _program(texts: tuple[str | None, ...], params: frozenset[str]) -> Program:
    trees = [None if text is None else parse_condition(text) for text in texts]
    scalars = dict.fromkeys(
        part for tree in trees if tree is not None for part in _widest_scalars(tree, params)
    )
    return _Translation(tuple(scalars), params).program(trees)


def is_scalar(node: Node, params: frozenset[str]) -> bool:
    """Return whether a value is the same on every bar."""
    match node:
        case Number():
            return True
        case Name(name):
            return name in params
        case Negate(operand):
            return is_scalar(operand, params)
        case Arithmetic(_, left, right):
            return is_scalar(left, params) and is_scalar(right, params)
        case Call("abs" | "min" | "max", arguments):
            return all(is_scalar(argument, params) for argument in arguments)
    return False


def _widest_scalars(node: Node, params: frozenset[str]) -> list[Value]:
    """Return the scalar values a tree reads, none of them a part of another."""
    if is_scalar(node, params):
        return [node]  # type: ignore[list-item]  # a scalar is a value
    match node:
        case And(operands) | Or(operands):
            parts: tuple[Node, ...] = operands
        case Not(operand) | Negate(operand):
            parts = (operand,)
        case Compare(_, left, right) | Arithmetic(_, left, right):
            parts = (left, right)
        case Call("rising" | "falling", (value, _)):
            parts = (value,)
        case Call("highest" | "lowest"):
            parts = ()  # a column as a whole
        case Call(_, arguments):
            parts = arguments
        case _:
            parts = ()
    return [scalar for part in parts for scalar in _widest_scalars(part, params)]


class _Translation:
    def __init__(self, scalars: tuple[Value, ...], params: frozenset[str]) -> None:
        self._scalars = {node: number for number, node in enumerate(scalars)}
        self._params = params
        self._steps: list[tuple[int, ...]] = []
        self._columns: dict[Value, int] = {}
        self._bars: dict[Value, int] = {}
        self._values: dict[Value, tuple[int, int]] = {}
        self._tests: dict[Condition, int] = {}
        self._floats = len(scalars)
        self._states = 0

    def program(self, trees: list[Condition | None]) -> Program:
        results = [self._never() if tree is None else self._test(tree) for tree in trees]
        return Program(
            steps=np.array(self._steps, dtype=np.int64).reshape(-1, 7),
            columns=tuple(self._columns),
            scalars=tuple(self._scalars),
            bars=tuple(self._bars),
            results=np.array(results, dtype=np.int64),
            floats=self._floats,
            conditions=self._conditions,
            states=self._states,
        )

    _conditions = 0

    def _step(
        self,
        step: Step,
        to: int,
        left: tuple[int, int] = (0, 0),
        right: tuple[int, int] = (0, 0),
        extra: int = 0,
    ) -> None:
        self._steps.append((int(step), to, *left, *right, extra))

    def _new_condition(self) -> int:
        self._conditions += 1
        return self._conditions - 1

    def _new_float(self) -> int:
        self._floats += 1
        return self._floats - 1

    def _never(self) -> int:
        to = self._new_condition()
        self._step(Step.NEVER, to)
        return to

    # --- conditions -------------------------------------------------------------------------------------

    def _test(self, node: Condition) -> int:
        """Return the register of a condition."""
        if node not in self._tests:
            self._tests[node] = self._new_test(node)
        return self._tests[node]

    def _new_test(self, node: Condition) -> int:
        match node:
            case And(operands) | Or(operands):
                return self._joined(Step.AND if isinstance(node, And) else Step.OR, operands)
            case Not(operand):
                inner = self._test(operand)
                to = self._new_condition()
                self._step(Step.NOT, to, (REGISTER, inner))
                return to
            case Compare(operator, left, right):
                return self._compared(_COMPARISONS[operator], left, right)
            case Call("crossover" | "crossunder", (left, right)):
                state = self._states
                self._states += 1
                return self._compared(_CALLS[node.function], left, right, state)
            case Call("rising" | "falling", (value, bars)):
                place = self._value(value)
                to = self._new_condition()
                # Two states: the value before, and for how many bars it has moved so.
                number = self._bars.setdefault(bars, len(self._bars))
                self._step(_CALLS[node.function], to, place, (self._states, 0), number)
                self._states += 2
                return to
        raise TypeError(f"Not a condition: {node!r}")

    def _joined(self, step: Step, operands: tuple[Condition, ...]) -> int:
        registers = [self._test(operand) for operand in operands]
        left = registers[0]
        for right in registers[1:]:
            to = self._new_condition()
            self._step(step, to, (REGISTER, left), (REGISTER, right))
            left = to
        return left

    def _compared(self, step: Step, left: Value, right: Value, extra: int = 0) -> int:
        places = self._value(left), self._value(right)
        to = self._new_condition()
        self._step(step, to, *places, extra)
        return to

    # --- values -----------------------------------------------------------------------------------------

    def _value(self, node: Value) -> tuple[int, int]:
        """Return where a value lies."""
        if node in self._scalars:
            return REGISTER, self._scalars[node]
        if node not in self._values:
            self._values[node] = self._new_value(node)
        return self._values[node]

    def _new_value(self, node: Value) -> tuple[int, int]:
        match node:
            case Series() | Name() | Output() | Call("highest" | "lowest"):
                return COLUMN, self._columns.setdefault(node, len(self._columns))
            case History(operand, bars):
                return self._computed(Step.PAST, self._value(operand), extra=bars)
            case Negate(operand):
                return self._computed(Step.NEGATE, self._value(operand))
            case Arithmetic(operator, left, right):
                return self._computed(_ARITHMETIC[operator], self._value(left), self._value(right))
            case Call("abs", (value,)):
                return self._computed(Step.ABSOLUTE, self._value(value))
            case Call("min" | "max", (left, right)):
                return self._computed(_CALLS[node.function], self._value(left), self._value(right))
        raise TypeError(f"Not a value: {node!r}")

    def _computed(
        self, step: Step, left: tuple[int, int], right: tuple[int, int] = (0, 0), *, extra: int = 0
    ) -> tuple[int, int]:
        to = self._new_float()
        self._step(step, to, left, right, extra)
        return REGISTER, to


def scalar_value(node: Value, params: Mapping[str, float]) -> float:  # noqa: PLR0911 one per kind of node
    """Return a value that is the same on every bar, as `aiopt.strategy.evaluation` computes it.

    Parameters
    ----------
    node : Value
        For which `is_scalar` holds.
    params : mapping of str to float
        Values of the names.
    """
    match node:
        case Number(value):
            return float(value)
        case Name(name):
            return params[name]
        case Negate(operand):
            return -scalar_value(operand, params)
        case Arithmetic(operator, left, right):
            one, other = scalar_value(left, params), scalar_value(right, params)
            match operator:
                case "+":
                    return one + other
                case "-":
                    return one - other
                case "*":
                    return one * other
            return math.nan if abs(other) <= EQUALITY_TOLERANCE else one / other
        case Call("abs", (value,)):
            return abs(scalar_value(value, params))
        case Call(function, (left, right)):
            pair = scalar_value(left, params), scalar_value(right, params)
            if math.isnan(pair[0]) or math.isnan(pair[1]):
                return math.nan
            return min(pair) if function == "min" else max(pair)
    raise TypeError(f"Not the same on every bar: {node!r}")
