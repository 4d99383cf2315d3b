"""One entry of a ranking: figures, folds, stress, evidence and verdict of a chosen candidate.

The holdout is read here for the first time: neither choice nor score has seen it.
"""

from __future__ import annotations

import json
import math
import re
import zlib

import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.bootstrap import BootstrapResult, bootstrap_returns, shuffled_drawdowns
from aiopt.evaluation.deflated import (
    minimum_track_record_length,
)
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.evaluation.stress import break_even_extra_spread_pips
from aiopt.ranking.baseline import Baseline
from aiopt.ranking.candidates import Candidate, shape_of, stressed_pnl_of
from aiopt.ranking.figures import (
    holdout_totals,
    known,
    make_figures,
    segment_pnl,
    segment_totals,
)
from aiopt.ranking.groups import Group
from aiopt.ranking.luck import Luck
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import (
    SURVIVES,
    Entry,
    Evidence,
    Figures,
    FoldResult,
    Stress,
)
from aiopt.ranking.trials import TrialRow
from aiopt.ranking.verdict import judge, make_checks
from aiopt.series import series_name

_STRESS_PIPS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Extra spreads shown beside the one of the score."""


def make_entry(
    rank: int,
    candidate: Candidate,
    shown: int,
    luck: Luck,
    baseline: Baseline,
    plan: WalkForwardPlan,
    config: RankingConfig,
) -> Entry:
    """Return the entry of a candidate.

    Parameters
    ----------
    rank : int
        From 1.
    candidate : Candidate
        What is shown.
    shown : int
        Entries of the ranking: p-values of the holdout are adjusted for them.
    luck : Luck
        The test of all candidates they were chosen from.
    baseline, plan, config
        As in `aiopt.ranking.rank.rank_trials`.
    """
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
    evidence = _evidence(candidate, resampled, shown, luck, baseline, plan, config)
    checks = make_checks(out_of_sample, evidence, _scored_stress(candidate, config), holdout, config)
    verdict = judge(checks, evidence, config)
    return Entry(
        rank=rank,
        name=_file_name(rank, candidate.group),
        group=candidate.group.name,
        family=candidate.group.family,
        timeframe=candidate.group.timeframe,
        instrument=candidate.group.instrument,
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
        holdout_pnl=[float(profit) for profit in row.holdout_pnl],
        stress=_stress_table(candidate, config),
        break_even_extra_spread_pips=_break_even(candidate, out_of_sample, config),
        evidence=evidence,
        checks=checks,
        verdict=verdict,
        survives=verdict == SURVIVES,
    )


def _scored_stress(candidate: Candidate, config: RankingConfig) -> float:
    """Return the profit under the assumptions of the score."""
    stress = config.stress
    return stressed_pnl_of(
        candidate.pnl,
        candidate.totals,
        pip=stress.pip_of(candidate.group.instrument),
        extra_spread_pips=stress.extra_spread_pips,
        commission_factor=stress.commission_factor,
    )


def _break_even(candidate: Candidate, out_of_sample: Figures, config: RankingConfig) -> float | None:
    pip = config.stress.pip_of(candidate.group.instrument)
    pips = break_even_extra_spread_pips(out_of_sample.net_pnl, units=candidate.totals.units, pip_size=pip)
    return known(pips)


def _evidence(
    candidate: Candidate,
    resampled: BootstrapResult,
    shown: int,
    luck: Luck,
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
            shape.published_deflated(baseline.variance_cross_section, baseline.counted)
        ),
        trials_counted=baseline.counted,
        expected_maximum_sharpe=baseline.expected_maximum * math.sqrt(plan.periods_per_year),
        probabilistic_sharpe=known(probability),
        p_value=known(1 - probability),
        p_value_adjusted=known(_sidak(1 - probability, luck.record.candidates)),
        candidates=luck.record.candidates,
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
        p_value_family_wise=luck.p_value(candidate.name),
        t_statistic=known(luck.t_statistics[candidate.name]),
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
    return 1 - shape_of(pnl).probability() if pnl.size >= 2 else math.nan


def _folds(candidate: Candidate, plan: WalkForwardPlan) -> list[FoldResult]:
    results = []
    for fold, index, net in zip(plan.folds, candidate.lane.choices, candidate.fold_pnl, strict=True):
        row = candidate.group.row(index)
        train, test = segment_pnl(row, plan, fold.train), segment_pnl(row, plan, fold.test)
        train_ns, test_ns = plan.span_ns(fold.train), plan.span_ns(fold.test)
        results.append(
            FoldResult(
                index=fold.index,
                train_start_ns=train_ns[0],
                train_stop_ns=train_ns[1],
                test_start_ns=test_ns[0],
                test_stop_ns=test_ns[1],
                trial_id=row.trial_id,
                params=candidate.group.params[index],
                in_sample_sharpe=known(sharpe_ratio(train, periods_per_year=plan.periods_per_year)),
                in_sample_trades=segment_totals(row, fold.train).trades,
                out_of_sample_sharpe=known(sharpe_ratio(test, periods_per_year=plan.periods_per_year)),
                net_pnl=net,
                trades=segment_totals(row, fold.test).trades,
            )
        )
    return results


def _stress_table(candidate: Candidate, config: RankingConfig) -> list[Stress]:
    """Return the profit under a wider spread alone, and under the score's assumptions."""
    rows = [(pips, 1.0) for pips in _STRESS_PIPS]
    scored = (config.stress.extra_spread_pips, config.stress.commission_factor)
    return [
        Stress(
            extra_spread_pips=pips,
            commission_factor=factor,
            net_pnl=stressed_pnl_of(
                candidate.pnl,
                candidate.totals,
                pip=config.stress.pip_of(candidate.group.instrument),
                extra_spread_pips=pips,
                commission_factor=factor,
            ),
        )
        for pips, factor in [*rows, *([] if scored in rows else [scored])]
    ]


def _bootstrap(pnl: FloatArray, name: str, plan: WalkForwardPlan, config: RankingConfig) -> BootstrapResult:
    return bootstrap_returns(
        pnl,
        periods_per_year=plan.periods_per_year,
        seed=_seed(config, name),
        n_resamples=config.bootstrap_resamples,
        confidence=config.confidence,
    )


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
    series = series_name(group.instrument, group.timeframe)
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{rank:02d}_{group.family}_{series}")
