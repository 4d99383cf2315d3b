"""The trials of a run as a ranking reads them: something of all of them, everything of a few.

Owns the seam between judging and where rows lie.  A hundred thousand rows with their profits are gigabytes;
of most of them a ranking needs the head, a few kilobytes less, and passes over the profits some at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.evaluation.arrays import FloatArray
from aiopt.ranking.packing import unpack_head, unpack_profits, unpack_whole
from aiopt.ranking.trials import TrialRow
from aiopt.series import Symbol


class TrialHead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a ranking asks of every trial; fields as in `TrialRow`."""

    trial_id: str
    group: str
    family: str
    timeframe: str
    params_json: str
    spec_hash: str
    status: str
    error: str = ""
    segment_trades: tuple[int, ...] = ()
    segment_refused: tuple[int, ...] = ()
    segment_capped: tuple[int, ...] = ()
    segment_ruined: tuple[int, ...] = ()
    instrument: Symbol = msgspec.UNSET
    search: int | msgspec.UnsetType = msgspec.UNSET
    generation: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def ok(self) -> bool:
        """Whether the trial has a result."""
        return self.status == "ok"


class TrialTable(Protocol):
    """The trials of a run, sorted by trial id."""

    @property
    def heads(self) -> Sequence[TrialHead]:
        """The head of every trial."""
        ...

    def row(self, place: int) -> TrialRow:
        """Return everything of a trial."""
        ...

    def read_profits(self, place: int, profits: FloatArray) -> None:
        """Write the profits of the development periods of a trial that succeeded."""
        ...


class RowTable:
    """Rows in memory.

    Parameters
    ----------
    rows : iterable of TrialRow
        In any order; ids unique.
    """

    def __init__(self, rows: Iterable[TrialRow]) -> None:
        self._rows = sorted(rows, key=lambda row: row.trial_id)
        self.heads: Sequence[TrialHead] = [_head(row) for row in self._rows]

    def row(self, place: int) -> TrialRow:
        """Return everything of a trial."""
        return self._rows[place]

    def read_profits(self, place: int, profits: FloatArray) -> None:
        """Write the profits of the development periods of a trial that succeeded."""
        profits[:] = self._rows[place].pnl


class PackedTable:
    """Packed rows, unpacked when they are asked for.

    Parameters
    ----------
    count : int
        Trials there are.
    packed : callable
        Gives the packed row of a place; called by several threads at once.
    n_periods : int
        Of development and holdout together.
    progress : callable, optional
        Called with the trials whose head is read, and their number.
    """

    def __init__(
        self,
        count: int,
        packed: Callable[[int], bytes],
        n_periods: int,
        progress: Callable[[float, float], None] = lambda done, total: None,
    ) -> None:
        self._packed = packed
        self._n_periods = n_periods
        texts: dict[str, str] = {}
        heads = []
        for place in range(count):
            head = unpack_head(packed(place), TrialHead)
            # The same few texts in every row.
            same = {name: texts.setdefault(text, text) for name in _SHARED if (text := getattr(head, name))}
            for name, text in same.items():
                msgspec.structs.force_setattr(head, name, text)
            heads.append(head)
            progress(place + 1, count)
        self.heads: Sequence[TrialHead] = heads

    def row(self, place: int) -> TrialRow:
        """Return everything of a trial."""
        return unpack_whole(self._packed(place))

    def read_profits(self, place: int, profits: FloatArray) -> None:
        """Write the profits of the development periods of a trial that succeeded."""
        both: npt.NDArray[np.float64] = np.empty(self._n_periods)
        unpack_profits(self._packed(place), both)
        profits[:] = both[: profits.size]


_SHARED = ("group", "family", "timeframe", "instrument")


def table_of(rows: Sequence[TrialRow] | TrialTable) -> TrialTable:
    """Return rows as a table, a table as it is."""
    return RowTable(rows) if isinstance(rows, Sequence) else rows


def _head(row: TrialRow) -> TrialHead:
    return TrialHead(
        trial_id=row.trial_id,
        group=row.group,
        family=row.family,
        timeframe=row.timeframe,
        params_json=row.params_json,
        spec_hash=row.spec_hash,
        status=row.status,
        error=row.error,
        segment_trades=tuple(row.segment_trades),
        segment_refused=tuple(row.segment_refused),
        segment_capped=tuple(row.segment_capped),
        segment_ruined=tuple(row.segment_ruined),
        instrument=row.instrument,
        search=row.search,
        generation=row.generation,
    )
