"""Judging results: figures, walk-forward folds, and statistics against luck.

Owns statistics over arrays.  Knows nothing of strategies, engines, files or Ray.
"""

from aiopt.evaluation.folds import (
    Fold,
    WalkForwardConfig,
    WalkForwardPlan,
    active_boundaries,
    make_folds,
    period_profits,
    plan_walk_forward,
    segment_boundaries,
)

__all__ = [
    "Fold",
    "WalkForwardConfig",
    "WalkForwardPlan",
    "active_boundaries",
    "make_folds",
    "period_profits",
    "plan_walk_forward",
    "segment_boundaries",
]
