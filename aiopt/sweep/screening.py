"""One trial through the screen, as a row: what `aiopt.sweep.trial` makes of it in the engine.

Owns the way from the screen's arrays to a `TrialRow`, and which bars the periods end on.  Knows no
leaderboard.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.errors import AioptError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.packed_row import PackedRow, packed_row
from aiopt.ranking.trials import TrialRow
from aiopt.screen.failures import BeyondScreenError
from aiopt.screen.session import ScreenResult, ScreenSession
from aiopt.screen.trade_table import ENTRY_BAR, NIGHTS, UNITS
from aiopt.sweep.trial import (
    TradeFigures,
    TrialContext,
    TrialPoint,
    failed_row,
    figures_row,
    rounded_profits,
    segments_of_bars,
)
from aiopt.timeframe import time_grid


class _Grid(NamedTuple):
    """Where a plan cuts the bars.

    Attributes
    ----------
    plan : WalkForwardPlan
        That plan.
    ends : list of two ndarrays of int64
        The last bar before each edge of the periods, of development and holdout.
    segments : ndarray of shape (n_bars,), int64
        From `segments_of_bars`.
    """

    plan: WalkForwardPlan
    ends: list[NDArray[np.int64]]
    segments: NDArray[np.int64]


class TrialScreen:
    """Screens the trials of a sweep on one series of bars.

    Parameters
    ----------
    bars : BarSet
        Of the trials' timeframe.
    config : BacktestConfig
        Research assumptions.
    """

    def __init__(self, bars: BarSet, config: BacktestConfig) -> None:
        self.session = ScreenSession(bars, config)
        self._ts_open_ns = bars.bid.ts_open_ns
        self._grid: _Grid | None = None

    def row(self, point: TrialPoint, context: TrialContext) -> TrialRow:
        """Return the row of a point, equal in every byte to `aiopt.sweep.trial.run_trial`'s.

        Parameters
        ----------
        point : TrialPoint
            What to try.
        context : TrialContext
            Segments and periods.
        """
        return self._row(point, context, lambda profits: profits.tolist())

    def packed(self, point: TrialPoint, context: TrialContext) -> PackedRow:
        """Return the row of a point packed: its profits never become Python's floats."""
        return packed_row(self._row(point, context, lambda profits: profits), context.plan)

    def _row(
        self, point: TrialPoint, context: TrialContext, kept: Callable[[NDArray[np.float64]], Any]
    ) -> TrialRow:
        try:
            found = self.session.screen(point.spec, segments=context.segments)
        except BeyondScreenError:
            raise  # the engine can run it: not the trial failed
        except AioptError as error:
            return failed_row(point, context, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - recorded: one defective point must not end the sweep
            return failed_row(point, context, f"unexpected {type(error).__name__}: {error}")
        grid = self._grid_of(context.plan)
        profits = [kept(rounded_profits(np.diff(self.session.equity(found, ends)))) for ends in grid.ends]
        return figures_row(
            self._figures(found, grid.segments), profits, self._ts_open_ns.size, point, context
        )

    def close(self) -> None:
        """Let the bars go."""
        del self.session

    def _figures(self, found: ScreenResult, segments: NDArray[np.int64]) -> TradeFigures:
        trades, floats = found.trades, found.floats
        return TradeFigures(
            segment=segments[trades[:, ENTRY_BAR]],
            pnl=floats[:, 0].copy(),
            commission=floats[:, 1].copy(),
            units=trades[:, UNITS].astype(np.float64),
            nights=trades[:, NIGHTS].copy(),
            refused=segments[found.refused_bars],
            capped=segments[found.capped_bars],
            ruined=segments[found.ruined_bars],
        )

    def _grid_of(self, plan: WalkForwardPlan) -> _Grid:
        """Return where a plan cuts the bars; kept until another plan is asked for."""
        if self._grid is None or (self._grid.plan is not plan and self._grid.plan != plan):
            edges = (plan.start_ns, plan.holdout_start_ns, plan.stop_ns)
            ends = []
            for start, stop in itertools.pairwise(edges):
                grid = time_grid(start, stop + 1, plan.period_ns)
                ends.append(np.searchsorted(self._ts_open_ns, grid, side="left") - 1)
            self._grid = _Grid(plan, ends, segments_of_bars(self._ts_open_ns, plan))
        return self._grid
