"""The trial rows of a run as small tables: sums of powers of profits per piece of the span, and trades.

Owns reading the columns needed, a few rows at a time; holdout columns are not among them.  The memory of a
table does not depend on the number of periods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.moments import POWERS, Cuts

ROWS_AT_ONCE = 512


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
    for row in rows:
        own = gathered.setdefault(row.group, _Gathering())
        if row.spec_hash in own.seen:
            continue
        own.seen.add(row.spec_hash)
        own.trial_ids.append(row.trial_id)
        own.sums.append(cuts.sums(row.pnl))
        own.trades.append(row.trades)
    tables = []
    for name in sorted(gathered):
        own = gathered.pop(name)
        sums = np.empty((POWERS, len(own.sums), len(cuts.lengths)))
        for place, values in enumerate(own.sums):
            sums[:, place] = values
        tables.append(GroupTable(name, own.trial_ids, sums, np.array(own.trades, dtype=np.int64)))
    return tables


def read_development(path: Path) -> Iterator[DevelopmentRow]:
    """Yield the trials of a ``trials.parquet`` that succeeded, sorted by trial id, without their holdout.

    Where the sampler learned, only the trials drawn before the first result: the others were found with data
    that a combinatorial path or another walk-forward would test them on.
    """
    import pyarrow.parquet as pq

    columns = ["trial_id", "group", "spec_hash", "status", "segment_trades", "pnl"]
    with pq.ParquetFile(path) as file:
        learned = "generation" in file.schema_arrow.names
        columns += ["generation"] if learned else []
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
