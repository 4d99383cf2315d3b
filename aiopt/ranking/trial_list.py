"""The trials of a run in a list: in-sample figures of each, sorted and cut as asked.

Owns what a line says and which lines are shown.  The holdout is in none of them.  Knows no terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from aiopt.errors import InputError, did_you_mean
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking.trials import TrialRow

TrialOrder = Literal["sharpe", "pnl", "trades", "id"]
ORDERS: tuple[TrialOrder, ...] = ("sharpe", "pnl", "trades", "id")
"""What a list can be sorted by; all but ids the largest first."""


class TrialLine(msgspec.Struct, frozen=True, kw_only=True):
    """One trial.

    Attributes
    ----------
    trial_id, group : str
        Which trial.
    trades : int or None
        In the development segments; None where the trial failed.
    pnl : float or None
        In them, account currency.
    sharpe : float or None
        Of them, annualised; None where the profit does not vary.
    params : dict
        Values of the searched parameters.
    error : str
        Why the trial failed; empty where it did not.
    """

    trial_id: str
    group: str
    trades: int | None
    pnl: float | None
    sharpe: float | None
    params: dict[str, int | float]
    error: str


class TrialList(msgspec.Struct, frozen=True, kw_only=True):
    """Some trials of a run.

    Attributes
    ----------
    trials : list of TrialLine
        Those shown.
    matching, all : int
        How many fit what was asked, and how many the run has.
    """

    trials: list[TrialLine]
    matching: int
    all: int


def list_trials(
    rows: Iterable[TrialRow],
    plan: WalkForwardPlan,
    *,
    order: TrialOrder = "sharpe",
    group: str | None = None,
    failed: bool = False,
    top: int = 20,
) -> TrialList:
    """Return the trials of a run, the best first.

    Parameters
    ----------
    rows : iterable of TrialRow
        All of them.
    plan : WalkForwardPlan
        What they are measured by.
    order : {"sharpe", "pnl", "trades", "id"}
        What they are sorted by; trials without the figure come last.
    group : str, optional
        Of one group alone, e.g. ``"rsi_reversion@5m"``.
    failed : bool
        Those that failed, not those that did not.
    top : int
        How many at most; 0 for all.

    Raises
    ------
    InputError
        If the run has no such group.
    """
    lines, groups, count = [], set(), 0
    for row in rows:
        count += 1
        groups.add(row.group)
        if row.ok != failed and group in (None, row.group):
            lines.append(_line(row, plan.periods_per_year))
    if group is not None and group not in groups:
        raise InputError(f"The run has no group {group!r}.{did_you_mean(group, groups)}")
    lines.sort(key=lambda line: line.trial_id)
    if order != "id":
        lines.sort(key=lambda line: _rank(getattr(line, order)))
    return TrialList(trials=lines[: top or None], matching=len(lines), all=count)


def _rank(value: float | None) -> float:
    return math.inf if value is None else -value


def _line(row: TrialRow, periods_per_year: float) -> TrialLine:
    sharpe = sharpe_ratio(row.pnl, periods_per_year=periods_per_year) if row.ok else math.nan
    return TrialLine(
        trial_id=row.trial_id,
        group=row.group,
        trades=sum(row.segment_trades) if row.ok else None,
        pnl=round(math.fsum(row.pnl), 8) if row.ok else None,
        sharpe=None if math.isnan(sharpe) else float(sharpe),
        params=msgspec.json.decode(row.params_json),
        error=row.error,
    )
