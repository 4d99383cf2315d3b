"""An evolutionary sampler: parents by tournament, crossover by dimension, mutation by small steps.

Owns those three.  Its own, so that conditional and named dimensions are crossed as such: a child takes each
dimension from a parent in which it is active.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiopt.strategy.dimensions import Choice, Dimension, Value, is_active
from aiopt.strategy.space import Point, SearchSpace

CROSSOVER = 0.9
"""Share of children with two parents; the others are mutated copies."""

STEP = 0.15
"""Standard deviation of a mutation, as a share of the dimension."""

AFRESH = 0.1
"""Share of mutations that draw anew from the whole dimension: a way out of a dead end."""


class Evolution:
    """A `aiopt.search.proposer.Proposer` with one objective.

    Parents are the best `population` points of all generations (elitist), each chosen as the better of two
    drawn at random.  Every dimension of a child is mutated with probability 1/n, at least one is.

    Parameters
    ----------
    space : SearchSpace
        What may be proposed.
    population : int
        Parents.
    seed : int
        Of all draws.
    """

    def __init__(self, space: SearchSpace, *, population: int, seed: int) -> None:
        self._space = space
        self._population = population
        self._random = np.random.default_rng(seed)
        self._points: list[Point] = []
        self._values: dict[int, float] = {}

    def take(self, point: Point) -> int:
        """Take a point chosen elsewhere as a proposal of its own."""
        self._points.append(point)
        return len(self._points) - 1

    def propose(self) -> tuple[int, Point]:
        """Return the next child."""
        best = sorted(self._values, key=lambda number: (-self._values[number], number))[: self._population]
        first = self._points[self._parent(best)]
        second = self._points[self._parent(best)] if self._random.random() < CROSSOVER else first
        names = self._space.ordered
        mutated = self._random.random(len(names)) < 1 / len(names)
        mutated[self._random.integers(len(names))] = True
        child: Point = {}
        for name, changes in zip(names, mutated.tolist(), strict=True):
            child[name] = self._gene(name, child, (first, second), changes=changes)
        point = self._space.typed(child)
        return self.take(point), point

    def refuse(self, number: int) -> None:
        """Learn nothing from a proposal."""

    def tell(self, number: int, values: Sequence[float]) -> None:
        """Learn what a proposal gave."""
        (self._values[number],) = values

    def _parent(self, best: Sequence[int]) -> int:
        # The list is in order, so the better of two is the earlier.
        return best[min(self._random.integers(len(best), size=2).tolist())]

    def _gene(self, name: str, child: Point, parents: tuple[Point, Point], *, changes: bool) -> Value:
        dimensions = self._space.dimensions
        if not is_active(dimensions, name, child):
            return self._space.spec.part(name)
        which = self._random.integers(2)
        able = [one for one in parents if is_active(dimensions, name, one)]
        if not able:
            return dimensions[name].value(float(self._random.random()))
        value = able[which % len(able)][name]
        return self._mutated(dimensions[name], value) if changes else value

    def _mutated(self, dimension: Dimension, value: Value) -> Value:
        if dimension.count == 1:
            return value
        if isinstance(dimension, Choice):
            others = [one for one in dimension.values if one != value]
            return others[int(self._random.integers(len(others)))]
        if self._random.random() < AFRESH:
            return dimension.value(float(self._random.random()))
        step = float(self._random.normal(0.0, STEP))
        moved = dimension.value(min(max(dimension.position(value) + step, 0.0), np.nextafter(1.0, 0.0)))
        if moved != value or dimension.count is None or dimension.log:
            return moved
        # A step shorter than the grid's goes to the neighbour.
        place = round((float(value) - dimension.low) / (dimension.step or 1.0)) + (1 if step > 0 else -1)
        if not 0 <= place < dimension.count:
            place = 1 if place < 0 else dimension.count - 2
        return dimension.at(place)
