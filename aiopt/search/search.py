"""One search: generations of points, what each gave, and when it ends.

Owns generations of fixed size, the refusal of invalid and repeated proposals, what is told of points that
cannot be chosen, budgets by points and plateau, and the front.  Knows no bars, no trial and no clock: the
sampler inside learns from the figures it is told, in the order of the points, after the whole generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.config import canonical_json
from aiopt.errors import SearchSpaceError
from aiopt.search.objectives import WindowFigures, upwards, values_of
from aiopt.search.pareto import front
from aiopt.search.proposer import make_proposer
from aiopt.search.record import Candidate, SearchRecord
from aiopt.search.settings import SearchConfig
from aiopt.strategy.space import Point, SearchSpace

PATIENCE = 20
"""Proposals per point wanted before the rest of a generation is drawn at random instead."""

_MALUS = 0.1
"""A point that cannot be chosen is told this share of the range seen below the worst that can."""


@dataclass(frozen=True)
class Seen:
    """What a search learned of a point.

    Attributes
    ----------
    values : tuple of float or None
        Its objectives, as they are; None where it may not be chosen.
    shortage : float
        From 0 to 1: how far it is from being eligible.
    """

    values: tuple[float, ...] | None
    shortage: float = 0.0


def seen(figures: WindowFigures | None, objectives: Sequence[str], min_trades: int) -> Seen:
    """Return what a search learns of the figures of a trial on its train window.

    Parameters
    ----------
    figures : WindowFigures or None
        None where the trial failed.
    objectives : sequence of str
        What is sought.
    min_trades : int
        A trial with fewer trades cannot be chosen on the window.
    """
    if figures is None:
        return Seen(None, 1.0)
    if figures.trades < min_trades:
        return Seen(None, 1 - figures.trades / min_trades)
    values = values_of(figures, objectives)
    # NaN, where the profit does not vary.  Without a Sharpe ratio no fold chooses the trial either.
    if any(value != value for value in (*values, figures.sharpe)):
        return Seen(None)
    return Seen(values)


class Search:
    """The generations of one search.

    Parameters
    ----------
    space : SearchSpace
        That `check_space` has passed.
    sampler : str
        One of `aiopt.search.settings.LEARNING`.
    settings : SearchConfig
        Population, objectives, budget.
    seed : int
        Of all draws; not negative.
    trials : int
        Points it may try, at least 1.
    first : sequence of dict
        Points it begins with, from an earlier run; the first generation is filled up evenly (Sobol).
    """

    def __init__(
        self,
        space: SearchSpace,
        sampler: str,
        settings: SearchConfig,
        *,
        seed: int,
        trials: int,
        first: Sequence[Point] = (),
    ) -> None:
        self._space = space
        self._settings = settings
        self._seed = seed
        self._trials = trials
        self._first = first
        self._proposer = make_proposer(space, sampler, settings, seed)
        self._numbers: list[list[int]] = []
        """Of the points of the generation that is out: their proposals, repeated ones too."""
        self._places: dict[bytes, int] = {}
        self._told: list[tuple[float, ...]] = []
        self._good: list[tuple[int, tuple[float, ...]]] = []
        self._idle = 0
        self._best: list[tuple[float, ...] | None] = []
        self.points: list[Point] = []
        self.stopped = ""

    @property
    def generations(self) -> int:
        """How many generations were learned from."""
        return len(self._best)

    def ask(self) -> list[Point]:
        """Return the points of the next generation, each new; empty where the search has ended."""
        if self.stopped:
            return []
        wanted = min(self._settings.population, self._trials - len(self.points))
        begun = len(self.points)
        if begun == 0:
            self._begin(wanted)
        else:
            self._propose(wanted)
            self._fill(begun + wanted)
        if len(self.points) == begun:
            self.stopped = "every point of the space was tried"
        return self.points[begun:]

    def tell(self, results: Sequence[Seen]) -> None:
        """Learn what the generation gave, in the order of its points; the search may be at its end then."""
        begun = len(self.points) - len(self._numbers)
        before = len(self._front())
        improved = False
        for place, result in enumerate(results, start=begun):
            if result.values is not None:
                value = upwards(result.values, self._settings.objectives)
                improved |= self._improves(value)
                self._good.append((place, value))
        for numbers, result in zip(self._numbers, results, strict=True):
            value = self._value(result)
            self._told.append(value)
            for number in numbers:
                self._proposer.tell(number, value)
        self._numbers = []
        self._best.append(self._ideal())
        self._idle = 0 if improved or (before == 0 and self._good) else self._idle + 1
        self._stop()

    def end(self, reason: str) -> None:
        """End the search, whatever its budget."""
        self.stopped = self.stopped or reason

    def record(self, trial_ids: Sequence[str]) -> SearchRecord:
        """Return what is kept of the search; `trial_ids` are those of its points, in their order."""
        names = self._settings.objectives
        values = dict(self._good)
        return SearchRecord(
            trials=len(self.points),
            generations=self.generations,
            stopped=self.stopped,
            best=tuple(None if one is None else upwards(one, names) for one in self._best),
            front=tuple(
                Candidate(
                    trial_id=trial_ids[place], params=self.points[place], values=upwards(values[place], names)
                )
                for place in self._front()
            ),
        )

    # --- proposing ----------------------------------------------------------------------------------------

    def _begin(self, wanted: int) -> None:
        for point in self._first[:wanted]:
            self._take(point)
        if len(self.points) < wanted:
            self._fill(wanted, method="sobol")

    def _propose(self, wanted: int) -> None:
        """Add what the sampler proposes until there are enough, or its patience is at its end."""
        for _ in range(PATIENCE * wanted):
            if len(self._numbers) == wanted:
                return
            number, point = self._proposer.propose()
            if not self._space.contains(point):
                self._proposer.refuse(number)
                continue
            place = self._places.get(_key(point))
            learned = len(self._told)
            if place is None:
                self._add(number, point)
            elif place < learned:
                # Known already: it is no new trial, and the sampler learns the same again.
                self._proposer.tell(number, self._told[place])
            else:
                self._numbers[place - learned].append(number)

    def _fill(self, size: int, method: str = "random") -> None:
        """Add points not tried yet until there are `size` in all, or the space has no more."""
        missing = size - len(self.points)
        if missing <= 0:
            return
        try:
            drawn = self._space.sample(len(self.points) + missing, self._seed, method)  # type: ignore[arg-type]
        except SearchSpaceError:
            return  # a space without steps in which drawing finds nothing new any more
        for point in drawn:
            if len(self.points) == size:
                return
            if _key(point) not in self._places:
                self._take(point)

    def _take(self, point: Point) -> None:
        if _key(point) not in self._places:
            self._add(self._proposer.take(point), point)

    def _add(self, number: int, point: Point) -> None:
        self._places[_key(point)] = len(self.points)
        self.points.append(point)
        self._numbers.append([number])

    # --- learning -----------------------------------------------------------------------------------------

    def _value(self, result: Seen) -> tuple[float, ...]:
        """Return what the sampler is told; of points that cannot be chosen a little less than the worst."""
        if result.values is not None:
            return upwards(result.values, self._settings.objectives)
        columns = list(zip(*(value for _, value in self._good), strict=True))
        if not columns:
            return (-result.shortage,) * len(self._settings.objectives)
        return tuple(
            min(one) - _MALUS * (1 + result.shortage) * ((max(one) - min(one)) or 1.0) for one in columns
        )

    def _improves(self, value: tuple[float, ...]) -> bool:
        """Tell whether no point before is at least as good in every objective."""
        return not any(all(a >= b for a, b in zip(known, value, strict=True)) for _, known in self._good)

    def _front(self) -> list[int]:
        chosen = front([value for _, value in self._good]) if self._good else []
        return [self._good[index][0] for index in chosen]

    def _ideal(self) -> tuple[float, ...] | None:
        """Return the best of each objective so far, maybe of different points."""
        if not self._good:
            return None
        return tuple(max(one) for one in zip(*(value for _, value in self._good), strict=True))

    def _stop(self) -> None:
        plateau = self._settings.budget.plateau
        if len(self.points) >= self._trials:
            self.stopped = "all trials were made"
        elif plateau is not None and self._idle >= plateau:
            self.stopped = f"no improvement over {plateau} generations"


def _key(point: Point) -> bytes:
    return canonical_json(point)
