"""The trials of a run by group: which strategies compete, read from a table some at a time.

Owns what makes a group, and which of its trials no result led to.  Chooses nothing; the holdout is not in its
profits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray
from aiopt.ranking.trial_table import TrialHead, TrialTable, table_of
from aiopt.ranking.trials import EVERY_SEARCH, TrialRow
from aiopt.series import Symbol


@dataclass(frozen=True)
class Group:
    """The trials of one group that have a result, sorted by trial id.

    Attributes
    ----------
    name, family, timeframe : str
        ``family@timeframe`` and its parts, or ``family@instrument@timeframe``.
    table : TrialTable
        Where the trials are read from.
    places : tuple of int
        Of the group's rows in the table.  Distinct strategies: of trials with equal specs only the first is
        here.
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
    table: TrialTable
    places: tuple[int, ...]
    tried: int
    failed: int
    instrument: Symbol = msgspec.UNSET
    searches: tuple[frozenset[int], ...] = ()
    blind: tuple[bool, ...] = ()

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(self.places)

    @cached_property
    def heads(self) -> tuple[TrialHead, ...]:
        """What is known of each row without reading all of it."""
        return tuple(self.table.heads[place] for place in self.places)

    def row(self, index: int) -> TrialRow:
        """Return everything of a row."""
        return self.table.row(self.places[index])

    def profits(self, rows: Sequence[int], n_periods: int) -> FloatArray:
        """Return the profit per development period of some rows, shape (n_rows, n_periods)."""
        found = np.empty((len(rows), n_periods))
        for index, own in zip(rows, found, strict=True):
            self.table.read_profits(self.places[index], own)
        return found

    def may_choose(self, search: int) -> npt.NDArray[np.bool_]:
        """Return which rows fold `search` may choose: those of its own search, all where none learned.

        Parameters
        ----------
        search : int
            Index of the fold; the number of folds for the refit.
        """
        if not self.searches:
            return np.ones(self.size, dtype=bool)
        return np.array([bool(one & {search, EVERY_SEARCH}) for one in self.searches], dtype=bool)

    def drawn_blind(self) -> Sequence[int]:
        """Return the rows that no result of this run led to, ascending.

        A trial that a search was led to has seen what the search saw, other folds' test segments among it.
        What choosing at random would have given, and how far choosing the best overfits, is therefore said
        of the trials drawn before the first result.
        """
        if not self.searches:
            return range(self.size)
        return [index for index, blind in enumerate(self.blind) if blind]

    @cached_property
    def trades(self) -> npt.NDArray[np.int64]:
        """Trades per development segment, shape (n_rows, n_segments)."""
        width = len(self.heads[0].segment_trades) if self.heads else 0
        counts = np.array([head.segment_trades for head in self.heads], dtype=np.int64)
        return counts.reshape(self.size, width)

    @cached_property
    def params(self) -> tuple[dict[str, Any], ...]:
        """Parameters of each row."""
        return tuple(json.loads(head.params_json) for head in self.heads)


def make_groups(rows: Sequence[TrialRow] | TrialTable) -> list[Group]:
    """Sort trials into groups, by name.

    Parameters
    ----------
    rows : sequence of TrialRow, or TrialTable
        The trials of a run, ids unique.
    """
    table = table_of(rows)
    members: dict[str, list[int]] = {}
    heads = table.heads
    for place, head in enumerate(heads):
        members.setdefault(head.group, []).append(place)
    groups = []
    for name in sorted(members):
        distinct: dict[str, int] = {}
        searches: dict[str, set[int]] = {}
        blind: set[str] = set()
        for place in members[name]:
            head = heads[place]
            if not head.ok:
                continue
            distinct.setdefault(head.spec_hash, place)
            if head.search is not msgspec.UNSET:
                searches.setdefault(head.spec_hash, set()).add(head.search)
                if head.generation == 0:
                    blind.add(head.spec_hash)
        first = heads[members[name][0]]
        groups.append(
            Group(
                name=name,
                family=first.family,
                timeframe=first.timeframe,
                table=table,
                places=tuple(distinct.values()),
                tried=len(members[name]),
                failed=sum(not heads[place].ok for place in members[name]),
                instrument=first.instrument,
                searches=tuple(frozenset(searches[key]) for key in distinct) if searches else (),
                blind=tuple(key in blind for key in distinct) if searches else (),
            )
        )
    return groups
