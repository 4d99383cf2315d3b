"""The order in which screened trials run: those that read the same indicators follow each other.

A screen keeps the indicators it used last; a year of minutes leaves room for a hundred of them, and a sweep
of ten thousand points reads many more.  Owns that order; rows do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiopt.strategy.spec import StrategySpec
from aiopt.sweep.trial import TrialPoint


def by_indicators(points: Sequence[TrialPoint]) -> list[int]:
    """Return the indices of points in an order in which they read the same indicators as the one before.

    Points of a series stay together, in the order of first appearance, and in it those of a family.  Inside a
    family the indicator with the most different arguments changes most seldom: the others have few, and all
    of these stay in memory.

    Parameters
    ----------
    points : sequence of TrialPoint
        To run.
    """
    places: dict[str, dict[str, list[int]]] = {}
    known: dict[int, tuple[str, ...]] = {}

    def keys_of(spec: StrategySpec) -> tuple[str, ...]:
        # By identity: points of several series share a spec, and its hash takes as long as its keys.
        if id(spec) not in known:
            known[id(spec)] = _indicator_keys(spec)
        return known[id(spec)]

    for index, point in enumerate(points):
        places.setdefault(point.series, {}).setdefault(point.family, []).append(index)
    return [
        index
        for families in places.values()
        for indices in families.values()
        for index in _ordered(points, indices, keys_of)
    ]


def by_series(points: Sequence[TrialPoint]) -> list[int]:
    """Return the indices of points with those of a series together, in the order of first appearance."""
    places: dict[str, list[int]] = {}
    for index, point in enumerate(points):
        places.setdefault(point.series, []).append(index)
    return [index for indices in places.values() for index in indices]


def _ordered(
    points: Sequence[TrialPoint], indices: Sequence[int], keys_of: Callable[[StrategySpec], tuple[str, ...]]
) -> list[int]:
    keys = {index: keys_of(points[index].spec) for index in indices}
    width = max(len(key) for key in keys.values())
    different = [len({key[place] for key in keys.values() if place < len(key)}) for place in range(width)]
    first = sorted(range(width), key=lambda place: -different[place])

    def rank(index: int) -> tuple[str, ...]:
        key = keys[index]
        return tuple(key[place] for place in first if place < len(key))

    return sorted(indices, key=rank)


def _indicator_keys(spec: StrategySpec) -> tuple[str, ...]:
    """Return, per indicator, what decides its costly part, as text that sorts."""
    keys = []
    for name, indicator in spec.indicators.items():
        args, costly = spec.resolved_args(name), spec.definition(name).costly
        decisive = args.values() if costly is None else [args[one] for one in costly.args]
        keys.append(" ".join([indicator.kind, indicator.source, *map(str, decisive)]))
    return tuple(keys)
