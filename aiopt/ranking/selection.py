"""Which trial each fold would have chosen, knowing its train window only.

Owns in-sample scores, lanes and the refit choice.  Where the sampler learned, a fold chooses among the trials
of its own search: the others were found with data that the fold had not seen yet.  Nothing in this module
looks at test segments; the holdout is not even in its tables.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratios
from aiopt.ranking.figures import segment_totals
from aiopt.ranking.profit_table import stacked
from aiopt.ranking.trials import EVERY_SEARCH, TrialRow
from aiopt.series import Symbol


@dataclass(frozen=True)
class Group:
    """The trials of one group that have a result, sorted by trial id, as tables.

    Attributes
    ----------
    name, family, timeframe : str
        ``family@timeframe`` and its parts, or ``family@instrument@timeframe``.
    rows : tuple of TrialRow
        Distinct strategies: of trials with equal specs only the first is here.
    tried, failed : int
        All trials of the group, and those that failed.
    instrument : str or unset
        What was traded, in a run of several markets.
    searches : tuple of frozenset of int
        Where the sampler learned: per row, which searches proposed this strategy, be it under another id.
    blind : tuple of bool
        Where the sampler learned: per row, whether a search drew it without looking at the run's data.
    """

    name: str
    family: str
    timeframe: str
    rows: tuple[TrialRow, ...]
    tried: int
    failed: int
    instrument: Symbol = msgspec.UNSET
    searches: tuple[frozenset[int], ...] = ()
    blind: tuple[bool, ...] = ()

    def may_choose(self, search: int) -> npt.NDArray[np.bool_]:
        """Return which rows fold `search` may choose: those of its own search, all where none learned.

        Parameters
        ----------
        search : int
            Index of the fold; the number of folds for the refit.
        """
        if not self.searches:
            return np.ones(len(self.rows), dtype=bool)
        return np.array([bool(one & {search, EVERY_SEARCH}) for one in self.searches], dtype=bool)

    def drawn_blind(self) -> Group:
        """Return the group with only those trials that no result of this run led to.

        A trial that a search was led to has seen what the search saw, other folds' test segments among it.
        What choosing at random would have given, and how far choosing the best overfits, is therefore said
        of the trials drawn before the first result.
        """
        if not self.searches:
            return self
        kept = [place for place, blind in enumerate(self.blind) if blind]
        return replace(
            self,
            rows=tuple(self.rows[place] for place in kept),
            searches=tuple(self.searches[place] for place in kept),
            blind=tuple(True for _ in kept),
        )

    @cached_property
    def pnl(self) -> FloatArray:
        """Profit per development period, shape (n_rows, n_periods)."""
        return stacked([row.pnl for row in self.rows])

    @cached_property
    def trades(self) -> npt.NDArray[np.int64]:
        """Trades per development segment, shape (n_rows, n_segments)."""
        width = len(self.rows[0].segment_trades) if self.rows else 0
        counts = np.array([row.segment_trades for row in self.rows], dtype=np.int64)
        return counts.reshape(len(self.rows), width)

    @cached_property
    def params(self) -> tuple[dict[str, Any], ...]:
        """Parameters of each row."""
        return tuple(json.loads(row.params_json) for row in self.rows)


@dataclass(frozen=True)
class Lane:
    """A rule to choose by, followed through time: always the j-th best distinct trial.

    Attributes
    ----------
    number : int
        j, from 1.
    choices : tuple of int
        Index into ``Group.rows`` per fold, chosen on the fold's train window.
    refit : int
        Index chosen on the last train window before the holdout: what is emitted.
    """

    number: int
    choices: tuple[int, ...]
    refit: int


def make_groups(rows: Sequence[TrialRow]) -> list[Group]:
    """Sort trials into groups, by name.

    Parameters
    ----------
    rows : sequence of TrialRow
        Sorted by trial id, ids unique.
    """
    members: dict[str, list[TrialRow]] = {}
    for row in rows:
        members.setdefault(row.group, []).append(row)
    groups = []
    for name in sorted(members):
        distinct: dict[str, TrialRow] = {}
        searches: dict[str, set[int]] = {}
        blind: set[str] = set()
        for row in members[name]:
            if not row.ok:
                continue
            distinct.setdefault(row.spec_hash, row)
            if row.search is not msgspec.UNSET:
                searches.setdefault(row.spec_hash, set()).add(row.search)
                if row.generation == 0:
                    blind.add(row.spec_hash)
        first = members[name][0]
        groups.append(
            Group(
                name=name,
                family=first.family,
                timeframe=first.timeframe,
                rows=tuple(distinct.values()),
                tried=len(members[name]),
                failed=sum(not row.ok for row in members[name]),
                instrument=first.instrument,
                searches=tuple(frozenset(searches[key]) for key in distinct) if searches else (),
                blind=tuple(key in blind for key in distinct) if searches else (),
            )
        )
    return groups


def in_sample_scores(
    group: Group, plan: WalkForwardPlan, segments: tuple[int, ...], *, min_trades: int
) -> FloatArray:
    """Return the annualised Sharpe ratio of every trial on some segments.

    Parameters
    ----------
    group : Group
        Trials that compete.
    plan : WalkForwardPlan
        Where the segments lie.
    segments : tuple of int
        A train window.
    min_trades : int
        Trials with fewer trades on the window are not eligible.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        NaN for trials that are not eligible or whose profit does not vary.
    """
    window = group.pnl[:, plan.periods_of(segments)]
    scores = sharpe_ratios(window, periods_per_year=plan.periods_per_year)
    scores[group.trades[:, list(segments)].sum(axis=1) < min_trades] = np.nan
    return scores


def best_first(scores: FloatArray) -> list[int]:
    """Return the indices of the scores that are not NaN, best first; ties keep their order (by trial id)."""
    order = np.argsort(-scores, kind="stable")
    return [int(i) for i in order if not np.isnan(scores[i])]


def choose_lanes(
    group: Group, plan: WalkForwardPlan, *, lanes: int, min_trades: int
) -> tuple[list[Lane], str]:
    """Return the lanes of a group.

    Parameters
    ----------
    group : Group
        Trials that compete.
    plan : WalkForwardPlan
        Train windows.
    lanes : int
        Largest number of lanes.  There are fewer where a train window has fewer eligible trials.
    min_trades : int
        Trades a trial needs on a train window.

    Returns
    -------
    list of Lane, str
        If the list is empty, the string says why.
    """
    if not group.rows:
        return [], f"all {group.tried} trials failed"
    windows = {f"fold {fold.index + 1}": fold.train for fold in plan.folds} | {"the refit": plan.refit}
    orders = {}
    for number, (name, train) in enumerate(windows.items()):
        scores = in_sample_scores(group, plan, train, min_trades=min_trades)
        scores[~group.may_choose(number)] = np.nan
        orders[name] = best_first(scores)
    empty = [name for name, order in orders.items() if not order]
    if empty:
        return [], (
            f"no trial has {min_trades} trades (`min_train_trades`) and a varying profit in the train window "
            f"of {empty[0]}{_margin_note(group, windows[empty[0]])}"
        )
    *folds, refit = orders.values()
    count = min(lanes, *(len(order) for order in orders.values()))
    return [
        Lane(number=j + 1, choices=tuple(order[j] for order in folds), refit=refit[j]) for j in range(count)
    ], ""


def _margin_note(group: Group, segments: tuple[int, ...]) -> str:
    """Return how many trials margin or ruin kept from trading on some segments; empty if none."""
    totals = [segment_totals(row, segments) for row in group.rows]
    refused, ruined = sum(t.refused > 0 for t in totals), sum(t.ruined > 0 for t in totals)
    if not refused and not ruined:
        return ""
    return (
        f"; of {len(totals)} trials the margin refused entries to {refused} there and {ruined} lost their "
        "account: trade smaller, or raise `backtest.leverage` or `backtest.initial_balance`"
    )
