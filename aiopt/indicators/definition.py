"""What an indicator kind is: its arguments and their limits, what it reads and gives, its two forms.

Owns the description; the table of kinds is `aiopt.indicators.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from aiopt.errors import SpecError, did_you_mean
from aiopt.indicators.wall_clock import check_timezone
from aiopt.indicators.windows import FloatArray

Number = int | float

MAX_LENGTH = 5000
"""Longest window in bars; above it a mistake is likelier than an intention."""


class StreamingIndicator(Protocol):
    """What every streaming twin offers."""

    def update(self, *values: float) -> Any:
        """Add one bar's inputs; return a float, or a named tuple of floats for several outputs."""


@dataclass(frozen=True, slots=True)
class ArgDef:
    """One argument of an indicator kind.

    Attributes
    ----------
    type : type
        `int` (a number of bars, or minutes), `float`, or `str` (a time zone).
    minimum, maximum : number
        Inclusive limits.
    default : number
        What ``aiopt indicators`` uses when the argument is not given.  A strategy states every argument.
    clock : bool
        A time of the day in minutes, which a strategy may write as ``"HH:MM"``.
    span : bool
        A length of time in minutes, which a strategy may write as ``"1h"``.
    """

    type: type[int] | type[float] | type[str]
    minimum: Number
    maximum: Number
    default: Number | str
    clock: bool = False
    span: bool = False


@dataclass(frozen=True, slots=True)
class CostlyPart:
    """What most of an indicator's time goes into, where it does not depend on every argument.

    Attributes
    ----------
    args : tuple of str
        Arguments it depends on.
    names : tuple of str
        What it consists of.
    compute : callable
        ``compute(*inputs, **those)`` returns one array per name.
    finish : callable
        ``finish(parts, outputs, **others)`` writes the outputs into arrays.
    """

    args: tuple[str, ...]
    names: tuple[str, ...]
    compute: Callable[..., Sequence[FloatArray]]
    finish: Callable[..., None]


@dataclass(frozen=True, slots=True)
class IndicatorDef:
    """One indicator kind.

    Attributes
    ----------
    kind, title : str
        Name in specs, name for people.
    args : mapping of str to ArgDef
        In the order of the function's parameters.
    inputs : tuple of str
        ``("source",)``, a series the strategy chooses, or ``("high", "low", "close")``.
    outputs : tuple of str
        ``("value",)`` for a single output.
    function : callable
        ``function(*inputs, **args)`` over arrays.
    streaming : callable
        ``streaming(**args)`` builds the twin, whose ``update(*inputs)`` takes one bar.
    warmup : callable
        ``warmup(args)``: 0-based index of the first bar on which **every** output has a value.
    costly : CostlyPart or None
        What may be kept for other arguments.
    """

    kind: str
    title: str
    args: Mapping[str, ArgDef]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: Callable[..., Any]
    streaming: Callable[..., Any]
    warmup: Callable[[Mapping[str, Any]], int]
    costly: CostlyPart | None = None

    def check_args(self, args: Mapping[str, Number | str], *, where: str) -> dict[str, Any]:
        """Return `args` in the kind's order and types.

        Parameters
        ----------
        args : mapping
            A number for every argument.
        where : str
            Front of the message, e.g. ``"indicator 'rsi'"``.

        Raises
        ------
        SpecError
            If an argument is missing, unknown, of another type or outside its limits.
        """
        for name in args:
            if name not in self.args:
                msg = f"{where}: {self.kind} has no argument {name!r}.{did_you_mean(name, self.args)}"
                raise SpecError(msg)
        result: dict[str, Any] = {}
        for name, definition in self.args.items():
            if name not in args:
                msg = f"{where}: {self.kind} needs the argument {name!r}. Add {name}: {definition.default}."
                raise SpecError(msg)
            result[name] = _check_arg(args[name], name, definition, where=f"{where}: {self.kind}")
        return result

    def compute(self, inputs: Sequence[FloatArray], args: Mapping[str, Any]) -> tuple[FloatArray, ...]:
        """Return one array per output, in the order of `outputs`."""
        result = self.function(*inputs, **args)
        return (result,) if len(self.outputs) == 1 else tuple(result)

    def defaults(self) -> dict[str, Any]:
        """Return the default arguments."""
        return {name: definition.default for name, definition in self.args.items()}


def _check_arg(value: Number | str, name: str, definition: ArgDef, *, where: str) -> Number | str:
    if definition.type is str:
        if not isinstance(value, str):
            msg = f"{where}: {name} must be a time zone, but got {value!r}. Write e.g. {definition.default}."
            raise SpecError(msg)
        check_timezone(value, where=where)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{where}: {name} must be a number, but got {value!r}."
        raise SpecError(msg)
    if definition.type is int and not isinstance(value, int):
        msg = (
            f"{where}: {name} must be a whole number of bars, but got {value!r}. Write {round(value)}."
            if (np.isfinite(value))
            else f"{where}: {name} must be a whole number of bars, but got {value!r}."
        )
        raise SpecError(msg)
    if not definition.minimum <= value <= definition.maximum:
        msg = (
            f"{where}: `{definition.minimum} <= {name} <= {definition.maximum}` must hold, "
            f"but got {name}={value}. Choose a value in that range."
        )
        raise SpecError(msg)
    return definition.type(value)


def clock_arg(default: int) -> ArgDef:
    """Return an argument that is a time of the day, in minutes from midnight."""
    return ArgDef(int, 0, 1439, default, clock=True)


ZONE = ArgDef(str, 0, 0, "UTC")
"""Argument that names a time zone."""


def length_arg(default: int, minimum: int = 1) -> ArgDef:
    """Return an argument that is a number of bars."""
    return ArgDef(int, minimum, MAX_LENGTH, default)


SOURCE = ("source",)
"""Inputs of a kind that reads a series the strategy chooses."""
RANGE = ("high", "low", "close")
