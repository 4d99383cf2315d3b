"""Runs a program over the bars, block by block, in compiled code.

A block is short enough to stay in the processor's nearest memory while all steps go over it.  Each step is
the arithmetic of `aiopt.strategy.evaluation`, in its order, so that both say the same on every bar.  Owns
that arithmetic; knows no spec.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiopt.compiled import compiled
from aiopt.strategy.conditions import EQUALITY_TOLERANCE

BLOCK = 2048
"""Bars of a block."""

ENTRY_LONG, ENTRY_SHORT, EXIT_LONG, EXIT_SHORT = 1, 2, 4, 8
"""Bits of a bar's signals."""

_TOLERANCE = EQUALITY_TOLERANCE


class Code(NamedTuple):
    """What a `Program` does, as arrays; fields as there."""

    steps: NDArray[np.int64]
    results: NDArray[np.int64]
    states: int


class Inputs(NamedTuple):
    """What a program is run over.

    Attributes
    ----------
    columns : ndarray of shape (n_rows, n_bars)
        `Columns.values`.
    rows : ndarray of shape (n_columns,)
        The row of each column of the program.
    scalars : ndarray of shape (n_scalars,)
        Values of the program's scalars.
    bars : ndarray of shape (n,)
        Values of the program's numbers of bars.
    ready_from : int
        First bar on which every indicator has a value; no signal before it.
    gap_rows : ndarray of shape (n,)
        Rows that may lack a value behind that bar; no signal where one does.
    allowed : ndarray of shape (n_bars,)
        Where entries are: inside the session, and where segments permit.
    """

    columns: NDArray[np.float64]
    rows: NDArray[np.int64]
    scalars: NDArray[np.float64]
    bars: NDArray[np.int64]
    ready_from: int
    gap_rows: NDArray[np.int64]
    allowed: NDArray[np.bool_]


@compiled
def _calculate(
    step: int, left: NDArray[np.float64], right: NDArray[np.float64], to: NDArray[np.float64]
) -> None:
    """Do one step of arithmetic."""
    n = to.size
    if step == 1:
        for i in range(n):
            to[i] = left[i] + right[i]
    elif step == 2:
        for i in range(n):
            to[i] = left[i] - right[i]
    elif step == 3:
        for i in range(n):
            to[i] = left[i] * right[i]
    elif step == 4:
        for i in range(n):
            to[i] = math.nan if abs(right[i]) <= _TOLERANCE else left[i] / right[i]
    elif step == 5:
        for i in range(n):
            to[i] = -left[i]
    else:
        _choose(step, left, right, to)


@compiled
def _choose(
    step: int, left: NDArray[np.float64], right: NDArray[np.float64], to: NDArray[np.float64]
) -> None:
    """Do one step that takes one of two values, or one without its sign."""
    n = to.size
    if step == 6:
        for i in range(n):
            to[i] = abs(left[i])
    elif step == 7:
        for i in range(n):
            a, b = left[i], right[i]
            to[i] = a if a < b or math.isnan(a) else b
    else:
        for i in range(n):
            a, b = left[i], right[i]
            to[i] = a if a > b or math.isnan(a) else b


@compiled
def _compare(step: int, left: NDArray[np.float64], right: NDArray[np.float64], to: NDArray[np.bool_]) -> None:
    """Do one step that compares two values of a bar."""
    n = to.size
    if step == 10:
        for i in range(n):
            to[i] = left[i] - right[i] < -_TOLERANCE
    elif step == 11:
        for i in range(n):
            to[i] = left[i] - right[i] <= _TOLERANCE
    elif step == 12:
        for i in range(n):
            to[i] = left[i] - right[i] > _TOLERANCE
    elif step == 13:
        for i in range(n):
            to[i] = left[i] - right[i] >= -_TOLERANCE
    elif step == 14:
        for i in range(n):
            to[i] = abs(left[i] - right[i]) <= _TOLERANCE
    else:
        for i in range(n):
            to[i] = abs(left[i] - right[i]) > _TOLERANCE


@compiled
def _cross(
    sign: float, left: NDArray[np.float64], right: NDArray[np.float64], before: float, to: NDArray[np.bool_]
) -> float:
    """Do a crossing; `before` is the difference on the bar before the block.  Return that of its last."""
    n = to.size
    to[0] = sign * (left[0] - right[0]) > _TOLERANCE and before <= _TOLERANCE
    for i in range(1, n):
        now = sign * (left[i] - right[i]) > _TOLERANCE
        to[i] = now & (sign * (left[i - 1] - right[i - 1]) <= _TOLERANCE)
    return sign * (left[n - 1] - right[n - 1])


@compiled
def _rise(
    sign: float, values: NDArray[np.float64], bars: int, state: NDArray[np.float64], to: NDArray[np.bool_]
) -> None:
    """Do one step that asks for moves in a row; `state` is the value before and the moves so far."""
    before, moves = state[0], state[1]
    for i in range(to.size):
        now = values[i]
        moves = moves + 1.0 if sign * (now - before) > _TOLERANCE else 0.0
        to[i] = moves >= bars
        before = now
    state[0], state[1] = before, moves


@compiled
def _join(step: int, left: NDArray[np.bool_], right: NDArray[np.bool_], to: NDArray[np.bool_]) -> None:
    """Do one step over conditions."""
    n = to.size
    if step == 20:
        for i in range(n):
            to[i] = left[i] & right[i]
    elif step == 21:
        for i in range(n):
            to[i] = left[i] | right[i]
    elif step == 22:
        for i in range(n):
            to[i] = not left[i]
    else:
        for i in range(n):
            to[i] = False


@compiled
def _past(values: NDArray[np.float64], start: int, bars: int, to: NDArray[np.float64]) -> None:
    """Copy the values of some bars ago; there are none before the first bar."""
    for i in range(to.size):
        at = start + i - bars
        to[i] = values[at] if at >= 0 else math.nan


@compiled
def _mark(
    entry_long: NDArray[np.bool_],
    entry_short: NDArray[np.bool_],
    exit_long: NDArray[np.bool_],
    exit_short: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    flags: NDArray[np.uint8],
) -> None:
    """Put four conditions into the bits of a bar; entries both ways cancel each other."""
    for i in range(flags.size):
        long = entry_long[i] & allowed[i]
        short = entry_short[i] & allowed[i]
        flags[i] = (long & (not short)) * 1 + (short & (not long)) * 2 + exit_long[i] * 4 + exit_short[i] * 8


@compiled
def _silence(block: NDArray[np.uint8], values: NDArray[np.float64]) -> None:
    """Take the signals of bars without a value."""
    for i in range(block.size):
        if math.isnan(values[i]):
            block[i] = 0


# reason: one loop over steps, which share their registers.
@compiled
def run_program(  # noqa: C901, PLR0912
    code: Code,
    inputs: Inputs,
    floats: NDArray[np.float64],
    conditions: NDArray[np.bool_],
    flags: NDArray[np.uint8],
) -> None:
    """Write the signals of every bar.

    Parameters
    ----------
    code : Code
        The program.
    inputs : Inputs
        Columns and numbers.
    floats, conditions : ndarray of shape (n_registers, BLOCK)
        Memory to work in.
    flags : ndarray of shape (n_bars,), uint8
        The result: bits `ENTRY_LONG` to `EXIT_SHORT`.
    """
    steps, results, states = code
    columns, rows, scalars, bars, ready_from, gap_rows, allowed = inputs
    n_bars = flags.size
    state = np.full(max(states, 1), math.nan)
    for k in range(scalars.size):
        floats[k, :] = scalars[k]
    for start in range(0, n_bars, BLOCK):
        stop = min(start + BLOCK, n_bars)
        size = stop - start
        for k in range(steps.shape[0]):
            step, to, left_place, left_at, right_place, right_at, extra = steps[k]
            if step >= 20:
                _join(step, conditions[left_at, :size], conditions[right_at, :size], conditions[to, :size])
                continue
            if step == 0:
                _past(columns[rows[left_at]], start, extra, floats[to, :size])
                continue
            left = floats[left_at if left_place == 0 else 0, :size]
            if left_place == 1:
                left = columns[rows[left_at], start:stop]
            if step >= 18:
                sign = 1.0 if step == 18 else -1.0
                memory = state[right_place : right_place + 2]
                _rise(sign, left, bars[extra], memory, conditions[to, :size])
                continue
            right = floats[right_at if right_place == 0 else 0, :size]
            if right_place == 1:
                right = columns[rows[right_at], start:stop]
            if step < 10:
                _calculate(step, left, right, floats[to, :size])
            elif step < 16:
                _compare(step, left, right, conditions[to, :size])
            else:
                sign = 1.0 if step == 16 else -1.0
                state[extra] = _cross(sign, left, right, state[extra], conditions[to, :size])
        block = flags[start:stop]
        _mark(
            conditions[results[0], :size],
            conditions[results[1], :size],
            conditions[results[2], :size],
            conditions[results[3], :size],
            allowed[start:stop],
            block,
        )
        if ready_from > start:
            block[: min(ready_from, stop) - start] = 0
        for k in range(gap_rows.size):
            _silence(block, columns[gap_rows[k], start:stop])


def delay_entries(flags: NDArray[np.uint8], may_enter: NDArray[np.bool_], bars: int) -> None:
    """Let the entries among signals come later; exits stay.

    Parameters
    ----------
    flags : ndarray of shape (n_bars,), uint8
        Signals, found without regard to segments; changed in place.
    may_enter : ndarray of shape (n_bars,), bool
        Where segments permit entries.
    bars : int
        By how many bars.  0: nothing is changed.
    """
    if bars == 0:
        return
    entries = flags & np.uint8(ENTRY_LONG | ENTRY_SHORT)
    flags &= np.uint8(EXIT_LONG | EXIT_SHORT)
    flags[bars:] |= np.where(may_enter[bars:], entries[:-bars], np.uint8(0))
