"""The sweep as a whole: what choosing at random, doing nothing and luck would have given.

Owns the statistics an entry has to be seen against.  Chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.deflated import expected_maximum_sharpe
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.pbo import Blocks, overfitting_of_blocks
from aiopt.ranking.earlier import EarlierTrials
from aiopt.ranking.figures import known
from aiopt.ranking.groups import Group
from aiopt.ranking.measures import GroupMeasures, Measures, Progress, blocks_of
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import GroupStatistics, Statistics
from aiopt.ranking.selection import in_sample_scores

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
    overfit_together : Overfit
        Of all groups as one.
    """

    trials: int
    earlier: int
    n_periods: int
    variance_theory: float
    variance_cross_section: float
    sharpe: dict[str, FloatArray]
    overfit: dict[str, Overfit]
    overfit_together: Overfit

    @property
    def counted(self) -> int:
        """Every trial ever made on the data, the sweep's own and earlier ones."""
        return self.trials + self.earlier

    @property
    def expected_maximum(self) -> float:
        """Per-period Sharpe ratio that the best of all trials counted shows without skill."""
        return expected_maximum_sharpe(self.variance_theory, max(1, self.counted))


def make_baseline(  # reason: what was tried, what is known of it and how it is judged
    groups: Sequence[Group],
    measures: Measures,
    plan: WalkForwardPlan,
    config: RankingConfig,
    earlier: int = 0,
    progress: Progress | None = None,
) -> Baseline:
    """Return the statistics of all trials; `earlier` trials of others count beside them.

    All are counted; what choosing at random gave and overfitting is said of `Group.drawn_blind`.
    """
    test = plan.periods_of(plan.test)
    blind = drawn_blind(groups, measures)
    sharpe = {group.name: own.windows[plan.test].sharpe(1) for group, own in zip(groups, blind, strict=True)}
    every = np.concatenate(list(sharpe.values())) if sharpe else np.empty(0)
    every = every[np.isfinite(every)]
    overfit, together = _overfitting(groups, blind, plan, config, progress)
    return Baseline(
        trials=sum(group.tried for group in groups),
        earlier=earlier,
        n_periods=len(test),
        variance_theory=1 / max(1, len(test) - 1),
        variance_cross_section=float(every.var(ddof=1)) if every.size >= 2 else math.nan,
        sharpe=sharpe,
        overfit=overfit,
        overfit_together=together,
    )


def drawn_blind(groups: Sequence[Group], measures: Measures) -> list[GroupMeasures]:
    """Return, per group, what was measured of `Group.drawn_blind`."""
    return [measures.groups[group.name].of(group.drawn_blind()) for group in groups]


def make_statistics(  # reason: as `make_baseline`
    groups: Sequence[Group],
    measures: Measures,
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
    blind = drawn_blind(groups, measures)
    profits = np.concatenate([np.empty(0), *(own.windows[plan.test].total for own in blind)])
    ratios = np.concatenate([np.empty(0), *baseline.sharpe.values()])
    annual = math.sqrt(plan.periods_per_year)
    overfit = baseline.overfit_together
    heads = [head for group in groups for head in group.heads]
    return Statistics(
        trials=baseline.trials,
        succeeded=baseline.trials - sum(group.failed for group in groups),
        failed=sum(group.failed for group in groups),
        candidates=sum(candidates.values()),
        effective_trials=known(measures.effective_trials),
        sharpe_variance_theory=baseline.variance_theory,
        sharpe_variance_cross_section=known(baseline.variance_cross_section),
        expected_maximum_sharpe=baseline.expected_maximum * annual,
        share_profitable=_share(profits),
        median_pnl=_median(profits),
        median_sharpe=_median(ratios * annual),
        best_sharpe=_best(ratios * annual),
        rank_correlation=known(_rank_correlation(blind, plan)) if profits.size else None,
        pbo=known(overfit.pbo),
        probability_of_loss=known(overfit.probability_of_loss),
        pbo_purge_periods=overfit.purge,
        periods_per_year=plan.periods_per_year,
        groups=[
            _group(group, own, baseline, candidates.get(group.name, 0), plan)
            for group, own in zip(groups, blind, strict=True)
        ],
        refused_trials=sum(any(head.segment_refused) for head in heads),
        capped_trials=sum(any(head.segment_capped) for head in heads),
        ruined_trials=sum(any(head.segment_ruined) for head in heads),
        earlier_trials=earlier,
    )


def _group(
    group: Group, own: GroupMeasures, baseline: Baseline, candidates: int, plan: WalkForwardPlan
) -> GroupStatistics:
    annual = math.sqrt(plan.periods_per_year)
    profits = own.windows[plan.test].total
    ratios = baseline.sharpe[group.name] * annual
    overfit = baseline.overfit[group.name]
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
        rank_correlation=known(_rank_correlation([own], plan)) if profits.size else None,
        pbo=known(overfit.pbo),
        probability_of_loss=known(overfit.probability_of_loss),
    )


def _overfitting(
    groups: Sequence[Group],
    blind: Sequence[GroupMeasures],
    plan: WalkForwardPlan,
    config: RankingConfig,
    progress: Progress | None,
) -> tuple[dict[str, Overfit], Overfit]:
    """Return PBO per group and of all together, over trials that vary: the others were no choice."""
    n_periods, nothing = plan.development_periods, Overfit(math.nan, math.nan)
    rows = [
        [index for index, varies in zip(group.drawn_blind(), own.varies.tolist(), strict=True) if varies]
        for group, own in zip(groups, blind, strict=True)
    ]
    if sum(map(len, rows)) < 2 or n_periods < 2 * config.pbo_blocks:
        return {group.name: nothing for group in groups}, nothing
    # A trade open over a boundary of blocks earns on both sides of it.
    most = n_periods // config.pbo_blocks // _LEAST_KEPT
    purges = [min(int(own.longest.max(initial=0)), most) for own in blind]
    purge = max(purges)
    blocks = blocks_of(
        groups,
        [(found, (own, purge)) for found, own in zip(rows, purges, strict=True)],
        plan,
        config.pbo_blocks,
        progress,
    )
    overfit = {
        group.name: _overfit(parts[0], own) if len(found) >= 2 else nothing
        for group, found, own, parts in zip(groups, rows, purges, blocks, strict=True)
    }
    together = Blocks.joined([parts[1] for parts in blocks if parts])
    return overfit, _overfit(together, purge)


def _overfit(blocks: Blocks, purge: int) -> Overfit:
    result = overfitting_of_blocks(blocks)
    return Overfit(result.pbo, result.probability_of_loss, purge)


def _rank_correlation(blind: Sequence[GroupMeasures], plan: WalkForwardPlan) -> float:
    """Return Spearman's correlation of train and test Sharpe ratios, mean over the folds that have one."""
    found = []
    for fold in plan.folds:
        train, test = (
            np.concatenate([in_sample_scores(own, plan, segments, min_trades=1) for own in blind])
            for segments in (fold.train, fold.test)
        )
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
