"""Candidates: lanes with their out-of-sample path and score, without near-duplicates.  Knows no holdout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.deflated import (
    cautious_sharpe_probability,
    deflated_sharpe_ratio,
)
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import kurtosis, max_drawdown_amount, sharpe_ratio, skewness
from aiopt.evaluation.stress import stressed_profit
from aiopt.ranking.baseline import Baseline
from aiopt.ranking.figures import (
    Totals,
    account_events,
    segment_pnl,
    segment_totals,
)
from aiopt.ranking.groups import Group
from aiopt.ranking.measures import Measures
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import (
    Component,
    Rejection,
)
from aiopt.ranking.score import ScoredPath, components, total
from aiopt.ranking.selection import Lane, choose_lanes
from aiopt.ranking.trials import TrialRow


@dataclass(frozen=True)
class Candidate:
    """A lane with its out-of-sample path and score; knows nothing of the holdout."""

    group: Group
    lane: Lane
    pnl: FloatArray
    fold_pnl: tuple[float, ...]
    totals: Totals
    shape: Shape
    deflated_sharpe: float
    parts: list[Component]
    score: float

    @property
    def name(self) -> str:
        """``GROUP#LANE``."""
        return f"{self.group.name}#{self.lane.number}"

    @cached_property
    def emitted(self) -> TrialRow:
        """The trial chosen on the last train segments: the one that is written as a script."""
        return self.group.row(self.lane.refit)


@dataclass(frozen=True)
class Shape:
    """Per-period Sharpe ratio, skewness and kurtosis of a path."""

    sharpe: float
    skewness: float
    kurtosis: float
    n_periods: int

    def probability(self, benchmark: float = 0.0) -> float:
        """Return the probability that the true Sharpe ratio per period is above `benchmark`."""
        return cautious_sharpe_probability(
            self.sharpe,
            n_periods=self.n_periods,
            skewness=self.skewness,
            kurtosis=self.kurtosis,
            benchmark=benchmark,
        )

    def published_deflated(self, variance: float, trials: int) -> float:
        """Return the deflated Sharpe ratio as published, NaN without a variance of the trials."""
        if math.isnan(variance):
            return math.nan
        return deflated_sharpe_ratio(
            self.sharpe,
            n_periods=self.n_periods,
            skewness=self.skewness,
            kurtosis=self.kurtosis,
            sharpe_variance=variance,
            n_trials=trials,
        )


def follow_lanes(
    groups: Sequence[Group],
    measures: Measures,
    baseline: Baseline,
    plan: WalkForwardPlan,
    config: RankingConfig,
) -> tuple[list[Candidate], list[Rejection]]:
    """Return every lane with its path out of sample, and the groups that have none with the reason."""
    followed: list[Candidate] = []
    rejected: list[Rejection] = []
    for group in groups:
        own = measures.groups[group.name]
        lanes, reason = choose_lanes(group, own, plan, lanes=config.lanes, min_trades=config.min_train_trades)
        if not lanes:
            rejected.append(
                Rejection(
                    name=group.name,
                    group=group.name,
                    family=group.family,
                    timeframe=group.timeframe,
                    instrument=group.instrument,
                    lane=None,
                    trial_id=None,
                    reason=reason,
                    trades=None,
                    score=None,
                )
            )
        followed += [_candidate(group, lane, baseline, plan, config) for lane in lanes]
    return followed, rejected


def that_can_be_ranked(
    followed: Sequence[Candidate], config: RankingConfig
) -> tuple[list[Candidate], list[Rejection]]:
    """Return the lanes that can be ranked, and those that cannot with the reason."""
    candidates: list[Candidate] = []
    rejected: list[Rejection] = []
    for candidate in followed:
        trades = candidate.totals.trades
        if trades < config.min_oos_trades:
            needed = f"{config.min_oos_trades} are needed (`min_oos_trades`)"
            reason = f"{trades} trades out of sample, and {needed}{account_events(candidate.totals)}"
            rejected.append(reject(candidate, reason, score=None))
        elif math.isnan(candidate.score):
            reason = "the profit out of sample does not vary, so it has no Sharpe ratio"
            rejected.append(reject(candidate, reason, score=None))
        else:
            candidates.append(candidate)
    return candidates, rejected


def _candidate(
    group: Group, lane: Lane, baseline: Baseline, plan: WalkForwardPlan, config: RankingConfig
) -> Candidate:
    chosen = [(group.row(i), fold.test) for i, fold in zip(lane.choices, plan.folds, strict=True)]
    paths = [segment_pnl(row, plan, test) for row, test in chosen]
    totals = sum((segment_totals(row, test) for row, test in chosen), start=Totals())
    pnl = np.concatenate(paths)
    fold_pnl = tuple(math.fsum(path) for path in paths)
    shape = shape_of(pnl)
    deflated = shape.probability(baseline.expected_maximum)
    stress = config.stress
    path = ScoredPath(
        gross_profit=totals.gross_profit,
        gross_loss=totals.gross_loss,
        net_pnl=math.fsum(pnl),
        max_drawdown_amount=max_drawdown_amount(pnl),
        fold_pnl=fold_pnl,
        stressed_pnl=stressed_pnl_of(
            pnl,
            totals,
            pip=stress.pip_of(group.instrument),
            extra_spread_pips=stress.extra_spread_pips,
            commission_factor=stress.commission_factor,
        ),
    )
    parts = components(path, deflated_sharpe=deflated, config=config)
    return Candidate(
        group=group,
        lane=lane,
        pnl=pnl,
        fold_pnl=fold_pnl,
        totals=totals,
        shape=shape,
        deflated_sharpe=deflated,
        parts=parts,
        score=total(parts),
    )


def without_duplicates(
    candidates: Sequence[Candidate], config: RankingConfig
) -> tuple[list[Candidate], list[Rejection]]:
    """Return the candidates best first without near-duplicates of a better one, and those dropped."""
    kept: list[Candidate] = []
    dropped: list[Rejection] = []
    order = sorted(candidates, key=lambda c: (-c.score, c.emitted.trial_id, c.lane.number))
    for candidate in order:
        reason = next(filter(None, (_resemblance(candidate, better, config) for better in kept)), "")
        if reason:
            dropped.append(reject(candidate, reason))
        else:
            kept.append(candidate)
    return kept, dropped


def _resemblance(candidate: Candidate, better: Candidate, config: RankingConfig) -> str:
    """Return why a candidate is a near-duplicate of a better one, or an empty string."""
    correlation = _correlation(candidate.pnl, better.pnl)
    if correlation > config.max_correlation:
        return (
            f"its out-of-sample profits correlate {correlation:.3f} with those of {better.name}, which "
            f"scores no less; {config.max_correlation:g} is allowed (`max_correlation`)"
        )
    if candidate.group is not better.group:
        return ""
    distance = param_distance(candidate.group, candidate.lane.refit, better.lane.refit)
    if distance <= config.min_param_distance:
        return (
            f"its parameters are within {distance:.3f} of the range tried of those of {better.name}, which "
            f"scores no less; more than {config.min_param_distance:g} is needed (`min_param_distance`)"
        )
    return ""


def param_distance(group: Group, first: int, second: int) -> float:
    """Return the largest difference of a parameter between two trials, as a share of the range tried.

    Parameters that are not numbers count as 1 where they differ; 1 if the group has no parameters.
    """
    a, b = group.params[first], group.params[second]
    distances = [0.0]
    for name in sorted(a.keys() | b.keys()):
        x, y = a.get(name), b.get(name)
        if x == y:
            continue
        values = [params.get(name) for params in group.params]
        numbers = [v for v in values if isinstance(v, int | float)]
        if isinstance(x, int | float) and isinstance(y, int | float) and max(numbers) > min(numbers):
            distances.append(abs(x - y) / (max(numbers) - min(numbers)))
        else:
            distances.append(1.0)
    return max(distances) if a or b else 1.0


def stressed_pnl_of(
    pnl: FloatArray, totals: Totals, *, pip: float, extra_spread_pips: float, commission_factor: float
) -> float:
    """Return the profit with a wider spread and commissions times a factor; `pip` is account currency."""
    return stressed_profit(
        math.fsum(pnl),
        units=totals.units,
        commission=totals.commission,
        extra_spread_pips=extra_spread_pips,
        commission_factor=commission_factor,
        pip_size=pip,
    )


def reject(candidate: Candidate, reason: str, score: float | None = math.nan) -> Rejection:
    """Return why a candidate is not among the entries; with its score unless `score` is None."""
    return Rejection(
        name=candidate.name,
        group=candidate.group.name,
        family=candidate.group.family,
        timeframe=candidate.group.timeframe,
        instrument=candidate.group.instrument,
        lane=candidate.lane.number,
        trial_id=candidate.emitted.trial_id,
        reason=reason,
        trades=candidate.totals.trades,
        score=None if score is None else candidate.score,
    )


def shape_of(pnl: FloatArray) -> Shape:
    """Return the shape of a path of profits per period."""
    return Shape(
        sharpe=sharpe_ratio(pnl, periods_per_year=1),
        skewness=skewness(pnl),
        kurtosis=kurtosis(pnl),
        n_periods=int(pnl.size),
    )


def _correlation(first: FloatArray, second: FloatArray) -> float:
    """Return Pearson's correlation; NaN, which no threshold exceeds, where one does not vary."""
    a, b = first - first.mean(), second - second.mean()
    size = math.sqrt(float((a**2).sum()) * float((b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else math.nan
