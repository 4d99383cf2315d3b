"""Plateau or spike: points screened round the emitted parameters, and which parameters matter.

Owns which points are screened and what they say.  The points judge one choice that is made already; none of
them is ever chosen.  Knows no holdout and no gate.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking.ranking_file import Entry
from aiopt.robustness.distribution import known, quantiles
from aiopt.robustness.moves import Moves
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.robustness.robustness_file import Map, Neighbourhood, Neighbours, ParameterMove
from aiopt.robustness.walks import WalkScreen, development_bars
from aiopt.screen.failures import BeyondScreenError
from aiopt.strategy.dimensions import Number
from aiopt.strategy.spec import StrategySpec, spec_from_mapping

FloatArray = NDArray[np.float64]

VALUES_TRIED = 12
"""Values over the range tried that stand in for a parameter, to see whether it matters."""

MAP_CELLS = 7
"""Values of each of the two parameters of the map, besides the emitted ones."""

_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class NeighbourOutcome:
    """What a `NeighbourShare` gives: the neighbourhood, None where the screen cannot run it; points run."""

    neighbourhood: Neighbourhood | None
    screened: int


@dataclass(frozen=True, eq=False)
class NeighbourShare:
    """The neighbourhood of one entry, as work that runs anywhere.

    Attributes
    ----------
    series : str
        Key of its bars.
    entry, moves, plan, config
        As of `Neighbouring`.
    backtest : BacktestConfig
        Of the market.
    """

    series: str
    entry: Entry
    moves: Moves
    backtest: BacktestConfig
    plan: WalkForwardPlan
    config: RobustnessConfig

    @property
    def paths(self) -> int:
        """Points that are screened at most."""
        return self.config.neighbours + VALUES_TRIED * len(self.moves.tried) + (MAP_CELLS + 1) ** 2

    def run(self, bars: BarSet) -> NeighbourOutcome:
        """Screen the points."""
        try:
            screen = WalkScreen(development_bars(bars, self.plan), self.backtest, self.plan)
            near = Neighbouring(self.entry, self.moves, screen, self.plan, self.config)
            return NeighbourOutcome(near.measure(), near.screened)
        except BeyondScreenError:
            return NeighbourOutcome(None, 0)


class Neighbouring:
    """Screens the neighbourhood of one entry.

    Parameters
    ----------
    entry : Entry
        Of the ranking.
    moves : Moves
        Of its strategy.
    screen : WalkScreen
        Of its series, without stress.
    plan : WalkForwardPlan
        Of the run.
    config : RobustnessConfig
        How many neighbours, how near.
    """

    def __init__(
        self, entry: Entry, moves: Moves, screen: WalkScreen, plan: WalkForwardPlan, config: RobustnessConfig
    ) -> None:
        self._entry = entry
        self._moves = moves
        self._screen = screen
        self._year = plan.periods_per_year
        self._train, self._test = plan.periods_of(plan.refit), plan.periods_of(plan.test)
        self._config = config
        self._spec: StrategySpec = spec_from_mapping(entry.spec, where=f"entry {entry.rank}")
        self._profits: dict[str, FloatArray] = {}

    @property
    def screened(self) -> int:
        """Distinct points run so far besides the emitted one."""
        return len(self._profits.keys() - {self._spec.spec_hash})

    def measure(self) -> Neighbourhood:
        """Return what the neighbourhood looks like."""
        random = np.random.default_rng([self._config.seed, zlib.crc32(self._entry.name.encode())])
        near = [self._moves.neighbour(self._entry.params, random) for _ in range(self._config.neighbours)]
        points = {
            spec.spec_hash: self._run(spec)
            for _, spec in self._moves.specs(self._spec, near)
            if spec.spec_hash != self._spec.spec_hash
        }
        own = self._run(self._spec)
        train = self._figures(own, list(points.values()), self._train)
        parameters = self._parameters(own)
        return Neighbourhood(
            points=len(points),
            train=train,
            test=self._figures(own, list(points.values()), self._test),
            parameters=parameters,
            map=self._map([one.name for one in parameters]),
            shape=_shape(train),
        )

    def _run(self, spec: StrategySpec) -> FloatArray:
        if spec.spec_hash not in self._profits:
            self._profits[spec.spec_hash] = self._screen.profits(spec)
        return self._profits[spec.spec_hash]

    def _sharpe(self, profits: FloatArray, periods: NDArray[np.int64]) -> float:
        return sharpe_ratio(profits[periods], periods_per_year=self._year)

    def _figures(
        self, own: FloatArray, points: Sequence[FloatArray], periods: NDArray[np.int64]
    ) -> Neighbours:
        ratios = [self._sharpe(profits, periods) for profits in points]
        finite = [ratio for ratio in ratios if math.isfinite(ratio)]
        mine = self._sharpe(own, periods)
        spread = quantiles(finite)
        return Neighbours(
            own_sharpe=known(mine),
            sharpe=spread,
            worst_sharpe=min(finite, default=None),
            share_profitable=(
                sum(float(profits[periods].sum()) > 0 for profits in points) / len(points) if points else None
            ),
            median_ratio=None if spread is None or not mine > 0 else spread.q50 / mine,
        )

    # --- parameters -------------------------------------------------------------------------------------

    def _parameters(self, own: FloatArray) -> list[ParameterMove]:
        base = self._sharpe(own, self._train)
        found = [
            ParameterMove(
                name=name,
                value=float(self._entry.params[name]),
                low=tried.low,
                high=tried.high,
                importance=self._importance(name, base),
                fold_move=self._fold_move(name, tried.high - tried.low),
            )
            for name, tried in self._moves.tried.items()
            if name in self._entry.params
        ]
        return sorted(found, key=lambda one: (-(one.importance or 0.0), one.name))

    def _importance(self, name: str, base: float) -> float | None:
        values = self._moves.tried[name].spread(VALUES_TRIED)
        points = [{**self._entry.params, name: value} for value in values]
        changes = [
            abs(self._sharpe(self._run(spec), self._train) - base)
            for _, spec in self._moves.specs(self._spec, points)
        ]
        finite = [change for change in changes if math.isfinite(change)]
        return round(sum(finite) / len(finite), _DECIMALS) if finite else None

    def _fold_move(self, name: str, width: float) -> float | None:
        """Return the mean move between folds as a share of the range; None with one fold."""
        values = [float(fold.params[name]) for fold in self._entry.folds if name in fold.params]
        if len(values) < 2:
            return None
        return round(float(np.abs(np.diff(values)).mean()) / width, _DECIMALS)

    def _map(self, names: Sequence[str]) -> Map | None:
        """Return the Sharpe ratio over the two parameters that matter most."""
        if len(names) < 2:
            return None
        axes = [self._axis(name) for name in names[:2]]
        rows: list[list[float | None]] = []
        for up in axes[1]:
            row: list[float | None] = []
            for across in axes[0]:
                point = {**self._entry.params, names[0]: across, names[1]: up}
                ratios = [
                    self._sharpe(self._run(spec), self._train)
                    for _, spec in self._moves.specs(self._spec, [point])
                ]
                row.append(known(round(ratios[0], _DECIMALS)) if ratios else None)
            rows.append(row)
        chosen = [axis.index(self._entry.params[name]) for name, axis in zip(names[:2], axes, strict=True)]
        return Map(
            x_name=names[0],
            y_name=names[1],
            x_values=[float(value) for value in axes[0]],
            y_values=[float(value) for value in axes[1]],
            sharpe=rows,
            chosen=(chosen[0], chosen[1]),
        )

    def _axis(self, name: str) -> list[Number]:
        """Return values over the range of a parameter, the emitted one among them."""
        return sorted({*self._moves.tried[name].spread(MAP_CELLS), self._entry.params[name]})


def _shape(train: Neighbours) -> str:
    if train.sharpe is None or train.own_sharpe is None or train.own_sharpe <= 0:
        return "unknown"
    # More than half of the neighbours keep half of the ratio where their median does.
    return "plateau" if train.sharpe.q50 >= train.own_sharpe / 2 else "spike"
