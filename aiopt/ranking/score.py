"""The score of a candidate: a weighted sum of five components, each in [0, 1].

Owns the formula; `docs/explanation/ranking.md` gives its reasons.  Everything in it is measured on the
out-of-sample path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Component

_FULL_PROFIT_FACTOR = 2.0
"""Profit factor from which on the component is 1."""


@dataclass(frozen=True)
class ScoredPath:
    """What the score is made of, all of the out-of-sample path and in the account's currency.

    Attributes
    ----------
    gross_profit, gross_loss : float
        At least 0, over trades.
    net_pnl, max_drawdown_amount : float
        Of the whole path.
    fold_pnl : sequence of float
        Profit of each test segment.
    stressed_pnl : float
        Profit under the stress assumptions.
    """

    gross_profit: float
    gross_loss: float
    net_pnl: float
    max_drawdown_amount: float
    fold_pnl: Sequence[float]
    stressed_pnl: float


def components(path: ScoredPath, *, deflated_sharpe: float, config: RankingConfig) -> list[Component]:
    """Return the components of the score.

    Parameters
    ----------
    path : ScoredPath
        Of the candidate.
    deflated_sharpe : float
        In [0, 1].
    config : RankingConfig
        Weights.

    Returns
    -------
    list of Component
        The weights sum to 1.
    """
    shares = config.weights.shares()
    profitable = sum(pnl > 0 for pnl in path.fold_pnl) / len(path.fold_pnl)
    values = {
        "deflated_sharpe": (deflated_sharpe, deflated_sharpe),
        "profit_factor": (
            profit_factor_component(path.gross_profit, path.gross_loss),
            path.gross_profit / path.gross_loss if path.gross_loss > 0 else None,
        ),
        "drawdown": (
            drawdown_component(path.net_pnl, path.max_drawdown_amount),
            path.net_pnl / path.max_drawdown_amount if path.max_drawdown_amount > 0 else None,
        ),
        "consistency": (profitable, profitable),
        "cost_stress": (stress_component(path.net_pnl, path.stressed_pnl), path.stressed_pnl),
    }
    return [
        Component(name=name, value=value, weight=shares[name], raw=raw)
        for name, (value, raw) in values.items()
    ]


def total(parts: list[Component]) -> float:
    """Return the score, in [0, 1]."""
    return math.fsum(part.value * part.weight for part in parts)


def profit_factor_component(gross_profit: float, gross_loss: float) -> float:
    """Return 0 up to a profit factor of 1, 1 from a factor of 2 on, and between them the share of the way.

    The way is measured in the share of gross profit in all money won and lost, which exists without losses
    too.
    """
    turnover = gross_profit + gross_loss
    if turnover <= 0:
        return 0.0
    full = _FULL_PROFIT_FACTOR / (1 + _FULL_PROFIT_FACTOR)
    return _clip((gross_profit / turnover - 0.5) / (full - 0.5))


def drawdown_component(net_pnl: float, max_drawdown_amount: float) -> float:
    """Return ``P / (P + D)`` of a profit P and deepest fall D: 0.5 where they are equal, 0 without profit."""
    return net_pnl / (net_pnl + max_drawdown_amount) if net_pnl > 0 else 0.0


def stress_component(net_pnl: float, stressed_pnl: float) -> float:
    """Return the share of the profit that is left under stress; 0 without profit."""
    return _clip(stressed_pnl / net_pnl) if net_pnl > 0 else 0.0


def formula(config: RankingConfig) -> str:
    """Return the score in words, with the weights of a configuration."""
    shares = {name: f"{100 * share:.0f}%" for name, share in config.weights.shares().items()}
    stress = config.stress
    return (
        "The score is a weighted mean of five figures between 0 and 1, all of the walk-forward out-of-sample "
        f"path: the deflated Sharpe ratio, all trials counted ({shares['deflated_sharpe']}); the profit "
        f"factor, 0 at 1 and 1 from 2 on ({shares['profit_factor']}); profit over profit plus deepest "
        f"drawdown ({shares['drawdown']}); the share of folds with a profit ({shares['consistency']}); and "
        f"the share of the profit left if the spread were {stress.extra_spread_pips:g} pips wider and "
        f"commission {stress.commission_factor:g} times as high ({shares['cost_stress']}). Candidates "
        f"with fewer than {config.min_oos_trades} trades out of sample are not ranked. "
        "The holdout is no part of the score."
    )


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
