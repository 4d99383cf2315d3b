"""Nested combinatorial paths of a run whose sampler learned: the search is run anew for every split.

A path over other train segments is one of the procedure, search and choice, only if the search saw nothing
but those segments.  Owns these searches, through the screen, and their place in the ledger.  No window has a
segment of the holdout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json, decode
from aiopt.errors import InputError
from aiopt.evaluation.combinatorial import Split
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.files import atomic_write_bytes
from aiopt.ledger.records import TrialTerms
from aiopt.optimize.analysis import RunProposals
from aiopt.optimize.rerunning import bars_of_trial, trial_of
from aiopt.paths.combined import combined_lanes
from aiopt.paths.paths_file import GroupPaths, Nested, RunPaths
from aiopt.paths.settings import TESTED_GROUPS, Combination, combine, segment_stretch
from aiopt.paths.tables import DevelopmentRow, GroupTable, make_tables, read_development, read_searches
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import EVERY_SEARCH, TrialRow, iter_trials
from aiopt.ranking.windows import WindowFigures, window_figures
from aiopt.runs import LEADERBOARD, NESTED_PATHS, PROPOSALS, NotARunError, RunFileError, RunFolder, read_json
from aiopt.search.search import Search, seen
from aiopt.search.settings import LEARNING, SearchConfig
from aiopt.strategy.dimensions import Dimension
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import StrategySpec
from aiopt.sweep.counting import CountedTrial, SweepCount, author_of, look_of
from aiopt.sweep.learning import search_seed
from aiopt.sweep.points import Strategy
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.trial import TrialContext, TrialPoint

Progress = Callable[[float, float], None]


class _Swept(msgspec.Struct):
    """A strategy as ``config.json`` keeps it."""

    spec: StrategySpec
    dimensions: dict[str, Dimension] = {}
    constraints: tuple[str, ...] = ()


@dataclass
class _Made:
    """What the searches of a group gave."""

    rows: list[DevelopmentRow] = field(default_factory=list)
    by_split: list[set[str]] = field(default_factory=list)
    counted: list[CountedTrial] = field(default_factory=list)
    trials: int = 0


class NestedPaths:
    """The nested combinatorial cross-validation of a ranked run.

    Parameters
    ----------
    run : RunFolder
        Finished; its bars, settings and ranking are used.
    conversion : Path, optional
        As in `aiopt.optimize.rerunning.rerun_trial`.

    Raises
    ------
    NotARunError, RunFileError
        If the run is not ranked, or files of it are missing or damaged.
    InputError
        If its sampler does not learn, or its plan leaves nothing to combine.
    """

    def __init__(self, run: RunFolder, *, conversion: Path | None = None) -> None:
        if run.ranking is None or run.trials_path is None or run.config is None:
            raise NotARunError(f"{run.path}: the run must be ranked, but is not. Finish it first.")
        self._run, self._conversion = run, conversion
        self._ranking: Ranking = run.ranking
        self._config: dict[str, Any] = run.config
        self._trials_path = run.trials_path
        self._sampler = str(self._config.get("sampler"))
        if self._sampler not in LEARNING:
            msg = (
                f"Paths are nested where a sampler learns, but {self._sampler} does not: its points depend "
                "on no result, so the paths of the run are what nesting would give. Leave --nested out."
            )
            raise InputError(msg)
        self._plan: WalkForwardPlan = self._ranking.plan
        self._combination: Combination = combine(self._plan)
        if not self._combination.splits:
            raise InputError(
                "The plan has too few development segments for a combination, so no search runs."
            )
        given = {**self._config.get("search", {}), "warm_start": None}
        self._settings = decode(given, SearchConfig, where="config.json, search", error=RunFileError)
        self._strategies = self._swept()
        self._groups = self._first_rows()

    @property
    def searches(self) -> int:
        """How many searches there are: one per split and group with a search space."""
        return len(self._combination.splits) * sum(
            self._strategy(row).space is not None for row in self._groups.values()
        )

    @property
    def budget(self) -> int:
        """Backtests there may be at most."""
        splits = len(self._combination.splits)
        return sum(
            splits * self._trials(strategy) if (strategy := self._strategy(row)).space is not None else 1
            for row in self._groups.values()
        )

    def statement(self) -> str:
        """Return what is about to be done, before it is."""
        return (
            f"{len(self._combination.splits)} splits: {self.searches:,} searches by {self._sampler}, each on "
            f"its own train segments alone; at most {self.budget:,} backtests through the screen, all "
            "counted in the ledger"
        )

    def measure(self, progress: Progress | None = None) -> RunPaths:
        """Search, record the trials in the ledger, and return the paths.

        Parameters
        ----------
        progress : callable, optional
            Called with the backtests made and `budget`; searches that end early leave a gap at the end.

        Raises
        ------
        BeyondScreenError
            If only the engine can treat the bars or assumptions exactly.
        DataError, StorageError
            If bars or the ledger cannot be read or written.
        """
        counts: list[tuple[SweepCount, list[CountedTrial]]] = []
        groups, trials = [], 0
        walked = read_searches(self._trials_path)
        try:
            for name, first in sorted(self._groups.items()):
                made = _Made()
                bars = bars_of_trial(self._run, first, self._conversion)
                count = self._count(first, bars)
                count.prepare()
                counts.append((count, made.counted))
                for _ in self._searched(name, first, bars, made):
                    if progress is not None:
                        progress(trials + made.trials, self.budget)
                trials += made.trials
                groups.append(self._judged(name, made, walked))
        finally:
            # What was tried counts, whether or not anybody sees it.
            for count, counted in counts:
                count.record(counted)
        combination = self._combination
        earlier = self._ranking.statistics.earlier_trials
        return RunPaths(
            groups=groups,
            combined_groups=len(combination.groups),
            tested_groups=min(TESTED_GROUPS, len(combination.groups) - 1),
            splits=len(combination.splits),
            paths=len(combination.paths),
            purge_periods=combination.purge,
            embargo_periods=combination.embargo,
            segments=len(combination.block_edges) - 1,
            trials_counted=self._ranking.statistics.trials + (earlier.trials if earlier else 0) + trials,
            nested=Nested(sampler=self._sampler, searches=self.searches, trials=trials),
        )

    # --- searching ----------------------------------------------------------------------------------------

    def _searched(self, name: str, first: TrialRow, bars: BarSet, made: _Made) -> Iterator[None]:
        """Run the searches of a group, one after another; yield after each generation."""
        strategy = self._strategy(first)
        point, context = trial_of(self._run, first, self._plan)
        screen = TrialScreen(bars, context.backtest)
        if strategy.space is None:
            return  # its one point is among the run's trials, and every split may choose it
        for number, split in enumerate(self._combination.splits):
            segments = train_segments(self._plan, self._combination, split)
            search = Search(
                strategy.space,
                self._sampler,
                self._settings,
                seed=search_seed(int(self._config["seed"]), f"{name} nested", number),
                trials=self._trials(strategy),
            )
            hashes: set[str] = set()
            while asked := search.ask():
                figures = []
                for params in asked:
                    again = TrialPoint(
                        trial_id=f"{name}-p{number + 1}-{len(made.counted):06d}",
                        family=point.family,
                        timeframe=point.timeframe,
                        params=params,
                        spec=strategy.spec.with_params(params),
                        instrument=point.instrument,
                    )
                    figures.append(self._tried(screen, again, context, segments, made))
                    hashes.add(figures[-1].spec_hash)
                least = self._ranking.config.min_train_trades
                objectives = self._settings.objectives
                search.tell([seen(one if one.ok else None, objectives, least) for one in figures])
                yield
            made.by_split.append(hashes)
        screen.close()

    def _tried(
        self,
        screen: TrialScreen,
        point: TrialPoint,
        context: TrialContext,
        segments: tuple[int, ...],
        made: _Made,
    ) -> WindowFigures:
        row = screen.row(point, context)
        made.trials += 1
        terms = TrialTerms(row.spec_hash, row.timeframe, row.config_hash)
        made.counted.append(CountedTrial(row.instrument, terms, row.ok))
        if row.ok:
            trades = np.array(row.segment_trades, dtype=np.int64)
            pnl = np.array(row.pnl, dtype=np.float64)
            made.rows.append(DevelopmentRow(row.trial_id, row.group, row.spec_hash, trades, pnl))
        return window_figures(row, self._plan, segments)

    # --- judging ------------------------------------------------------------------------------------------

    def _judged(self, name: str, made: _Made, walked: dict[str, tuple[str, int]]) -> GroupPaths:
        """Return the paths of a group: every split chooses among what its own search found."""
        own = [
            row
            for row in read_development(self._trials_path, self._run.path / LEADERBOARD, every=True)
            if row.group == name
        ]
        (table,) = make_tables([*own, *made.rows], self._combination.cuts)
        places = _places(table, [*own, *made.rows])
        always = {spec for spec, search in walked.values() if search == EVERY_SEARCH}
        by_split = made.by_split or [set[str]()] * len(self._combination.splits)
        competing = [sorted(places[one] for one in (hashes | always) if one in places) for hashes in by_split]
        folds = [
            sorted(
                places[spec]
                for trial_id, (spec, search) in walked.items()
                if search in (fold.index, EVERY_SEARCH) and spec in places and _of(trial_id, name)
            )
            for fold in self._plan.folds
        ]
        lanes, reason = combined_lanes(
            table,
            self._plan,
            self._combination,
            lanes=self._ranking.config.lanes,
            min_trades=self._ranking.config.min_train_trades,
            competing=(competing, folds),
        )
        return GroupPaths(
            group=name,
            trials=len({row.spec_hash for row in made.rows}),
            lanes=lanes,
            matrix=[],
            reason=reason,
        )

    # --- what the run was ---------------------------------------------------------------------------------

    def _swept(self) -> list[Strategy]:
        found = [
            Strategy(
                one.spec, SearchSpace(one.spec, one.dimensions, one.constraints) if one.dimensions else None
            )
            for one in (
                decode(given, _Swept, where="config.json, strategies", error=RunFileError)
                for given in self._config["strategies"]
            )
        ]
        path = self._run.path / PROPOSALS
        if not path.is_file():
            return found
        trials = int(self._config["analysis"]["proposal_trials"])
        return found + [
            Strategy(
                one.spec,
                SearchSpace(one.spec, one.dimensions, one.constraints),
                timeframes=(one.timeframe,),
                instruments=(one.instrument,) if one.instrument else (),
                trials=trials,
            )
            for one in read_json(path, RunProposals).strategies
        ]

    def _first_rows(self) -> dict[str, TrialRow]:
        """Return one trial of every group, for its bars and assumptions."""
        found: dict[str, TrialRow] = {}
        for row in iter_trials(self._trials_path):
            found.setdefault(row.group, row)
        return found

    def _strategy(self, row: TrialRow) -> Strategy:
        for one in self._strategies:
            if (
                one.family == row.family
                and row.timeframe in (one.timeframes or (row.timeframe,))
                and (not one.instruments or row.instrument in one.instruments)
            ):
                return one
        raise RunFileError(
            f"{self._run.path}: no strategy of the run is called {row.family!r}. Repeat the run."
        )

    def _trials(self, strategy: Strategy) -> int:
        return strategy.trials or int(self._config["trials"])

    def _count(self, row: TrialRow, bars: BarSet) -> SweepCount:
        symbol = str(row.instrument or self._config["instrument"])
        look = look_of(self._plan, instrument=symbol, data_hash=row.data_hash, synthetic=bars.synthetic)
        identity = ["nested paths", self._config]
        return SweepCount(author_of("sweep", identity, f"nested-{self._run.run_id}"), {symbol: look})


def write_nested(run: RunFolder, found: RunPaths) -> Path:
    """Write ``nested_paths.json`` into a run folder and return its path."""
    path = run.path / NESTED_PATHS
    atomic_write_bytes(path, canonical_json(found))
    return path


def train_segments(plan: WalkForwardPlan, combination: Combination, split: Split) -> tuple[int, ...]:
    """Return the segments that a split's search may look at: those that lie wholly in its train stretches.

    A segment that a purge or an embargo cuts is left out as a whole: of its trades only sums are kept.
    """
    found = []
    for group, (start, stop) in zip(split.train_groups, split.train, strict=True):
        for segment in combination.segments[group]:
            first, last = segment_stretch(plan, segment)
            if start <= first and last <= stop:
                found.append(segment)
    return tuple(sorted(set(found)))


def _places(table: GroupTable, rows: list[DevelopmentRow]) -> dict[str, int]:
    """Return the place in a table of every spec: of equal ones the first was kept."""
    by_id = {trial_id: place for place, trial_id in enumerate(table.trial_ids)}
    return {row.spec_hash: by_id[row.trial_id] for row in rows if row.trial_id in by_id}


def _of(trial_id: str, group: str) -> bool:
    return trial_id.startswith(f"{group}-")
