"""An entry's walk-forward path, run again on bars and under assumptions of one's choice.

Owns the way from what each fold chose to the path of profits out of sample, through the screen or in the
engine.  The bars end where the holdout begins, so nothing here can read it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan, period_profits
from aiopt.evaluation.metrics import max_drawdown_amount, sharpe_ratio
from aiopt.ranking.ranking_file import Entry
from aiopt.screen.session import ScreenSession
from aiopt.screen.trade_table import ENTRY_BAR
from aiopt.strategy.dimensions import Value
from aiopt.strategy.spec import StrategySpec, spec_from_mapping
from aiopt.sweep.trial import rounded_profits
from aiopt.timeframe import time_grid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """One fold of a walk: what was chosen, and the stretch it traded.

    Attributes
    ----------
    spec : StrategySpec
        With the parameters the fold chose.
    params : dict
        Those of them that were searched.
    start_ns, stop_ns : int
        The test segment.
    """

    spec: StrategySpec
    params: dict[str, Value]
    start_ns: int
    stop_ns: int


def steps_of(entry: Entry) -> list[Step]:
    """Return the folds of an entry."""
    spec = spec_from_mapping(entry.spec, where=f"entry {entry.rank}")
    return [
        Step(spec.with_params(fold.params), dict(fold.params), fold.test_start_ns, fold.test_stop_ns)
        for fold in entry.folds
    ]


@dataclass(frozen=True, eq=False)
class Path:
    """Profits out of sample.

    Attributes
    ----------
    pnl : ndarray of shape (n_periods,), account currency
        Per period of all test segments, one after the other.
    entries_ns : ndarray of shape (n_trades,), int64
        Opening times of the bars of the entries.
    """

    pnl: FloatArray
    entries_ns: IntArray

    @property
    def net_pnl(self) -> float:
        """The profit of the path."""
        return math.fsum(self.pnl)

    @property
    def drawdown(self) -> float:
        """Its deepest fall, at least 0."""
        return max_drawdown_amount(self.pnl)

    def sharpe(self, periods_per_year: float) -> float:
        """Its Sharpe ratio, annualised; NaN if the profit does not vary."""
        return sharpe_ratio(self.pnl, periods_per_year=periods_per_year)


def development_bars(bars: BarSet, plan: WalkForwardPlan) -> BarSet:
    """Return the bars before the holdout."""
    return bars.slice(0, int(np.searchsorted(bars.bid.ts_open_ns, plan.holdout_start_ns)))


class Walks(ABC):
    """Runs specs over the development segments.

    Parameters
    ----------
    bars : BarSet
        None of the holdout, see `development_bars`.
    config : BacktestConfig
        Assumptions.
    plan : WalkForwardPlan
        Of the run.
    """

    def __init__(self, bars: BarSet, config: BacktestConfig, plan: WalkForwardPlan) -> None:
        edges = [edge for edge in plan.boundaries_ns if edge <= plan.holdout_start_ns]
        self._segments = Segments(tuple(edges))
        self._plan = plan
        self._ts_open_ns = bars.bid.ts_open_ns

    @abstractmethod
    def trial(self, spec: StrategySpec) -> Path:
        """Return the profit of a spec in each development period, and its entries.

        Raises
        ------
        BacktestError
            If it cannot be run on these bars.
        """

    def profits(self, spec: StrategySpec) -> FloatArray:
        """Return the profit of a spec in each development period."""
        return self.trial(spec).pnl

    def path(self, steps: list[Step]) -> Path:
        """Return the path of a walk: the trial of each fold on the fold's test segment."""
        done: dict[str, Path] = {}
        pnl, entries = [], []
        start, period = self._plan.start_ns, self._plan.period_ns
        for step in steps:
            if step.spec.spec_hash not in done:
                done[step.spec.spec_hash] = self.trial(step.spec)
            found = done[step.spec.spec_hash]
            pnl.append(found.pnl[(step.start_ns - start) // period : (step.stop_ns - start) // period])
            opened = found.entries_ns
            entries.append(opened[(opened >= step.start_ns) & (opened < step.stop_ns)])
        return Path(np.concatenate(pnl), np.concatenate(entries))


class WalkScreen(Walks):
    """Runs specs through the screen.

    Parameters
    ----------
    bars, config, plan
        As of `Walks`.
    like : WalkScreen, optional
        One whose indicators are used where the bids are the same.

    Raises
    ------
    BeyondScreenError
        If only the engine can treat these bars or assumptions exactly; so may `trial`, of a spec.
    """

    def __init__(
        self, bars: BarSet, config: BacktestConfig, plan: WalkForwardPlan, like: WalkScreen | None = None
    ) -> None:
        super().__init__(bars, config, plan)
        known = None if like is None or like._session.bars.bid is not bars.bid else like._session
        self._session: ScreenSession = ScreenSession(bars, config, like=known)
        grid = time_grid(plan.start_ns, plan.holdout_start_ns + 1, plan.period_ns)
        self._ends = np.searchsorted(self._ts_open_ns, grid, side="left") - 1

    def trial(self, spec: StrategySpec) -> Path:
        """Return the profits and entries of a spec, by the screen."""
        found = self._session.screen(spec, segments=self._segments)
        equity = self._session.equity(found, self._ends)
        entries = self._ts_open_ns[found.trades[:, ENTRY_BAR]]
        return Path(np.array(rounded_profits(np.diff(equity))), entries)


class WalkEngine(Walks):
    """Runs specs in NautilusTrader; close it.  Parameters as of `Walks`."""

    def __init__(self, bars: BarSet, config: BacktestConfig, plan: WalkForwardPlan) -> None:
        super().__init__(bars, config, plan)
        self._session = BacktestSession(bars, config)

    def trial(self, spec: StrategySpec) -> Path:
        """Return the profits and entries of a spec, by the engine."""
        found = self._session.run(spec, segments=self._segments)
        plan = self._plan
        profits = period_profits(
            self._ts_open_ns,
            found.equity,
            start_ns=plan.start_ns,
            stop_ns=plan.holdout_start_ns,
            period_ns=plan.period_ns,
        )
        entries = np.array([trade.entry_ts_ns for trade in found.trades], dtype=np.int64)
        return Path(rounded_profits(profits), entries)

    def close(self) -> None:
        """Let the bars go; the process's engine stays warm."""
        self._session.close()


def differing_periods(one: Path, other: Path) -> int:
    """Return in how many periods two paths differ, to the last bit; all of them if their entries do."""
    if one.pnl.size != other.pnl.size or not np.array_equal(
        np.sort(one.entries_ns), np.sort(other.entries_ns)
    ):
        return max(one.pnl.size, 1)
    return int((one.pnl != other.pnl).sum())


def path_periods_ns(steps: list[Step], period_ns: int) -> IntArray:
    """Return the opening times of the periods of a path."""
    return np.concatenate([time_grid(step.start_ns, step.stop_ns, period_ns) for step in steps])
