"""Combinatorial purged cross-validation: every choice of test groups, and the paths they give.

Owns splits, what purge and embargo leave of the train groups, and how tested groups are joined to paths.
Knows no trial.

Source: López de Prado, *Advances in Financial Machine Learning*, Wiley 2018, chapter 12.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.evaluation.arrays import require

Stretch = tuple[int, int]
"""First period and the one behind the last."""


@dataclass(frozen=True)
class Split:
    """One choice of test groups.

    Attributes
    ----------
    test : tuple of int
        Groups that are tested.
    train : tuple of (int, int)
        Stretches left of the other groups, in order.
    train_groups : tuple of int
        The group of each stretch.
    """

    test: tuple[int, ...]
    train: tuple[Stretch, ...]
    train_groups: tuple[int, ...]


def n_splits(groups: int, tested: int) -> int:
    """Return the number of splits, ``C(groups, tested)``."""
    return math.comb(groups, tested)


def n_paths(groups: int, tested: int) -> int:
    """Return the number of paths, ``tested / groups * C(groups, tested)``."""
    return math.comb(groups - 1, tested - 1)


def make_splits(groups: Sequence[Stretch], tested: int, *, purge: int = 0, embargo: int = 0) -> list[Split]:
    """Return all splits.

    Parameters
    ----------
    groups : sequence of (int, int)
        Stretches of periods, in order, none overlapping another.
    tested : int
        Groups tested at once, at least 1 and fewer than there are.
    purge : int
        Periods left out of the train groups before a test group.
    embargo : int
        Periods left out of the train groups behind a test group.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    require(
        1 <= tested < len(groups),
        "1 <= tested < groups",
        f"tested={tested} of {len(groups)} groups",
        "Leave at least one group to train on.",
    )
    require(
        purge >= 0 and embargo >= 0,
        "purge >= 0 and embargo >= 0",
        f"purge={purge}, embargo={embargo}",
        "Give numbers of periods.",
    )
    splits = []
    for test in itertools.combinations(range(len(groups)), tested):
        left = []
        for place, (start, stop) in enumerate(groups):
            if place in test:
                continue
            before = [groups[t][1] for t in test if t < place]
            behind = [groups[t][0] for t in test if t > place]
            first = max([start, *(edge + embargo for edge in before)])
            last = min([stop, *(edge - purge for edge in behind)])
            if first < last:
                left.append((place, (first, last)))
        splits.append(
            Split(
                test=test,
                train=tuple(stretch for _, stretch in left),
                train_groups=tuple(place for place, _ in left),
            )
        )
    return splits


def make_paths(groups: int, splits: Sequence[Split]) -> list[tuple[int, ...]]:
    """Return the paths: for each, the split that tests each group.

    Every group is tested by equally many splits; the j-th path takes the j-th of each group's.
    """
    testing = [[i for i, split in enumerate(splits) if group in split.test] for group in range(groups)]
    return list(zip(*testing, strict=True))
