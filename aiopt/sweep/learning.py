"""A sweep whose sampler learns: one search per fold and one for the refit, in every group, together.

Owns the loop over generations, and what a search is told: figures of the train window of its own fold.  A
trial is backtested over the whole span like any other, because one backtest gives all segments; which of
them a search may look at is decided here, and which trials a fold may choose in `aiopt.ranking.selection`.

All points of a generation, of all searches, are run before one of them is learned from, and they are learned
from in their own order.  So points depend on settings, seed and results alone: a run that was killed asks its
searches again, finds the results in the journal and goes on with the same points.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from aiopt.config import content_hash
from aiopt.errors import RunExistsError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.trials import EVERY_SEARCH
from aiopt.ranking.windows import Window, WindowFigures
from aiopt.search.record import GroupSearch, RunSearches, SearchRecord
from aiopt.search.search import Search, seen
from aiopt.series import Symbol, series_name
from aiopt.strategy.space import Point
from aiopt.sweep.board import Board
from aiopt.sweep.local import SweepOutcome
from aiopt.sweep.points import Strategy
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialPoint

RunPoints = Callable[[Sequence[TrialPoint]], SweepOutcome]
"""Runs every point that the board has no row of; it is given all points so far."""

Keep = Callable[[RunSearches], None]
"""Writes where the searches stand."""

OUT_OF_TIME = "the budget of time"


@dataclass
class _Lane:
    """One search of one group, with the trials it has proposed."""

    strategy: Strategy
    timeframe: str
    instrument: Symbol
    number: int
    segments: tuple[int, ...]
    seed: int
    search: Search | None
    """None for a strategy without a search space: one point, which every fold may choose."""
    label: str = ""
    """Part of the ids of its trials: ``f2-`` for the second fold, ``refit-``."""
    points: list[TrialPoint] = field(default_factory=list)
    out: int = 0
    """Of `points`, how many are of the generation that is out."""

    @property
    def group(self) -> str:
        return f"{self.strategy.family}@{series_name(self.instrument, self.timeframe)}"

    def ask(self) -> list[TrialPoint]:
        """Return the points of the next generation."""
        if self.search is None:
            asked: list[Point] = [] if self.points else [{}]
            generation, label = 0, ""
        else:
            asked = self.search.ask()
            generation, label = self.search.generations, self.label
        begun = len(self.points)
        new = [
            TrialPoint(
                trial_id=f"{self.group}-{label}{place:05d}",
                family=self.strategy.family,
                timeframe=self.timeframe,
                params=params,
                spec=self.strategy.spec.with_params(params),
                instrument=self.instrument,
                search=self.number,
                generation=generation,
            )
            for place, params in enumerate(asked, start=begun)
        ]
        self.points += new
        self.out = len(new)
        return new


class LearningSweep:
    """The searches of a sweep.

    Parameters
    ----------
    strategies : sequence of Strategy
        What is searched; spaces that `Strategy.check` has passed.
    config : SweepConfig
        Sampler, population, budget, seed.
    plan : WalkForwardPlan
        The train windows.
    instruments : sequence of str
        The markets of a sweep of several, from `symbols_of`.
    first : mapping of str to sequence of dict
        Points to begin with, by group, from an earlier run.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy],
        config: SweepConfig,
        plan: WalkForwardPlan,
        instruments: Sequence[str] = (),
        first: Mapping[str, Sequence[Point]] | None = None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._first = first or {}
        self._lanes = [
            lane
            for timeframe in config.timeframes
            for strategy in strategies
            if timeframe in (strategy.timeframes or config.timeframes)
            for instrument in instruments or (msgspec.UNSET,)
            if not strategy.instruments or instrument in strategy.instruments
            for lane in self._searches(strategy, timeframe, instrument)
        ]

    @property
    def trials(self) -> int:
        """How many trials there may be at most: every point of every search is one."""
        return sum(
            1 if lane.search is None else lane.strategy.trials or self._config.trials for lane in self._lanes
        )

    def first_points(self) -> list[TrialPoint]:
        """Return the points of the first generation: they depend on no result."""
        return self._ask() if not any(lane.points for lane in self._lanes) else self._first_again()

    @property
    def points(self) -> list[TrialPoint]:
        """All points proposed so far."""
        return [point for lane in self._lanes for point in lane.points]

    def generations(
        self, board: Board, *, keep: Keep, recorded: RunSearches | None = None
    ) -> Iterator[list[TrialPoint]]:
        """Yield the points of one generation after the other, until every search has ended.

        The next is asked for when all points before have rows.

        Parameters
        ----------
        board : Board
            Gives the figures that searches are told.
        keep : callable
            Called with where the searches stand: after a generation where the budget is one of time, and with
            everything at the end.
        recorded : RunSearches, optional
            What `keep` was last given in this run folder: where time was the budget, the generations recorded
            are run again whatever the clock says, and if they were all, no other.

        Raises
        ------
        RunExistsError
            If the board has other trials under these ids: another version of a sampler proposed them.
        """
        began = time.monotonic()
        before_s = float(recorded.elapsed_s or 0.0) if recorded is not None else 0.0
        minutes = self._config.search.budget.minutes
        done = 0
        out = self.first_points()
        while out:
            yield out
            self._learn(board)
            done += 1
            elapsed_s = before_s + time.monotonic() - began
            if minutes is not None:
                if recorded is not None and recorded.finished:
                    over = done >= recorded.generations
                else:
                    over = elapsed_s >= 60 * minutes and done >= (recorded.generations if recorded else 0)
                    keep(self._record(done, elapsed_s=elapsed_s))
                if over:
                    self._end()
            out = self._ask()
        keep(self._record(done, elapsed_s=None))

    def run(
        self, board: Board, run: RunPoints, *, keep: Keep, recorded: RunSearches | None = None
    ) -> tuple[list[TrialPoint], Counter[str]]:
        """Search until every search has ended, each generation by a call of `run`.

        Parameters
        ----------
        board, keep, recorded
            As for `generations`, and its errors.
        run : callable
            Runs points, and puts their rows on the board.

        Returns
        -------
        list of TrialPoint, Counter
            All points, and how many were run per node.
        """
        by_node: Counter[str] = Counter()
        for _ in self.generations(board, keep=keep, recorded=recorded):
            by_node.update(run(self.points).trials_by_node)
        return self.points, by_node

    # --- one generation -----------------------------------------------------------------------------------

    def _ask(self) -> list[TrialPoint]:
        return [point for lane in self._lanes for point in lane.ask()]

    def _first_again(self) -> list[TrialPoint]:
        return [point for lane in self._lanes for point in lane.points if point.generation == 0]

    def _learn(self, board: Board) -> None:
        """Tell every search what its points gave on its own train window, and nothing else."""
        lanes = [lane for lane in self._lanes if lane.out and lane.search is not None]
        asked = [
            Window(tuple(point.trial_id for point in lane.points[-lane.out :]), lane.segments)
            for lane in lanes
        ]
        least = self._config.ranking.min_train_trades
        objectives = self._config.search.objectives
        for lane, found in zip(lanes, board.window_figures(asked), strict=True):
            assert lane.search is not None
            self._check_same(lane, found)
            lane.search.tell([seen(one if one.ok else None, objectives, least) for one in found])

    def _check_same(self, lane: _Lane, found: Sequence[WindowFigures]) -> None:
        for point, figures in zip(lane.points[-lane.out :], found, strict=True):
            if point.spec.spec_hash != figures.spec_hash:
                msg = (
                    f"Trial {point.trial_id!r} must be the point that the search proposes, but the run has "
                    "another one of this name: it was begun with another version of the sampler. Finish it "
                    "with the versions in its state.json, or start anew with --force or another --run-id."
                )
                raise RunExistsError(msg)

    def _end(self) -> None:
        for lane in self._lanes:
            if lane.search is not None:
                lane.search.end(OUT_OF_TIME)

    # --- making and recording -----------------------------------------------------------------------------

    def _searches(self, strategy: Strategy, timeframe: str, instrument: Symbol) -> list[_Lane]:
        if strategy.space is None:
            return [_Lane(strategy, timeframe, instrument, EVERY_SEARCH, (), self._config.seed, None)]
        windows = [*((f"f{fold.index + 1}-", fold.train) for fold in self._plan.folds)]
        windows.append(("refit-", self._plan.refit))
        group = f"{strategy.family}@{series_name(instrument, timeframe)}"
        lanes = []
        for number, (label, segments) in enumerate(windows):
            seed = search_seed(self._config.seed, group, number)
            search = Search(
                strategy.space,
                self._config.sampler,
                self._config.search,
                seed=seed,
                trials=strategy.trials or self._config.trials,
                first=self._first.get(group, ()),
            )
            lanes.append(_Lane(strategy, timeframe, instrument, number, segments, seed, search, label=label))
        return lanes

    def _record(self, generations: int, *, elapsed_s: float | None) -> RunSearches:
        """Return what is kept: while searches run where they stand, at the end what they found."""
        finished = elapsed_s is None
        return RunSearches(
            sampler=self._config.sampler,
            objectives=self._config.search.objectives,
            generations=generations,
            elapsed_s=msgspec.UNSET if elapsed_s is None else round(elapsed_s, 3),
            finished=finished,
            warm_started=sum(len(self._first.get(lane.group, ())) for lane in self._lanes if lane.search),
            searches=tuple(
                GroupSearch(
                    group=lane.group,
                    search=lane.number,
                    segments=lane.segments,
                    seed=lane.seed,
                    found=_found(lane.search, lane.points),
                )
                for lane in self._lanes
                if finished and lane.search is not None
            ),
        )


def _found(search: Search, points: Sequence[TrialPoint]) -> SearchRecord:
    return search.record([point.trial_id for point in points])


def search_seed(seed: int, group: str, search: int) -> int:
    """Return the seed of one search, derived from the run's.

    Examples
    --------
    >>> search_seed(1, "ema_cross_atr@5m", 0) != search_seed(1, "ema_cross_atr@5m", 1)
    True
    """
    return int(content_hash([seed, group, search])[:8], 16) >> 1
