"""The sweep as a whole: what choosing at random, doing nothing and luck would have given.

Owns the statistics an entry has to be seen against.  Chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.deflated import expected_maximum_sharpe
from aiopt.evaluation.effective import EffectiveTrials, periods_per_unit
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratios
from aiopt.evaluation.pbo import longest_holding, overfitting_of_parts
from aiopt.ranking.earlier import EarlierTrials
from aiopt.ranking.figures import known
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import GroupStatistics, Statistics
from aiopt.ranking.selection import Group, in_sample_scores
from aiopt.utc import DAY_NS

_TRIALS_AT_ONCE = 1024
"""Trials whose correlations are taken at once."""

_LEAST_KEPT = 4
"""At most one period in so many of a block is purged at each end, however long trades are held."""


@dataclass(frozen=True)
class Overfit:
    """PBO and probability of loss, NaN where fewer than two trials can be compared; periods purged."""

    pbo: float
    probability_of_loss: float
    purge: int = 0


@dataclass(frozen=True)
class Baseline:
    """Statistics of all trials, computed once per ranking.

    Attributes
    ----------
    trials : int
        All trials of the sweep, failed ones included.
    earlier : int
        Trials of others on the same data that count too.
    n_periods : int
        Length of the out-of-sample path.
    variance_theory, variance_cross_section : float
        Of per-period out-of-sample Sharpe ratios: of trials without skill, and across trials (NaN for fewer
        than two).
    sharpe : dict of ndarray
        Out-of-sample Sharpe ratio, per period, of every trial of a group.
    overfit : dict of Overfit
        Per group.
    """

    trials: int
    earlier: int
    n_periods: int
    variance_theory: float
    variance_cross_section: float
    sharpe: dict[str, FloatArray]
    overfit: dict[str, Overfit]

    @property
    def counted(self) -> int:
        """Every trial ever made on the data, the sweep's own and earlier ones."""
        return self.trials + self.earlier

    @property
    def expected_maximum(self) -> float:
        """Per-period Sharpe ratio that the best of all trials counted shows without skill."""
        return expected_maximum_sharpe(self.variance_theory, max(1, self.counted))


def make_baseline(
    groups: Sequence[Group], plan: WalkForwardPlan, config: RankingConfig, earlier: int = 0
) -> Baseline:
    """Return the statistics of all trials; `earlier` trials of others count beside them.

    All are counted; what choosing at random gave and overfitting is said of `Group.drawn_blind`.
    """
    test = plan.periods_of(plan.test)
    blind = [group.drawn_blind() for group in groups]
    filled = [group for group in blind if group.rows]
    sharpe = {group.name: np.empty(0) for group in groups} | {
        group.name: sharpe_ratios(group.pnl[:, test], periods_per_year=1) for group in filled
    }
    every = np.concatenate(list(sharpe.values())) if sharpe else np.empty(0)
    every = every[np.isfinite(every)]
    return Baseline(
        trials=sum(group.tried for group in groups),
        earlier=earlier,
        n_periods=len(test),
        variance_theory=1 / max(1, len(test) - 1),
        variance_cross_section=float(every.var(ddof=1)) if every.size >= 2 else math.nan,
        sharpe=sharpe,
        overfit={group.name: _overfit([group], config) for group in blind},
    )


def make_statistics(
    groups: Sequence[Group],
    baseline: Baseline,
    candidates: dict[str, int],
    plan: WalkForwardPlan,
    config: RankingConfig,
    earlier: EarlierTrials | msgspec.UnsetType = msgspec.UNSET,
) -> Statistics:
    """Return the statistics that go into the ranking.

    Parameters
    ----------
    candidates : dict
        Number of lanes per group.
    earlier : EarlierTrials or unset
        Trials of others that count too.
    """
    blind = [group.drawn_blind() for group in groups]
    filled = [group for group in blind if group.rows]
    test = plan.periods_of(plan.test)
    profits = np.concatenate([np.empty(0), *(group.pnl[:, test].sum(axis=1) for group in filled)])
    ratios = np.concatenate(list(baseline.sharpe.values())) if filled else np.empty(0)
    annual = math.sqrt(plan.periods_per_year)
    overfit = _overfit(filled, config)
    return Statistics(
        trials=baseline.trials,
        succeeded=baseline.trials - sum(group.failed for group in groups),
        failed=sum(group.failed for group in groups),
        candidates=sum(candidates.values()),
        effective_trials=known(_effective(filled, plan)),
        sharpe_variance_theory=baseline.variance_theory,
        sharpe_variance_cross_section=known(baseline.variance_cross_section),
        expected_maximum_sharpe=baseline.expected_maximum * annual,
        share_profitable=_share(profits),
        median_pnl=_median(profits),
        median_sharpe=_median(ratios * annual),
        best_sharpe=_best(ratios * annual),
        rank_correlation=known(_rank_correlation(filled, plan)) if filled else None,
        pbo=known(overfit.pbo),
        probability_of_loss=known(overfit.probability_of_loss),
        pbo_purge_periods=overfit.purge,
        periods_per_year=plan.periods_per_year,
        groups=[_group(group, baseline, candidates.get(group.name, 0), plan) for group in blind],
        refused_trials=sum(any(row.segment_refused) for group in groups for row in group.rows),
        capped_trials=sum(any(row.segment_capped) for group in groups for row in group.rows),
        ruined_trials=sum(any(row.segment_ruined) for group in groups for row in group.rows),
        earlier_trials=earlier,
    )


def _group(group: Group, baseline: Baseline, candidates: int, plan: WalkForwardPlan) -> GroupStatistics:
    annual = math.sqrt(plan.periods_per_year)
    profits = group.pnl[:, plan.periods_of(plan.test)].sum(axis=1) if group.rows else np.empty(0)
    ratios = baseline.sharpe.get(group.name, np.empty(0)) * annual
    overfit = baseline.overfit.get(group.name, Overfit(math.nan, math.nan))
    return GroupStatistics(
        group=group.name,
        family=group.family,
        timeframe=group.timeframe,
        instrument=group.instrument,
        trials=group.tried,
        failed=group.failed,
        candidates=candidates,
        share_profitable=_share(profits),
        median_pnl=_median(profits),
        median_sharpe=_median(ratios),
        best_sharpe=_best(ratios),
        rank_correlation=known(_rank_correlation([group], plan)) if group.rows else None,
        pbo=known(overfit.pbo),
        probability_of_loss=known(overfit.probability_of_loss),
    )


def _effective(groups: Sequence[Group], plan: WalkForwardPlan) -> float:
    """Return how many independent trials all of them are worth, one group in memory at a time."""
    per_day = max(1, DAY_NS // plan.period_ns)
    found = EffectiveTrials(plan.development_periods, periods_per_unit(plan.development_periods, per_day))
    for group in groups:
        for part in _few_at_a_time(group):
            found.add(part)
    return found.number()


def _overfit(groups: Sequence[Group], config: RankingConfig) -> Overfit:
    """Return PBO over trials that vary; those that never trade were no choice."""
    n_trials, n_periods, longest = 0, 0, 0
    for part in _varying(groups):
        n_trials, n_periods = n_trials + len(part), part.shape[1]
        longest = max(longest, longest_holding(part))
    if n_trials < 2 or n_periods < 2 * config.pbo_blocks:
        return Overfit(math.nan, math.nan)
    # A trade open over a boundary of blocks earns on both sides of it.
    purge = min(longest, n_periods // config.pbo_blocks // _LEAST_KEPT)
    parts = (part.T for part in _varying(groups))
    result = overfitting_of_parts(parts, n_blocks=config.pbo_blocks, purge=purge)
    return Overfit(result.pbo, result.probability_of_loss, purge)


def _varying(groups: Sequence[Group]) -> Iterator[FloatArray]:
    """Yield the trials that vary, some at a time, shape (n_rows, n_periods)."""
    for group in groups:
        for part in _few_at_a_time(group):
            active = part[np.ptp(part, axis=1) > 0]
            if len(active):
                yield active


def _few_at_a_time(group: Group) -> Iterator[FloatArray]:
    """Yield the profits of a group, shape (some rows, n_periods)."""
    for start in range(0, len(group.rows), _TRIALS_AT_ONCE):
        yield group.pnl[start : start + _TRIALS_AT_ONCE]


def _rank_correlation(groups: Sequence[Group], plan: WalkForwardPlan) -> float:
    """Return Spearman's correlation of train and test Sharpe ratios, mean over the folds that have one."""
    found = []
    for fold in plan.folds:
        train = np.concatenate([in_sample_scores(group, plan, fold.train, min_trades=1) for group in groups])
        test = np.concatenate([in_sample_scores(group, plan, fold.test, min_trades=1) for group in groups])
        both = np.isfinite(train) & np.isfinite(test)
        found.append(_spearman(train[both], test[both]))
    defined = [value for value in found if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _spearman(first: FloatArray, second: FloatArray) -> float:
    if first.size < 3:
        return math.nan
    a, b = _average_ranks(first), _average_ranks(second)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float((a**2).sum()) * float((b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else math.nan


def _average_ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _share(profits: FloatArray) -> float | None:
    return float(np.mean(profits > 0)) if profits.size else None


def _median(values: FloatArray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None


def _best(values: FloatArray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else None
