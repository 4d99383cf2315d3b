"""The trials of a run in a list: in-sample figures of each, sorted and cut as asked.

Owns what a line says and which lines are shown.  The holdout is in none of them.  Knows no terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import numpy as np

from aiopt.errors import DataError, InputError, did_you_mean
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import exact_sum, sharpe_ratio, sharpe_ratios
from aiopt.ranking.trials import SUMMED_UP, TrialRow, read_columns

if TYPE_CHECKING:
    import pyarrow as pa

TrialOrder = Literal["sharpe", "pnl", "trades", "id"]
ORDERS: tuple[TrialOrder, ...] = ("sharpe", "pnl", "trades", "id")
"""What a list can be sorted by; all but ids the largest first."""


_ROWS_AT_ONCE = 512


class ListedTrial(NamedTuple):
    """What of a trial a list may need: read without its series where a file has their sums."""

    trial_id: str
    group: str
    error: str
    trades: int
    pnl: float
    sharpe: float
    params_json: str


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


def read_listed(path: Path, plan: WalkForwardPlan) -> Iterator[ListedTrial]:
    """Yield the trials of a ``trials.parquet``, some rows and the columns needed in memory at a time.

    Raises
    ------
    DataError
        If the file is missing, not Parquet, or has other columns.
    """
    import pyarrow.parquet as pq

    summed_up = SUMMED_UP[0] in read_columns(path)
    names = ["trial_id", "group", "error", "params_json", "segment_trades"]
    names += ["net_pnl", "sharpe"] if summed_up else ["pnl"]
    with pq.ParquetFile(path) as file:
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"these are not the columns of trials: {missing} are missing.", file=path)
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names):
            found = {name: batch.column(name) for name in names}
            trades = list(map(sum, found["segment_trades"].to_pylist()))
            if summed_up:
                sums, ratios = found["net_pnl"].to_pylist(), found["sharpe"].to_pylist()
            else:
                sums, ratios = _figures(found["pnl"], plan)
            texts = (found[name].to_pylist() for name in ("trial_id", "group", "error"))
            params = found["params_json"].to_pylist()
            yield from map(ListedTrial._make, zip(*texts, trades, sums, ratios, params, strict=True))


def listed(row: TrialRow, plan: WalkForwardPlan) -> ListedTrial:
    """Return what a list needs of a row that has its series."""
    return ListedTrial(
        row.trial_id,
        row.group,
        row.error,
        sum(row.segment_trades),
        round(exact_sum(row.pnl), 8),
        sharpe_ratio(row.pnl, periods_per_year=plan.periods_per_year) if len(row.pnl) else math.nan,
        row.params_json,
    )


def _figures(series: pa.ListArray, plan: WalkForwardPlan) -> tuple[list[float], list[float]]:
    """Return sum and annualised Sharpe ratio of each trial; of a failed one, which has no profits, 0 and NaN.

    All at once: the bits are those of `sharpe_ratio` of each.
    """
    edges = series.offsets.to_numpy()
    values = series.values.to_numpy()[edges[0] : edges[-1]]
    lengths = np.diff(edges)
    sums, ratios = np.zeros(lengths.size), np.full(lengths.size, math.nan)
    for length in np.unique(lengths[lengths > 0]):
        own = np.flatnonzero(lengths == length)
        starts = edges[:-1][own] - edges[0]
        table = (
            values.reshape(own.size, length)
            if own.size * length == values.size
            else np.array([values[start : start + length] for start in starts])
        )
        ratios[own] = sharpe_ratios(table, periods_per_year=plan.periods_per_year)
        sums[own] = [round(exact_sum(one), 8) for one in table]
    return sums.tolist(), ratios.tolist()


def list_trials(
    rows: Iterable[ListedTrial],
    *,
    order: TrialOrder = "sharpe",
    group: str | None = None,
    failed: bool = False,
    top: int = 20,
    skip: int = 0,
) -> TrialList:
    """Return the trials of a run, the best first.

    Parameters
    ----------
    rows : iterable of ListedTrial
        All of them.
    order : {"sharpe", "pnl", "trades", "id"}
        What they are sorted by; trials without the figure come last.
    group : str, optional
        Of one group alone, e.g. ``"rsi_reversion@5m"``.
    failed : bool
        Those that failed, not those that did not.
    top : int
        How many at most; 0 for all.
    skip : int
        How many of the first are left out: the list goes on where another ended.

    Raises
    ------
    InputError
        If the run has no such group.
    """
    found, groups, count = [], set(), 0
    for row in rows:
        count += 1
        groups.add(row.group)
        if bool(row.error) == failed and group in (None, row.group):
            found.append(row)
    if group is not None and group not in groups:
        raise InputError(f"The run has no group {group!r}.{did_you_mean(group, groups)}")
    found.sort(key=lambda row: row.trial_id)
    if order != "id":
        found.sort(key=lambda row: _rank(getattr(row, order)))
    shown = found[skip : skip + top if top else None]
    return TrialList(trials=[_line(row) for row in shown], matching=len(found), all=count)


def _rank(value: float) -> float:
    return math.inf if math.isnan(value) else -value


def _line(row: ListedTrial) -> TrialLine:
    return TrialLine(
        trial_id=row.trial_id,
        group=row.group,
        trades=None if row.error else row.trades,
        pnl=None if row.error else float(row.pnl),
        sharpe=None if math.isnan(row.sharpe) else float(row.sharpe),
        params=msgspec.json.decode(row.params_json),
        error=row.error,
    )
