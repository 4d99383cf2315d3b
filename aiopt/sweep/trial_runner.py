"""Where the trials on one series of bars are run: by the screen or in the engine, with the same rows.

Owns the choice, `TrialContext.screen`, and the objects that stay warm between trials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.ranking.packed_row import PackedRow, packed_row
from aiopt.ranking.screened import BeyondScreen
from aiopt.ranking.trials import TrialRow
from aiopt.screen.failures import BeyondScreenError
from aiopt.screen.session import beyond_screen
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.trial import TrialContext, TrialPoint, run_trial

T = TypeVar("T")


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
        # Here, so that a worker that screens does not load NautilusTrader before its first trial.
        from aiopt.backtest.session import BacktestSession

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


class ScreenFirst:
    """Screens trials; those whose strategy alone is beyond the screen run in the engine.

    Parameters
    ----------
    bars, config
        As for `TrialScreen`, whose errors it raises where the bars or assumptions are beyond the screen: then
        all trials would be hundreds of times slower, which is for a person to decide.
    """

    def __init__(self, bars: BarSet, config: BacktestConfig) -> None:
        self._bars = bars
        self._config = config
        self._screen = TrialScreen(bars, config)
        self._engine: TrialEngine | None = None

    def row(self, point: TrialPoint, context: TrialContext) -> TrialRow:
        """Return the row of a point."""
        return self._first(lambda runner: runner.row(point, context))

    def packed(self, point: TrialPoint, context: TrialContext) -> PackedRow:
        """Return the row of a point, checked and packed."""
        return self._first(lambda runner: runner.packed(point, context))

    def close(self) -> None:
        """Let the bars go."""
        self._screen.close()
        if self._engine is not None:
            self._engine.close()

    def _first(self, run: Callable[[TrialScreen | TrialEngine], T]) -> T:
        try:
            return run(self._screen)
        except BeyondScreenError:
            if self._engine is None:
                self._engine = TrialEngine(self._bars, self._config)
            return run(self._engine)


def trials_beyond_screen(points: Sequence[TrialPoint], bars: Mapping[str, BarSet]) -> list[BeyondScreen]:
    """Return which trials `ScreenFirst` runs in the engine, by group.

    Parameters
    ----------
    points : sequence of TrialPoint
        Of one sweep: points of a group differ in the values of parameters alone.
    bars : mapping of str to BarSet
        Per series.
    """
    groups = Counter(f"{point.family}@{point.series}" for point in points)
    first = {f"{point.family}@{point.series}": point for point in reversed(points)}
    found = {group: beyond_screen(one.spec, len(bars[one.series])) for group, one in first.items()}
    return [
        BeyondScreen(what=group, count=groups[group], reason=reason)
        for group, reason in sorted(found.items())
        if reason
    ]


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
    return ScreenFirst(bars, config) if screen else TrialEngine(bars, config)
