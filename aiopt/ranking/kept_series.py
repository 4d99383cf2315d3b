"""Which trials keep their profits per period in ``trials.parquet``, and what stands for those of the others.

Owns the limit and the choice.  A hundred thousand trials of a year of hours are seven gigabytes of profits of
which a ranking uses a few hundred series.  Beyond the limit the file keeps the series of the trials in play
and of a sample drawn by a fixed seed; of every trial it keeps all segment figures and three columns more: sum
and Sharpe ratio of the profits, and their hash.  The journal keeps every series.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

import msgspec
import numpy as np

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import exact_sum, sharpe_ratio
from aiopt.ranking.trial_table import TrialHead
from aiopt.ranking.trials import TrialRow

MOST_VALUES = 100_000_000
"""Profits, trials times periods, up to which ``trials.parquet`` keeps all of them."""

SAMPLE = 2_000
"""Trials beside those in play whose series are kept."""

_SEED = 20_071


def beyond_limit(n_trials: int, plan: WalkForwardPlan) -> bool:
    """Tell whether a sweep is so large that its file keeps only some series."""
    return n_trials * (plan.development_periods + plan.holdout_periods) > MOST_VALUES


def with_series(heads: Sequence[TrialHead], in_play: Collection[str]) -> frozenset[str]:
    """Return the trials whose series are kept.

    Parameters
    ----------
    heads : sequence of TrialHead
        Of all of them, sorted by trial id.
    in_play : collection of str
        Trials that a fold chooses or that would be emitted: every figure of an entry or candidate is theirs.
    """
    playing = frozenset(in_play)
    others = [head.trial_id for head in heads if head.ok and head.trial_id not in playing]
    count = min(SAMPLE, len(others))
    drawn = np.random.default_rng([_SEED, len(heads)]).choice(len(others), size=count, replace=False)
    return playing | {others[place] for place in drawn.tolist()}


def summed_up(row: TrialRow, plan: WalkForwardPlan, *, keep: bool) -> TrialRow:
    """Return a row with what stands for its series, and without them unless they are to be kept."""
    pnl = np.asarray(row.pnl, dtype=np.float64)
    return msgspec.structs.replace(
        row,
        net_pnl=round(exact_sum(pnl), 8) if row.ok else math.nan,
        sharpe=float(sharpe_ratio(pnl, periods_per_year=plan.periods_per_year)) if row.ok else math.nan,
        series_hash=series_hash(row),
        pnl=row.pnl if keep else [],
        holdout_pnl=row.holdout_pnl if keep else [],
    )


def series_hash(row: TrialRow) -> str:
    """Return the SHA-256 of a row's profits, eight bytes each, the holdout's last; empty where it failed."""
    if not row.ok:
        return ""
    found = hashlib.sha256()
    for values in (row.pnl, row.holdout_pnl):
        found.update(np.ascontiguousarray(values, dtype="<f8").data)
    return found.hexdigest()


def lacks_series(row: TrialRow) -> bool:
    """Tell whether a trial that succeeded has left its series to the journal."""
    return row.ok and not len(row.pnl)


def left_out_text(trial_id: str) -> str:
    """Return what is said to whoever needs a series that the file has not."""
    return (
        f"trials.parquet of this large sweep does not keep the profits per period of trial {trial_id!r}: it "
        f"keeps those of the trials in play and of a sample of {SAMPLE:,}. Get them anew: "
        f"`aiopt trials rerun {trial_id} --run FOLDER --json`."
    )
