"""TPE, CMA-ES, NSGA-II and NSGA-III through Optuna's ask and tell.

Owns the way from our spaces to Optuna's distributions and back.  Knows no generation's size but as a setting
of the samplers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.trial import Trial, TrialState

from aiopt.strategy.dimensions import Choice, Dimension, FloatRange, IntRange, Value, is_active
from aiopt.strategy.space import Point, SearchSpace

# Optuna reports every study it creates; what a search does is said by the sweep.
optuna.logging.set_verbosity(optuna.logging.ERROR)


class OptunaProposer:
    """A `aiopt.search.proposer.Proposer` round an Optuna study in memory.

    Parameters
    ----------
    space : SearchSpace
        What may be proposed; constraints are the caller's matter.
    sampler : {"tpe", "cmaes", "nsga2", "nsga3"}
        Of Optuna.
    population : int
        Points of a generation.
    objectives : int
        Number of values told per point.
    seed : int
        Of all draws.
    """

    def __init__(
        self, space: SearchSpace, sampler: str, *, population: int, objectives: int, seed: int
    ) -> None:
        self._space = space
        self._sampler = sampler
        self._population = population
        self._seed = seed
        self._distributions = {name: distribution_of(one) for name, one in space.dimensions.items()}
        self._study = optuna.create_study(
            directions=["maximize"] * objectives, sampler=self._make(source_trials=None)
        )
        self._told = False

    def take(self, point: Point) -> int:
        """Take a point chosen elsewhere as a proposal of its own."""
        active = self._space.active(point)
        self._study.enqueue_trial({name: point[name] for name in active})
        return self._ask()[0]

    def propose(self) -> tuple[int, Point]:
        """Return the next proposal."""
        if self._sampler == "cmaes" and not self._told:
            # CMA-ES begins round what the first generation found best, not in the middle of the space.
            done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if done:
                # The best tenth counts, of which there must be one.
                self._study.sampler = self._make(source_trials=done * -(-10 // len(done)))
                self._told = True
        return self._ask()

    def refuse(self, number: int) -> None:
        """Learn nothing from a proposal."""
        self._study.tell(number, state=TrialState.FAIL)

    def tell(self, number: int, values: Sequence[float]) -> None:
        """Learn what a proposal gave."""
        self._study.tell(number, list(values))

    def _ask(self) -> tuple[int, Point]:
        trial = self._study.ask()
        if self._sampler in ("nsga2", "nsga3"):
            # Puts the trial into a generation.  Where every parameter is given Optuna leaves this out, and
            # the point would be no parent.
            _ = trial.relative_params
        found: Point = {}
        for name in self._space.ordered:
            if is_active(self._space.dimensions, name, found):
                drawn = _suggest(trial, name, self._distributions[name])
                found[name] = _on_grid(self._space.dimensions[name], drawn)
            else:
                found[name] = self._space.spec.part(name)
        return trial.number, self._space.typed(found)

    def _make(self, source_trials: list[Any] | None) -> BaseSampler:
        with warnings.catch_warnings():
            # "Experimental" says that Optuna may rename a setting; its version is locked.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._sampler == "tpe":
                return TPESampler(n_startup_trials=self._population, seed=self._seed, multivariate=True)
            if self._sampler == "nsga2":
                return NSGAIISampler(population_size=self._population, seed=self._seed)
            if self._sampler == "nsga3":
                return NSGAIIISampler(population_size=self._population, seed=self._seed)
            # With margin: on a grid the plain one shrinks until every draw is the same point.
            gridded = any(
                not one.log and (isinstance(one, IntRange) or one.count is not None)
                for one in self._space.dimensions.values()
                if not isinstance(one, Choice)
            )
            return CmaEsSampler(
                n_startup_trials=self._population if source_trials is None else 1,
                popsize=self._population,
                with_margin=gridded,
                source_trials=source_trials,
                warn_independent_sampling=False,
                seed=self._seed,
            )


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna knows it."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(list(dimension.values))
    last = dimension.high if dimension.count is None else dimension.at(dimension.count - 1)
    if isinstance(dimension, IntRange):
        return IntDistribution(dimension.low, int(last), log=bool(dimension.log), step=dimension.step)
    return FloatDistribution(dimension.low, float(last), log=bool(dimension.log), step=dimension.step)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(
        name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
    )


def _on_grid(dimension: Dimension, value: Any) -> Value:
    """Return a drawn value as our own samplers write it: the same point is the same bytes."""
    if isinstance(dimension, FloatRange):
        if dimension.count is None:
            return dimension.rounded(float(value))
        return dimension.at(round((value - dimension.low) / (dimension.step or 1.0)))
    return value
