"""All trials of a run at a glance: in- against out-of-sample, per group, failures.

Owns the overview only; the formulas are `aiopt.evaluation`'s.  Nothing here takes part in the ranking.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.evaluation.folds import Fold as WalkForwardFold
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.profit_table import profit_table
from aiopt.ranking.ranking_file import Statistics
from aiopt.ranking.trials import TrialRow
from aiopt.report.document import Density, Entry, FailedTrial, Group, Sweep, TrialPoint
from aiopt.runs import RunFileError

MOST_POINTS = 2000
"""Points of the scatter plot that are kept; every n-th where there are more."""


_ROWS_AT_ONCE = 4096

DENSITY_BINS = (48, 36)
"""Cells across and up that shade the scatter plot where not every point is kept."""


@dataclass(frozen=True)
class Trials:
    """The trials of a run, in the order of the file.

    Attributes
    ----------
    rows : list of TrialRow
        As in ``trials.parquet``, without their profits.
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


def trial_arrays(
    rows: Iterable[TrialRow], periods: int, *, count: int | None = None, folder: Path | None = None
) -> Trials:
    """Return the trials with their profits as one array.

    Parameters
    ----------
    rows : iterable of TrialRow
        Each ok row has `periods` profits.
    periods : int
        Periods of the development segments.
    count : int, optional
        Rows there are, where they come one by one.
    folder : Path, optional
        Where the array lies if it is large; by default in memory.

    Raises
    ------
    RunFileError
        If a row has another number of periods or parameters that are not JSON.
    """
    if count is None:
        rows = list(rows)
        count = len(rows)
    pnl = profit_table(count, periods, folder)
    kept, params = [], []
    for place, row in enumerate(rows):
        if row.ok and len(row.pnl) != periods:
            msg = (
                f"Trial {row.trial_id} has {len(row.pnl)} periods, but the other trials have "
                f"{periods}. Repeat the run."
            )
            raise RunFileError(msg)
        pnl[place] = row.pnl if row.ok else math.nan
        try:
            params.append(json.loads(row.params_json))
        except json.JSONDecodeError as error:
            msg = f"The parameters of trial {row.trial_id} are not JSON: {error}. Repeat the run."
            raise RunFileError(msg) from error
        kept.append(msgspec.structs.replace(row, pnl=[], holdout_pnl=[]))
    return Trials(rows=kept, params=params, ok=np.array([row.ok for row in kept], dtype=bool), pnl=pnl)


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
    result = np.full(len(pnl), math.nan)
    if pnl.shape[1] < 2:
        return result
    for start in range(0, len(pnl), _ROWS_AT_ONCE):
        part = pnl[start : start + _ROWS_AT_ONCE]
        deviation = part.std(axis=1, ddof=1)
        known = np.isfinite(deviation) & (deviation > 0)
        ratios = part[known].mean(axis=1) / deviation[known] * math.sqrt(periods_per_year)
        result[start : start + len(part)][known] = ratios
    return result


def _sharpe_over(
    pnl: NDArray[np.float64], periods: NDArray[np.int64], periods_per_year: float
) -> NDArray[np.float64]:
    """Return `sharpe_rows` over some periods, which are copied for some rows at a time."""
    starts = range(0, len(pnl), _ROWS_AT_ONCE)
    parts = [sharpe_rows(pnl[start : start + _ROWS_AT_ONCE, periods], periods_per_year) for start in starts]
    return np.concatenate([np.empty(0), *parts])


def sweep_overview(trials: Trials, *, plan: WalkForwardPlan, statistics: Statistics | None) -> Sweep:
    """Return the overview.

    Parameters
    ----------
    trials : Trials
        Every trial of the run.
    plan : WalkForwardPlan
        Segments and period grid of the run.
    statistics : Statistics or None
        The ranking's figures of the sweep; None for a run that is not ranked yet.
    """
    year = plan.periods_per_year
    outside = _sharpe_over(trials.pnl, plan.periods_of(plan.test), year)
    inside = sharpe_rows(trials.pnl, year)
    finite = outside[np.isfinite(outside)]
    points, points_total, density = _points(trials, plan)
    return Sweep(
        trials=len(trials),
        failed=int((~trials.ok).sum()),
        groups=_groups(trials, inside, outside, statistics),
        points=points,
        points_total=points_total,
        density=density,
        sharpe=finite.tolist(),
        best_sharpe=float(finite.max()) if finite.size else None,
        expected_maximum_sharpe=None if statistics is None else statistics.expected_maximum_sharpe,
        share_profitable=None if statistics is None else statistics.share_profitable,
        median_sharpe=float(np.median(finite)) if finite.size else None,
        rank_correlation=None if statistics is None else statistics.rank_correlation,
        pbo=None if statistics is None else statistics.pbo,
        failures=_failures(trials),
        earlier_trials=_earlier(statistics),
    )


def _earlier(statistics: Statistics | None) -> int | msgspec.UnsetType:
    found = None if statistics is None else statistics.earlier_trials
    return found.trials if found else msgspec.UNSET


def entry_points(entries: Sequence[Entry], trials: Trials, plan: WalkForwardPlan) -> list[TrialPoint]:
    """Return the points of the trials that the entries followed, one per entry and fold."""
    known = {row.trial_id: place for place, row in enumerate(trials.rows)}
    found = []
    for entry in entries:
        for fold, choice in zip(plan.folds, entry.folds, strict=True):
            place = known.get(choice.trial_id)
            if place is None:
                continue
            row = trials.pnl[place : place + 1]
            before, after = _before_and_after(row, fold, plan)
            if math.isfinite(before[0]) and math.isfinite(after[0]):
                found.append(
                    TrialPoint(
                        trial_id=choice.trial_id,
                        fold=fold.index + 1,
                        in_sample=float(before[0]),
                        out_of_sample=float(after[0]),
                        rank=entry.rank,
                    )
                )
    return found


def _before_and_after(
    pnl: NDArray[np.float64], fold: WalkForwardFold, plan: WalkForwardPlan
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    year = plan.periods_per_year
    before = _sharpe_over(pnl, plan.periods_of(fold.train), year)
    return before, _sharpe_over(pnl, plan.periods_of(fold.test), year)


def _points(
    trials: Trials, plan: WalkForwardPlan
) -> tuple[list[TrialPoint], int, Density | msgspec.UnsetType]:
    """Return the points that are kept, their number in all, and where all lie if some are not kept."""
    parts = []
    for fold in plan.folds:
        before, after = _before_and_after(trials.pnl, fold, plan)
        known = np.flatnonzero(np.isfinite(before) & np.isfinite(after))
        parts.append((np.full(len(known), fold.index), known, before[known], after[known]))
    folds, places, before, after = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    total = len(places)
    step = max(1, math.ceil(total / MOST_POINTS))
    kept = [
        TrialPoint(
            trial_id=trials.rows[places[i]].trial_id,
            fold=int(folds[i]) + 1,
            in_sample=float(before[i]),
            out_of_sample=float(after[i]),
            rank=None,
        )
        for i in range(0, total, step)
    ]
    return kept, total, msgspec.UNSET if step == 1 else _density(before, after)


def _density(x: NDArray[np.float64], y: NDArray[np.float64]) -> Density:
    counts, across, up = np.histogram2d(x, y, bins=DENSITY_BINS)
    filled = np.argwhere(counts > 0)
    return Density(
        x=(float(across[0]), float(across[-1])),
        y=(float(up[0]), float(up[-1])),
        columns=DENSITY_BINS[0],
        rows=DENSITY_BINS[1],
        cells=[(int(i), int(j), int(counts[i, j])) for i, j in filled],
    )


def _groups(
    trials: Trials,
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    statistics: Statistics | None,
) -> list[Group]:
    judged = {} if statistics is None else {group.group: group for group in statistics.groups}
    names = np.array([row.group for row in trials.rows], dtype=object)
    result = []
    for name in sorted(set(names.tolist())):
        member = names == name
        first = trials.rows[int(np.argmax(member))]
        group = judged.get(name)
        result.append(
            Group(
                name=name,
                family=first.family,
                timeframe=first.timeframe,
                instrument=first.instrument,
                trials=int(member.sum()),
                failed=int((member & ~trials.ok).sum()),
                share_profitable=None if group is None else group.share_profitable,
                best_in_sample_sharpe=_known(np.nanmax, inside[member]),
                median_sharpe=_known(np.nanmedian, outside[member]),
                best_sharpe=_known(np.nanmax, outside[member]),
                rank_correlation=None if group is None else group.rank_correlation,
                pbo=None if group is None else group.pbo,
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


def _known(function: Callable[[NDArray[np.float64]], float], values: NDArray[np.float64]) -> float | None:
    return float(function(values)) if np.isfinite(values).any() else None
