"""The settings of a sweep: what is tried, under which assumptions, and how it is judged.

Owns these keys and their rules.  Knows no data, no run folder and no Ray; `aiopt.optimize.configuration` adds
what a whole run needs.
"""

from __future__ import annotations

import math

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.errors import ConfigError, SearchSpaceError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.files import GIB
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.search.settings import LEARNING, SearchConfig, check_sampler
from aiopt.timeframe import parse_timeframe


class TrialLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a single trial may take on a cluster; one that takes more fails alone, with the reason in its row.

    They decide nothing but that, so they are not part of a run's identity.

    Attributes
    ----------
    seconds : float
        Time of one trial.
    memory_gib : float or None
        Memory of its worker; None: the worker's share of its machine.
    """

    seconds: float = 600.0
    memory_gib: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 86_400:
            raise ConfigError(f"`0 < limits.seconds <= 86400` must hold, but got {self.seconds}.")
        if self.memory_gib is not None and not 0 < self.memory_gib < math.inf:
            raise ConfigError(f"`limits.memory_gib > 0` must hold, but got {self.memory_gib}.")

    def excess(self, seconds: float, memory_bytes: int) -> str:
        """Return why a trial must end, as a sentence; empty where it need not."""
        if seconds > self.seconds:
            return f"it ran longer than {self.seconds:g} s (`limits.seconds`)"
        if self.memory_gib is not None and memory_bytes > self.memory_gib * GIB:
            return f"its worker needed more than {self.memory_gib:.2f} GiB of memory (`limits.memory_gib`)"
        return ""


class SweepConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to try and how to judge it.

    Attributes
    ----------
    timeframes : tuple of str
        Bar lengths to try every strategy on.
    trials : int
        Points per strategy and timeframe; of a sampler that learns, points of each of its searches: one per
        fold, and one for the refit.
    sampler : str
        ``sobol``, ``random`` or ``grid``, or one that learns: ``tpe``, ``cmaes``, ``nsga2``, ``nsga3`` or
        ``evolution``.
    search : SearchConfig
        Generations, objectives and budget of a sampler that learns.
    seed : int
        Seed of the sampled points.
    screen : bool
        Run the trials in compiled code (`aiopt.screen`); the engine confirms all that a fold chooses and some
        others.  False: in the engine alone, hundreds of times slower.  The rows are the same.
    backtest : BacktestConfig
        Costs, balance, leverage of the research backtests.
    walk_forward : WalkForwardConfig
        How the span is cut.
    limits : TrialLimits
        Time and memory of a single trial.
    ranking : RankingConfig
        Score, minimum number of trades, duplicates, number of entries to emit.
    """

    timeframes: tuple[str, ...] = ("1m", "5m")
    trials: int = 40
    sampler: str = "sobol"
    search: SearchConfig = SearchConfig()
    seed: int = 1
    screen: bool = True
    backtest: BacktestConfig = BacktestConfig(mode="research")
    walk_forward: WalkForwardConfig = WalkForwardConfig()
    ranking: RankingConfig = RankingConfig()
    limits: TrialLimits = TrialLimits()

    def __post_init__(self) -> None:
        if self.trials < 1:
            msg = f"`trials >= 1` must hold, but got trials={self.trials}. A sweep needs at least one trial."
            raise SearchSpaceError(msg)
        labels = tuple(parse_timeframe(text).label for text in self.timeframes)
        check_named("timeframes", labels)
        check_sampler(self.sampler, self.search)
        if self.seed < 0:
            raise ConfigError(f"`seed >= 0` must hold, but got seed={self.seed}.")
        if self.backtest.mode != "research":
            msg = (
                f"`backtest.mode` is {self.backtest.mode!r}, but only research backtests are "
                "ranked. Leave it out."
            )
            raise ConfigError(msg)
        msgspec.structs.force_setattr(self, "timeframes", labels)

    @property
    def learns(self) -> bool:
        """Whether the sampler learns."""
        return self.sampler in LEARNING

    @property
    def searches(self) -> int:
        """How many times every search space is searched: once per fold and for the refit if it learns."""
        return self.walk_forward.folds + 1 if self.learns else 1


def check_named(name: str, values: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless a setting names at least one thing, and none twice."""
    if not values:
        raise ConfigError(f"`{name}` is empty. Name at least one, or leave it out.")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ConfigError(f"`{name}` has {', '.join(twice)} twice. Remove one.")
