"""Purge and embargo: gaps of a given length between what is trained on and what is tested.

Owns how blocks of a walk-forward are cut into segments so that a gap is a segment of its own.  Knows no fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from aiopt.errors import ConfigError
from aiopt.timeframe import parse_timeframe, timeframe_of_ns
from aiopt.utc import time_text

_REMEDY = "Make it shorter, or the segments longer: a longer span, or fewer folds and train segments."


@dataclass(frozen=True)
class Layout:
    """Which segments the blocks of a walk-forward consist of.

    Attributes
    ----------
    starts : tuple of int
        First segment of each block, and behind the last one.
    purged, embargoed : frozenset of int
        Blocks whose last segment is a purge, and whose first one is an embargo.
    """

    starts: tuple[int, ...]
    purged: frozenset[int]
    embargoed: frozenset[int]

    @property
    def count(self) -> int:
        """Number of segments."""
        return self.starts[-1]

    @property
    def gaps(self) -> bool:
        """Whether there is any gap."""
        return bool(self.purged or self.embargoed)

    def start_of(self, block: int) -> int:
        """Return the first segment of a block behind its embargo."""
        return self.starts[block] + (block in self.embargoed)

    def train(self, first: int, stop: int) -> tuple[int, ...]:
        """Return the segments of blocks `first` to `stop`, the last one without its purge."""
        return tuple(range(self.starts[first], self.starts[stop] - (stop - 1 in self.purged)))

    def test(self, block: int) -> tuple[int, ...]:
        """Return the segments of a block without its embargo."""
        return tuple(range(self.start_of(block), self.starts[block + 1]))


@lru_cache(maxsize=64)
def lay_out(blocks: int, purged: frozenset[int], embargoed: frozenset[int]) -> Layout:
    """Return the layout of `blocks` blocks, some of which begin or end with a gap."""
    starts = [0]
    for block in range(blocks):
        starts.append(starts[-1] + 1 + (block in purged) + (block in embargoed))
    return Layout(tuple(starts), purged, embargoed)


def gap_ns(name: str, text: str) -> int:
    """Return the length of a gap.

    Parameters
    ----------
    name : str
        Of the setting.
    text : str
        E.g. ``"4h"``.

    Raises
    ------
    ConfigError
        If it is no length of time.
    """
    try:
        return parse_timeframe(text).ns
    except ConfigError as error:
        msg = (
            f"`walk_forward.{name}` must be a number and one of s, m, h, d, but got {text!r}. "
            "Use e.g. 4h or 1d, or leave it out."
        )
        raise ConfigError(msg) from error


def cut_gaps(
    blocks_ns: list[int], layout: Layout, *, purge_ns: int, embargo_ns: int, period_ns: int
) -> tuple[int, ...]:
    """Return the boundaries of the segments.

    Parameters
    ----------
    blocks_ns : list of int
        Boundaries of the blocks.
    layout : Layout
        Of these blocks.
    purge_ns, embargo_ns : int
        Lengths of the gaps.
    period_ns : int
        Boundaries are multiples of it.

    Raises
    ------
    ConfigError
        If a gap is no whole number of periods or as long as the block it is cut from.
    """
    for name, length in (("purge", purge_ns), ("embargo", embargo_ns)):
        if length % period_ns:
            period = timeframe_of_ns(period_ns).label
            msg = (
                f"`walk_forward.{name}` must be a whole number of periods of {period} (`ranking.period`), "
                f"but is {_label(length)}. Use a multiple of {period}, or a shorter `ranking.period`."
            )
            raise ConfigError(msg)
    found = [blocks_ns[0]]
    for block in range(len(blocks_ns) - 1):
        start, stop = blocks_ns[block], blocks_ns[block + 1]
        before = embargo_ns if block in layout.embargoed else 0
        behind = purge_ns if block in layout.purged else 0
        if before + behind >= stop - start:
            parts = [f"`embargo` ({_label(before)})"] if before else []
            parts += [f"`purge` ({_label(behind)})"] if behind else []
            what = "the segment that a fold tests" if before else "the last segment of a train window"
            msg = (
                f"{' and '.join(parts)} must be shorter than {what}, but {time_text(start, 'm')} to "
                f"{time_text(stop, 'm')} are {(stop - start) / 3.6e12:g} h, so nothing is left. {_REMEDY}"
            )
            raise ConfigError(msg)
        found += [start + before] if before else []
        found += [stop - behind] if behind else []
        found.append(stop)
    return tuple(found)


def check_filled(active_ts_ns: npt.NDArray[np.int64], span_ns: tuple[int, int], what: str, gap: str) -> None:
    """Raise `ConfigError` unless there was a market at some time of a span that a gap has shortened."""
    start, stop = span_ns
    first, behind = np.searchsorted(active_ts_ns, [start, stop])
    if first >= behind:
        msg = (
            f"There must be a market in {what}, but `walk_forward.{gap}` leaves {time_text(start, 'm')} to "
            f"{time_text(stop, 'm')}, in which there was none. {_REMEDY}"
        )
        raise ConfigError(msg)


def _label(length_ns: int) -> str:
    return timeframe_of_ns(length_ns).label
