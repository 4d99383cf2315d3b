"""Whether a candidate is more than the best of all that were compared: the test of all lanes together.

Owns which paths are compared and in which stretches of time they are resampled.  The statistics are
`aiopt.evaluation.multiple_testing`'s, the verdict is `aiopt.ranking.verdict`'s.  Knows no holdout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.multiple_testing import LEAST_PERIODS, EarlierTests, ManyPaths, compare_paths
from aiopt.ranking.candidates import Candidate
from aiopt.ranking.earlier import NOTHING_EARLIER, Earlier, EarlierTrials
from aiopt.ranking.figures import known
from aiopt.ranking.luck_record import LuckTest
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.utc import DAY_NS

ENOUGH_UNITS = 100
"""A longer unit is taken only if it leaves this many: fewer make coarse resamples."""


@dataclass(frozen=True)
class Luck:
    """What the test says of each candidate compared.

    Attributes
    ----------
    record : LuckTest
        The test as a whole.
    p_values, t_statistics : dict of str to float
        By `Candidate.name`; NaN where not defined.
    """

    record: LuckTest
    p_values: dict[str, float]
    t_statistics: dict[str, float]

    def p_value(self, name: str) -> float | None:
        """Return the family-wise p-value of a candidate, None where nothing is said of it."""
        return known(self.p_values.get(name, math.nan))


def weigh_luck(
    compared: Sequence[Candidate],
    plan: WalkForwardPlan,
    config: RankingConfig,
    earlier: Earlier = NOTHING_EARLIER,
) -> Luck:
    """Test the out-of-sample paths of all lanes together.

    Parameters
    ----------
    compared : sequence of Candidate
        Every lane of every group, before any is dropped for what it did out of sample: dropping first would
        be a choice on test data that the test knows nothing of.
    plan, config, earlier
        As in `aiopt.ranking.rank.rank_trials`.  The paths of earlier runs and sweeps are not at hand: each of
        them counts as an independent test of as many candidates, a backtest as one of a single path, and
        p-values are adjusted for it (Šidák).
    """
    before = tests_before(earlier.trials)
    names = [candidate.name for candidate in compared]
    tested = [candidate.totals.trades >= config.min_oos_trades for candidate in compared]
    width = plan.periods_of(plan.test).size
    paths = np.array([c.pnl for c in compared], dtype=np.float64).reshape(len(compared), width).T
    unit_ns, units = in_units(paths, plan)
    result = compare_paths(
        units,
        seed=config.seed,
        tested=tested,
        # A p-value that several tests adjust must be able to get small enough.
        n_resamples=max(config.bootstrap_resamples, math.ceil(2 * sum(before) / (1 - config.confidence))),
        level=config.confidence,
        earlier=before,
    )
    years = width / plan.periods_per_year
    flat = int(np.isnan(result.t_statistics).sum())
    return Luck(
        record=LuckTest(
            candidates=len(compared),
            flat=flat,
            thin=len(tested) - sum(tested),
            unit=_length(unit_ns),
            units=result.n_periods,
            block_length_units=result.block_length,
            resamples=result.n_resamples,
            seed=result.seed,
            tests=1 + before.families,
            backtests=before.singles,
            critical_t=known(result.critical_t),
            needed_sharpe=known(result.critical_t / math.sqrt(years)) if years > 0 else None,
            reality_check_p_value=known(result.reality_check),
            spa_p_value=known(result.spa),
            note=_note(result, sum(tested), config),
        ),
        p_values=dict(zip(names, result.p_values.tolist(), strict=True)),
        t_statistics=dict(zip(names, result.t_statistics.tolist(), strict=True)),
    )


def tests_before(earlier: EarlierTrials | msgspec.UnsetType) -> EarlierTests:
    """Return what earlier trials count as in the test: each run or sweep as a family of paths."""
    return EarlierTests(earlier.runs + earlier.sweeps, earlier.backtests) if earlier else EarlierTests()


def in_units(paths: FloatArray, plan: WalkForwardPlan) -> tuple[int, FloatArray]:
    """Return paths in the longest stretches of at most a day that leave enough of them to resample.

    Summed over a day, the profit of a strategy that trades now and then is nearer to normal and carries less
    from one stretch into the next than hour by hour; of a short span there are too few days.  Stretches in
    which no path earned or lost, such as closed markets, say nothing of a mean and are left out.

    Parameters
    ----------
    paths : ndarray of shape (n_periods, n_paths)
        Profit per period of the test segments.
    plan : WalkForwardPlan
        Gives the periods' times.

    Returns
    -------
    int, ndarray of shape (n_units, n_paths)
        Nanoseconds per unit, which divide a UTC day unless one period is longer; the profits.
    """
    period = plan.period_ns
    per_day = DAY_NS // period if DAY_NS % period == 0 else 1
    starts = plan.period_starts_ns(plan.test)
    for count in range(per_day, 0, -1):
        if per_day % count:
            continue
        edges = np.flatnonzero(np.diff(starts // (count * period), prepend=-1))
        units = np.add.reduceat(paths, edges, axis=0) if starts.size else paths
        units = units[(units != 0).any(axis=1)]
        if len(units) >= ENOUGH_UNITS or count == 1:
            return count * period, units
    raise AssertionError("one period per unit is always tried")


def _note(result: ManyPaths, tested: int, config: RankingConfig) -> str:
    if not math.isnan(result.critical_t):
        return ""
    if not tested:
        return f"no candidate has {config.min_oos_trades} trades out of sample (`min_oos_trades`)"
    if result.n_periods < LEAST_PERIODS:
        return f"candidates earned or lost in {result.n_periods} periods only, and {LEAST_PERIODS} are needed"
    return "no candidate's profit varies out of sample"


def _length(unit_ns: int) -> str:
    """Return a length as it is written in settings, e.g. ``"4h"``."""
    for letter, size in (("d", DAY_NS), ("h", DAY_NS // 24), ("m", DAY_NS // 1440)):
        if unit_ns % size == 0:
            return f"{unit_ns // size}{letter}"
    return f"{unit_ns / 1e9:g}s"
