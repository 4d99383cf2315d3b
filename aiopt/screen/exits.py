"""The further exits of a strategy as the simulator reads them.

Owns the way from `aiopt.strategy.exits.ExitPlan` to numbers and rows of columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aiopt.screen.orders import Exits, Laid, Targets
from aiopt.strategy.distances import Away, LaidLevel
from aiopt.strategy.exits import ExitPlan
from aiopt.strategy.targets import TargetPlan

_NEVER = np.empty(0, dtype=np.int64)
_NO_TARGETS = Targets(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), 1, False)
_NOT_LAID = Laid(False, 0.0, -1, 0.0, False, False)
_NO_EXITS = Exits(
    *(False, False, False, False, 0.0, 0.0, 0.0, -1, -1, -1, 0.0, 0),
    *(_NEVER, _NO_TARGETS, _NOT_LAID, _NOT_LAID),
)


def exits_of(plan: ExitPlan | None, rows: Mapping[str, int], next_strike: NDArray[np.int64] | None) -> Exits:
    """Return the further exits of a strategy.

    Parameters
    ----------
    plan : ExitPlan or None
        None where it has none.
    rows : mapping of str to int
        Of the series that its distances are multiples of.
    next_strike : ndarray of shape (n_bars,), int64, or None
        Of the plan's clock, see `aiopt.strategy.exits.next_strikes`.
    """
    if plan is None:
        return _NO_EXITS

    def row(away: Away | None) -> int:
        return -1 if away is None or away.series is None else rows[away.series]

    return Exits(
        moves=plan.moves or any(level is not None and level.waits for level in (plan.stop, plan.target)),
        trails=plan.trail is not None,
        trails_late=plan.trail_after is not None,
        evens=plan.even_after is not None,
        trail=0.0 if plan.trail is None else plan.trail.value,
        trail_after=0.0 if plan.trail_after is None else plan.trail_after.value,
        even_after=0.0 if plan.even_after is None else plan.even_after.value,
        trail_row=row(plan.trail),
        trail_after_row=row(plan.trail_after),
        even_after_row=row(plan.even_after),
        even_plus=plan.even_plus,
        time_bars=plan.time_bars,
        next_strike=_NEVER if next_strike is None else next_strike,
        targets=_NO_TARGETS if plan.targets is None else _targets(plan.targets, rows),
        stop=_laid(plan.stop, rows),
        target=_laid(plan.target, rows),
    )


def _laid(level: LaidLevel | None, rows: Mapping[str, int]) -> Laid:
    if level is None:
        return _NOT_LAID
    series = level.away.series
    row, farther = -1 if series is None else rows[series], level.away.farther + level.farther
    return Laid(True, level.away.value, row, farther, level.of_entry, level.waits)


def _targets(plan: TargetPlan, rows: Mapping[str, int]) -> Targets:
    found = [-1 if away.series is None else rows[away.series] for away in plan.distances]
    return Targets(
        share=np.array(plan.shares),
        value=np.array([away.value for away in plan.distances]),
        row=np.array(found, dtype=np.int64),
        step=plan.step,
        closes_all=plan.closes_all,
    )
