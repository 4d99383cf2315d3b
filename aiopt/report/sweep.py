"""All trials of a run at a glance: in- against out-of-sample, per group, failures.

Owns the overview only; the formulas are `aiopt.evaluation`'s.  Nothing here takes part in the ranking.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aiopt.evaluation.deflated import expected_maximum_sharpe
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.trials import TrialRow
from aiopt.report.model import FailedTrial, Group, Sweep, TrialPoint
from aiopt.runs import RunFileError


@dataclass(frozen=True)
class Trials:
    """The trials of a run, in the order of the file.

    Attributes
    ----------
    rows : list of TrialRow
        As in ``trials.parquet``.
    params : list of dict
        Parameters of each trial.
    ok : ndarray of shape (n_trials,), bool
        False for failed trials.
    pnl : ndarray of shape (n_trials, n_periods), quote currency
        Profit per period over the development segments; rows of failed trials are NaN.
    """

    rows: list[TrialRow]
    params: list[dict[str, Any]]
    ok: NDArray[np.bool_]
    pnl: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of trials, failed ones included."""
        return len(self.rows)


def trial_arrays(rows: Sequence[TrialRow], periods: int) -> Trials:
    """Return the trials with their profits as one array.

    Parameters
    ----------
    rows : sequence of TrialRow
        Each ok row has `periods` profits.
    periods : int
        Periods of the development segments.

    Raises
    ------
    RunFileError
        If a row has another number of periods or parameters that are not JSON.
    """
    pnl = np.full((len(rows), periods), math.nan)
    params = []
    for place, row in enumerate(rows):
        if row.ok:
            if len(row.pnl) != periods:
                msg = (
                    f"All trials must share one time grid of {periods} periods, but {row.trial_id} has "
                    f"{len(row.pnl)}. Repeat the run."
                )
                raise RunFileError(msg)
            pnl[place] = row.pnl
        try:
            params.append(json.loads(row.params_json))
        except json.JSONDecodeError as error:
            msg = f"Parameters must be JSON, but those of {row.trial_id} are not: {error}. Repeat the run."
            raise RunFileError(msg) from error
    return Trials(rows=list(rows), params=params, ok=np.array([row.ok for row in rows], dtype=bool), pnl=pnl)


def sharpe_rows(pnl: NDArray[np.float64], periods_per_year: float) -> NDArray[np.float64]:
    """Return the annualised Sharpe ratio of each row.

    Parameters
    ----------
    pnl : ndarray of shape (n, n_periods)
        Profit per period.
    periods_per_year : float

    Returns
    -------
    ndarray of shape (n,)
        NaN for rows that hold a NaN, do not vary or have fewer than two periods.
    """
    if pnl.shape[1] < 2:
        return np.full(len(pnl), math.nan)
    deviation = pnl.std(axis=1, ddof=1)
    known = np.isfinite(deviation) & (deviation > 0)
    result = np.full(len(pnl), math.nan)
    result[known] = pnl[known].mean(axis=1) / deviation[known] * math.sqrt(periods_per_year)
    return result


def mean_over_windows(
    pnl: NDArray[np.float64], windows: Sequence[NDArray[np.int64]], periods_per_year: float
) -> NDArray[np.float64]:
    """Return each row's mean Sharpe ratio over several stretches of periods; NaN if any is not defined."""
    if not windows:
        return np.full(len(pnl), math.nan)
    return np.mean([sharpe_rows(pnl[:, window], periods_per_year) for window in windows], axis=0)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Return Spearman's rank correlation of the pairs known on both sides; None for fewer than three."""
    known = np.isfinite(first) & np.isfinite(second)
    a, b = first[known], second[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(stats.spearmanr(a, b).statistic)


def expected_best(sharpe: NDArray[np.float64], n_trials: int, periods_per_year: float) -> float | None:
    """Return the annualised Sharpe ratio the best of `n_trials` is expected to show without skill.

    Parameters
    ----------
    sharpe : ndarray of shape (n,)
        Annualised ratios of the trials that have one; their variance is that of the null.
    n_trials : int
        Trials made, failed ones included.
    periods_per_year : float

    Returns
    -------
    float or None
        None for fewer than two ratios.
    """
    if sharpe.size < 2:
        return None
    scale = math.sqrt(periods_per_year)
    return expected_maximum_sharpe(float((sharpe / scale).var(ddof=1)), n_trials) * scale


def sweep_overview(
    trials: Trials,
    *,
    plan: WalkForwardPlan,
    pbo: Mapping[str, float | None],
    ranks: Mapping[str, int],
) -> Sweep:
    """Return the overview.

    Parameters
    ----------
    plan : WalkForwardPlan
        Segments and period grid of the run.
    pbo : mapping
        Probability of backtest overfitting per group.
    ranks : mapping
        Rank of the entry that emitted a trial's parameters, by trial id.
    """
    train = [plan.periods_of(fold.train) for fold in plan.folds]
    test = [plan.periods_of((fold.test,)) for fold in plan.folds]
    whole = sharpe_rows(trials.pnl, plan.periods_per_year)
    inside = mean_over_windows(trials.pnl, train, plan.periods_per_year)
    outside = mean_over_windows(trials.pnl, test, plan.periods_per_year)
    points = [
        TrialPoint(
            trial_id=row.trial_id,
            group=row.group,
            in_sample=float(before),
            out_of_sample=float(after),
            rank=ranks.get(row.trial_id),
        )
        for row, before, after in zip(trials.rows, inside, outside, strict=True)
        if math.isfinite(before) and math.isfinite(after)
    ]
    finite = whole[np.isfinite(whole)]
    return Sweep(
        trials=len(trials),
        failed=int((~trials.ok).sum()),
        groups=_groups(trials, whole, inside, outside, pbo),
        points=points,
        sharpe=finite.tolist(),
        best_sharpe=float(finite.max()) if finite.size else None,
        expected_maximum_sharpe=expected_best(finite, len(trials), plan.periods_per_year),
        rank_correlation=rank_correlation(inside, outside),
        failures=_failures(trials),
    )


def _groups(
    trials: Trials,
    whole: NDArray[np.float64],
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    pbo: Mapping[str, float | None],
) -> list[Group]:
    names = np.array([row.group for row in trials.rows], dtype=object)
    profit = trials.pnl.sum(axis=1)
    result = []
    for name in sorted(set(names.tolist())):
        member = names == name
        first = int(np.argmax(member))
        result.append(
            Group(
                name=name,
                family=trials.rows[first].family,
                timeframe=trials.rows[first].timeframe,
                trials=int(member.sum()),
                failed=int((member & ~trials.ok).sum()),
                profitable=int((member & (profit > 0)).sum()),
                best_in_sample=_known(np.nanmax, whole[member]),
                median_in_sample=_known(np.nanmedian, inside[member]),
                median_out_of_sample=_known(np.nanmedian, outside[member]),
                rank_correlation=rank_correlation(inside[member], outside[member]),
                pbo=pbo.get(name),
            )
        )
    return result


def _failures(trials: Trials) -> list[FailedTrial]:
    return [
        FailedTrial(
            trial_id=row.trial_id,
            group=row.group,
            params=", ".join(f"{key} {value}" for key, value in sorted(params.items())),
            reason=row.error or "no reason recorded",
        )
        for row, params in zip(trials.rows, trials.params, strict=True)
        if not row.ok
    ]


def _known(function: Any, values: NDArray[np.float64]) -> float | None:
    return float(function(values)) if np.isfinite(values).any() else None
