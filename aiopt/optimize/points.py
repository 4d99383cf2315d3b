"""The points of a run: every strategy on every timeframe with every set of parameters, in the order tried.

Owns that order.  What is done with a point is `aiopt.sweep`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.optimize.configuration import OptimizeConfig, Strategy
from aiopt.sweep.trial import TrialPoint


def plan_points(strategies: Sequence[Strategy], config: OptimizeConfig) -> list[TrialPoint]:
    """Return every point of a run, in the order in which they are tried.

    The points depend on the configuration alone.  Groups take turns, so that an interrupted sweep has tried a
    part of each.
    """
    sampled = [(strategy, strategy.points(config)) for strategy in strategies]
    return [
        TrialPoint(
            trial_id=f"{strategy.family}@{timeframe}-{number:05d}",
            family=strategy.family,
            timeframe=timeframe,
            params=points[number],
            spec=strategy.spec.with_params(points[number]),
        )
        for timeframe in config.timeframes
        for number in range(max(len(points) for _, points in sampled))
        for strategy, points in sampled
        if number < len(points) and timeframe in (strategy.timeframes or config.timeframes)
    ]
