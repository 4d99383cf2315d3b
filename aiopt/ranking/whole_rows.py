"""The trials of a run with all profits, whether ``trials.parquet`` keeps them or the journal alone.

Owns where a series is read from.  Never gives fewer trials than there are: what is nowhere is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from aiopt.errors import DataError
from aiopt.ranking.journal import JournalIndex
from aiopt.ranking.kept_series import series_hash
from aiopt.ranking.threads import in_order
from aiopt.ranking.trials import SUMMED_UP, TrialRow, count_trials, iter_trials, read_columns

Progress = Callable[[float, float], None]


def keeps_every_series(trials: Path) -> bool:
    """Tell whether a ``trials.parquet`` has the profits of every trial; errors as `iter_trials`."""
    return SUMMED_UP[0] not in read_columns(trials)


def whole_rows(trials: Path, journal: Path, progress: Progress | None = None) -> Iterator[TrialRow]:
    """Yield every row by trial id with its profits as arrays.

    Parameters
    ----------
    trials : Path
        A ``trials.parquet``.
    journal : Path
        That of its sweep, read where the file keeps some series alone.
    progress : callable, optional
        Called with the rows read and their number.

    Raises
    ------
    DataError
        If a file is damaged, or a series is needed that neither has.
    """
    tell = progress or (lambda done, total: None)
    if keeps_every_series(trials):
        total = count_trials(trials)
        for done, row in enumerate(iter_trials(trials), start=1):
            yield row
            tell(done, total)
        return
    table = pq.read_table(trials, columns=["trial_id", "series_hash", "pnl"])
    hashes = dict(zip(table["trial_id"].to_pylist(), table["series_hash"].to_pylist(), strict=True))
    kept = sum(bool(len(one.values)) for one in table["pnl"].combine_chunks()) if not journal.is_file() else 0
    if not journal.is_file():
        msg = (
            f"the profits per period of {len(hashes):,} trials are needed, but trials.parquet of this large "
            f"sweep keeps those of {kept:,}, and the journal, which has all, is not there. Restore it, or "
            "repeat the run with --force."
        )
        raise DataError(msg, file=journal)
    total = len(hashes)
    # Finding the rows takes as long as some of them take to read.
    index = JournalIndex(journal, lambda done: tell(min(done, total) / 4, total))

    def read(wanted: tuple[str, str]) -> TrialRow:
        trial_id, expected = wanted
        row = index.row(trial_id)
        if row is None or series_hash(row) != expected:
            fault = "lacks" if row is None else "has another result of"
            msg = f"the journal {fault} trial {trial_id!r} of trials.parquet. Restore it, or repeat the run."
            raise DataError(msg, file=journal)
        return row

    for done, row in enumerate(in_order(read, hashes.items()), start=1):
        yield row
        tell(total / 4 + 0.75 * done, total)
