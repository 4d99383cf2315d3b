"""Ticks that several files of a source have: finding each copy, and the one order all files agree with.

Owns how the rows of one stamp from several files are laid over each other.  A file shows the ticks of a
stamp whole, unless the stamp is its first or its last: there it may begin or end in the middle.  So the rows
of two files are the same ticks where one fits onto the other, and what fits nowhere is another feed's.  Ticks
that one file repeats are real.  Knows nothing of rules and storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.ticks.checks.sourced import SourcedTicks

_VALUES = ("bid", "ask", "bid_size", "ask_size")


@dataclass(eq=False)
class FileEdges:
    """First and last row of each file that reached the days, in order of time, and which are newest first.

    Parameters
    ----------
    files : int
        Files of the source.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    newest_first: NDArray[np.bool_]

    @classmethod
    def of(cls, files: int) -> FileEdges:
        """Return the edges of files none of whose rows has been seen."""
        return cls(np.full(files, -1), np.full(files, -1), np.zeros(files, dtype=bool))

    def see(self, batch: SourcedTicks) -> None:
        """Take in the next rows of one file; in the order of the file."""
        if not len(batch):
            return
        file, low, high = int(batch.file[0]), int(batch.row.min()), int(batch.row.max())
        if self.newest_first[file]:
            low, high = high, low
        if self.newest_first[file]:
            self.first[file] = low
            self.last[file] = high if self.last[file] < 0 else self.last[file]
        else:
            self.first[file] = low if self.first[file] < 0 else self.first[file]
            self.last[file] = high


def time_order(batch: SourcedTicks, edges: FileEdges) -> SourcedTicks:
    """Return ticks in order of time, those of equal stamp by file and then in the order of the file."""
    turned = edges.newest_first[batch.file]
    stamps = batch.ticks.ts_event_ns
    if not turned.any() and not (np.diff(stamps) < 0).any():
        return batch
    rows = np.where(turned, -batch.row, batch.row)
    return batch.take(np.lexsort((rows, batch.file, stamps)))


def lay_over(batch: SourcedTicks, edges: FileEdges) -> tuple[SourcedTicks, NDArray[np.bool_]]:
    """Bring the ticks of each stamp into the order all files agree with, and mark the copies.

    Parameters
    ----------
    batch : SourcedTicks
        From `time_order`.
    edges : FileEdges
        Of all files.

    Returns
    -------
    batch : SourcedTicks
        The same ticks; of one stamp, copies come last.
    copies : ndarray of bool, shape (n,)
        True for a tick that another file has already given.
    """
    count = len(batch)
    copies = np.zeros(count, dtype=bool)
    if count == 0 or bool((batch.file == batch.file[0]).all()):
        return batch, copies
    ts, file = batch.ticks.ts_event_ns, batch.file
    new_stamp = np.concatenate(([True], ts[1:] != ts[:-1]))
    new_segment = new_stamp | np.concatenate(([True], file[1:] != file[:-1]))
    starts = np.flatnonzero(new_segment)
    lengths = np.diff(np.append(starts, count))
    stamp_of = (np.cumsum(new_stamp) - 1)[starts]
    follows = np.concatenate(([False], stamp_of[1:] == stamp_of[:-1]))
    if not follows.any():
        return batch, copies
    same = _equal_to_previous(batch, starts, lengths, follows)
    copies = np.repeat(same, lengths)
    # Stamps of which every file shows the same are done; the others are laid over one by one.
    differs = np.unique(stamp_of[follows & ~same])
    order = np.arange(count)
    if differs.size:
        values = np.stack([getattr(batch.ticks, name) for name in _VALUES], axis=1)
        left = np.searchsorted(stamp_of, differs, side="left").tolist()
        right = np.searchsorted(stamp_of, differs, side="right").tolist()
        for begin, end in zip(left, right, strict=True):
            segments = [
                _segment(batch, values, int(starts[at]), int(lengths[at]), edges)
                for at in range(begin, end)
                if not same[at]
            ]
            kept = [row for island in _joined(segments) for row in island.rows]
            span = range(int(starts[begin]), int(starts[end - 1] + lengths[end - 1]))
            rest = sorted(set(span) - set(kept))
            order[span.start : span.stop] = kept + rest
            copies[span.start : span.stop] = [False] * len(kept) + [True] * len(rest)
    elif not copies.any():
        return batch, copies
    return batch.take(order), copies


@dataclass
class _Segment:
    """Rows of one stamp: their places, their values, and whether they may lack the first or last ticks."""

    rows: list[int]
    values: list[tuple[Any, ...]]
    front_cut: bool
    end_cut: bool


def _segment(
    batch: SourcedTicks, values: NDArray[np.float64], start: int, length: int, edges: FileEdges
) -> _Segment:
    file = int(batch.file[start])
    part = slice(start, start + length)
    return _Segment(
        list(range(start, start + length)),
        [tuple(row) for row in values[part].tolist()],
        bool((batch.row[part] == edges.first[file]).any()),
        bool((batch.row[part] == edges.last[file]).any()),
    )


def _equal_to_previous(
    batch: SourcedTicks, starts: NDArray[np.int64], lengths: NDArray[np.int64], follows: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which segments hold what the segment before of the same stamp holds."""
    candidate = follows & np.concatenate(([False], lengths[1:] == lengths[:-1]))
    if not candidate.any():
        return candidate
    own = np.arange(len(batch))
    # Segments lie one behind the other: the partner of a row is as far back as the segment is long.
    partner = np.maximum(own - np.repeat(lengths, lengths), 0)
    equal = np.ones(len(batch), dtype=bool)
    for name in _VALUES:
        column = getattr(batch.ticks, name)
        equal &= column == column[partner]
    return np.asarray(candidate & np.logical_and.reduceat(equal, starts))


def _joined(segments: list[_Segment]) -> list[_Segment]:
    """Lay segments over each other as far as they fit; return what is left, in order."""
    waiting = sorted(segments, key=lambda one: (one.front_cut or one.end_cut, -len(one.rows)))
    islands: list[_Segment] = []
    while waiting:
        island = waiting.pop(0)
        while waiting:
            fits = [(_fit(island, other), number) for number, other in enumerate(waiting)]
            best = max(fits, key=lambda fit: (-1 if fit[0] is None else fit[0][0], -fit[1]))
            if best[0] is None:
                break
            island = _over(island, waiting.pop(best[1]), best[0][1])
        islands.append(island)
    return sorted(islands, key=lambda one: (_side(one), min(one.rows)))


def _side(island: _Segment) -> int:
    """Return 0 for what the stamp begins with, 2 for what it ends with, 1 for what may lie anywhere.

    Segments that share nothing lie side by side, in the order of their files where nothing else is known.
    """
    if island.front_cut == island.end_cut:
        return 1
    return 2 if island.front_cut else 0


def _fit(left: _Segment, right: _Segment) -> tuple[int, int] | None:
    """Return how many ticks two segments share, and where the second begins on the first; None if none.

    A segment that is not cut in front begins with the stamp's first tick, one that is not cut at its end ends
    with its last: that says which places are possible.
    """
    m, n = len(left.rows), len(right.rows)
    best: tuple[int, int] | None = None
    for at in range(-n, m + 1):
        end = at + n - m
        if (at > 0 and not right.front_cut) or (at < 0 and not left.front_cut):
            continue
        if (end < 0 and not right.end_cut) or (end > 0 and not left.end_cut):
            continue
        begin, stop = max(at, 0), min(at + n, m)
        shared = max(stop - begin, 0)
        if left.values[begin:stop] != right.values[begin - at : stop - at]:
            continue
        if shared and (best is None or shared >= best[0]):
            best = (shared, at)
    return best


def _over(left: _Segment, right: _Segment, at: int) -> _Segment:
    """Return the second segment laid over the first, beginning at its place `at`."""
    m, n = len(left.rows), len(right.rows)
    front, back = max(-at, 0), max(at + n - m, 0)
    first = left if at > 0 else right if at < 0 else None
    end = at + n - m
    last = left if end < 0 else right if end > 0 else None
    return _Segment(
        right.rows[:front] + left.rows + (right.rows[n - back :] if back else []),
        right.values[:front] + left.values + (right.values[n - back :] if back else []),
        first.front_cut if first is not None else left.front_cut and right.front_cut,
        last.end_cut if last is not None else left.end_cut and right.end_cut,
    )


def is_newest_first(stamps: NDArray[np.int64]) -> bool:
    """Return whether rows run from the newest to the oldest: ten times more steps back than ahead."""
    steps = np.diff(stamps)
    back, ahead = int(np.count_nonzero(steps < 0)), int(np.count_nonzero(steps > 0))
    return back > 10 * ahead
