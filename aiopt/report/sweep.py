"""All trials of a run at a glance: in- against out-of-sample, per group, failures.

Owns the overview only; the formulas are `aiopt.evaluation`'s.  Nothing here takes part in the ranking.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.ranking_file import Statistics
from aiopt.ranking.threads import in_order
from aiopt.ranking.trials import TrialRow
from aiopt.report.document import Density, Entry, FailedTrial, Group, Sweep, TrialPoint
from aiopt.runs import RunFileError
from aiopt.series import Symbol

MOST_POINTS = 2000
"""Points of the scatter plot that are kept; every n-th where there are more."""


_ROWS_AT_ONCE = 128
"""Rows with their profits in memory, per thread."""

DENSITY_BINS = (48, 36)
"""Cells across and up that shade the scatter plot where not every point is kept."""


class ShownTrial(msgspec.Struct, frozen=True, gc=False):
    """What a report says of a trial beside its figures; fields as in `TrialRow`."""

    trial_id: str
    group: str
    family: str
    timeframe: str
    instrument: Symbol
    ok: bool
    error: str


@dataclass(frozen=True)
class Trials:
    """The trials of a run, in the order of the file: figures, whatever the number of periods.

    Attributes
    ----------
    rows : list of ShownTrial
        Which trials.
    params : list of dict
        Parameters of each trial.
    ok : ndarray of shape (n_trials,), bool
        False for failed trials, whose figures are NaN.
    inside, outside : ndarray of shape (n_trials,)
        Annualised Sharpe ratio over the development segments and over the test segments.
    before, after : ndarray of shape (n_folds, n_trials)
        The same over each fold's train window and over its test.
    net, drawdown, units : ndarray of shape (n_trials,)
        Over the refit's window: profit and deepest fall, account currency, and units traded.
    """

    rows: list[ShownTrial]
    params: list[dict[str, Any]]
    ok: NDArray[np.bool_]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    net: NDArray[np.float64]
    drawdown: NDArray[np.float64]
    units: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of trials, failed ones included."""
        return len(self.rows)


def trial_arrays(
    rows: Iterable[TrialRow], plan: WalkForwardPlan, *, progress: Callable[[int], None] | None = None
) -> Trials:
    """Return the trials with their figures; a few hundred rows are in memory at a time.

    Parameters
    ----------
    rows : iterable of TrialRow
        Those that succeeded have a profit for every development period.
    plan : WalkForwardPlan
        Segments and period grid of the run.
    progress : callable, optional
        Called with the trials read.

    Raises
    ------
    RunFileError
        If a row has another number of periods or parameters that are not JSON.
    """
    source = iter(rows)
    batches = iter(lambda: list(itertools.islice(source, _ROWS_AT_ONCE)), [])
    kept: list[ShownTrial] = []
    params: list[dict[str, Any]] = []
    figures: list[NDArray[np.float64]] = []
    for batch, found in in_order(lambda batch: (batch, _figures(batch, plan)), batches):
        figures.append(found)
        for row in batch:
            kept.append(
                ShownTrial(
                    trial_id=row.trial_id,
                    # The same few texts in every row.
                    group=sys.intern(row.group),
                    family=sys.intern(row.family),
                    timeframe=sys.intern(row.timeframe),
                    instrument=row.instrument,
                    ok=row.ok,
                    error=row.error,
                )
            )
            params.append(_params(row))
        if progress is not None:
            progress(len(kept))
    folds = len(plan.folds)
    inside, outside, net, drawdown, units, *each = np.concatenate(
        [np.empty((5 + 2 * folds, 0)), *figures], axis=1
    )
    return Trials(
        rows=kept,
        params=params,
        ok=np.array([row.ok for row in kept], dtype=bool),
        inside=inside,
        outside=outside,
        before=np.array(each[:folds]),
        after=np.array(each[folds:]),
        net=net,
        drawdown=drawdown,
        units=units,
    )


def _params(row: TrialRow) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(row.params_json)
    except json.JSONDecodeError as error:
        msg = f"The parameters of trial {row.trial_id} are not JSON: {error}. Repeat the run."
        raise RunFileError(msg) from error
    return found


def _figures(rows: Sequence[TrialRow], plan: WalkForwardPlan) -> NDArray[np.float64]:
    """Return the figures of some trials, a row per figure in the order of `trial_arrays`."""
    periods, year = plan.development_periods, plan.periods_per_year
    pnl = np.empty((len(rows), periods))
    units = np.full(len(rows), math.nan)
    for place, row in enumerate(rows):
        if row.ok and len(row.pnl) != periods:
            msg = (
                f"Trial {row.trial_id} has {len(row.pnl)} periods, but the other trials have "
                f"{periods}. Repeat the run."
            )
            raise RunFileError(msg)
        pnl[place] = row.pnl if row.ok else math.nan
        if row.ok and row.segment_units:
            units[place] = sum(row.segment_units[segment] for segment in plan.refit)
    path = np.cumsum(pnl[:, plan.periods_of(plan.refit)], axis=1)
    peak = np.maximum(np.maximum.accumulate(path, axis=1), 0.0)
    windows = [plan.test, *(fold.train for fold in plan.folds), *(fold.test for fold in plan.folds)]
    outside, *each = (sharpe_rows(pnl[:, plan.periods_of(window)], year) for window in windows)
    inside = sharpe_rows(pnl, year)
    return np.array([inside, outside, path[:, -1], (peak - path).max(axis=1), units, *each])


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
    deviation = pnl.std(axis=1, ddof=1)
    known = np.isfinite(deviation) & (deviation > 0)
    result[known] = pnl[known].mean(axis=1) / deviation[known] * math.sqrt(periods_per_year)
    return result


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
    outside = trials.outside
    finite = outside[np.isfinite(outside)]
    points, points_total, density = _points(trials, plan)
    return Sweep(
        trials=len(trials),
        failed=int((~trials.ok).sum()),
        groups=_groups(trials, statistics),
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
            before, after = trials.before[fold.index, place], trials.after[fold.index, place]
            if math.isfinite(before) and math.isfinite(after):
                found.append(
                    TrialPoint(
                        trial_id=choice.trial_id,
                        fold=fold.index + 1,
                        in_sample=float(before),
                        out_of_sample=float(after),
                        rank=entry.rank,
                    )
                )
    return found


def _points(
    trials: Trials, plan: WalkForwardPlan
) -> tuple[list[TrialPoint], int, Density | msgspec.UnsetType]:
    """Return the points that are kept, their number in all, and where all lie if some are not kept."""
    parts = []
    for fold in plan.folds:
        before, after = trials.before[fold.index], trials.after[fold.index]
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
                best_in_sample_sharpe=_known(np.nanmax, trials.inside[member]),
                median_sharpe=_known(np.nanmedian, trials.outside[member]),
                best_sharpe=_known(np.nanmax, trials.outside[member]),
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
