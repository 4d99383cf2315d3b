"""The leaderboard: takes rows as trials finish, keeps them through crashes, and ranks them on demand.

Owns which rows there are; how they are judged is `aiopt.ranking.rank`.  An ordinary class: it knows nothing
of actors, though one may wrap it.  Nothing depends on the order in which rows arrive.

Rows stay in the journal and are read from it: a hundred thousand trials over a year are gigabytes.  Without a
journal they are kept packed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.chosen import chosen_of
from aiopt.ranking.earlier import NOTHING_EARLIER, Earlier
from aiopt.ranking.groups import Group, make_groups
from aiopt.ranking.journal import Journal, Place
from aiopt.ranking.kept_series import beyond_limit, summed_up, with_series
from aiopt.ranking.measures import Measures, measure
from aiopt.ranking.measures import Progress as Reading
from aiopt.ranking.packed_row import PackedRow, described, packed_row
from aiopt.ranking.packing import unpack_row, unpack_whole
from aiopt.ranking.rank import check_pips, rank_groups
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.reasons import ReasonCount, ReasonCounter
from aiopt.ranking.threads import in_order
from aiopt.ranking.trial_table import PackedTable
from aiopt.ranking.trials import TrialRow, check_row, write_sorted_trials
from aiopt.ranking.windows import Window, WindowFigures, window_figures


class BestSoFar(msgspec.Struct, frozen=True, kw_only=True):
    """The trial with the highest Sharpe ratio over the development segments: in-sample, for display only.

    It has enough trades to be ranked on its own: `RankingConfig.min_train_trades` in every train window and
    `RankingConfig.min_oos_trades` over the test segments.
    """

    trial_id: str
    group: str
    in_sample_sharpe: float
    net_pnl: float
    trades: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sweep is.

    Attributes
    ----------
    rows, failed : int
        Trials finished, and those of them that failed.
    best : BestSoFar or None
        For people: **in-sample**, a sign of life and nothing a ranking uses.  None while there is none.
    failures : list of ReasonCount
        Why trials failed, the most frequent reason first.
    """

    rows: int
    failed: int
    best: BestSoFar | None
    failures: list[ReasonCount]


class _Seen(NamedTuple):
    """All rows as a ranking reads them."""

    table: PackedTable
    groups: list[Group]
    measures: Measures


class Leaderboard:
    """All trials of a run.

    Parameters
    ----------
    path : Path or None
        Journal to recover from and append to; None keeps rows in memory only.
    config : RankingConfig
        How rows are judged; may differ from the one the journal was begun with.
    plan : WalkForwardPlan
        What rows are measured by; must be the one the journal was begun with.
    progress : callable, optional
        Called with the bytes read of a journal that is there, and their number.

    Raises
    ------
    DataError
        If the journal is damaged other than by a torn last line, or belongs to another plan.
    StorageError
        If the journal cannot be written.
    """

    def __init__(
        self,
        path: Path | None,
        config: RankingConfig,
        plan: WalkForwardPlan,
        progress: Reading = lambda done, total: None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._train_windows = [*(fold.train for fold in plan.folds), plan.refit]
        self._rows: dict[str, Place | bytes] = {}
        self._seen: _Seen | None = None
        self._reading: tuple[float, float] = (0.0, 0.0)
        self._failed = 0
        self._failures = ReasonCounter()
        self._best: BestSoFar | None = None
        self._journal: Journal | None = None
        if path is not None:
            self._journal = Journal(Path(path), plan, self._recover, progress)

    def _recover(self, row: TrialRow, packed: bytes, place: Place) -> None:
        """Take a row that was in the journal when it was opened."""
        check_row(row, self._plan)
        found = described(row, packed, self._plan)
        if self._is_new(found):
            self._keep(found, place)

    def add(self, row: TrialRow) -> bool:
        """Take a trial's result.

        Parameters
        ----------
        row : TrialRow
            Its lists must fit the plan.

        Returns
        -------
        bool
            False if this very row is there already; adding it again changes nothing.

        Raises
        ------
        InputError
            If the row breaks a rule, or another result of the same trial is there: a trial has one result, so
            the engine or the data are not deterministic.
        StorageError
            If the disk is full; the row is then not taken.
        """
        return self.add_packed([packed_row(row, self._plan)]) == 1

    def add_many(self, rows: Iterable[TrialRow]) -> int:
        """Take several results and return how many were new; errors as in `add`, rows before it are kept."""
        return sum(self.add(row) for row in rows)

    def add_packed(self, rows: Sequence[PackedRow]) -> int:
        """Take results that were checked and packed with this plan; otherwise as `add`, all of them or none.

        Returns
        -------
        int
            How many were new.
        """
        new: dict[str, PackedRow] = {}
        for row in rows:
            if row.trial_id in new:
                self._hold_equal(row, new[row.trial_id].packed)
            elif self._is_new(row):
                new[row.trial_id] = row
        packed = [row.packed for row in new.values()]
        places: Sequence[Place | bytes] = packed if self._journal is None else self._journal.append(packed)
        for row, place in zip(new.values(), places, strict=True):
            self._keep(row, place)
        return len(new)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[TrialRow]:
        """Return all rows, sorted by trial id."""
        return [unpack_row(self._packed(trial_id)) for trial_id in self.trial_ids()]

    def write_trials(
        self, path: Path, *, every_series: bool = False, progress: Reading | None = None
    ) -> dict[str, int]:
        """Write all rows as ``trials.parquet`` and return `counts`.

        Of a large sweep (`aiopt.ranking.kept_series`) the file keeps the profits per period of the trials in
        play and of a sample; the journal has all.

        Parameters
        ----------
        path : Path
            File to write or replace.
        every_series : bool
            Keep all of them, however large the sweep is; so they are where there is no journal.
        progress : callable, optional
            Called with the trials read and their number.

        Raises
        ------
        StorageError
            If the disk is full or the folder not writable.
        """
        progress = self._telling(progress)
        whole = in_order(lambda trial_id: unpack_whole(self._packed(trial_id)), self.trial_ids())
        if every_series or self._journal is None or not beyond_limit(len(self), self._plan):
            write_sorted_trials(path, _told(whole, len(self), progress), plan=self._plan)
        else:
            seen = self._look(progress)
            kept = with_series(
                seen.table.heads, chosen_of(seen.groups, seen.measures, self._plan, self._config)
            )
            short = in_order(
                lambda trial_id: summed_up(
                    unpack_whole(self._packed(trial_id)), self._plan, keep=trial_id in kept
                ),
                self.trial_ids(),
            )
            write_sorted_trials(path, _told(short, len(self), progress), plan=self._plan)
        return self.counts()

    def without_result(self, trial_ids: Sequence[str]) -> list[str]:
        """Return those of some trials that have no result yet, in their order."""
        return [trial_id for trial_id in trial_ids if trial_id not in self._rows]

    def trial_ids(self) -> list[str]:
        """Return the ids of all trials that have a result, sorted."""
        return sorted(self._rows)

    def counts(self) -> dict[str, int]:
        """Return the number of rows: in all, ok, failed."""
        return {"rows": len(self._rows), "ok": len(self._rows) - self._failed, "failed": self._failed}

    def best_so_far(self) -> BestSoFar | None:
        """Return the best trial in-sample, or None while none has a Sharpe ratio and enough trades."""
        return self._best

    def failures(self) -> list[ReasonCount]:
        """Return why trials failed, the most frequent reason first."""
        return self._failures.counts()

    def progress(self) -> Progress:
        """Return counts, the best so far and why trials failed."""
        return Progress(rows=len(self._rows), failed=self._failed, best=self._best, failures=self.failures())

    def ranking(self, earlier: Earlier = NOTHING_EARLIER, *, progress: Reading | None = None) -> Ranking:
        """Rank the rows taken so far.  Equal rows give an equal ranking, whatever their order."""
        progress = self._telling(progress)
        seen = self._look(progress)
        check_pips(seen.groups, self._config)
        return rank_groups(seen.groups, seen.measures, self._plan, self._config, earlier, progress)

    def chosen_trials(self, *, progress: Reading | None = None) -> list[str]:
        """Return the trials that a fold chooses or that would be emitted, sorted."""
        seen = self._look(self._telling(progress))
        return chosen_of(seen.groups, seen.measures, self._plan, self._config)

    def reading(self) -> tuple[float, float]:
        """Return how many trials were read of those that are being read, for who watches from elsewhere."""
        return self._reading

    def _telling(self, progress: Reading | None) -> Reading:
        """Return what takes how far reading is, for `reading` too."""
        self._reading = (0.0, 0.0)

        def tell(done: float, total: float) -> None:
            self._reading = (done, total)
            if progress is not None:
                progress(done, total)

        return tell

    def window_figures(self, windows: Sequence[Window]) -> list[list[WindowFigures]]:
        """Return what trials gave on train windows: small answers, for a sampler that learns.

        Raises
        ------
        KeyError
            If a trial has no result yet.
        InputError
            If a window reaches into the holdout.
        """
        return [
            [
                window_figures(unpack_row(self._packed(trial_id), compact=True), self._plan, window.segments)
                for trial_id in window.trial_ids
            ]
            for window in windows
        ]

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _look(self, progress: Reading | None) -> _Seen:
        """Return what all trials measure; kept until a row is added."""
        if self._seen is None:
            ids = self.trial_ids()
            table = PackedTable(
                len(ids),
                lambda place: self._packed(ids[place]),
                self._plan.development_periods + self._plan.holdout_periods,
            )
            groups = make_groups(table)
            self._seen = _Seen(table, groups, measure(groups, self._plan, progress))
        return self._seen

    def _packed(self, trial_id: str) -> bytes:
        place = self._rows[trial_id]
        if isinstance(place, bytes):
            return place
        assert self._journal is not None  # where else would a place be
        return self._journal.read(place)

    def _is_new(self, row: PackedRow) -> bool:
        if row.trial_id not in self._rows:
            return True
        self._hold_equal(row, self._packed(row.trial_id))
        return False

    def _hold_equal(self, row: PackedRow, kept: bytes) -> None:
        """Refuse a second result of a trial that differs from its first."""
        if kept == row.packed:
            return
        # Another zlib may pack an equal row into other bytes.
        known, other = unpack_row(kept), unpack_row(row.packed)
        if known == other:
            return
        different = [name for name in known.__struct_fields__ if getattr(known, name) != getattr(other, name)]
        msg = (
            f"Trial {row.trial_id!r} came back with two results that differ in {', '.join(different)}. "
            f"Configuration, data or engine changed: use another run folder."
        )
        raise InputError(msg)

    def _keep(self, row: PackedRow, place: Place | bytes) -> None:
        self._rows[row.trial_id] = place
        self._seen = None
        if not row.ok:
            self._failed += 1
            self._failures.add(row.error, row.group)
            return
        if math.isnan(row.in_sample_sharpe) or not self._may_rank(row.segment_trades):
            return
        best = self._best
        if best is None or (-row.in_sample_sharpe, row.trial_id) < (-best.in_sample_sharpe, best.trial_id):
            self._best = BestSoFar(
                trial_id=row.trial_id,
                group=row.group,
                in_sample_sharpe=row.in_sample_sharpe,
                net_pnl=row.net_pnl,
                trades=sum(row.segment_trades),
            )

    def _may_rank(self, trades: Sequence[int]) -> bool:
        """Tell whether a trial has the trades that a choice in every fold and a place ask for."""
        config = self._config
        trained = [sum(trades[i] for i in window) for window in self._train_windows]
        tested = sum(trades[i] for i in self._plan.test)
        return min(trained) >= config.min_train_trades and tested >= config.min_oos_trades


def _told(rows: Iterable[TrialRow], total: int, progress: Reading | None) -> Iterator[TrialRow]:
    """Yield rows and tell how many of them were taken."""
    for done, row in enumerate(rows, start=1):
        yield row
        if progress is not None:
            progress(done, total)
