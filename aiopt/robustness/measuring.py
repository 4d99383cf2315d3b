"""All that is measured of the ranked entries of a run, in order.

Owns the order, the proof that a path without stress is the ranking's, and what the screen cannot run.  The
work itself is in shares (`aiopt.robustness.shares`) that a caller may run anywhere.  Knows no run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.ranking_file import Entry, Ranking
from aiopt.robustness.breakdown import by_month, by_regime, by_session, regimes_at
from aiopt.robustness.distribution import cumulated, fan_places, known
from aiopt.robustness.gates import figures_of, gate_results
from aiopt.robustness.moves import moves_of
from aiopt.robustness.neighbourhood import NeighbourOutcome, NeighbourShare
from aiopt.robustness.ranks import TrialProfits
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.robustness.robustness_file import EntryRobustness, Robustness, Scenario
from aiopt.robustness.shares import Share, StressOutcome, StressShare, Terms, Walked
from aiopt.robustness.stress import draws_for, scenarios_of, stress_shares
from aiopt.robustness.walks import (
    Path,
    WalkEngine,
    Walks,
    WalkScreen,
    development_bars,
    path_periods_ns,
    steps_of,
)
from aiopt.screen.failures import BeyondScreenError, ScreenMismatchError
from aiopt.series import Symbol, series_name
from aiopt.strategy.space import SearchSpace
from aiopt.sweep.trial import TrialContext

IntArray = NDArray[np.int64]
AnyOutcome = StressOutcome | NeighbourOutcome
AnyShare = Share[AnyOutcome]
RunShares = Callable[[Sequence[AnyShare], Mapping[str, BarSet]], Sequence[AnyOutcome]]
"""Runs shares on the bars of their series and returns what they give, in their order."""

_NOT_MEASURED = NeighbourOutcome(None, 0)


def in_this_process(shares: Sequence[AnyShare], bars: Mapping[str, BarSet]) -> list[AnyOutcome]:
    """Run shares one after the other."""
    return [share.run(bars[share.series]) for share in shares]


@dataclass(frozen=True, eq=False)
class _Group:
    """Entries of one series that are run in the same way, and their work."""

    terms: Terms
    draws: int
    entries: list[Entry]
    paths: list[Path]
    stress: list[StressShare]
    near: list[NeighbourShare]
    reason: str
    """Why the screen cannot run them; empty where it does."""

    @property
    def shares(self) -> list[AnyShare]:
        return [*self.stress, *self.near]


class Robustly:
    """Measures the entries of a ranking.

    Parameters
    ----------
    ranking : Ranking
        With its plan.
    bars : mapping of str to BarSet
        Per series; every share cuts off the holdout before anything is run.
    context : TrialContext
        What the sweep's trials assumed.
    spaces : mapping of str to SearchSpace
        By family; strategies without one are left out.
    config : RobustnessConfig
        What the entries are put through.
    trials : TrialProfits, optional
        Of the sweep: where the folds' choices stand among them.
    """

    def __init__(
        self,
        ranking: Ranking,
        bars: Mapping[str, BarSet],
        context: TrialContext,
        spaces: Mapping[str, SearchSpace],
        config: RobustnessConfig,
        trials: TrialProfits | None = None,
    ) -> None:
        self._ranking = ranking
        self._plan: WalkForwardPlan = ranking.plan
        self._context = context
        self._moves = {family: moves_of(space, config.jitter) for family, space in spaces.items()}
        self._config = config
        self._trials = trials
        self._bars = bars

    def measure(self, run: RunShares = in_this_process) -> Robustness:
        """Return what was found.

        Parameters
        ----------
        run : callable
            Runs shares of the work, anywhere; the result does not depend on it.

        Raises
        ------
        ScreenMismatchError
            If a path without stress is not the ranking's, or NautilusTrader differs from the screen under
            stress: nothing here could be believed.
        """
        groups = [
            group
            for name, entries in _by_series(self._ranking.entries).items()
            for group in self._groups(name, entries)
        ]
        shares: list[AnyShare] = [share for group in groups for share in group.shares]
        outcomes = run(shares, self._bars)
        stressed = [one for one in outcomes if isinstance(one, StressOutcome)]
        found: list[EntryRobustness] = []
        done = 0
        for group in groups:
            own = outcomes[done : done + len(group.shares)]
            done += len(group.shares)
            found += self._judged(group, own)
        found.sort(key=lambda one: one.rank)
        return Robustness(
            entries=found,
            config=self._config,
            trials=sum(one.trials for one in found),
            paths=sum(one is not None for outcome in stressed for run in outcome.found for one in run),
            confirmed=sum(outcome.confirmed for outcome in stressed),
            in_engine=sum(outcome.in_engine for outcome in stressed),
        )

    def _groups(self, name: str, entries: list[Entry]) -> Iterator[_Group]:
        """Yield the entries of a series that the screen runs, and those that only the engine can."""
        bars, config = development_bars(self._bars[name], self._plan), self._assumed(entries[0].instrument)
        screened: list[tuple[Entry, Path]] = []
        beyond: list[tuple[Entry, Path]] = []
        reason = ""
        try:
            screen: Walks | None = WalkScreen(bars, config, self._plan)
        except BeyondScreenError as error:
            screen, reason = None, str(error)
        for entry in entries:
            try:
                if screen is not None:
                    screened.append((entry, self._own_path(entry, screen)))
                    continue
            except BeyondScreenError as error:
                reason = str(error)
            with closing(WalkEngine(bars, config, self._plan)) as engine:
                beyond.append((entry, self._own_path(entry, engine)))
        for own, why in ((screened, ""), (beyond, reason)):
            if own:
                yield self._group(name, config, own, len(bars), why)

    def _group(
        self, name: str, config: BacktestConfig, own: list[tuple[Entry, Path]], n_bars: int, reason: str
    ) -> _Group:
        entries = [entry for entry, _ in own]
        others = {}
        for symbol, market in self._context.markets.items():
            key = series_name(symbol, entries[0].timeframe)
            if symbol != entries[0].instrument and key in self._bars:
                others[symbol] = (key, market.backtest)
        terms = Terms(
            name=name,
            config=config,
            entries=[Walked(entry.name, steps_of(entry), self._moves.get(entry.family)) for entry in entries],
            plan=self._plan,
            settings=self._config,
            others=others,
            engine=bool(reason),
        )
        draws = draws_for(self._config, n_bars, engine=terms.engine)
        near = [
            NeighbourShare(name, entry, walked.moves, config, self._plan, self._config)
            for entry, walked in zip(entries, terms.entries, strict=True)
            if walked.moves is not None and not terms.engine
        ]
        return _Group(
            terms, draws, entries, [path for _, path in own], stress_shares(terms, draws), near, reason
        )

    def _assumed(self, instrument: Symbol) -> BacktestConfig:
        return self._context.terms(instrument).backtest

    def _judged(self, group: _Group, outcomes: Sequence[AnyOutcome]) -> list[EntryRobustness]:
        """Return the records of a group's entries from what its shares gave."""
        plan = self._plan
        stressed = [one for one in outcomes if isinstance(one, StressOutcome)]
        near = [one for one in outcomes if isinstance(one, NeighbourOutcome)]
        by_rank = {share.entry.rank: one for share, one in zip(group.near, near, strict=True)}
        scenarios = scenarios_of(group.terms, group.draws, group.stress, stressed)
        starts = path_periods_ns(group.terms.entries[0].steps, plan.period_ns)
        regimes = regimes_at(development_bars(self._bars[group.terms.name], plan), starts)
        return [
            self._entry(
                entry, path, own, by_rank.get(entry.rank, _NOT_MEASURED), starts, regimes, group.reason
            )
            for entry, path, own in zip(group.entries, group.paths, scenarios, strict=True)
        ]

    def _own_path(self, entry: Entry, runner: Walks) -> Path:
        """Return the path without stress, which must be the ranking's to the last bit."""
        path = runner.path(steps_of(entry))
        known_pnl = np.array(entry.out_of_sample_pnl)
        if not np.array_equal(path.pnl, known_pnl) or path.entries_ns.size != entry.out_of_sample.trades:
            same_size = path.pnl.size == known_pnl.size
            differing = int((path.pnl != known_pnl).sum()) if same_size else known_pnl.size
            msg = (
                f"The path of entry {entry.rank} ({entry.name}) without stress must be the ranking's, but "
                f"{differing} of {known_pnl.size} periods differ, and it has {path.entries_ns.size} "
                f"trades instead of {entry.out_of_sample.trades}. The screen must not be trusted here: "
                "repeat the run with `screen: off` and `robustness: {enabled: false}`, and report it."
            )
            raise ScreenMismatchError(msg)
        return path

    # reason: all that an entry's record is made of
    def _entry(
        self,
        entry: Entry,
        path: Path,
        scenarios: list[Scenario],
        near: NeighbourOutcome,
        starts: IntArray,
        regimes: tuple[IntArray, IntArray],
        beyond_screen: str,
    ) -> EntryRobustness:
        plan = self._plan
        places = fan_places(path.pnl.size)
        months = by_month(starts, path)
        trends, volatilities = by_regime(starts, path, regimes)
        ranks = [] if self._trials is None else self._trials.ranks(entry, plan)
        figures = figures_of(scenarios, months, near.neighbourhood, ranks)
        return EntryRobustness(
            rank=entry.rank,
            name=entry.name,
            trial_id=entry.trial_id,
            net_pnl=path.net_pnl,
            sharpe=known(path.sharpe(plan.periods_per_year)),
            max_drawdown_amount=path.drawdown,
            trades=int(path.entries_ns.size),
            scenarios=scenarios,
            fan_ts_ns=(starts[places] + plan.period_ns).tolist(),
            fan=(cumulated(path.pnl, places).round(2) + 0.0).tolist(),
            months=months,
            sessions=by_session(starts, path),
            trends=trends,
            volatilities=volatilities,
            neighbourhood=near.neighbourhood,
            ranks=ranks,
            gates=gate_results(self._config.gates, figures),
            trials=near.screened,
            beyond_screen=beyond_screen,
        )


def _by_series(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(series_name(entry.instrument, entry.timeframe), []).append(entry)
    return found
