"""Position sizes compared: the entries' fold choices with other sizes, in two rounds of trials.

Owns which sizes are tried and how they are measured so that they can be compared.  Runs no trial: it is given
rows and asks for points.  Sizes of a fold come from data before its test segment alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from aiopt.evaluation.folds import Fold, WalkForwardPlan
from aiopt.portfolio.combining import path_figures
from aiopt.portfolio.portfolio_file import FIXED, OWN, RISK, VOLATILITY, EntrySizing, SizedPath
from aiopt.ranking.figures import Totals, segment_pnl, segment_totals
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Entry
from aiopt.ranking.trials import TrialRow
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_parts import FixedSize, PositionSize, RiskSize

PROBE_RISK_PCT = 0.1
"""Of the run that shows how many units a stop's distance gives; small, so that margin cuts none."""

_RISK_STEP = 1
_MOST_UNITS = 10**9
_NO_STOP = "the strategy has no stop, to which a risk could be measured"


@dataclass(frozen=True)
class SizedTrial:
    """A trial to run: a fold's choice with another size.

    Attributes
    ----------
    key : str
        Unique among the trials of a run.
    spec : StrategySpec
        With the size.
    chosen : TrialRow
        What the fold chose.
    """

    key: str
    spec: StrategySpec
    chosen: TrialRow


@dataclass
class EntrySizes:
    """The sizes of one entry, found in two rounds.

    Attributes
    ----------
    entry : Entry
        Of the ranking.
    choices : tuple of TrialRow
        Per fold, what it chose.
    plan : WalkForwardPlan
        Of the run.
    """

    entry: Entry
    choices: tuple[TrialRow, ...]
    plan: WalkForwardPlan
    sizes: dict[str, list[float]] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Mean units of a trade in the first train window, by the strategy's own size."""
        return _whole_units(_mean_units(self.choices[0], self.plan.folds[0]) or FixedSize().units)

    @property
    def has_stop(self) -> bool:
        """Whether every choice has a stop, which a size by risk needs."""
        return all(_spec(row).stop_loss is not None for row in self.choices)

    def first_round(self) -> list[SizedTrial]:
        """Return the trials with fixed units, and those that show how many units a stop gives."""
        found = []
        for place, row in enumerate(self.choices):
            found.append(self._trial(FIXED, place, row, FixedSize(units=self.units)))
            if self.has_stop:
                probe = RiskSize(risk_pct=PROBE_RISK_PCT, step=_RISK_STEP)
                found.append(self._trial("probe", place, row, probe))
        return found

    def second_round(self, rows: Mapping[str, TrialRow]) -> list[SizedTrial]:
        """Return the trials by risk and by volatility; `rows` are those of the first round."""
        fixed = [rows[self._key(FIXED, place)] for place in range(len(self.choices))]
        found = []
        self.sizes[FIXED] = [float(self.units)] * len(self.choices)
        if all(row.ok for row in fixed):
            spreads = [
                _spread(row, self.plan, fold) for row, fold in zip(fixed, self.plan.folds, strict=True)
            ]
            self.sizes[VOLATILITY] = []
            for place, (row, spread) in enumerate(zip(self.choices, spreads, strict=True)):
                units = _whole_units(self.units * spreads[0] / spread if spread > 0 else self.units)
                self.sizes[VOLATILITY].append(float(units))
                found.append(self._trial(VOLATILITY, place, row, FixedSize(units=units)))
        if self.has_stop:
            self.sizes[RISK] = []
            for place, (row, fold) in enumerate(zip(self.choices, self.plan.folds, strict=True)):
                probe = rows[self._key("probe", place)]
                given = _mean_units(probe, fold) if probe.ok else 0.0
                risk = PROBE_RISK_PCT * self.units / given if given > 0 else PROBE_RISK_PCT
                risk = min(100.0, max(1e-6, float(f"{risk:.6g}")))
                self.sizes[RISK].append(risk)
                found.append(self._trial(RISK, place, row, RiskSize(risk_pct=risk, step=_RISK_STEP)))
        return found

    def result(self, rows: Mapping[str, TrialRow], config: RankingConfig) -> EntrySizing:
        """Return the entry with every size; `rows` are those of both rounds."""
        found = [self._path(OWN, list(self.choices), config)]
        for kind in (FIXED, VOLATILITY, RISK):
            if kind == RISK and not self.has_stop:
                found.append(SizedPath(kind=kind, sizes=[], figures=None, reason=_NO_STOP))
                continue
            keys = [self._key(kind, place) for place in range(len(self.choices))]
            if any(key not in rows for key in keys):
                reason = "a trial with fixed units failed"
                found.append(SizedPath(kind=kind, sizes=[], figures=None, reason=reason))
                continue
            found.append(self._path(kind, [rows[key] for key in keys], config))
        return EntrySizing(name=self.entry.name, paths=found)

    def _path(self, kind: str, rows: Sequence[TrialRow], config: RankingConfig) -> SizedPath:
        sizes = self.sizes.get(kind, [])
        failed = next((row for row in rows if not row.ok), None)
        if failed is not None:
            return SizedPath(kind=kind, sizes=sizes, figures=None, reason=failed.error)
        plan = self.plan
        tested = list(zip(rows, plan.folds, strict=True))
        pnl = np.concatenate([segment_pnl(row, plan, fold.test) for row, fold in tested])
        totals = sum((segment_totals(row, fold.test) for row, fold in tested), start=Totals())
        return SizedPath(
            kind=kind,
            sizes=sizes,
            figures=path_figures(pnl, plan, config),
            trades=totals.trades,
            refused=totals.refused,
            capped=totals.capped,
            ruined=totals.ruined,
        )

    def _trial(self, kind: str, place: int, row: TrialRow, size: PositionSize) -> SizedTrial:
        spec = msgspec.structs.replace(_spec(row), size=size)
        return SizedTrial(self._key(kind, place), spec, row)

    def _key(self, kind: str, place: int) -> str:
        return f"{self.entry.name} {kind} fold {place}"


def _spec(row: TrialRow) -> StrategySpec:
    return StrategySpec.from_json(row.spec_json)


def _mean_units(row: TrialRow, fold: Fold) -> float:
    totals = segment_totals(row, fold.train)
    return totals.units / totals.trades if totals.trades else 0.0


def _spread(row: TrialRow, plan: WalkForwardPlan, fold: Fold) -> float:
    """Return the standard deviation of the profit per period on a train window."""
    pnl = segment_pnl(row, plan, fold.train)
    return float(pnl.std(ddof=1)) if pnl.size > 1 else 0.0


def _whole_units(units: float) -> int:
    return min(_MOST_UNITS, max(1, round(units))) if math.isfinite(units) else 1
