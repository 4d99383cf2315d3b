"""Which records a step trains on: a pure function of seed, stage and step.

Owns the order of the data and class balance.  Nothing is remembered, so a training that goes on after a kill
finds the same records in the same order, whoever computes them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError


class DataOrder:
    """Batches of record numbers.

    Every epoch is a permutation of the records of a stage.  Balanced, it holds every class as often as the
    largest one: smaller classes come round several times.  Weighted, a record comes in each round as often as
    its share of the weights says: on average, and never more than one away from it.

    Parameters
    ----------
    numbers : ndarray of int64
        Records of the stage.
    classes : sequence of hashable, optional
        Class of each of them, where classes are to be drawn equally often.
    weights : sequence of float, optional
        Of each of them; equal ones change nothing.
    seed, stage : int
        Decide the permutations.
    batch_size : int
        Records per step.
    """

    def __init__(
        self,
        numbers: NDArray[np.int64],
        *,
        classes: Sequence[Hashable] | None,
        weights: Sequence[float] | None = None,
        seed: int,
        stage: int,
        batch_size: int,
    ) -> None:
        self._seed, self._stage, self._batch = seed, stage, batch_size
        self._groups = [numbers]
        if classes is not None:
            by_class: dict[Hashable, list[int]] = {}
            for number, label in zip(numbers.tolist(), classes, strict=True):
                by_class.setdefault(label, []).append(number)
            self._groups = [np.array(group, np.int64) for group in by_class.values()]
        self._weights: dict[int, float] | None = None
        if weights is not None and len(set(weights)) > 1:
            self._weights = dict(zip(numbers.tolist(), weights, strict=True))
        self.epoch_size = len(self._groups) * max(group.size for group in self._groups)
        self._kept: tuple[int, NDArray[np.int64]] | None = None

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return the records of a step of the stage, counted from 0."""
        start = step * self._batch
        wanted = np.arange(start, start + self._batch)
        parts = []
        for epoch in range(int(wanted[0]) // self.epoch_size, int(wanted[-1]) // self.epoch_size + 1):
            inside = wanted[wanted // self.epoch_size == epoch] % self.epoch_size
            parts.append(self._epoch(epoch)[inside])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._kept is None or self._kept[0] != epoch:
            draw = np.random.Generator(np.random.Philox([self._seed, self._stage * 2**32 + epoch]))
            largest = max(group.size for group in self._groups)
            # A fresh permutation each time round: a class of ten is not seen in the same order for ever.
            rounds = [
                np.concatenate([self._round(group, draw) for _ in range(-(-largest // group.size))])[:largest]
                for group in self._groups
            ]
            self._kept = epoch, draw.permutation(np.concatenate(rounds))
        return self._kept[1]

    def _round(self, group: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
        """Return as many records as a group has, in random order."""
        if self._weights is None:
            return draw.permutation(group)
        shares = np.cumsum([self._weights[number] for number in group.tolist()])
        # Systematic sampling: one random offset, equal steps, so no record strays from its share by chance.
        marks = (np.arange(group.size) + draw.random()) / group.size * shares[-1]
        return draw.permutation(group[np.minimum(np.searchsorted(shares, marks, "right"), group.size - 1)])


def answer_class(answer: str, key: str, *, where: str) -> str:
    """Return the class of an answer: the whole text for the key ``answer``, else a value of its JSON.

    Raises
    ------
    DataError
        If the answer has no such key.
    """
    if key == "answer":
        return answer
    try:
        value = msgspec.json.decode(answer)
        for part in key.split("."):
            value = value[part]
    except (msgspec.DecodeError, KeyError, TypeError, IndexError) as failure:
        msg = f"{where}: answers are balanced by {key!r}, but this one has no such key: {answer[:60]!r}."
        raise DataError(f"{msg} Choose a key of the answers, or `answer`.") from failure
    return msgspec.json.encode(value).decode()
