"""The scenarios: every entry's walk-forward path, run again under each, all draws through the screen.

Owns what each scenario changes and how often it is drawn.  A draw depends on the seed, the scenario, the
series and its number alone, so the same settings give the same figures in any order, on any engine.  Knows no
file.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.robustness.altered_bars import draw_blocks, draw_gaps, draw_widening, rebuilt, thinned, widened
from aiopt.robustness.distribution import cumulated, fan, fan_places, quantiles
from aiopt.robustness.moves import Moves
from aiopt.robustness.robustness_config import COMMISSION_FACTORS, SCENARIOS, RobustnessConfig
from aiopt.robustness.robustness_file import Scenario
from aiopt.robustness.walks import Path, Step, WalkScreen

BARS_DRAWN = 10_000_000
"""Bars that the draws of one scenario of one series may come to, together."""

FEWEST_DRAWS = 20
"""Runs of a scenario however long the series is, unless fewer are asked for."""

DRAWN = ("spread", "slippage", "missing_bars", "jitter", "bootstrap")
"""Scenarios of many draws; the others are one run, or one per market."""

Advance = Callable[[int], None]
"""Told of each number of runs that are done."""


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
class Series:
    """What the entries of one series are run on.

    Attributes
    ----------
    name : str
        Key of the bars.
    bars : BarSet
        Before the holdout.
    config : BacktestConfig
        Of the market.
    others : mapping of str to (BarSet, BacktestConfig)
        The same timeframe of the other markets of the run.
    """

    name: str
    bars: BarSet
    config: BacktestConfig
    others: Mapping[str, tuple[BarSet, BacktestConfig]] = field(default_factory=dict)


def draws_for(config: RobustnessConfig, n_bars: int) -> int:
    """Return how often a scenario is drawn on a series: fewer times where it is long."""
    return max(min(config.draws, FEWEST_DRAWS), min(config.draws, BARS_DRAWN // max(n_bars, 1)))


def runs_of(series: Series, entries: int, config: RobustnessConfig) -> int:
    """Return how many paths `Stress.run` runs."""
    alone = len(COMMISSION_FACTORS) + 1 + len(series.others)
    return entries * (alone + len(DRAWN) * draws_for(config, len(series.bars)))


class Stress:
    """Runs the scenarios of the entries of one series.

    Parameters
    ----------
    series : Series
        Bars and assumptions.
    entries : sequence of Walked
        Ranked on it.
    plan : WalkForwardPlan
        Of the run.
    config : RobustnessConfig
        What is drawn.
    advance : callable
        Told of progress.
    screen : WalkScreen
        Of the series, without stress.
    """

    # reason: what is run, on what, by which rules, and who is told
    def __init__(
        self,
        series: Series,
        entries: Sequence[Walked],
        plan: WalkForwardPlan,
        config: RobustnessConfig,
        advance: Advance,
        screen: WalkScreen,
    ) -> None:
        self._series = series
        self._entries = list(entries)
        self._plan = plan
        self._config = config
        self._advance = advance
        self._screen = screen
        self._draws = draws_for(config, len(series.bars))

    def run(self) -> list[list[Scenario]]:
        """Return the scenarios of each entry, in the order of `SCENARIOS`."""
        found: list[list[Scenario]] = [[] for _ in self._entries]
        for name in SCENARIOS:
            paths = self._paths(name)
            for own, scenarios in zip(paths, found, strict=True):
                scenarios.append(self._scenario(name, own))
        return found

    def _scenario(self, name: str, paths: Sequence[Path]) -> Scenario:
        if not paths:
            lacking = "no parameter was searched" if name == "jitter" else "the run has no other market"
            return Scenario(name=name, text=f"does not apply: {lacking}", draws=0)
        profits = [path.net_pnl for path in paths]
        places = fan_places(paths[0].pnl.size)
        curves = [cumulated(path.pnl, places) for path in paths] if name in DRAWN else []
        return Scenario(
            name=name,
            text=self._text(name),
            draws=len(paths),
            net_pnl=quantiles(profits),
            sharpe=quantiles([path.sharpe(self._plan.periods_per_year) for path in paths]),
            max_drawdown_amount=quantiles([path.drawdown for path in paths]),
            share_profitable=sum(profit > 0 for profit in profits) / len(profits),
            fan=fan(curves) if curves else [],
        )

    def _text(self, name: str) -> str:
        """Return what a scenario does, in words."""
        config, series = self._config, self._series
        texts = {
            "spread": f"spread wider by {config.spread_pips:g} pips on average, drawn hour by hour",
            "slippage": f"market and stop fills worse by {config.slippage_ticks:g} ticks on average",
            "delay": f"entries {config.delay_bars} bar{'s' if config.delay_bars > 1 else ''} late",
            "missing_bars": (
                f"{100 * config.missing_share:.3g} % of the bars missing, "
                f"in gaps of {config.missing_gap_bars:g} bars"
            ),
            "jitter": f"every parameter moved by up to {100 * config.jitter:.3g} % of the range tried",
            "bootstrap": f"bars rebuilt from blocks of {config.block_hours:g} hours of the test segments",
            "markets": f"the same rules on {', '.join(series.others)}",
        }
        return texts.get(name) or f"commission times {name.removeprefix('commission_')}"

    # --- paths ------------------------------------------------------------------------------------------

    def _paths(self, name: str) -> list[list[Path]]:
        """Return the paths of each entry under a scenario."""
        if name == "jitter":
            return self._jittered()
        if name == "slippage":
            return self._slipped()
        found: list[list[Path]] = [[] for _ in self._entries]
        for bars, assumed in self._variants(name):
            self._walk(bars, assumed, found)
        return found

    def _walk(self, bars: BarSet, assumed: BacktestConfig, found: list[list[Path]], times: int = 1) -> None:
        """Add the path of each entry, on some bars and under some assumptions."""
        screen = WalkScreen(bars, assumed, self._plan, self._screen)
        for walked, paths in zip(self._entries, found, strict=True):
            paths.append(screen.path(walked.steps))
        self._advance(len(self._entries) * times)

    def _jittered(self) -> list[list[Path]]:
        found: list[list[Path]] = [[] for _ in self._entries]
        for draw in range(self._draws):
            for walked, paths in zip(self._entries, found, strict=True):
                if walked.moves is not None:
                    random = self._random("jitter", walked.name, draw)
                    paths.append(
                        self._screen.path([walked.moves.jittered(step, random) for step in walked.steps])
                    )
            self._advance(len(self._entries))
        return found

    def _slipped(self) -> list[list[Path]]:
        """Return the paths with more slippage; equal draws are run once."""
        series, mean = self._series, self._config.slippage_ticks
        # Geometric from 0 on.
        drawn = [
            int(self._random("slippage", series.name, draw).geometric(1 / (1 + mean))) - 1
            for draw in range(self._draws)
        ]
        done: dict[int, list[list[Path]]] = {}
        for ticks in sorted(set(drawn)):
            more = min(1000, series.config.slippage_ticks + ticks)
            slipped = msgspec.structs.replace(series.config, slippage_ticks=more)
            done[ticks] = [[] for _ in self._entries]
            self._walk(series.bars, slipped, done[ticks], drawn.count(ticks))
        return [[done[ticks][place][0] for ticks in drawn] for place in range(len(self._entries))]

    def _variants(self, name: str) -> Iterator[tuple[BarSet, BacktestConfig]]:
        """Yield the bars and assumptions of each run of a scenario."""
        bars, assumed, config = self._series.bars, self._series.config, self._config
        if name.startswith("commission_"):
            per_million = round(assumed.commission_per_million * int(name.removeprefix("commission_")), 4)
            yield bars, msgspec.structs.replace(assumed, commission_per_million=min(per_million, 1e5))
        elif name == "delay":
            late = assumed.entry_delay_bars + config.delay_bars
            # How signals are computed changes no trade, and streamed ones cannot come late.
            yield bars, msgspec.structs.replace(assumed, entry_delay_bars=late, signals="arrays")
        elif name == "markets":
            yield from self._series.others.values()
        else:
            sources = self._out_of_sample()
            for draw in range(self._draws):
                random = self._random(name, self._series.name, draw)
                if name == "spread":
                    yield widened(bars, draw_widening(bars, config.spread_pips, random)), assumed
                elif name == "missing_bars":
                    kept = draw_gaps(len(bars), config.missing_share, config.missing_gap_bars, random)
                    yield thinned(bars, kept), assumed
                else:
                    blocks = draw_blocks(bars, sources, config.block_hours, random)
                    yield rebuilt(bars, blocks), assumed

    def _out_of_sample(self) -> NDArray[np.bool_]:
        """Return the bars of all test segments."""
        opens, edges = self._series.bars.bid.ts_open_ns, self._plan.boundaries_ns
        inside = np.zeros(opens.size, dtype=bool)
        for segment in self._plan.test:
            inside |= (opens >= edges[segment]) & (opens < edges[segment + 1])
        return inside

    def _random(self, scenario: str, what: str, draw: int) -> np.random.Generator:
        words = (zlib.crc32(scenario.encode()), zlib.crc32(what.encode()))
        return np.random.default_rng([self._config.seed, *words, draw])
