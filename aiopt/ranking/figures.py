"""Figures of a stretch of a row's profits.  Owns how totals and paths become `Figures`; selects nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import max_drawdown, max_drawdown_amount, sharpe_ratio, sortino_ratio
from aiopt.ranking.ranking_file import Figures
from aiopt.ranking.trials import TrialRow


@dataclass(frozen=True)
class Totals:
    """Sums over the trades of some segments; fields as in `TrialRow`."""

    trades: int = 0
    wins: int = 0
    gross_profit: float = 0.0
    gross_loss: float = 0.0
    commission: float = 0.0
    units: float = 0.0
    refused: int = 0
    capped: int = 0
    ruined: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            trades=self.trades + other.trades,
            wins=self.wins + other.wins,
            gross_profit=self.gross_profit + other.gross_profit,
            gross_loss=self.gross_loss + other.gross_loss,
            commission=self.commission + other.commission,
            units=self.units + other.units,
            refused=self.refused + other.refused,
            capped=self.capped + other.capped,
            ruined=self.ruined + other.ruined,
        )


def account_events(totals: Totals | Figures) -> str:
    """Return what margin and ruin did, as the end of a sentence; empty if nothing."""
    events = (
        (totals.refused, "entries refused by the margin"),
        (totals.capped, "sizes cut to the margin"),
        (totals.ruined, "segments whose account was lost"),
    )
    told = [f"{count} {what}" for count, what in events if count]
    return f" ({', '.join(told)})" if told else ""


def segment_totals(row: TrialRow, segments: tuple[int, ...]) -> Totals:
    """Return the sums over some development segments of a row."""
    return Totals(
        trades=sum(row.segment_trades[i] for i in segments),
        wins=sum(row.segment_wins[i] for i in segments),
        gross_profit=math.fsum(row.segment_gross_profit[i] for i in segments),
        gross_loss=math.fsum(row.segment_gross_loss[i] for i in segments),
        commission=math.fsum(row.segment_commission[i] for i in segments),
        units=math.fsum(row.segment_units[i] for i in segments),
        refused=sum(row.segment_refused[i] for i in segments),
        capped=sum(row.segment_capped[i] for i in segments),
        ruined=sum(row.segment_ruined[i] for i in segments),
    )


def holdout_totals(row: TrialRow) -> Totals:
    """Return the sums over the holdout of a row."""
    return Totals(
        trades=sum(row.holdout_trades),
        wins=sum(row.holdout_wins),
        gross_profit=math.fsum(row.holdout_gross_profit),
        gross_loss=math.fsum(row.holdout_gross_loss),
        commission=math.fsum(row.holdout_commission),
        units=math.fsum(row.holdout_units),
        refused=sum(row.holdout_refused),
        capped=sum(row.holdout_capped),
        ruined=sum(row.holdout_ruined),
    )


def segment_pnl(row: TrialRow, plan: WalkForwardPlan, segments: tuple[int, ...]) -> FloatArray:
    """Return a row's profit per period over some development segments."""
    return np.asarray(row.pnl, dtype=np.float64)[plan.periods_of(segments)]


def make_figures(
    pnl: FloatArray,
    totals: Totals,
    *,
    initial_balance: float,
    periods_per_year: float,
    interval: tuple[float, float] = (math.nan, math.nan),
) -> Figures:
    """Return the figures of a stretch.

    Parameters
    ----------
    pnl : ndarray of shape (n_periods,)
        Profit per period.
    totals : Totals
        Of the trades of the stretch.
    initial_balance : float
        Account at the start of the stretch.
    periods_per_year : float
        To annualise by.
    interval : tuple of float
        Bootstrap interval of the Sharpe ratio, NaN where there is none.
    """
    equity = initial_balance + np.concatenate(([0.0], np.cumsum(pnl)))
    decided = totals.trades > 0
    net = math.fsum(pnl)
    return Figures(
        net_pnl=net,
        sharpe=known(sharpe_ratio(pnl, periods_per_year=periods_per_year)),
        sortino=known(sortino_ratio(pnl, periods_per_year=periods_per_year)),
        profit_factor=totals.gross_profit / totals.gross_loss if totals.gross_loss > 0 else None,
        win_rate=totals.wins / totals.trades if decided else None,
        expectancy=(totals.gross_profit - totals.gross_loss) / totals.trades if decided else None,
        # An account that is lost has no drawdown fraction.
        max_drawdown=max_drawdown(equity) if (equity > 0).all() else None,
        max_drawdown_amount=max_drawdown_amount(pnl),
        trades=totals.trades,
        wins=totals.wins,
        gross_profit=totals.gross_profit,
        gross_loss=totals.gross_loss,
        commission=totals.commission,
        units=totals.units,
        refused=totals.refused,
        capped=totals.capped,
        ruined=totals.ruined,
        periods=int(pnl.size),
        sharpe_low=known(interval[0]),
        sharpe_high=known(interval[1]),
    )


def known(value: float) -> float | None:
    """Return None for NaN or infinity, which JSON cannot say."""
    return float(value) if math.isfinite(value) else None
