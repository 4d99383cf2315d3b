"""Beginning searches with the best points of an earlier run, as long as they have not seen the tests.

Owns which points are taken, and the refusal of those that were found with data of this run's test segments:
they would carry what they learned there into the tests that are to judge them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiopt.config import content_hash
from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.optimize.rerunning import plan_and_rows
from aiopt.ranking.windows import window_figures
from aiopt.runs import load_run
from aiopt.search.objectives import upwards
from aiopt.search.search import seen
from aiopt.strategy.space import Point, SearchSpace
from aiopt.sweep.points import Strategy
from aiopt.utc import time_text


@dataclass(frozen=True)
class WarmStart:
    """Points of an earlier run.

    Attributes
    ----------
    name : str
        Of its folder.
    stop_ns : int, UTC
        End of the data it was made on, its holdout included.
    points : dict of str to tuple of dict
        By group, the best first.
    """

    name: str
    stop_ns: int
    points: Mapping[str, tuple[Point, ...]]

    @property
    def content(self) -> str:
        """The hash of the points: what of the earlier run decides this one's result."""
        return content_hash([self.stop_ns, dict(self.points)])

    def check_unseen(self, plan: WalkForwardPlan) -> None:
        """Refuse points that were found with data of a test segment or of the holdout.

        Raises
        ------
        ConfigError
            Naming both times.
        """
        first_ns = plan.boundaries_ns[min(plan.test)]
        if self.stop_ns > first_ns:
            raise ConfigError(
                f"`search.warm_start`: the data of {self.name} must end before the first test segment, "
                f"{time_text(first_ns, 'm')}, but it ends {time_text(self.stop_ns, 'm')} UTC. Its best "
                "points have seen what is to test them. Use a run on older data, or leave warm_start out."
            )


def read_warm_start(config: OptimizeConfig, strategies: Sequence[Strategy]) -> WarmStart:
    """Read the best points of the run that ``search.warm_start`` names.

    Of each group, strategy and series of the same names, the points with the best first objective over all of
    that run's development segments are taken: half a generation at most, those of this run's space alone.

    Raises
    ------
    ConfigError
        If it has no such point.
    NotARunError, RunFileError, DataError
        If the folder is no run, has no trials yet, or a file of it is damaged.
    """
    folder = Path(str(config.search.warm_start))
    plan, rows = plan_and_rows(load_run(folder))
    spaces = {one.family: one.space for one in strategies if one.space is not None}
    found: dict[str, dict[str, tuple[float, str, Point]]] = {}
    for row in rows:
        space = spaces.get(row.family)
        if space is None:
            continue
        figures = window_figures(row, plan, plan.development)
        result = seen(figures if row.ok else None, config.search.objectives, config.ranking.min_train_trades)
        point = _point(space, msgspec.json.decode(row.params_json))
        if result.values is None or point is None:
            continue
        worth = upwards(result.values, config.search.objectives)[0]
        found.setdefault(row.group, {}).setdefault(row.spec_hash, (-worth, row.trial_id, point))
    if not found:
        raise ConfigError(
            f"`search.warm_start`: {folder} has no trial that a search of this run could begin with: none of "
            f"{', '.join(spaces) or 'a strategy with a search space'} lies in its space and has "
            f"{config.ranking.min_train_trades} trades. Name another run, or leave it out."
        )
    most = max(1, config.search.population // 2)
    return WarmStart(
        name=folder.name,
        stop_ns=plan.stop_ns,
        points={
            group: tuple(point for _, _, point in sorted(known.values(), key=lambda one: one[:2])[:most])
            for group, known in sorted(found.items())
        },
    )


def _point(space: SearchSpace, params: dict[str, object]) -> Point | None:
    """Return parameters as a point of a space; None where they are none."""
    point: Point = {name: params[name] for name in space.dimensions if name in params}  # type: ignore[misc]
    return space.typed(point) if params.keys() == point.keys() and space.holds(point) else None
