"""Where the trials on one series of bars are run: by the screen or in the engine, with the same rows.

Owns the choice, `TrialContext.screen`, and the objects that stay warm between trials.
"""

from __future__ import annotations

from typing import Protocol

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.ranking.packed_row import PackedRow, packed_row
from aiopt.ranking.trials import TrialRow
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.trial import TrialContext, TrialPoint, run_trial


class TrialRunner(Protocol):
    """Runs trials on the bars it was opened for."""

    def row(self, point: TrialPoint, context: TrialContext) -> TrialRow:
        """Return the row of a point; a failure becomes a row that says why."""
        ...

    def packed(self, point: TrialPoint, context: TrialContext) -> PackedRow:
        """Return the row of a point as a leaderboard takes it: checked and packed."""
        ...

    def close(self) -> None:
        """Let the bars go."""
        ...


class TrialEngine:
    """Runs trials in a warm NautilusTrader engine.

    Parameters
    ----------
    bars : BarSet
        Of the trials' timeframe.
    config : BacktestConfig
        Research assumptions.
    """

    def __init__(self, bars: BarSet, config: BacktestConfig) -> None:
        self._session = BacktestSession(bars, config)

    def row(self, point: TrialPoint, context: TrialContext) -> TrialRow:
        """Return the row of a point."""
        return run_trial(self._session, point, context)

    def packed(self, point: TrialPoint, context: TrialContext) -> PackedRow:
        """Return the row of a point, checked and packed."""
        return packed_row(self.row(point, context), context.plan)

    def close(self) -> None:
        """Let the bars go; the process's engine stays warm."""
        self._session.close()


def open_runner(bars: BarSet, config: BacktestConfig, *, screen: bool) -> TrialRunner:
    """Return what runs the trials of a sweep on some bars.

    Parameters
    ----------
    bars : BarSet
        Of one series.
    config : BacktestConfig
        Research assumptions.
    screen : bool
        By the screen, or in the engine.

    Raises
    ------
    BeyondScreenError
        If the trials are to be screened and only the engine can treat these bars or assumptions exactly.
    """
    return TrialScreen(bars, config) if screen else TrialEngine(bars, config)
