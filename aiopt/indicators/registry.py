"""The table of indicator kinds a strategy may name.

Owns kinds, arguments and their limits; knows no strategy.  Every kind is one function over arrays and one
streaming class; the two agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from aiopt.errors import SpecError, did_you_mean
from aiopt.indicators.averages import Ema, Rma, Sma, ema, rma, sma
from aiopt.indicators.oscillators import Macd, Rsi, Stochastic, macd, rsi, stochastic
from aiopt.indicators.trend import Dmi, dmi
from aiopt.indicators.volatility import Atr, Bollinger, atr, bands_of, bollinger, mean_and_deviation
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
        `int` (a number of bars) or `float`.
    minimum, maximum : number
        Inclusive limits.
    default : number
        What ``aiopt indicators`` uses when the argument is not given.  A strategy states every argument.
    """

    type: type[int] | type[float]
    minimum: Number
    maximum: Number
    default: Number


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
    warmup: Callable[[Mapping[str, Number]], int]
    costly: CostlyPart | None = None

    def check_args(self, args: Mapping[str, Number], *, where: str) -> dict[str, Number]:
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
        result: dict[str, Number] = {}
        for name, definition in self.args.items():
            if name not in args:
                msg = f"{where}: {self.kind} needs the argument {name!r}. Add {name}: {definition.default}."
                raise SpecError(msg)
            result[name] = _check_arg(args[name], name, definition, where=f"{where}: {self.kind}")
        return result

    def compute(self, inputs: Sequence[FloatArray], args: Mapping[str, Number]) -> tuple[FloatArray, ...]:
        """Return one array per output, in the order of `outputs`."""
        result = self.function(*inputs, **args)
        return (result,) if len(self.outputs) == 1 else tuple(result)

    def defaults(self) -> dict[str, Number]:
        """Return the default arguments."""
        return {name: definition.default for name, definition in self.args.items()}


def _check_arg(value: Number, name: str, definition: ArgDef, *, where: str) -> Number:
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


def _length(default: int) -> ArgDef:
    return ArgDef(int, 1, MAX_LENGTH, default)


_SOURCE = ("source",)
_RANGE = ("high", "low", "close")

INDICATORS: dict[str, IndicatorDef] = {
    definition.kind: definition
    for definition in (
        IndicatorDef(
            kind="sma",
            title="Simple moving average",
            args={"length": _length(20)},
            inputs=_SOURCE,
            outputs=("value",),
            function=sma,
            streaming=Sma,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="ema",
            title="Exponential moving average",
            args={"length": _length(20)},
            inputs=_SOURCE,
            outputs=("value",),
            function=ema,
            streaming=Ema,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="rma",
            title="Wilder's moving average",
            args={"length": _length(14)},
            inputs=_SOURCE,
            outputs=("value",),
            function=rma,
            streaming=Rma,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="rsi",
            title="Relative strength index",
            args={"length": _length(14)},
            inputs=_SOURCE,
            outputs=("value",),
            function=rsi,
            streaming=Rsi,
            warmup=lambda a: int(a["length"]),
        ),
        IndicatorDef(
            kind="macd",
            title="Moving average convergence/divergence",
            args={"fast": _length(12), "slow": _length(26), "signal": _length(9)},
            inputs=_SOURCE,
            outputs=("macd", "signal", "histogram"),
            function=macd,
            streaming=Macd,
            warmup=lambda a: int(max(a["fast"], a["slow"]) + a["signal"]) - 2,
        ),
        IndicatorDef(
            kind="bollinger",
            title="Bollinger Bands",
            args={"length": _length(20), "multiplier": ArgDef(float, 0.0, 100.0, 2.0)},
            inputs=_SOURCE,
            outputs=("middle", "upper", "lower"),
            function=bollinger,
            streaming=Bollinger,
            warmup=lambda a: int(a["length"]) - 1,
            costly=CostlyPart(
                args=("length",),
                names=("mean", "deviation"),
                compute=mean_and_deviation,
                finish=bands_of,
            ),
        ),
        IndicatorDef(
            kind="stochastic",
            title="Stochastic oscillator",
            args={"k_length": _length(14), "k_smooth": _length(3), "d_smooth": _length(3)},
            inputs=_RANGE,
            outputs=("k", "d"),
            function=stochastic,
            streaming=Stochastic,
            warmup=lambda a: int(a["k_length"] + a["k_smooth"] + a["d_smooth"]) - 3,
        ),
        IndicatorDef(
            kind="atr",
            title="Average true range",
            args={"length": _length(14)},
            inputs=_RANGE,
            outputs=("value",),
            function=atr,
            streaming=Atr,
            warmup=lambda a: int(a["length"]) - 1,
        ),
        IndicatorDef(
            kind="dmi",
            title="Directional movement: +DI, -DI, ADX",
            args={"length": _length(14), "smoothing": _length(14)},
            inputs=_RANGE,
            outputs=("plus", "minus", "adx"),
            function=dmi,
            streaming=Dmi,
            warmup=lambda a: int(a["length"] + a["smoothing"]) - 1,
        ),
    )
}


def indicator_def(kind: str) -> IndicatorDef:
    """Return the definition of an indicator kind.

    Raises
    ------
    SpecError
        If there is none of that name.
    """
    if kind not in INDICATORS:
        msg = (
            f"There is no indicator of kind {kind!r}. `aiopt indicators list` shows "
            f"all.{did_you_mean(kind, INDICATORS)}"
        )
        raise SpecError(msg)
    return INDICATORS[kind]
