"""What a ranking has to know of every trial, from one pass over the profits, some trials at a time.

Owns that pass: sums over every window of a plan, the longest holding, what the effective number of trials is
made of.  Judges nothing.  A table of a hundred thousand trials over a year of hours is seven gigabytes: it is
never in memory, and each trial is unpacked once for all windows.

Every figure has the bits that `aiopt.evaluation.metrics.sharpe_ratios` over the whole table gives, whatever
the number of trials read at a time and of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray, finite_matrix
from aiopt.evaluation.effective import EffectiveTrials, periods_per_unit
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.pbo import Blocks, longest_holdings
from aiopt.ranking.groups import Group
from aiopt.ranking.threads import in_order
from aiopt.utc import DAY_NS

TRIALS_AT_ONCE = 128
"""Trials in memory per thread: a year of their hours fits into a processor's cache."""

_TRIALS_PER_PRODUCT = 1024
"""Trials whose correlations are taken at once."""

_NO_VARIANCE = 1e-12
"""As in `aiopt.evaluation.metrics`."""

Progress = Callable[[float, float], None]
"""Called with the trials read and their number."""

T = TypeVar("T")


@dataclass(frozen=True)
class WindowFigures:
    """Figures of the trials of a group over one window.

    Attributes
    ----------
    total, mean, deviation : ndarray of shape (n_rows,)
        Of the profits per period.
    varies : ndarray of shape (n_rows,), bool
        False where there is no Sharpe ratio.
    """

    total: FloatArray
    mean: FloatArray
    deviation: FloatArray
    varies: npt.NDArray[np.bool_]

    def sharpe(self, periods_per_year: float) -> FloatArray:
        """Return the annualised Sharpe ratio of every trial; NaN where the profit does not vary."""
        result = np.full(self.total.size, math.nan)
        scale = math.sqrt(periods_per_year)
        result[self.varies] = self.mean[self.varies] * scale / self.deviation[self.varies]
        return result

    def of(self, places: Sequence[int]) -> WindowFigures:
        """Return the figures of some trials."""
        chosen = list(places)
        return WindowFigures(
            self.total[chosen], self.mean[chosen], self.deviation[chosen], self.varies[chosen]
        )


@dataclass(frozen=True)
class GroupMeasures:
    """What one pass found of a group.

    Attributes
    ----------
    windows : dict of tuple of int to WindowFigures
        By the segments of the window.
    varies : ndarray of shape (n_rows,), bool
        Whether a trial's profit varies at all.
    longest : ndarray of shape (n_rows,), int64
        Periods of the longest holding.
    trades : ndarray of shape (n_rows, n_segments), int64
        Per development segment.
    """

    windows: dict[tuple[int, ...], WindowFigures]
    varies: npt.NDArray[np.bool_]
    longest: npt.NDArray[np.int64]
    trades: npt.NDArray[np.int64]

    def of(self, places: Sequence[int]) -> GroupMeasures:
        """Return the measures of some trials."""
        chosen = list(places)
        return GroupMeasures(
            {name: window.of(chosen) for name, window in self.windows.items()},
            self.varies[chosen],
            self.longest[chosen],
            self.trades[chosen],
        )


@dataclass(frozen=True)
class Measures:
    """What one pass found of all trials of a run.

    Attributes
    ----------
    groups : dict of str to GroupMeasures
        By name.
    effective_trials : float
        How many independent trials those drawn blind are worth; NaN where there is none.
    """

    groups: dict[str, GroupMeasures]
    effective_trials: float


def measure(groups: Sequence[Group], plan: WalkForwardPlan, progress: Progress | None = None) -> Measures:
    """Read the profits of all trials once.

    Parameters
    ----------
    groups : sequence of Group
        From `aiopt.ranking.groups.make_groups`, by name.
    plan : WalkForwardPlan
        Its train windows, test segments and whole test are measured.
    progress : callable, optional
        Called now and then.
    """
    reader = _Reader(groups, plan, progress)
    per_day = max(1, DAY_NS // plan.period_ns)
    effective = EffectiveTrials(plan.development_periods, periods_per_unit(plan.development_periods, per_day))
    wanted = {segments: plan.periods_of(segments) for segments in windows_of(plan)}
    found: dict[str, list[GroupMeasures]] = {group.name: [] for group in groups}
    waiting: list[FloatArray] = []
    for group, rows, (measures, units) in reader.each(
        lambda group, rows, profits: (
            _measured(group, rows, profits, wanted),
            effective.units_of(profits),
        )
    ):
        found[group.name].append(measures)
        if group.searches:
            units = units[[group.blind[row] for row in rows]]
        waiting.append(units)
        last = rows[-1] + 1 == group.size
        waiting = _add_whole_products(effective, waiting, everything=last)
    return Measures(
        {group.name: _joined(group, found[group.name], wanted) for group in groups},
        effective.number(),
    )


def measure_group(group: Group, plan: WalkForwardPlan) -> GroupMeasures:
    """Return what is measured of one group."""
    return measure([group], plan).groups[group.name]


def windows_of(plan: WalkForwardPlan) -> list[tuple[int, ...]]:
    """Return the windows that a ranking looks at, each once."""
    every = [part for fold in plan.folds for part in (fold.train, fold.test)]
    return list(dict.fromkeys([*every, plan.refit, plan.test]))


def blocks_of(
    groups: Sequence[Group],
    wanted: Sequence[tuple[Sequence[int], Sequence[int]]],
    plan: WalkForwardPlan,
    n_blocks: int,
    progress: Progress | None = None,
) -> list[list[Blocks]]:
    """Read the profits of trials once more and return their sums per block.

    Parameters
    ----------
    groups : sequence of Group
        Of a run.
    wanted : sequence of (sequence of int, sequence of int)
        Per group the rows, ascending, and the purges.
    plan : WalkForwardPlan
        Of the run.
    n_blocks : int
        As in `aiopt.evaluation.pbo.overfitting_of_parts`.
    progress : callable, optional
        Called now and then.

    Returns
    -------
    list of list of Blocks
        Per group and purge; none for a group without rows.
    """
    chosen = {group.name: (rows, purges) for group, (rows, purges) in zip(groups, wanted, strict=True)}
    found: dict[str, list[list[Blocks]]] = {group.name: [] for group in groups}
    reader = _Reader(groups, plan, progress, {name: rows for name, (rows, _) in chosen.items()})
    for group, _, blocks in reader.each(
        lambda group, rows, profits: Blocks.of(profits, n_blocks, chosen[group.name][1])
    ):
        found[group.name].append(blocks)
    return [[Blocks.joined(parts) for parts in zip(*found[group.name], strict=True)] for group in groups]


class _Reader:
    """Gives the profits of groups to a function, some trials at a time, several of these at once."""

    def __init__(
        self,
        groups: Sequence[Group],
        plan: WalkForwardPlan,
        progress: Progress | None,
        rows: dict[str, Sequence[int]] | None = None,
    ) -> None:
        self._n_periods = plan.development_periods
        self._progress = progress
        self._parts = [
            (group, own[start : start + TRIALS_AT_ONCE])
            for group in groups
            for own in (range(group.size) if rows is None else rows[group.name],)
            for start in range(0, len(own), TRIALS_AT_ONCE)
        ]

    def each(
        self, function: Callable[[Group, Sequence[int], FloatArray], T]
    ) -> Iterator[tuple[Group, Sequence[int], T]]:
        """Yield group, rows and what the function returns for their profits, in order."""
        total, done = sum(len(rows) for _, rows in self._parts), 0

        def work(part: tuple[Group, Sequence[int]]) -> T:
            group, rows = part
            return function(group, rows, group.profits(rows, self._n_periods))

        for (group, rows), found in zip(self._parts, in_order(work, self._parts), strict=True):
            yield group, rows, found
            done += len(rows)
            if self._progress is not None:
                self._progress(done, total)


def _measured(
    group: Group,
    rows: Sequence[int],
    profits: FloatArray,
    wanted: dict[tuple[int, ...], npt.NDArray[np.int64]],
) -> GroupMeasures:
    finite_matrix(profits, "profits")
    columns = np.ascontiguousarray(profits.T)
    return GroupMeasures(
        windows={
            segments: _window(profits, columns, periods, alone=group.size == 1)
            for segments, periods in wanted.items()
        },
        varies=np.ptp(profits, axis=1) > 0,
        longest=longest_holdings(profits),
        trades=group.trades[list(rows)],
    )


def _window(
    profits: FloatArray, columns: FloatArray, periods: npt.NDArray[np.int64], *, alone: bool
) -> WindowFigures:
    """Return what `aiopt.evaluation.metrics.sharpe_ratios` over a table of all trials of a group computes."""
    from aiopt.ranking.measures_kernels import window_sums

    n = len(profits)
    if periods.size < 2:
        total = profits[:, periods].sum(axis=1)
        return WindowFigures(total, total, np.zeros(n), np.zeros(n, dtype=bool))
    straight = periods.size == periods[-1] + 1 - periods[0]
    window = profits[:, periods[0] : periods[-1] + 1] if straight else profits[:, periods].copy(order="C")
    if alone:
        # NumPy sums a table of one trial along the trial, and one of several across them.
        total, deviation = window.sum(axis=1), window.std(axis=1, ddof=1)
        largest = np.abs(window).max(axis=1)
    else:
        total, squares, largest = np.empty(n), np.empty(n), np.empty(n)
        window_sums(columns, periods, total, squares, largest)
        deviation = np.sqrt(squares / (periods.size - 1))
    return WindowFigures(total, window.mean(axis=1), deviation, deviation > _NO_VARIANCE * largest)


def _joined(
    group: Group, parts: Sequence[GroupMeasures], wanted: dict[tuple[int, ...], npt.NDArray[np.int64]]
) -> GroupMeasures:
    empty = np.empty(0)

    def of(segments: tuple[int, ...]) -> WindowFigures:
        own = [part.windows[segments] for part in parts]
        return WindowFigures(
            np.concatenate([empty, *(one.total for one in own)]),
            np.concatenate([empty, *(one.mean for one in own)]),
            np.concatenate([empty, *(one.deviation for one in own)]),
            np.concatenate([np.empty(0, dtype=bool), *(one.varies for one in own)]),
        )

    return GroupMeasures(
        windows={segments: of(segments) for segments in wanted},
        varies=np.concatenate([np.empty(0, dtype=bool), *(part.varies for part in parts)]),
        longest=np.concatenate([np.empty(0, dtype=np.int64), *(part.longest for part in parts)]),
        trades=group.trades,
    )


def _add_whole_products(
    effective: EffectiveTrials, waiting: list[FloatArray], *, everything: bool
) -> list[FloatArray]:
    """Take as many trials as a product has, at the end of a group all; return those left."""
    if not everything and sum(map(len, waiting)) < _TRIALS_PER_PRODUCT:
        return waiting
    units = np.concatenate(waiting)
    stop = len(units) if everything else len(units) // _TRIALS_PER_PRODUCT * _TRIALS_PER_PRODUCT
    for start in range(0, stop, _TRIALS_PER_PRODUCT):
        effective.add_units(units[start : min(stop, start + _TRIALS_PER_PRODUCT)])
    return [units[stop:]]
