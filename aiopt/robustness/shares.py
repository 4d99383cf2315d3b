"""The work of stress in shares that run anywhere, each on the bars of one series, with the same result.

Owns what one share runs, what it gives back, and the sample that NautilusTrader confirms.  A share's result
depends on what is in it alone, never on where it runs or beside which others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.robustness.altered_bars import draw_blocks, draw_gaps, draw_widening, rebuilt, thinned, widened
from aiopt.robustness.distribution import cumulated, fan_places
from aiopt.robustness.moves import Moves
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.robustness.walks import (
    Path,
    Step,
    WalkEngine,
    Walks,
    WalkScreen,
    development_bars,
    differing_periods,
)
from aiopt.screen.failures import BeyondScreenError, ScreenMismatchError

FloatArray = NDArray[np.float64]
Result = TypeVar("Result", covariant=True)


class Share(Protocol[Result]):
    """Work on the bars of one series."""

    @property
    def series(self) -> str:
        """Key of the bars it is given."""
        ...

    @property
    def paths(self) -> int:
        """About how many paths it runs, for progress."""
        ...

    def run(self, bars: BarSet) -> Result:
        """Do it; the bars may hold the holdout, which is cut off."""
        ...


@dataclass(frozen=True, eq=False)
class Walked:
    """An entry whose path is stressed.

    Attributes
    ----------
    name : str
        Of the entry.
    steps : list of Step
        Its folds.
    moves : Moves or None
        How its parameters may be moved; None without searched parameters.
    """

    name: str
    steps: list[Step]
    moves: Moves | None


@dataclass(frozen=True, eq=False)
class Terms:
    """What the stress of some entries of one series stands on, without the bars.

    Attributes
    ----------
    name : str
        Key of the series.
    config : BacktestConfig
        Of the market.
    entries : list of Walked
        Ranked on it.
    plan : WalkForwardPlan
        Of the run.
    settings : RobustnessConfig
        What is drawn.
    others : mapping of str to (str, BacktestConfig)
        The other markets of the run: key of their bars of the same timeframe, and assumptions.
    engine : bool
        The screen cannot run these entries: everything runs in NautilusTrader.
    """

    name: str
    config: BacktestConfig
    entries: list[Walked]
    plan: WalkForwardPlan
    settings: RobustnessConfig
    others: Mapping[str, tuple[str, BacktestConfig]] = field(default_factory=dict)
    engine: bool = False

    def random(self, scenario: str, what: str, draw: int) -> np.random.Generator:
        """Return the draws of one run: they depend on the seed, the scenario, its subject and its number."""
        words = (zlib.crc32(scenario.encode()), zlib.crc32(what.encode()))
        return np.random.default_rng([self.settings.seed, *words, draw])


@dataclass(frozen=True, eq=False)
class PathFigures:
    """What is kept of one stressed path.

    Attributes
    ----------
    net_pnl, sharpe, drawdown : float
        Of the path; the ratio is annualised, NaN where the profit does not vary.
    curve : ndarray
        Profit so far at `fan_places`.
    """

    net_pnl: float
    sharpe: float
    drawdown: float
    curve: FloatArray


@dataclass(frozen=True, eq=False)
class StressOutcome:
    """What a `StressShare` gives.

    Attributes
    ----------
    found : list of list of PathFigures or None
        Per run, per entry; None where the scenario does not apply to the entry.
    confirmed : int
        Backtests that NautilusTrader ran again, all equal.
    in_engine : int
        Paths that only NautilusTrader could run.
    """

    found: list[list[PathFigures | None]]
    confirmed: int
    in_engine: int


@dataclass(frozen=True, eq=False)
class StressShare:
    """Some runs of one scenario over the entries of a series.

    Attributes
    ----------
    terms : Terms
        Of the series.
    scenario : str
        One of `aiopt.robustness.robustness_config.SCENARIOS`.
    series : str
        Key of the bars it runs on: those of another market where that is the scenario.
    runs : tuple of int
        Numbers of the draws; of slippage the extra ticks.
    confirm : tuple of (int, int, int) or None
        Run, entry and fold whose backtest is run again in NautilusTrader.
    """

    terms: Terms
    scenario: str
    series: str
    runs: tuple[int, ...]
    confirm: tuple[int, int, int] | None = None

    @property
    def paths(self) -> int:
        """Paths it runs."""
        return len(self.runs) * len(self.terms.entries)

    def run(self, bars: BarSet) -> StressOutcome:
        """Run the paths, and the sample in NautilusTrader.

        Raises
        ------
        ScreenMismatchError
            If NautilusTrader differs from the screen.
        """
        bars = development_bars(bars, self.terms.plan)
        like = None if self.terms.engine else _screen_of(bars, self.terms)
        found: list[list[PathFigures | None]] = []
        confirmed = in_engine = 0
        for number, altered, assumed in self._variants(bars):
            walks = [self._steps(number, walked) for walked in self.terms.entries]
            paths, screen = _run(altered, assumed, self.terms, walks, like)
            found.append([None if path is None else self._figures(path) for path in paths])
            in_engine += 0 if screen else sum(path is not None for path in paths)
            if screen and self.confirm is not None and self.confirm[0] == number:
                self._confirm(altered, assumed, walks, screen)
                confirmed += 1
        return StressOutcome(found, confirmed, in_engine)

    def _steps(self, number: int, walked: Walked) -> list[Step] | None:
        """Return the folds that a run tries of an entry; None where the scenario does not apply."""
        if self.scenario != "jitter":
            return walked.steps
        if walked.moves is None:
            return None
        random = self.terms.random("jitter", walked.name, number)
        return [walked.moves.jittered(step, random) for step in walked.steps]

    def _variants(self, bars: BarSet) -> Iterator[tuple[int, BarSet, BacktestConfig]]:
        """Yield the number, bars and assumptions of each run."""
        terms, settings, assumed = self.terms, self.terms.settings, self.terms.config
        sources = _out_of_sample(bars, terms.plan) if self.scenario == "bootstrap" else None
        for number in self.runs:
            random = terms.random(self.scenario, terms.name, number)
            if self.scenario == "spread":
                yield number, widened(bars, draw_widening(bars, settings.spread_pips, random)), assumed
            elif self.scenario == "missing_bars":
                kept = draw_gaps(len(bars), settings.missing_share, settings.missing_gap_bars, random)
                yield number, thinned(bars, kept), assumed
            elif sources is not None:
                blocks = draw_blocks(bars, sources, settings.block_hours, random)
                yield number, rebuilt(bars, blocks), assumed
            else:
                yield number, bars, self._assumed(number)

    def _assumed(self, number: int) -> BacktestConfig:
        """Return the assumptions of a run on bars as they are."""
        assumed, name = self.terms.config, self.scenario
        if name == "slippage":
            return msgspec.structs.replace(assumed, slippage_ticks=min(1000, assumed.slippage_ticks + number))
        if name == "delay":
            late = assumed.entry_delay_bars + self.terms.settings.delay_bars
            # How signals are computed changes no trade, and streamed ones cannot come late.
            return msgspec.structs.replace(assumed, entry_delay_bars=late, signals="arrays")
        if name == "markets":
            return next(config for key, config in self.terms.others.values() if key == self.series)
        if name.startswith("commission_"):
            per_million = round(assumed.commission_per_million * int(name.removeprefix("commission_")), 4)
            return msgspec.structs.replace(assumed, commission_per_million=min(per_million, 1e5))
        return assumed

    def _figures(self, path: Path) -> PathFigures:
        return PathFigures(
            net_pnl=path.net_pnl,
            sharpe=path.sharpe(self.terms.plan.periods_per_year),
            drawdown=path.drawdown,
            curve=cumulated(path.pnl, fan_places(path.pnl.size)),
        )

    def _confirm(
        self,
        bars: BarSet,
        assumed: BacktestConfig,
        walks: Sequence[list[Step] | None],
        screen: WalkScreen,
    ) -> None:
        assert self.confirm is not None
        number, place, fold = self.confirm
        steps = walks[place]
        assert steps is not None  # an entry without the scenario is never drawn
        spec = steps[fold].spec
        with closing(WalkEngine(bars, assumed, self.terms.plan)) as engine:
            theirs = engine.trial(spec)
        ours = screen.trial(spec)
        if differing := differing_periods(ours, theirs):
            msg = (
                f"The screen and the engine disagree under stress, so robustness is not judged: entry "
                f"{self.terms.entries[place].name!r}, scenario {self.scenario}, run {number}, fold "
                f"{fold + 1}. {differing} of {ours.pnl.size} periods differ; the screen finds "
                f"{ours.entries_ns.size} trades and {ours.net_pnl:.2f}, the engine "
                f"{theirs.entries_ns.size} and {theirs.net_pnl:.2f}. The screen must not be trusted: repeat "
                f"the run with `screen: off` and `robustness: {{enabled: false}}`, and report the strategy: "
                f"{spec.to_json()}"
            )
            raise ScreenMismatchError(msg)


def _screen_of(bars: BarSet, terms: Terms) -> WalkScreen | None:
    """Return the screen of bars as they are, whose indicators others share; None where there is none."""
    try:
        return WalkScreen(bars, terms.config, terms.plan)
    except BeyondScreenError:
        return None  # only as it is beyond the screen; each run finds that out again


def _run(
    bars: BarSet,
    assumed: BacktestConfig,
    terms: Terms,
    walks: Sequence[list[Step] | None],
    like: WalkScreen | None,
) -> tuple[list[Path | None], WalkScreen | None]:
    """Return the paths of some walks, and the screen that ran them; None where the engine had to."""

    def over(runner: Walks) -> list[Path | None]:
        return [None if steps is None else runner.path(steps) for steps in walks]

    if not terms.engine:
        try:
            screen = WalkScreen(bars, assumed, terms.plan, like)
            return over(screen), screen
        except BeyondScreenError:
            pass  # what is altered lies beyond the screen: the engine treats it exactly
    with closing(WalkEngine(bars, assumed, terms.plan)) as engine:
        return over(engine), None


def _out_of_sample(bars: BarSet, plan: WalkForwardPlan) -> NDArray[np.bool_]:
    """Return the bars of all test segments."""
    opens, edges = bars.bid.ts_open_ns, plan.boundaries_ns
    inside = np.zeros(opens.size, dtype=bool)
    for segment in plan.test:
        inside |= (opens >= edges[segment]) & (opens < edges[segment + 1])
    return inside
