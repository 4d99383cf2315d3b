"""A trial's result on its way to a leaderboard: packed and checked where it was made.

Owns what a leaderboard needs to know of a row without unpacking it.  Checking and packing cost as much as a
screened trial, so the worker that ran it does both.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking.packing import pack_row
from aiopt.ranking.trials import TrialRow, check_row


class PackedRow(msgspec.Struct, frozen=True):
    """A row as `aiopt.ranking.packing` packs it, and what is shown of it while a sweep runs.

    Attributes
    ----------
    trial_id, group, error : str
        As in `TrialRow`.
    packed : bytes
        The row.
    in_sample_sharpe : float
        Annualised, over all development periods; NaN where there is none.
    net_pnl : float
        Sum over these periods.
    segment_trades : tuple of int
        Trades per development segment; empty for a failed trial.
    """

    trial_id: str
    group: str
    error: str
    packed: bytes
    in_sample_sharpe: float
    net_pnl: float
    segment_trades: tuple[int, ...]

    def __repr__(self) -> str:
        return f"PackedRow({self.trial_id!r}, {len(self.packed)} bytes)"

    @property
    def ok(self) -> bool:
        """Whether the trial has a result."""
        return not self.error


def packed_row(row: TrialRow, plan: WalkForwardPlan) -> PackedRow:
    """Check a row and pack it.

    Raises
    ------
    InputError
        If the row breaks a rule of its columns or does not fit the plan.
    """
    check_row(row, plan)
    return described(row, pack_row(row), plan)


def described(row: TrialRow, packed: bytes, plan: WalkForwardPlan) -> PackedRow:
    """Return a row that was packed before, with what is shown of it."""
    pnl = np.asarray(row.pnl, dtype=np.float64)
    return PackedRow(
        trial_id=row.trial_id,
        group=row.group,
        error=row.error,
        packed=packed,
        in_sample_sharpe=sharpe_ratio(pnl, periods_per_year=plan.periods_per_year) if row.ok else math.nan,
        net_pnl=float(np.sum(pnl)),
        segment_trades=tuple(row.segment_trades),
    )
