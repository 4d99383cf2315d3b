"""The points of a sweep, in the order tried, and what all its trials share.

Owns that order and which bars the walk-forward is laid over.  What is done with a point is
`aiopt.sweep.trial`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from aiopt.backtest.conversion import pip_in_account
from aiopt.bars.schema import BarSet
from aiopt.config import content_hash
from aiopt.errors import SearchSpaceError
from aiopt.evaluation.folds import plan_walk_forward
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.search.proposer import check_space
from aiopt.series import series_name
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.reading_gate import ReadingsOnBars, gate_on_bars
from aiopt.strategy.space import Point, SearchSpace
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import gate_of
from aiopt.sweep.markets import MarketTerms, check_one_currency, common_times, finest_of_each
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialContext, TrialPoint


class Strategy(msgspec.Struct, frozen=True):
    """One strategy to try: a search space, or a single point where there is none.

    Attributes
    ----------
    spec : StrategySpec
        The strategy.
    space : SearchSpace or None
        What to try.
    timeframes : tuple of str
        Bar lengths it is tried on; empty for all of the sweep.
    trials : int or None
        Points per timeframe; None for `SweepConfig.trials`.
    instruments : tuple of str
        Markets it is tried on; empty for all of the sweep.
    """

    spec: StrategySpec
    space: SearchSpace | None = None
    timeframes: tuple[str, ...] = ()
    trials: int | None = None
    instruments: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The family of the strategy."""
        return self.spec.family

    def under_its_name(self) -> Strategy:
        """Return the strategy with its own name as its family."""
        if self.spec.family == self.spec.name:
            return self
        spec = msgspec.structs.replace(self.spec, family=self.spec.name)
        space = None if self.space is None else msgspec.structs.replace(self.space, spec=spec)
        return msgspec.structs.replace(self, spec=spec, space=space)

    def check(self, config: SweepConfig) -> None:
        """Refuse a space without a valid point, or one that the sampler cannot treat.

        Raises
        ------
        SearchSpaceError
            Naming the dimensions or constraints and the remedy.
        """
        if self.space is None:
            return
        if config.learns:
            check_space(self.space, config.sampler)
        else:
            self.points(msgspec.structs.replace(config, trials=1))

    def trials_of(self, config: SweepConfig) -> int:
        """Return how many points may be tried per series at most."""
        return 1 if self.space is None else (self.trials or config.trials) * config.searches

    def points(self, config: SweepConfig) -> list[Point]:
        """Return the parameter sets to try, the same on every machine; of a sampler that does not learn."""
        if self.space is None:
            return [{}]
        return self.space.sample(self.trials or config.trials, config.seed, config.sampler)  # type: ignore[arg-type]


def told_apart(strategies: Sequence[Strategy]) -> list[Strategy]:
    """Return strategies whose families differ: a copy under a new name is a family of its own.

    A spec that was copied from a ready family, or from another strategy given, still names its family.  Such
    a copy is ranked under its own name.

    Raises
    ------
    SearchSpaceError
        If two strategies have the same name as their family.
    """
    families = [strategy.family for strategy in strategies]
    found = [
        strategy.under_its_name()
        if strategy.family in FAMILIES or families.count(strategy.family) > 1
        else strategy
        for strategy in strategies
    ]
    families = [strategy.family for strategy in found]
    twice = sorted({name for name in families if families.count(name) > 1})
    if twice:
        msg = f"Strategies must have different families, but {', '.join(twice)} occurs twice. "
        raise SearchSpaceError(msg + "Give one of them another `name`.")
    return found


def plan_points(
    strategies: Sequence[Strategy], config: SweepConfig, instruments: Sequence[str] = ()
) -> list[TrialPoint]:
    """Return every point of a sweep, in the order in which they are tried.

    The points depend on strategies and settings alone.  Groups take turns, so that an interrupted sweep has
    tried a part of each.

    Parameters
    ----------
    strategies : sequence of Strategy
        What is tried.
    config : SweepConfig
        How much of it, and on which timeframes.
    instruments : sequence of str
        The markets of a sweep of several, from `symbols_of`: each gets the same points.
    """
    sampled = [(strategy, strategy.points(config)) for strategy in strategies]
    # A strategy with its parameters is checked whole, which takes longest: once, not per series.
    specs = [[strategy.spec.with_params(point) for point in points] for strategy, points in sampled]
    return [
        TrialPoint(
            trial_id=f"{strategy.family}@{series_name(instrument, timeframe)}-{number:05d}",
            family=strategy.family,
            timeframe=timeframe,
            params=points[number],
            spec=specs[place][number],
            instrument=instrument,
        )
        for timeframe in config.timeframes
        for number in range(max(len(points) for _, points in sampled))
        for place, (strategy, points) in enumerate(sampled)
        if number < len(points) and timeframe in (strategy.timeframes or config.timeframes)
        for instrument in instruments or (msgspec.UNSET,)
        if not strategy.instruments or instrument in strategy.instruments
    ]


def lanes_of(points: Sequence[TrialPoint], lanes: int) -> int:
    """Return how many candidates the points give at most: up to `lanes` per family and series."""
    sizes = Counter((point.family, point.series) for point in points)
    return sum(min(lanes, size) for size in sizes.values())


def check_readings(strategies: Iterable[Strategy], bars: Mapping[str, BarSet]) -> None:
    """Raise what is wrong with the readings of bars before any trial runs, if a strategy asks for some.

    Raises
    ------
    SpecError
        If the bars have none.
    DataError
        If they do not cover the bars, or lack a figure that is asked for.
    """
    for one in strategies:
        for bar_set in bars.values() if gate_of(one.spec) is not None else ():
            log = bar_set.readings
            gate_on_bars(one.spec, None if log is None else ReadingsOnBars(log, bar_set.bid))


def plan_context(
    bars: Mapping[str, BarSet],
    config: SweepConfig,
    data_hash: str | None = None,
    markets: Mapping[str, MarketTerms] | None = None,
) -> TrialContext:
    """Lay the walk-forward over the finest bars and return what all trials of a sweep share.

    Parameters
    ----------
    bars : mapping of str to BarSet
        Per series; those of one instrument all made from the same data.
    config : SweepConfig
        Segments, length of a period, assumptions, seed.
    data_hash : str, optional
        Of the ticks or bars these bars were made from; by default the finest bars' own.
    markets : mapping of str to MarketTerms, optional
        Of a sweep of several markets: what differs, by instrument; by default nothing but the data.

    Raises
    ------
    ConfigError
        If the bars span too few periods for the segments, or the markets' profits are in several currencies.
    DataError
        If the markets have no time in common.
    """
    finest = finest_of_each(bars.values())
    check_one_currency((one.instrument for one in finest.values()), config.backtest.account_currency)
    times = common_times({symbol: one.bid.ts_open_ns for symbol, one in finest.items()})
    plan = plan_walk_forward(config.walk_forward, times, period_ns=config.ranking.period_ns)
    hashes = {symbol: one.data_hash for symbol, one in finest.items()}
    if len(hashes) == 1:
        (own,) = hashes.values()
        terms: Mapping[str, MarketTerms] = {}
    else:
        own = content_hash(hashes)
        terms = markets or {name: MarketTerms(config.backtest, one) for name, one in hashes.items()}
    read = {one.readings.log_hash for one in bars.values() if one.readings is not None}
    return TrialContext(
        backtest=config.backtest,
        readings_hash="".join(sorted(read)),
        plan=plan,
        seed=config.seed,
        data_hash=data_hash or own,
        markets=terms,
        screen=config.screen,
        limits=config.limits,
    )


def judged_by(bars: Mapping[str, BarSet], config: SweepConfig) -> RankingConfig:
    """Return how the trials are judged, the cost stress in the money of the account.

    Profits are in the account's currency, and so is a pip of the cost stress: of each market its own.

    Parameters
    ----------
    bars : mapping of str to BarSet
        Per series.
    config : SweepConfig
        Its `ranking` may name no pip, or the one of the instrument.

    Raises
    ------
    ConfigError
        If it names the pip of another instrument.
    """
    finest = finest_of_each(bars.values())
    sizes = {symbol: one.instrument.pip_size for symbol, one in finest.items()}
    pips = {symbol: pip_in_account(one, config.backtest.account_currency) for symbol, one in finest.items()}
    if len(finest) > 1:
        judged = config.ranking.with_pips(sizes)
        changed = msgspec.structs.replace(judged.stress, pip_sizes=pips)
    else:
        (size,), (pip,) = sizes.values(), pips.values()
        judged = config.ranking.with_pip(size)
        changed = msgspec.structs.replace(judged.stress, pip_size=pip)
    return msgspec.structs.replace(judged, stress=changed)
