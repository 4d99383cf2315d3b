"""The dimensions of a search space: which values a parameter, or a part of a strategy, may take.

Owns each kind of dimension, its rules, and where a value lies between its ends.  Knows no strategy; which
dimensions go together is `aiopt.strategy.space`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.errors import SearchSpaceError

Number = int | float
Value = int | float | str
"""A number, or the name of a kind of indicator or of a series."""

When = dict[str, Value | tuple[Value, ...]]
"""Other dimensions and the value, or the values, each must have."""


class IntRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="int"):
    """Whole numbers ``low, low + step, …`` up to `high` (included).

    Attributes
    ----------
    low, high, step : int
        Ends and distance of the values.
    log : bool or unset
        Draw so that each doubling is as likely as the next; needs ``low >= 1`` and ``step == 1``.
    when : dict or unset
        Other dimensions and the value or values they must have; otherwise the parameter keeps the strategy's.
    """

    low: int
    high: int
    step: int = 1
    log: bool | msgspec.UnsetType = msgspec.UNSET
    when: When | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.step)
        _settle(self)
        if self.log and (self.low < 1 or self.step != 1):
            raise SearchSpaceError(
                f"`log` needs `low >= 1` and `step == 1`, but got low={self.low}, step={self.step}. "
                "Change them, or leave `log` out."
            )

    @property
    def count(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    def value(self, position: float) -> Number:
        """Return the value at `position` in [0, 1)."""
        if self.log:
            first, last = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return min(max(round(math.exp(first + position * (last - first))), self.low), self.high)
        return self.at(int(position * self.count))

    def at(self, index: int) -> Number:
        """Return value number `index`."""
        return self.low + index * self.step

    def position(self, value: Value) -> float:
        """Return where `value` lies in [0, 1): `value` of it gives it back."""
        if self.log:
            first, last = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return (math.log(float(value)) - first) / (last - first)
        return ((float(value) - self.low) / self.step + 0.5) / self.count

    def holds(self, value: Value) -> bool:
        """Tell whether `value` is one of them."""
        whole = isinstance(value, int | float) and float(value).is_integer()
        return whole and self.low <= value <= self.high and (int(value) - self.low) % self.step == 0  # type: ignore[operator]


class FloatRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="float"):
    """Numbers ``low, low + step, …`` up to `high`; without a step any between, to six digits.

    Attributes
    ----------
    low, high : float
        Ends.
    step : float or None
        Distance of the values.
    log : bool or unset
        Draw so that each doubling is as likely as the next; needs ``low > 0`` and no step.
    when : dict or unset
        As of `IntRange`.
    """

    low: float
    high: float
    step: float | None = None
    log: bool | msgspec.UnsetType = msgspec.UNSET
    when: When | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.step)
        _settle(self)
        if self.log and (self.low <= 0 or self.step is not None):
            raise SearchSpaceError(
                f"`log` needs `low > 0` and no step, but got low={self.low}, step={self.step}. "
                "Change them, or leave `log` out."
            )

    @property
    def count(self) -> int | None:
        """How many values there are; None without a step."""
        return None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def value(self, position: float) -> Number:
        """Return the value at `position` in [0, 1)."""
        if self.count is not None:
            return self.at(int(position * self.count))
        if self.log:
            first, last = math.log(self.low), math.log(self.high)
            return self.rounded(math.exp(first + position * (last - first)))
        return self.rounded(self.low + position * (self.high - self.low))

    def rounded(self, value: float) -> float:
        """Return `value` to six digits, between the ends."""
        return min(max(float(f"{value:.6g}"), self.low), self.high)

    def at(self, index: int) -> Number:
        """Return value number `index`; only with a step."""
        # twelve digits: 0.1 * 3 is 0.3 then, not 0.30000000000000004
        return float(f"{self.low + index * (self.step or 0.0):.12g}")

    def position(self, value: Value) -> float:
        """Return where `value` lies in [0, 1]."""
        if self.high == self.low:
            return 0.5
        if self.count is not None:
            return (round((float(value) - self.low) / (self.step or 1.0)) + 0.5) / self.count
        if self.log:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)

    def holds(self, value: Value) -> bool:
        """Tell whether `value` is one of them."""
        if isinstance(value, str) or not self.low <= value <= self.high:
            return False
        if self.count is None:
            return True
        index = round((value - self.low) / (self.step or 1.0))
        return 0 <= index < self.count and math.isclose(self.at(index), value, rel_tol=1e-9, abs_tol=1e-12)


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="choice"):
    """One of the values listed: numbers for a parameter, names for a part of the strategy.

    Attributes
    ----------
    values : tuple of number or str
        All numbers or all names, each once.
    when : dict or unset
        As of `IntRange`.
    """

    values: tuple[int | float | str, ...]
    when: When | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        _settle(self)
        if not self.values or len(set(self.values)) != len(self.values):
            msg = f"A choice needs at least one value, each once, but got {list(self.values)}."
            raise SearchSpaceError(msg)
        if len({isinstance(value, str) for value in self.values}) > 1:
            msg = f"A choice is between numbers or between names, but got {list(self.values)}. Split it."
            raise SearchSpaceError(msg)

    @property
    def named(self) -> bool:
        """Whether the values are names."""
        return isinstance(self.values[0], str)

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    def value(self, position: float) -> Value:
        """Return the value at `position` in [0, 1)."""
        return self.values[int(position * self.count)]

    def at(self, index: int) -> Value:
        """Return value number `index`."""
        return self.values[index]

    def holds(self, value: Value) -> bool:
        """Tell whether `value` is one of them."""
        return value in self.values


Dimension = IntRange | FloatRange | Choice


def is_named(dimension: Dimension) -> bool:
    """Tell whether the values of a dimension are names, not numbers."""
    return isinstance(dimension, Choice) and dimension.named


def plain_dimension(dimension: Dimension) -> dict[str, Any]:
    """Return a dimension as plain data for a file, without what has no value."""
    data = msgspec.to_builtins(dimension)
    if data.get("step", 0) is None:
        del data["step"]
    if "values" in data:
        data["values"] = list(data["values"])
    if "when" in data:
        data["when"] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in data["when"].items()
        }
    return data


def allowed(dimension: Dimension) -> dict[str, tuple[Value, ...]]:
    """Return the dimensions that a dimension depends on, and the values each may have for it to count."""
    when = dimension.when or {}
    return {name: value if isinstance(value, tuple) else (value,) for name, value in when.items()}


def is_active(dimensions: Mapping[str, Dimension], name: str, params: Mapping[str, Value]) -> bool:
    """Tell whether dimension `name` counts: those its `when` names count and have one of its values."""
    return all(
        params[other] in values and is_active(dimensions, other, params)
        for other, values in allowed(dimensions[name]).items()
    )


def activity(
    dimensions: Mapping[str, Dimension], name: str, columns: Mapping[str, NDArray[np.float64]], size: int
) -> NDArray[np.bool_]:
    """Return in which combinations dimension `name` counts.

    Parameters
    ----------
    dimensions : mapping
        All of a space.
    name : str
        One of them.
    columns : mapping of str to ndarray of shape (size,)
        Codes: values, and of named dimensions their places; at least of those that `name` depends on.
    size : int
        How many combinations there are.
    """
    result = np.ones(size, dtype=bool)
    for other, values in allowed(dimensions[name]).items():
        dimension = dimensions[other]
        codes = [
            float(dimension.values.index(value))
            if isinstance(dimension, Choice) and dimension.named
            else float(value)
            for value in values
        ]
        result &= np.isin(columns[other], codes) & activity(dimensions, other, columns, size)
    return result


def _settle(dimension: Dimension) -> None:
    """Leave out what says nothing, so that a space written with it is the one written without."""
    if dimension.when:
        tuples = {
            name: tuple(value) if isinstance(value, list | tuple) else value
            for name, value in dimension.when.items()
        }
        msgspec.structs.force_setattr(dimension, "when", tuples)
    elif dimension.when is not msgspec.UNSET:
        msgspec.structs.force_setattr(dimension, "when", msgspec.UNSET)
    if not isinstance(dimension, Choice) and dimension.log is False:
        msgspec.structs.force_setattr(dimension, "log", msgspec.UNSET)


def _check_range(low: float, high: float, step: float | None) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        msg = f"`low <= high` must hold, both finite, but got low={low}, high={high}. Swap or correct them."
        raise SearchSpaceError(msg)
    if step is not None and not (math.isfinite(step) and step > 0):
        msg = f"`step > 0` must hold, but got step={step}. Choose a positive step."
        raise SearchSpaceError(msg)


def position_source(method: str, n_dimensions: int, seed: int) -> Callable[[int], NDArray[np.float64]]:
    """Return a function that draws the next positions in [0, 1), shape (count, n_dimensions)."""
    if method == "random":
        generator = np.random.default_rng(seed)
        return lambda count: generator.random((count, n_dimensions))
    from scipy.stats import qmc  # slow to import, needed here only

    return qmc.Sobol(d=n_dimensions, scramble=True, rng=np.random.default_rng(seed)).random
