"""The leaderboard: takes rows as trials finish, keeps them through crashes, and ranks them on demand.

Owns which rows there are; how they are judged is `aiopt.ranking.rank`.  An ordinary class: it knows nothing
of actors, though one may wrap it.  Nothing depends on the order in which rows arrive.

Rows are kept packed, as the journal has them: a year of hours takes kilobytes, not the 300 of Python floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking.chosen import chosen_trials
from aiopt.ranking.earlier import NOTHING_EARLIER, Earlier
from aiopt.ranking.journal import Journal
from aiopt.ranking.packing import pack_row, unpack_row
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.reasons import ReasonCount, ReasonCounter
from aiopt.ranking.trials import TrialRow, check_row, write_sorted_trials


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
        self._rows: dict[str, bytes] = {}
        self._failed = 0
        self._failures = ReasonCounter()
        self._best: BestSoFar | None = None
        self._journal = None if path is None else Journal(Path(path), plan)
        if self._journal is not None:
            for packed in self._journal.recovered:
                row = unpack_row(packed)
                check_row(row, self._plan)
                if self._is_new(row, packed):
                    self._keep(row, packed)
            self._journal.forget_recovered()

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
        check_row(row, self._plan)
        packed = pack_row(row)
        if not self._is_new(row, packed):
            return False
        if self._journal is not None:
            self._journal.append(packed)
        self._keep(row, packed)
        return True

    def add_many(self, rows: Iterable[TrialRow]) -> int:
        """Take several results and return how many were new; errors as in `add`, rows before it are kept."""
        return sum(self.add(row) for row in rows)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[TrialRow]:
        """Return all rows, sorted by trial id."""
        return [unpack_row(self._rows[trial_id]) for trial_id in self.trial_ids()]

    def write_trials(self, path: Path) -> dict[str, int]:
        """Write all rows as ``trials.parquet``, unpacking a few at a time, and return `counts`.

        Raises
        ------
        StorageError
            If the disk is full or the folder not writable.
        """
        write_sorted_trials(path, self._unpacked(), plan=self._plan)
        return self.counts()

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
        return rank_trials(list(self._unpacked()), self._plan, self._config, earlier)

    def chosen_trials(self) -> list[str]:
        """Return the trials that a fold chooses or that would be emitted, sorted."""
        return chosen_trials(list(self._unpacked()), self._plan, self._config)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _unpacked(self) -> Iterator[TrialRow]:
        """Yield all rows sorted by trial id, their profits as arrays of eight bytes each."""
        for trial_id in self.trial_ids():
            yield unpack_row(self._rows[trial_id], compact=True)

    def _is_new(self, row: TrialRow, packed: bytes) -> bool:
        kept = self._rows.get(row.trial_id)
        if kept is None:
            return True
        if kept == packed:
            return False
        # Another zlib may pack an equal row into other bytes.
        known = unpack_row(kept)
        if known == row:
            return False
        different = [name for name in row.__struct_fields__ if getattr(known, name) != getattr(row, name)]
        msg = (
            f"Trial {row.trial_id!r} came back with two results that differ in {', '.join(different)}. "
            f"Configuration, data or engine changed: use another run folder."
        )
        raise InputError(msg)

    def _keep(self, row: TrialRow, packed: bytes) -> None:
        self._rows[row.trial_id] = packed
        if not row.ok:
            self._failed += 1
            self._failures.add(row.error, row.group)
            return
        if not self._may_rank(row):
            return
        sharpe = sharpe_ratio(row.pnl, periods_per_year=self._plan.periods_per_year)
        if math.isnan(sharpe):
            return
        best = self._best
        if best is None or (-sharpe, row.trial_id) < (-best.in_sample_sharpe, best.trial_id):
            self._best = BestSoFar(
                trial_id=row.trial_id,
                group=row.group,
                in_sample_sharpe=sharpe,
                net_pnl=float(np.sum(row.pnl)),
                trades=sum(row.segment_trades),
            )

    def _may_rank(self, row: TrialRow) -> bool:
        """Tell whether a trial has the trades that a choice in every fold and a place ask for."""
        trades, config = row.segment_trades, self._config
        trained = [sum(trades[i] for i in window) for window in self._train_windows]
        tested = sum(trades[i] for i in self._plan.test)
        return min(trained) >= config.min_train_trades and tested >= config.min_oos_trades
