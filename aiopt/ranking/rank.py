"""From all trials of a run to its ranking.

Owns the order of the steps: groups, lanes, out-of-sample paths, scores, duplicates, entries.  The holdout is
first read in `_make_entry`, when places are already given.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.bootstrap import BootstrapResult, bootstrap_returns, shuffled_drawdowns
from aiopt.evaluation.deflated import (
    cautious_sharpe_probability,
    deflated_sharpe_ratio,
    minimum_track_record_length,
)
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import kurtosis, max_drawdown_amount, sharpe_ratio, skewness
from aiopt.evaluation.stress import break_even_extra_spread_pips, stressed_profit
from aiopt.ranking.baseline import Baseline, make_baseline, make_statistics
from aiopt.ranking.figures import (
    Totals,
    account_events,
    holdout_totals,
    known,
    make_figures,
    segment_pnl,
    segment_totals,
)
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import (
    SURVIVES,
    Component,
    Entry,
    Evidence,
    Figures,
    FoldResult,
    Ranking,
    Rejection,
    Stress,
)
from aiopt.ranking.score import components, formula, total
from aiopt.ranking.selection import Group, Lane, choose_lanes, make_groups
from aiopt.ranking.trials import TrialRow
from aiopt.ranking.verdict import headline, judge, make_checks

_STRESS_PIPS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Extra spreads shown beside the one of the score."""


@dataclass(frozen=True)
class _Candidate:
    """A lane with its out-of-sample path and score; knows nothing of the holdout."""

    group: Group
    lane: Lane
    pnl: FloatArray
    fold_pnl: tuple[float, ...]
    totals: Totals
    shape: _Shape
    deflated_sharpe: float
    parts: list[Component]
    score: float

    @property
    def name(self) -> str:
        return f"{self.group.name}#{self.lane.number}"

    @property
    def emitted(self) -> TrialRow:
        return self.group.rows[self.lane.refit]


@dataclass(frozen=True)
class _Shape:
    """Per-period Sharpe ratio, skewness and kurtosis of a path."""

    sharpe: float
    skewness: float
    kurtosis: float
    n_periods: int

    def probability(self, benchmark: float = 0.0) -> float:
        return cautious_sharpe_probability(
            self.sharpe,
            n_periods=self.n_periods,
            skewness=self.skewness,
            kurtosis=self.kurtosis,
            benchmark=benchmark,
        )

    def published_deflated(self, variance: float, trials: int) -> float:
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


def rank_trials(rows: Sequence[TrialRow], plan: WalkForwardPlan, config: RankingConfig) -> Ranking:
    """Rank all trials of a run.

    Parameters
    ----------
    rows : sequence of TrialRow
        In any order; ids unique, each fitting the plan.
    plan : WalkForwardPlan
        What the rows are measured by.
    config : RankingConfig
        How they are judged.

    Returns
    -------
    Ranking
        Depends on nothing but the arguments: equal rows give equal bytes as JSON.

    Raises
    ------
    ConfigError
        If `config` has no pip, see `RankingConfig.with_pip`.
    """
    _ = config.stress.pip  # before any work, and where there is nothing to rank too
    groups = make_groups(sorted(rows, key=lambda row: row.trial_id))
    baseline = make_baseline(groups, plan, config)
    candidates, rejected = _candidates(groups, baseline, plan, config)
    ranked, duplicates = _without_duplicates(candidates, config)
    chosen, rest = ranked[: config.top], ranked[config.top :]
    per_group = {
        group.name: sum(candidate.group is group for candidate in candidates)
        + sum(r.group == group.name and r.lane is not None for r in rejected)
        for group in groups
    }
    statistics = make_statistics(groups, baseline, per_group, plan, config)
    rejected += duplicates
    rejected += [
        _reject(candidate, f"ranks {place}, and {config.top} are emitted (`top`)")
        for place, candidate in enumerate(rest, start=config.top + 1)
    ]
    entries = [
        _make_entry(rank, candidate, len(chosen), statistics.candidates, baseline, plan, config)
        for rank, candidate in enumerate(chosen, start=1)
    ]
    return Ranking(
        headline=headline(entries, statistics),
        entries=entries,
        rejected=sorted(rejected, key=lambda r: (r.group, r.lane or 0)),
        statistics=statistics,
        plan=plan,
        config=config,
        score_formula=formula(config),
    )


def _candidates(
    groups: Sequence[Group], baseline: Baseline, plan: WalkForwardPlan, config: RankingConfig
) -> tuple[list[_Candidate], list[Rejection]]:
    """Return the lanes that can be ranked, and those that cannot with the reason."""
    candidates: list[_Candidate] = []
    rejected: list[Rejection] = []
    for group in groups:
        lanes, reason = choose_lanes(group, plan, lanes=config.lanes, min_trades=config.min_train_trades)
        if not lanes:
            rejected.append(
                Rejection(
                    name=group.name,
                    group=group.name,
                    family=group.family,
                    timeframe=group.timeframe,
                    lane=None,
                    trial_id=None,
                    reason=reason,
                    trades=None,
                    score=None,
                )
            )
        for lane in lanes:
            candidate = _candidate(group, lane, baseline, plan, config)
            trades = candidate.totals.trades
            if trades < config.min_oos_trades:
                needed = f"{config.min_oos_trades} are needed (`min_oos_trades`)"
                reason = f"{trades} trades out of sample, and {needed}{account_events(candidate.totals)}"
                rejected.append(_reject(candidate, reason, score=None))
            elif math.isnan(candidate.score):
                reason = "the profit out of sample does not vary, so it has no Sharpe ratio"
                rejected.append(_reject(candidate, reason, score=None))
            else:
                candidates.append(candidate)
    return candidates, rejected


def _candidate(
    group: Group, lane: Lane, baseline: Baseline, plan: WalkForwardPlan, config: RankingConfig
) -> _Candidate:
    chosen = [(group.rows[i], fold.test) for i, fold in zip(lane.choices, plan.folds, strict=True)]
    paths = [segment_pnl(row, plan, (test,)) for row, test in chosen]
    totals = sum((segment_totals(row, (test,)) for row, test in chosen), start=Totals())
    pnl = np.concatenate(paths)
    fold_pnl = tuple(math.fsum(path) for path in paths)
    shape = _shape(pnl)
    deflated = shape.probability(baseline.expected_maximum)
    parts = components(
        deflated_sharpe=deflated,
        gross_profit=totals.gross_profit,
        gross_loss=totals.gross_loss,
        net_pnl=math.fsum(pnl),
        max_drawdown_amount=max_drawdown_amount(pnl),
        fold_pnl=list(fold_pnl),
        stressed_pnl=_stressed(
            pnl, totals, config, config.stress.extra_spread_pips, config.stress.commission_factor
        ),
        config=config,
    )
    return _Candidate(
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


def _without_duplicates(
    candidates: Sequence[_Candidate], config: RankingConfig
) -> tuple[list[_Candidate], list[Rejection]]:
    """Return the candidates best first without near-duplicates of a better one, and those dropped."""
    kept: list[_Candidate] = []
    dropped: list[Rejection] = []
    order = sorted(candidates, key=lambda c: (-c.score, c.emitted.trial_id, c.lane.number))
    for candidate in order:
        reason = next(filter(None, (_resemblance(candidate, better, config) for better in kept)), "")
        if reason:
            dropped.append(_reject(candidate, reason))
        else:
            kept.append(candidate)
    return kept, dropped


def _resemblance(candidate: _Candidate, better: _Candidate, config: RankingConfig) -> str:
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


def _make_entry(
    rank: int,
    candidate: _Candidate,
    shown: int,
    compared: int,
    baseline: Baseline,
    plan: WalkForwardPlan,
    config: RankingConfig,
) -> Entry:
    row = candidate.emitted
    resampled = _bootstrap(candidate.pnl, candidate.name, plan, config)
    out_of_sample = make_figures(
        candidate.pnl,
        candidate.totals,
        initial_balance=row.initial_balance,
        periods_per_year=plan.periods_per_year,
        interval=(resampled.sharpe.low, resampled.sharpe.high),
    )
    in_sample = make_figures(
        segment_pnl(row, plan, plan.refit),
        segment_totals(row, plan.refit),
        initial_balance=row.initial_balance,
        periods_per_year=plan.periods_per_year,
    )
    holdout = _holdout(row, candidate.name, plan, config)
    evidence = _evidence(candidate, resampled, shown, compared, baseline, plan, config)
    stress = config.stress
    stressed = _stressed(
        candidate.pnl, candidate.totals, config, stress.extra_spread_pips, stress.commission_factor
    )
    checks = make_checks(out_of_sample, evidence, stressed, holdout, config)
    verdict = judge(checks, evidence, config)
    return Entry(
        rank=rank,
        name=_file_name(rank, candidate.group),
        group=candidate.group.name,
        family=candidate.group.family,
        timeframe=candidate.group.timeframe,
        lane=candidate.lane.number,
        trial_id=row.trial_id,
        params=json.loads(row.params_json),
        spec=json.loads(row.spec_json),
        spec_hash=row.spec_hash,
        score=candidate.score,
        components=candidate.parts,
        in_sample=in_sample,
        out_of_sample=out_of_sample,
        holdout=holdout,
        folds=_folds(candidate, plan),
        out_of_sample_ts_ns=plan.period_starts_ns(plan.test).tolist(),
        out_of_sample_pnl=candidate.pnl.tolist(),
        holdout_ts_ns=plan.period_starts_ns(plan.holdout).tolist(),
        holdout_pnl=list(row.holdout_pnl),
        stress=_stress_table(candidate, config),
        break_even_extra_spread_pips=known(
            break_even_extra_spread_pips(
                out_of_sample.net_pnl, units=candidate.totals.units, pip_size=stress.pip
            )
        ),
        evidence=evidence,
        checks=checks,
        verdict=verdict,
        survives=verdict == SURVIVES,
    )


def _evidence(
    candidate: _Candidate,
    resampled: BootstrapResult,
    shown: int,
    compared: int,
    baseline: Baseline,
    plan: WalkForwardPlan,
    config: RankingConfig,
) -> Evidence:
    shape, overfit = candidate.shape, baseline.overfit[candidate.group.name]
    probability = shape.probability()
    track = minimum_track_record_length(
        shape.sharpe, skewness=shape.skewness, kurtosis=shape.kurtosis, confidence=config.confidence
    )
    shuffled = shuffled_drawdowns(
        candidate.pnl, seed=_seed(config, candidate.name), n_shuffles=config.bootstrap_resamples
    )
    holdout_p = _holdout_p_value(candidate.emitted)
    return Evidence(
        deflated_sharpe=known(candidate.deflated_sharpe),
        deflated_sharpe_cross_section=known(
            shape.published_deflated(baseline.variance_cross_section, baseline.trials)
        ),
        trials_counted=baseline.trials,
        expected_maximum_sharpe=baseline.expected_maximum * math.sqrt(plan.periods_per_year),
        probabilistic_sharpe=known(probability),
        p_value=known(1 - probability),
        p_value_adjusted=known(_sidak(1 - probability, compared)),
        candidates=compared,
        bootstrap_p_value=known(resampled.p_value),
        mean_pnl_low=known(resampled.mean.low),
        mean_pnl_high=known(resampled.mean.high),
        pbo=known(overfit.pbo),
        probability_of_loss=known(overfit.probability_of_loss),
        selection_percentile=_percentile(shape.sharpe, baseline.sharpe[candidate.group.name]),
        min_track_record_periods=known(track),
        drawdown_p95=known(shuffled.p95),
        holdout_p_value=known(holdout_p),
        holdout_p_value_adjusted=known(_sidak(holdout_p, shown)),
    )


def _holdout(row: TrialRow, name: str, plan: WalkForwardPlan, config: RankingConfig) -> Figures | None:
    if not plan.holdout:
        return None
    pnl = np.asarray(row.holdout_pnl, dtype=np.float64)
    resampled = _bootstrap(pnl, f"{name} holdout", plan, config)
    return make_figures(
        pnl,
        holdout_totals(row),
        initial_balance=row.initial_balance,
        periods_per_year=plan.periods_per_year,
        interval=(resampled.sharpe.low, resampled.sharpe.high),
    )


def _holdout_p_value(row: TrialRow) -> float:
    pnl = np.asarray(row.holdout_pnl, dtype=np.float64)
    return 1 - _shape(pnl).probability() if pnl.size >= 2 else math.nan


def _folds(candidate: _Candidate, plan: WalkForwardPlan) -> list[FoldResult]:
    results = []
    for fold, index, net in zip(plan.folds, candidate.lane.choices, candidate.fold_pnl, strict=True):
        row = candidate.group.rows[index]
        train, test = segment_pnl(row, plan, fold.train), segment_pnl(row, plan, (fold.test,))
        results.append(
            FoldResult(
                index=fold.index,
                train_start_ns=plan.boundaries_ns[fold.train[0]],
                train_stop_ns=plan.boundaries_ns[fold.train[-1] + 1],
                test_start_ns=plan.boundaries_ns[fold.test],
                test_stop_ns=plan.boundaries_ns[fold.test + 1],
                trial_id=row.trial_id,
                params=candidate.group.params[index],
                in_sample_sharpe=known(sharpe_ratio(train, periods_per_year=plan.periods_per_year)),
                in_sample_trades=segment_totals(row, fold.train).trades,
                out_of_sample_sharpe=known(sharpe_ratio(test, periods_per_year=plan.periods_per_year)),
                net_pnl=net,
                trades=row.segment_trades[fold.test],
            )
        )
    return results


def _stress_table(candidate: _Candidate, config: RankingConfig) -> list[Stress]:
    """Return the profit under a wider spread alone, and under the score's assumptions."""
    rows = [(pips, 1.0) for pips in _STRESS_PIPS]
    scored = (config.stress.extra_spread_pips, config.stress.commission_factor)
    return [
        Stress(
            extra_spread_pips=pips,
            commission_factor=factor,
            net_pnl=_stressed(candidate.pnl, candidate.totals, config, pips, factor),
        )
        for pips, factor in [*rows, *([] if scored in rows else [scored])]
    ]


def _stressed(pnl: FloatArray, totals: Totals, config: RankingConfig, pips: float, factor: float) -> float:
    return stressed_profit(
        math.fsum(pnl),
        units=totals.units,
        commission=totals.commission,
        extra_spread_pips=pips,
        commission_factor=factor,
        pip_size=config.stress.pip,
    )


def _bootstrap(pnl: FloatArray, name: str, plan: WalkForwardPlan, config: RankingConfig) -> BootstrapResult:
    return bootstrap_returns(
        pnl,
        periods_per_year=plan.periods_per_year,
        seed=_seed(config, name),
        n_resamples=config.bootstrap_resamples,
        confidence=config.confidence,
    )


def _reject(candidate: _Candidate, reason: str, score: float | None = math.nan) -> Rejection:
    return Rejection(
        name=candidate.name,
        group=candidate.group.name,
        family=candidate.group.family,
        timeframe=candidate.group.timeframe,
        lane=candidate.lane.number,
        trial_id=candidate.emitted.trial_id,
        reason=reason,
        trades=candidate.totals.trades,
        score=None if score is None else candidate.score,
    )


def _shape(pnl: FloatArray) -> _Shape:
    return _Shape(
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


def _sidak(p_value: float, tests: int) -> float:
    """Return the probability that the smallest of `tests` independent p-values is at most `p_value`."""
    if math.isnan(p_value) or p_value >= 1:
        return p_value
    return -math.expm1(max(1, tests) * math.log1p(-p_value))


def _percentile(own: float, every: FloatArray) -> float | None:
    finite = every[np.isfinite(every)]
    if math.isnan(own) or not finite.size:
        return None
    return float(np.mean(finite < own) + np.mean(finite == own) / 2)


def _seed(config: RankingConfig, name: str) -> int:
    return config.seed * 2**32 + zlib.crc32(name.encode())


def _file_name(rank: int, group: Group) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{rank:02d}_{group.family}_{group.timeframe}")
