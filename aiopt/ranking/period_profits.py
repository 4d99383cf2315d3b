"""The profits of ``trials.parquet`` with the time of each: which hour a profit belongs to.

Owns the table; the file keeps the times once, as the walk-forward plan in its metadata, not in every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from aiopt.errors import DataError, InputError, did_you_mean
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.kept_series import left_out_text
from aiopt.ranking.trials import read_plan

SPANS = {"development": "pnl", "holdout": "holdout_pnl"}
"""Span to the column of ``trials.parquet`` that holds its profits."""


def period_profits(path: Path, trial_ids: Sequence[str] | None = None) -> pl.DataFrame:
    """Return profits per period with their times.

    Parameters
    ----------
    path : Path
        A run's ``trials.parquet``.
    trial_ids : sequence of str, optional
        Which trials; by default all that did not fail.  A year of hours is 8766 rows per trial.

    Returns
    -------
    polars.DataFrame
        A row per trial and period, by trial and time: ``trial_id``; ``group``; ``span``, ``"development"`` or
        ``"holdout"``; ``start``, when the period opens (UTC, nanoseconds), it ends where the next opens;
        ``profit``, the change of equity in it, account currency, positions marked to market.

    Raises
    ------
    InputError
        If a trial is not in the file, or failed and so has no profits; of a large sweep, whose file keeps
        some series alone, also if a trial's is not among them: it is never left out silently.
    DataError
        If the file is missing, not Parquet, or keeps no plan.

    Examples
    --------
    >>> frame = period_profits(Path("runs/optimize-1f2e3d4c/trials.parquet"))  # doctest: +SKIP
    >>> frame.group_by(pl.col("start").dt.hour()).agg(pl.col("profit").sum())  # doctest: +SKIP
    """
    plan = read_plan(path)
    if plan is None:
        msg = "the file does not say when its periods are."
        raise DataError(f"{msg} Read the trials.parquet of a run folder.", file=path)
    columns = ["trial_id", "group", "status", *SPANS.values()]
    frame = pl.scan_parquet(path).select(columns)
    if trial_ids is None:
        found = frame.filter(pl.col("status") == "ok").collect()
    else:
        found = frame.filter(pl.col("trial_id").is_in(list(trial_ids))).collect()
        _check_found(found, trial_ids, path)
    _check_kept(found, path)
    parts = [
        found.select(
            "trial_id",
            "group",
            pl.lit(span).alias("span"),
            pl.lit(pl.Series([_starts(plan, span)])).first().alias("start"),
            pl.col(column).alias("profit"),
        ).explode("start", "profit")
        for span, column in SPANS.items()
    ]
    return (
        pl.concat(parts)
        .drop_nulls("profit")
        .with_columns(pl.col("start").cast(pl.Datetime("ns", "UTC")))
        .sort("trial_id", "start")
    )


def _starts(plan: WalkForwardPlan, span: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return plan.period_starts_ns(plan.development if span == "development" else plan.holdout)


def _check_kept(found: pl.DataFrame, path: Path) -> None:
    lacking = found.filter((pl.col("status") == "ok") & (pl.col("pnl").list.len() == 0))["trial_id"]
    if lacking.is_empty():
        return
    if len(lacking) == 1:
        raise InputError(left_out_text(lacking[0]))
    kept = pl.col("pnl").list.len() > 0
    known = pl.scan_parquet(path).filter(kept).select(pl.len()).collect().item()
    raise InputError(
        f"{left_out_text(lacking[0])} So it is with {len(lacking):,} of the trials asked for. Name those "
        f"that are kept, {known:,} rows of {path} in which `pnl` is not empty."
    )


def _check_found(found: pl.DataFrame, trial_ids: Sequence[str], path: Path) -> None:
    known = dict(found.select("trial_id", "status").iter_rows())
    for trial_id in trial_ids:
        if trial_id not in known:
            every = pl.scan_parquet(path).select("trial_id").collect()["trial_id"].to_list()
            msg = f"{path} has no trial {trial_id!r}."
            raise InputError(msg + did_you_mean(trial_id, every))
        if known[trial_id] != "ok":
            msg = f"Trial {trial_id!r} failed, so it has no profits. Choose another."
            raise InputError(msg)
