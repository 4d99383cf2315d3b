"""All that is measured of the ranked entries of a run, in order.

Owns the order, the proof that a path without stress is the ranking's, and progress.  Knows no run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.ranking_file import Entry, Ranking
from aiopt.robustness.breakdown import by_month, by_regime, by_session, regimes_at
from aiopt.robustness.distribution import cumulated, fan_places, known
from aiopt.robustness.gates import figures_of, gate_results
from aiopt.robustness.moves import Moves, moves_of
from aiopt.robustness.neighbourhood import Neighbouring
from aiopt.robustness.ranks import TrialProfits
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.robustness.robustness_file import EntryRobustness, Robustness, Scenario
from aiopt.robustness.stress import Series, Stress, Walked, runs_of
from aiopt.robustness.walks import Path, WalkScreen, development_bars, path_periods_ns, steps_of
from aiopt.screen.failures import ScreenMismatchError
from aiopt.series import Symbol, series_name
from aiopt.strategy.space import SearchSpace
from aiopt.sweep.trial import TrialContext

IntArray = NDArray[np.int64]
Progress = Callable[[float, float], None]


class Robustly:
    """Measures the entries of a ranking.

    Parameters
    ----------
    ranking : Ranking
        With its plan.
    bars : mapping of str to BarSet
        Per series; bars of the holdout are cut off before anything is run.
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
        self._bars = {name: development_bars(one, self._plan) for name, one in bars.items()}

    def measure(self, progress: Progress) -> Robustness:
        """Return what was found.

        Parameters
        ----------
        progress : callable
            Called with the paths run so far and all of them.

        Raises
        ------
        ScreenMismatchError
            If a path without stress is not the ranking's: nothing here could be believed.
        BeyondScreenError
            If bars or assumptions lie outside what the screen treats exactly.
        """
        groups: dict[str, list[Entry]] = {}
        for entry in self._ranking.entries:
            groups.setdefault(series_name(entry.instrument, entry.timeframe), []).append(entry)
        series = {name: self._series(name, entries[0]) for name, entries in groups.items()}
        total = sum(runs_of(series[name], len(entries), self._config) for name, entries in groups.items())
        done = 0

        def advance(runs: int) -> None:
            nonlocal done
            done += runs
            progress(done, total)

        found: list[EntryRobustness] = []
        for name, entries in groups.items():
            found += self._measure_series(series[name], entries, advance)
        found.sort(key=lambda one: one.rank)
        return Robustness(entries=found, config=self._config, trials=sum(one.trials for one in found))

    def _series(self, name: str, entry: Entry) -> Series:
        others = {}
        for symbol, terms in self._context.markets.items():
            key = series_name(symbol, entry.timeframe)
            if symbol != entry.instrument and key in self._bars:
                others[symbol] = (self._bars[key], terms.backtest)
        return Series(name, self._bars[name], self._assumed(entry.instrument), others)

    def _assumed(self, instrument: Symbol) -> BacktestConfig:
        return self._context.terms(instrument).backtest

    def _measure_series(
        self, series: Series, entries: list[Entry], advance: Callable[[int], None]
    ) -> list[EntryRobustness]:
        plan = self._plan
        screen = WalkScreen(series.bars, series.config, plan)
        paths = [self._own_path(entry, screen) for entry in entries]
        walked = [Walked(entry.name, steps_of(entry), self._moves.get(entry.family)) for entry in entries]
        scenarios = Stress(series, walked, plan, self._config, advance, screen).run()
        starts = path_periods_ns(walked[0].steps, plan.period_ns)
        regimes = regimes_at(series.bars, starts)
        return [
            self._entry(entry, path, own, screen, one.moves, starts, regimes)
            for entry, path, own, one in zip(entries, paths, scenarios, walked, strict=True)
        ]

    def _own_path(self, entry: Entry, screen: WalkScreen) -> Path:
        """Return the path without stress, which must be the ranking's to the last bit."""
        path = screen.path(steps_of(entry))
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
        screen: WalkScreen,
        moves: Moves | None,
        starts: IntArray,
        regimes: tuple[IntArray, IntArray],
    ) -> EntryRobustness:
        plan = self._plan
        places = fan_places(path.pnl.size)
        months = by_month(starts, path)
        trends, volatilities = by_regime(starts, path, regimes)
        near = None if moves is None else Neighbouring(entry, moves, screen, plan, self._config)
        neighbourhood = None if near is None else near.measure()
        ranks = [] if self._trials is None else self._trials.ranks(entry, plan)
        figures = figures_of(scenarios, months, neighbourhood, ranks)
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
            neighbourhood=neighbourhood,
            ranks=ranks,
            gates=gate_results(self._config.gates, figures),
            trials=0 if near is None else near.screened,
        )
