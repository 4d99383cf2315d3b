"""The trial rows of a run as small tables: sums of powers of profits per piece of the span, and trades.

Owns reading the columns needed, a few rows at a time; holdout columns are not among them.  The memory of a
table does not depend on the number of periods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.moments import POWERS, Cuts
from aiopt.ranking.threads import in_order
from aiopt.ranking.trials import read_columns
from aiopt.ranking.whole_rows import keeps_every_series, whole_rows

ROWS_AT_ONCE = 512

Progress = Callable[[float, float], None]


class DevelopmentRow(NamedTuple):
    """What is read of a trial: nothing of its holdout.

    Attributes
    ----------
    trial_id, group, spec_hash : str
        As in the trial's row.
    trades : ndarray of shape (n_segments,), int64
        Per development segment.
    pnl : ndarray of shape (n_periods,), float64
        Per development period.
    """

    trial_id: str
    group: str
    spec_hash: str
    trades: npt.NDArray[np.int64]
    pnl: FloatArray


@dataclass
class GroupTable:
    """The distinct trials of a group.

    Attributes
    ----------
    name : str
        Of the group.
    trial_ids : list of str
        Sorted.
    sums : ndarray of shape (POWERS, n_trials, n_pieces)
        See `aiopt.evaluation.moments`.
    trades : ndarray of shape (n_trials, n_segments)
        Per development segment.
    """

    name: str
    trial_ids: list[str]
    sums: FloatArray
    trades: npt.NDArray[np.int64]


@dataclass
class _Gathering:
    trial_ids: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    sums: list[FloatArray] = field(default_factory=list)
    trades: list[npt.NDArray[np.int64]] = field(default_factory=list)


def make_tables(rows: Iterable[DevelopmentRow], cuts: Cuts) -> list[GroupTable]:
    """Return one table per group, by name; of trials with equal specs only the first is kept.

    Parameters
    ----------
    rows : iterable of DevelopmentRow
        Trials that succeeded, sorted by trial id.
    cuts : Cuts
        Pieces of the development span.
    """
    gathered: dict[str, _Gathering] = {}
    for row, sums in in_order(lambda row: (row, cuts.sums(row.pnl)), rows):
        own = gathered.setdefault(row.group, _Gathering())
        if row.spec_hash in own.seen:
            continue
        own.seen.add(row.spec_hash)
        own.trial_ids.append(row.trial_id)
        own.sums.append(sums)
        own.trades.append(row.trades)
    tables = []
    for name in sorted(gathered):
        own = gathered.pop(name)
        sums = np.empty((POWERS, len(own.sums), len(cuts.lengths)))
        for place, values in enumerate(own.sums):
            sums[:, place] = values
        tables.append(GroupTable(name, own.trial_ids, sums, np.array(own.trades, dtype=np.int64)))
    return tables


def compared_trials(path: Path, *, every: bool = False) -> set[str]:
    """Return the trials of a ``trials.parquet`` that `read_development` yields."""
    import pyarrow.parquet as pq

    learned = not every and "generation" in read_columns(path)
    names = ["trial_id", "status", *(["generation"] if learned else [])]
    return {
        one["trial_id"]
        for one in pq.read_table(path, columns=names).to_pylist()
        if one["status"] == "ok" and one.get("generation", 0) <= 0
    }


def read_development(
    path: Path, journal: Path, *, every: bool = False, progress: Progress | None = None
) -> Iterator[DevelopmentRow]:
    """Yield the trials of a ``trials.parquet`` that succeeded, sorted by trial id, without their holdout.

    Where the sampler learned, only the trials drawn before the first result: the others were found with data
    that a combinatorial path or another walk-forward would test them on.  All of them, also of a large sweep:
    profits that the file does not keep are read from the journal.

    Parameters
    ----------
    path, journal : Path
        Of a run.
    every : bool
        Yield those too, for a caller that keeps each search's trials apart.
    progress : callable, optional
        Called with the trials read and their number.

    Raises
    ------
    DataError
        If they are not there either.
    """
    import pyarrow.parquet as pq

    if not keeps_every_series(path):
        compared = compared_trials(path, every=every)
        for row in whole_rows(path, journal, progress):
            if row.trial_id in compared:
                trades = np.array(row.segment_trades, dtype=np.int64)
                pnl = np.asarray(row.pnl, dtype=np.float64)
                yield DevelopmentRow(row.trial_id, row.group, row.spec_hash, trades, pnl)
        return
    columns = ["trial_id", "group", "spec_hash", "status", "segment_trades", "pnl"]
    with pq.ParquetFile(path) as file:
        learned = not every and "generation" in file.schema_arrow.names
        columns += ["generation"] if learned else []
        done = 0
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
            names = {name: batch.column(name) for name in columns}
            for place, status in enumerate(names["status"].to_pylist()):
                if status != "ok" or (learned and names["generation"][place].as_py() > 0):
                    continue
                yield DevelopmentRow(
                    trial_id=names["trial_id"][place].as_py(),
                    group=names["group"][place].as_py(),
                    spec_hash=names["spec_hash"][place].as_py(),
                    trades=names["segment_trades"][place].values.to_numpy(),
                    pnl=names["pnl"][place].values.to_numpy(),
                )
            done += batch.num_rows
            if progress is not None:
                progress(done, file.metadata.num_rows)


def read_searches(path: Path) -> dict[str, tuple[str, int]]:
    """Return the spec hash and the search of every trial of a ``trials.parquet`` whose sampler learned."""
    import pyarrow.parquet as pq

    found = pq.read_table(path, columns=["trial_id", "spec_hash", "search"]).to_pydict()
    pairs = zip(found["spec_hash"], found["search"], strict=True)
    return dict(zip(found["trial_id"], pairs, strict=True))
