"""The settings of a learning sampler.  Owns their rules; what they do is `aiopt.search.search`'s."""

from __future__ import annotations

import math

import msgspec

from aiopt.errors import ConfigError, SearchSpaceError
from aiopt.search.objectives import check_objectives
from aiopt.strategy.space import METHODS

LEARNING = ("tpe", "cmaes", "nsga2", "nsga3", "evolution")
"""Samplers that learn from the points before."""

SAMPLERS = (*METHODS, *LEARNING)

OF_SEVERAL_OBJECTIVES = ("tpe", "nsga2", "nsga3")
"""Samplers that can pursue more than one objective."""


class SearchBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When searches end before they have tried `SweepConfig.trials` points each.

    Attributes
    ----------
    minutes : float or None
        No generation begins after this time.  **Not reproducible** by itself, so the number of generations
        that ran is recorded in the run folder, and it counts when the run is repeated there, not the clock.
    plateau : int or None
        A search ends after this many generations without an improvement.
    """

    minutes: float | None = None
    plateau: int | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            msg = f"`search.budget.minutes > 0` must hold, but got {self.minutes}: a budget of nothing finds "
            raise SearchSpaceError(msg + "nothing. Raise it, or leave it out.")
        if self.plateau is not None and self.plateau < 1:
            msg = f"`search.budget.plateau >= 1` must hold, but got {self.plateau}: a search would end "
            raise SearchSpaceError(msg + "before it began. Raise it, or leave it out.")


class SearchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a learning sampler works.

    Attributes
    ----------
    population : int
        Points of a generation, from 2 to 10000.  All of them are proposed before the first is looked at and
        learned from after the last has finished, so results do not depend on the number of workers.
    objectives : tuple of str
        What is sought, see `aiopt.search.objectives.OBJECTIVES`; several give a Pareto front.
    budget : SearchBudget
        When searches end early.
    warm_start : str or None
        Run folder whose best points begin each search of the same strategy and series.
    """

    population: int = 16
    objectives: tuple[str, ...] = ("sharpe",)
    budget: SearchBudget = SearchBudget()
    warm_start: str | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.population <= 10_000:
            raise ConfigError(
                f"`2 <= search.population <= 10000` must hold, but got {self.population}. Use e.g. 16."
            )
        check_objectives(self.objectives)


def check_sampler(sampler: str, settings: SearchConfig) -> None:
    """Refuse a sampler that there is none of, or settings that it cannot follow.

    Raises
    ------
    ConfigError
        Naming the samplers there are, or those that can.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(f"There is no sampler {sampler!r}. Use {', '.join(SAMPLERS)}.")
    if sampler not in LEARNING:
        if settings != SearchConfig():
            raise ConfigError(
                f"`search` is for samplers that learn, and {sampler} does not. Leave it out, or use "
                f"{', '.join(LEARNING)}."
            )
        return
    if len(settings.objectives) > 1 and sampler not in OF_SEVERAL_OBJECTIVES:
        raise ConfigError(
            f"The sampler {sampler} pursues one objective, but got {', '.join(settings.objectives)}. "
            f"Choose one, or use {', '.join(OF_SEVERAL_OBJECTIVES)}."
        )
