"""The seam between a search and what proposes its points: `Proposer`, Optuna's samplers, and which can what.

Owns which sampler can treat which space.  Knows no budget and no window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aiopt.errors import SearchSpaceError
from aiopt.search.evolution import Evolution
from aiopt.search.settings import LEARNING, SearchConfig
from aiopt.strategy.dimensions import Choice
from aiopt.strategy.space import Point, SearchSpace


class Proposer(Protocol):
    """Proposes points and learns.  Every proposal gets a number, and each is either told or refused."""

    def take(self, point: Point) -> int:
        """Take a point chosen elsewhere as a proposal of its own, and return its number."""
        ...

    def propose(self) -> tuple[int, Point]:
        """Return the number of the next proposal and its point: maybe one proposed before, or invalid."""
        ...

    def refuse(self, number: int) -> None:
        """Learn nothing from a proposal: it breaks a constraint."""
        ...

    def tell(self, number: int, values: Sequence[float]) -> None:
        """Learn what a proposal gave; more is better.  In the order of the numbers of a generation."""
        ...


def check_space(space: SearchSpace, sampler: str) -> None:
    """Refuse a space that a learning sampler cannot treat, or that has no valid point.

    Raises
    ------
    SearchSpaceError
        Naming the dimensions and the remedy.
    """
    if sampler == "cmaes":
        choices = [name for name, one in space.dimensions.items() if isinstance(one, Choice)]
        why = ""
        if choices:
            why = f"{', '.join(choices)} is a choice, which has no direction"
        elif space.conditional:
            why = f"{', '.join(space.conditional)} has a `when`"
        elif sum(one.count != 1 for one in space.dimensions.values()) < 2:
            why = "there is only one dimension to vary"
        if why:
            others = ", ".join(name for name in LEARNING if name != "cmaes")
            raise SearchSpaceError(
                f"search space of {space.spec.name}: CMA-ES needs at least two dimensions of numbers that "
                f"are always active, but {why}. Use another sampler ({others}), or type int or float."
            )
    # Raises where the constraints leave nothing.
    space.sample(1, seed=0)


def make_proposer(space: SearchSpace, sampler: str, settings: SearchConfig, seed: int) -> Proposer:
    """Return what proposes the points of a search.

    Parameters
    ----------
    space : SearchSpace
        That `check_space` has passed.
    sampler : str
        One of `LEARNING`.
    settings : SearchConfig
        Size of a generation and number of objectives.
    seed : int
        Of all its draws.
    """
    if sampler == "evolution":
        return Evolution(space, population=settings.population, seed=seed)
    from aiopt.search.optuna_proposer import OptunaProposer  # Optuna takes half a second to import

    return OptunaProposer(
        space, sampler, population=settings.population, objectives=len(settings.objectives), seed=seed
    )
