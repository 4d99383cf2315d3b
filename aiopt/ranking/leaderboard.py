"""The leaderboard: takes rows as trials finish, keeps them through crashes, and ranks them on demand.

Owns which rows there are; how they are judged is `aiopt.ranking.rank`.  An ordinary class: it knows nothing
of actors, though one may wrap it.  Nothing depends on the order in which rows arrive.

Rows stay in the journal and are read from it: a hundred thousand trials over a year are gigabytes.  Without a
journal they are kept packed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.chosen import chosen_trials
from aiopt.ranking.earlier import NOTHING_EARLIER, Earlier
from aiopt.ranking.journal import Journal, Place
from aiopt.ranking.packed_row import PackedRow, described, packed_row
from aiopt.ranking.packing import unpack_into, unpack_row
from aiopt.ranking.profit_table import profit_table
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.reasons import ReasonCount, ReasonCounter
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

    Raises
    ------
    DataError
        If the journal is damaged other than by a torn last line, or belongs to another plan.
    StorageError
        If the journal cannot be written.
    """

    def __init__(self, path: Path | None, config: RankingConfig, plan: WalkForwardPlan) -> None:
        self._config = config
        self._plan = plan
        self._train_windows = [*(fold.train for fold in plan.folds), plan.refit]
        self._rows: dict[str, Place | bytes] = {}
        self._unpacked: list[TrialRow] | None = None
        self._failed = 0
        self._failures = ReasonCounter()
        self._best: BestSoFar | None = None
        self._journal = None if path is None else Journal(Path(path), plan)
        if self._journal is not None:
            for place, packed in self._journal.recovered():
                row = unpack_row(packed, compact=True)
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

    def write_trials(self, path: Path) -> dict[str, int]:
        """Write all rows as ``trials.parquet`` and return `counts`.

        Raises
        ------
        StorageError
            If the disk is full or the folder not writable.
        """
        write_sorted_trials(path, self._table(), plan=self._plan)
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

    def ranking(self, earlier: Earlier = NOTHING_EARLIER) -> Ranking:
        """Rank the rows taken so far.  Equal rows give an equal ranking, whatever their order."""
        return rank_trials(self._table(), self._plan, self._config, earlier)

    def chosen_trials(self) -> list[str]:
        """Return the trials that a fold chooses or that would be emitted, sorted."""
        return chosen_trials(self._table(), self._plan, self._config)

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

    def _table(self) -> list[TrialRow]:
        """Return all rows sorted by trial id, their profits views of one table; kept until a row is added."""
        if self._unpacked is None:
            width = self._plan.development_periods + self._plan.holdout_periods
            folder = None if self._journal is None else self._journal.folder
            table = profit_table(len(self._rows), width, folder)
            self._unpacked = [
                unpack_into(self._packed(trial_id), table[place])
                for place, trial_id in enumerate(self.trial_ids())
            ]
        return self._unpacked

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
        self._unpacked = None
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
