"""Figures of trials over one train window: what a sampler that learns is told, and nothing more.

Owns how they are computed, from the development segments named; the holdout is in no argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import max_drawdown_amount, sharpe_ratio
from aiopt.ranking.figures import segment_pnl, segment_totals
from aiopt.ranking.trials import TrialRow


class Window(msgspec.Struct, frozen=True):
    """Trials, and the development segments on which they are looked at."""

    trial_ids: tuple[str, ...]
    segments: tuple[int, ...]


class WindowFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one trial over one window.

    Attributes
    ----------
    spec_hash : str
        Of its strategy.
    ok : bool
        False for a trial that failed; its figures are those of no trade.
    trades : int
        Trades that closed.
    sharpe : float
        Annualised, of the profits per period; NaN where they do not vary.
    net_return, drawdown, turnover : float
        Profit, deepest fall and units traded, each as a share of the initial balance.
    gross_profit, gross_loss : float
        Sums of winning and losing trades, account currency, both at least 0.
    """

    spec_hash: str
    ok: bool = True
    trades: int = 0
    sharpe: float = float("nan")
    net_return: float = 0.0
    drawdown: float = 0.0
    turnover: float = 0.0
    gross_profit: float = 0.0
    gross_loss: float = 0.0


def window_figures(row: TrialRow, plan: WalkForwardPlan, segments: Sequence[int]) -> WindowFigures:
    """Return the figures of a trial over some development segments.

    Raises
    ------
    InputError
        If a segment lies in the holdout.
    """
    chosen = tuple(segments)
    if not set(chosen) <= set(plan.development):
        raise InputError(f"A window lies in the development segments, but got {list(chosen)}.")
    if not row.ok:
        return WindowFigures(spec_hash=row.spec_hash, ok=False)
    pnl = segment_pnl(row, plan, chosen)
    totals = segment_totals(row, chosen)
    balance = row.initial_balance
    return WindowFigures(
        spec_hash=row.spec_hash,
        trades=totals.trades,
        sharpe=sharpe_ratio(pnl, periods_per_year=plan.periods_per_year),
        net_return=float(np.sum(pnl)) / balance,
        drawdown=max_drawdown_amount(pnl) / balance,
        turnover=totals.units / balance,
        gross_profit=totals.gross_profit,
        gross_loss=totals.gross_loss,
    )
