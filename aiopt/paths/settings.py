"""How many paths: groups of the combinatorial cross-validation and lengths of the matrix.

Owns what is cut where, from a plan alone.  Knows no trial.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopt.evaluation.combinatorial import Split, Stretch, make_paths, make_splits
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.moments import Cuts

MOST_GROUPS = 10
"""Groups of segments the development span is combined into at most: C(10, 2) = 45 splits."""

TESTED_GROUPS = 2
"""Groups tested at once."""


@dataclass(frozen=True)
class Combination:
    """The combinatorial cross-validation of a plan.

    Attributes
    ----------
    groups : tuple of (int, int)
        Stretches of development periods.
    segments : tuple of tuple of int
        Segments of each group.
    splits : list of Split
        All choices of tested groups.
    paths : list of tuple of int
        The split that tests each group, per path.
    purge, embargo : int
        Periods left out before and behind a test group.
    cuts : Cuts
        Pieces that every segment and every train stretch consists of.
    block_edges : tuple of int
        First period of each development block, and the one behind the last.
    segment_edges : tuple of int
        The same of each development segment.
    gap : tuple of int
        Periods purged and embargoed in a walk-forward, whole segments aside.
    """

    groups: tuple[Stretch, ...]
    segments: tuple[tuple[int, ...], ...]
    splits: list[Split]
    paths: list[tuple[int, ...]]
    purge: int
    embargo: int
    cuts: Cuts
    block_edges: tuple[int, ...]
    segment_edges: tuple[int, ...]
    gap: tuple[int, int]

    def window(self, first: int, stop: int, *, purged: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the pieces and the segments of some blocks.

        Parameters
        ----------
        first, stop : int
            Blocks, half-open.
        purged : bool
            True: a train window, without its purge.  False: a test, without its embargo.
        """
        start, end = self.block_edges[first], self.block_edges[stop]
        start, end = (start, end - self.gap[0]) if purged else (start + self.gap[1], end)
        segments = tuple(
            i
            for i, (a, b) in enumerate(zip(self.segment_edges, self.segment_edges[1:], strict=False))
            if max(a, start) < min(b, end)
        )
        return self.cuts.pieces(start, end), segments


def combine(plan: WalkForwardPlan) -> Combination:
    """Return the cross-validation of a plan's development blocks, as many as `MOST_GROUPS` of equal length.

    Whole segments left out by the walk-forward (`purge_segments`) are left out here too: the longest such
    stretch, before every test group.
    """
    config = plan.config
    blocks = config.blocks - config.holdout_segments
    count = min(MOST_GROUPS, blocks)
    starts = [config.layout.starts[i * blocks // count] for i in range(count)]
    # What the holdout's embargo leaves before the holdout belongs to no group.
    ends = [*starts[1:], config.layout.starts[blocks]]
    segments = tuple(tuple(range(a, b)) for a, b in zip(starts, ends, strict=True))
    groups = tuple((segment_stretch(plan, own[0])[0], segment_stretch(plan, own[-1])[1]) for own in segments)
    whole = config.purge_segments
    edges = [plan.boundaries_ns[i] for i in config.layout.starts[: blocks + 1]]
    longest = max((edges[i + whole] - edges[i] for i in range(blocks - whole + 1)), default=0) if whole else 0
    purge = (config.purge_ns + longest) // plan.period_ns
    embargo = config.embargo_ns // plan.period_ns
    tested = min(TESTED_GROUPS, count - 1)
    splits = make_splits(groups, tested, purge=purge, embargo=embargo) if tested else []
    gap = (config.purge_ns // plan.period_ns, embargo)
    block_edges = tuple((edge - plan.start_ns) // plan.period_ns for edge in edges)
    own = plan.boundaries_ns[: len(plan.development) + 1]
    segment_edges = tuple((edge - plan.start_ns) // plan.period_ns for edge in own)
    every = set(segment_edges)
    # A gap that reaches over its block leaves no such window; `pieces` of none are none.
    every |= {edge - gap[0] for edge in block_edges if edge > gap[0]}
    every |= {edge + gap[1] for edge in block_edges if edge + gap[1] < block_edges[-1]}
    every |= {edge for split in splits for stretch in split.train for edge in stretch}
    return Combination(
        groups=groups,
        segments=segments,
        splits=splits,
        paths=make_paths(count, splits) if tested else [],
        purge=purge,
        embargo=embargo,
        cuts=Cuts.of(every),
        block_edges=block_edges,
        segment_edges=segment_edges,
        gap=gap,
    )


def segment_stretch(plan: WalkForwardPlan, segment: int) -> Stretch:
    """Return the development periods of a segment."""
    start, stop = plan.span_ns((segment,))
    return (start - plan.start_ns) // plan.period_ns, (stop - plan.start_ns) // plan.period_ns
