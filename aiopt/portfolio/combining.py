"""The entries of a ranking combined, with weights that no fold takes from its own test segment.

Owns the walk-forward of the combination and what each entry adds.  Knows no file and no engine.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.bootstrap import bootstrap_returns, paired_difference
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import max_drawdown_amount, sharpe_ratio
from aiopt.portfolio.portfolio_file import (
    EQUAL_RISK,
    EQUAL_WEIGHT,
    INVERSE_VOLATILITY,
    Combination,
    LeftOut,
    PathFigures,
    PortfolioEntry,
)
from aiopt.portfolio.weights import (
    equal_risk_weights,
    equal_weights,
    inverse_volatility_weights,
    risk_shares,
)
from aiopt.ranking.figures import known, segment_pnl
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Entry, Ranking
from aiopt.ranking.trials import TrialRow
from aiopt.utc import DAY_NS

Weighting = Callable[[FloatArray], FloatArray]

METHODS: Mapping[str, Weighting] = {
    EQUAL_RISK: equal_risk_weights,
    INVERSE_VOLATILITY: inverse_volatility_weights,
    EQUAL_WEIGHT: equal_weights,
}


@dataclass(frozen=True)
class EntryPaths:
    """What the entries of a ranking earned, one column each.

    Attributes
    ----------
    names : tuple of str
        Of the entries.
    train : tuple of ndarray of shape (n_periods, n_entries)
        Per fold: what the trials it chose earned on its train window; at last, the emitted trials on theirs.
    test : tuple of ndarray of shape (n_periods, n_entries)
        Per fold: what they earned on its test segment.
    """

    names: tuple[str, ...]
    train: tuple[FloatArray, ...]
    test: tuple[FloatArray, ...]

    @property
    def out_of_sample(self) -> FloatArray:
        """All test segments, one after the other."""
        return np.concatenate(self.test)

    def without(self, place: int) -> EntryPaths:
        """Return the others."""
        return EntryPaths(
            names=tuple(name for i, name in enumerate(self.names) if i != place),
            train=tuple(np.delete(part, place, axis=1) for part in self.train),
            test=tuple(np.delete(part, place, axis=1) for part in self.test),
        )


def entry_paths(ranking: Ranking, rows: Mapping[str, TrialRow]) -> EntryPaths:
    """Return what the entries' fold choices earned; the holdout is not looked at.

    Parameters
    ----------
    ranking : Ranking
        With at least one entry.
    rows : mapping of str to TrialRow
        By id, the trials from `wanted_trials`.
    """
    plan, entries = ranking.plan, ranking.entries
    train, test = [], []
    for place, fold in enumerate(plan.folds):
        chosen = [rows[entry.folds[place].trial_id] for entry in entries]
        train.append(np.column_stack([segment_pnl(row, plan, fold.train) for row in chosen]))
        test.append(np.column_stack([segment_pnl(row, plan, fold.test) for row in chosen]))
    emitted = [rows[entry.trial_id] for entry in entries]
    train.append(np.column_stack([segment_pnl(row, plan, plan.refit) for row in emitted]))
    return EntryPaths(tuple(entry.name for entry in entries), tuple(train), tuple(test))


def wanted_trials(ranking: Ranking) -> list[str]:
    """Return the ids of the trials that the entries follow or emit, sorted."""
    found = {fold.trial_id for entry in ranking.entries for fold in entry.folds}
    return sorted(found | {entry.trial_id for entry in ranking.entries})


def combine(paths: EntryPaths, method: str, plan: WalkForwardPlan, config: RankingConfig) -> Combination:
    """Return the entries combined by one method.

    Parameters
    ----------
    paths : EntryPaths
        At least one entry.
    method : str
        One of `METHODS`.
    plan, config
        Of the ranking.
    """
    weigh = METHODS[method]
    weights = [weigh(part) for part in paths.train[:-1]]
    parts = [part @ one for part, one in zip(paths.test, weights, strict=True)]
    pnl = np.concatenate(parts)
    weighted = np.concatenate([part * one for part, one in zip(paths.test, weights, strict=True)])
    shares = risk_shares(np.ones(len(paths.names)), np.atleast_2d(np.cov(weighted, rowvar=False)))
    own = float(weighted.std(axis=0, ddof=1).sum())
    return Combination(
        method=method,
        weights=[one.tolist() for one in weights],
        last_weights=weigh(paths.train[-1]).tolist(),
        figures=path_figures(pnl, plan, config),
        fold_pnl=[math.fsum(part) for part in parts],
        risk_shares=None if shares is None else shares.tolist(),
        diversification=known(float(pnl.std(ddof=1)) / own) if own > 0 else None,
        pnl=pnl.tolist(),
    )


def leave_one_out(
    paths: EntryPaths, whole: Combination, plan: WalkForwardPlan, config: RankingConfig
) -> list[LeftOut]:
    """Return what each entry adds to the equal-risk combination; at least two entries."""
    found = []
    for place, name in enumerate(paths.names):
        others = combine(paths.without(place), whole.method, plan, config)
        added = paired_difference(
            whole.pnl,
            others.pnl,
            seed=_seed(config),
            n_resamples=config.bootstrap_resamples,
            confidence=config.confidence,
        )
        found.append(
            LeftOut(
                name=name,
                figures=others.figures,
                sharpe_added=_less(whole.figures.sharpe, others.figures.sharpe),
                pnl_added=added.total,
                pnl_added_low=known(added.interval.low),
                pnl_added_high=known(added.interval.high),
                drawdown_added=whole.figures.max_drawdown_amount - others.figures.max_drawdown_amount,
            )
        )
    return found


def alone(entry: Entry, plan: WalkForwardPlan, config: RankingConfig) -> PortfolioEntry:
    """Return an entry with all the capital."""
    pnl = np.asarray(entry.out_of_sample_pnl, dtype=np.float64)
    return PortfolioEntry(
        rank=entry.rank,
        name=entry.name,
        group=entry.group,
        figures=path_figures(pnl, plan, config),
        instrument=entry.instrument,
    )


def path_figures(pnl: FloatArray, plan: WalkForwardPlan, config: RankingConfig) -> PathFigures:
    """Return the figures of a path; all paths of a run are resampled alike, so that intervals compare."""
    interval = bootstrap_returns(
        pnl,
        periods_per_year=plan.periods_per_year,
        seed=_seed(config),
        n_resamples=config.bootstrap_resamples,
        confidence=config.confidence,
    ).sharpe
    net, fall = math.fsum(pnl), max_drawdown_amount(pnl)
    return PathFigures(
        net_pnl=net,
        sharpe=known(sharpe_ratio(pnl, periods_per_year=plan.periods_per_year)),
        sharpe_low=known(interval.low),
        sharpe_high=known(interval.high),
        max_drawdown_amount=fall,
        net_per_drawdown=net / fall if fall > 0 else None,
        periods=int(pnl.size),
    )


def correlations(profits: FloatArray) -> list[list[float | None]]:
    """Return Pearson's correlation of the columns; None where one does not vary."""
    varying = np.ptp(profits, axis=0) > 0 if len(profits) else np.zeros(profits.shape[1], dtype=bool)
    found: list[list[float | None]] = [[None] * profits.shape[1] for _ in range(profits.shape[1])]
    places = np.flatnonzero(varying).tolist()
    if places and len(profits) > 1:
        matrix = np.atleast_2d(np.corrcoef(profits[:, places], rowvar=False))
        for i, row in enumerate(places):
            for j, column in enumerate(places):
                found[row][column] = 1.0 if i == j else float(matrix[i, j])
    return found


def daily(profits: FloatArray, ts_ns: Sequence[int]) -> FloatArray:
    """Return the sums of each day (UTC) that has a period."""
    _, starts = np.unique(np.asarray(ts_ns, dtype=np.int64) // DAY_NS, return_index=True)
    return np.add.reduceat(profits, starts, axis=0)


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _seed(config: RankingConfig) -> int:
    return config.seed * 2**32 + zlib.crc32(b"portfolio")
