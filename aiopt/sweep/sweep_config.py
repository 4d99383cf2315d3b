"""The settings of a sweep: what is tried, under which assumptions, and how it is judged.

Owns these keys and their rules.  Knows no data, no run folder and no Ray; `aiopt.optimize.configuration` adds
what a whole run needs.
"""

from __future__ import annotations

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.errors import ConfigError, SearchSpaceError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.strategy.space import METHODS
from aiopt.timeframe import parse_timeframe


class SweepConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to try and how to judge it.

    Attributes
    ----------
    timeframes : tuple of str
        Bar lengths to try every strategy on.
    trials : int
        Points per strategy and timeframe.
    sampler : str
        ``sobol``, ``random`` or ``grid``.
    seed : int
        Seed of the sampled points.
    screen : bool
        Run the trials in compiled code (`aiopt.screen`); the engine confirms all that a fold chooses and some
        others.  False: in the engine alone, hundreds of times slower.  The rows are the same.
    backtest : BacktestConfig
        Costs, balance, leverage of the research backtests.
    walk_forward : WalkForwardConfig
        How the span is cut.
    ranking : RankingConfig
        Score, minimum number of trades, duplicates, number of entries to emit.
    """

    timeframes: tuple[str, ...] = ("1m", "5m")
    trials: int = 40
    sampler: str = "sobol"
    seed: int = 1
    screen: bool = True
    backtest: BacktestConfig = BacktestConfig(mode="research")
    walk_forward: WalkForwardConfig = WalkForwardConfig()
    ranking: RankingConfig = RankingConfig()

    def __post_init__(self) -> None:
        if self.trials < 1:
            msg = f"`trials >= 1` must hold, but got trials={self.trials}. A sweep needs at least one trial."
            raise SearchSpaceError(msg)
        labels = tuple(parse_timeframe(text).label for text in self.timeframes)
        check_named("timeframes", labels)
        if self.sampler not in METHODS:
            raise ConfigError(f"There is no sampler {self.sampler!r}. Use {', '.join(METHODS)}.")
        if self.seed < 0:
            raise ConfigError(f"`seed >= 0` must hold, but got seed={self.seed}.")
        if self.backtest.mode != "research":
            msg = (
                f"`backtest.mode` is {self.backtest.mode!r}, but only research backtests are "
                "ranked. Leave it out."
            )
            raise ConfigError(msg)
        msgspec.structs.force_setattr(self, "timeframes", labels)


def check_named(name: str, values: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless a setting names at least one thing, and none twice."""
    if not values:
        raise ConfigError(f"`{name}` is empty. Name at least one, or leave it out.")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ConfigError(f"`{name}` has {', '.join(twice)} twice. Remove one.")
