"""Moving the parameters of a strategy a little: inside what was tried, on its grid, within its constraints.

Owns what a neighbour is.  Knows no bars and no results.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aiopt.robustness.walks import Step
from aiopt.strategy.dimensions import Choice, Number, Value
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import StrategySpec

_TRIES = 20
"""Moves drawn until one fulfils the constraints; after that the parameters stay."""


@dataclass(frozen=True)
class Tried:
    """What a sweep tried of one parameter.

    Attributes
    ----------
    low, high : float
        Smallest and largest value.
    step : float or None
        Of the grid it lies on; None where any number between is allowed.
    values : tuple
        Of a choice, ascending; empty otherwise.
    log : bool
        Equal moves are equal factors.
    """

    low: float
    high: float
    step: float | None = None
    values: tuple[Number, ...] = ()
    log: bool = False

    def moved(self, value: Number, share: float, random: np.random.Generator) -> Number:
        """Return a value drawn evenly within a share of the range, at least one step, to either side."""
        if self.values:
            reach = max(1, round(share * (len(self.values) - 1)))
            place = min(range(len(self.values)), key=lambda i: abs(self.values[i] - value))
            at = place + int(random.integers(-reach, reach + 1))
            return self.values[min(max(at, 0), len(self.values) - 1)]
        if self.log:
            factor = math.exp(share * math.log(self.high / self.low) * float(random.uniform(-1.0, 1.0)))
            return self.on_grid(value * factor)
        reach_by = share * (self.high - self.low)
        if self.step is None:
            moved = value + reach_by * float(random.uniform(-1.0, 1.0))
            return float(f"{min(max(moved, self.low), self.high):.6g}")
        steps = max(1, round(reach_by / self.step))
        return self.on_grid(value + self.step * int(random.integers(-steps, steps + 1)))

    def on_grid(self, value: float) -> Number:
        """Return the nearest value that may be tried."""
        if self.values:
            return min(self.values, key=lambda one: abs(one - value))
        inside = min(max(value, self.low), self.high)
        if self.step is None:
            return float(f"{inside:.6g}")
        most = int((self.high - self.low) / self.step + 1e-9)
        number = min(max(round((inside - self.low) / self.step), 0), most)
        return float(f"{self.low + self.step * number:.12g}")

    def spread(self, count: int) -> list[Number]:
        """Return at most so many distinct values over the range, ascending, both ends among them."""
        if self.values:
            places = np.unique(np.linspace(0, len(self.values) - 1, count).round().astype(int))
            return [self.values[place] for place in places.tolist()]
        between = np.geomspace if self.log else np.linspace
        return sorted({self.on_grid(value) for value in between(self.low, self.high, count).tolist()})


@dataclass(frozen=True, eq=False)
class Moves:
    """How the parameters of an entry may be moved.

    Attributes
    ----------
    space : SearchSpace
        Of its strategy: constraints.
    tried : mapping of str to Tried
        Per searched number that has more than one value.
    share : float
        Largest move of a parameter, as a share of its range.
    """

    space: SearchSpace
    tried: Mapping[str, Tried]
    share: float

    def jittered(self, step: Step, random: np.random.Generator) -> Step:
        """Return a fold whose parameters are all moved; as it is where no move fulfils the constraints."""
        params = self.neighbour(step.params, random)
        return dataclasses.replace(step, spec=step.spec.with_params(params), params=params)

    def neighbour(self, params: Mapping[str, Value], random: np.random.Generator) -> dict[str, Value]:
        """Return parameters moved by up to `share`; names, and parameters that nothing reads, stay."""
        for _ in range(_TRIES):
            moved: dict[str, Value] = {
                name: value
                if isinstance(value, str) or name not in self.tried
                else self.tried[name].moved(value, self.share, random)
                for name, value in params.items()
            }
            if self.allows(moved):
                return self.space.settled(moved)
        return dict(params)

    def allows(self, params: Mapping[str, Value]) -> bool:
        """Return whether parameters fulfil the constraints."""
        return self.space.contains(params)

    def specs(
        self, spec: StrategySpec, points: Sequence[Mapping[str, Value]]
    ) -> Iterator[tuple[Mapping[str, Value], StrategySpec]]:
        """Yield the points that the constraints allow, each with its spec."""
        for point in points:
            if self.allows(point):
                yield point, spec.with_params(point)


def moves_of(space: SearchSpace | None, share: float) -> Moves | None:
    """Return how the parameters of a strategy may be moved; None where nothing was searched.

    Parameters
    ----------
    space : SearchSpace or None
        What the sweep tried.
    share : float
        `RobustnessConfig.jitter`.
    """
    if space is None:
        return None
    tried: dict[str, Tried] = {}
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Choice):
            values = tuple(sorted(value for value in dimension.values if not isinstance(value, str)))
            if not values:
                continue  # names have no neighbours
            one = Tried(float(values[0]), float(values[-1]), None, values)
        else:
            log = bool(dimension.log)
            one = Tried(float(dimension.low), float(dimension.high), dimension.step, log=log)
        if one.high > one.low:
            tried[name] = one
    return Moves(space, tried, share) if tried else None
