"""What the report says of a run's paths: which candidates are shown, under which name, in which words.

Owns the choice and the names; figures and sentences are those of `aiopt.paths`.
"""

from __future__ import annotations

import msgspec

from aiopt.evaluation.power import power_lines
from aiopt.paths.paths_file import (
    Cell,
    LanePaths,
    RunPaths,
    matrix_reading,
    nested_text,
    walk_forward_reading,
)
from aiopt.ranking.luck import tests_before
from aiopt.ranking.ranking_config import DEFLATED
from aiopt.ranking.ranking_file import Ranking

MOST_ROWS = 24
"""Candidates shown: the entries, then the first lane of every other group."""

MOST_MATRICES = 3


class PathRow(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate; `rank` is None where it is no entry; `reading`: how its walk-forward path lies."""

    name: str
    rank: int | None
    lane: LanePaths
    reading: str


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """The walk-forwards of a group; `own` are the lengths of the run's: train, test, anchored."""

    group: str
    cells: list[Cell]
    reading: str
    own: tuple[int, int, bool]


class PathsView(msgspec.Struct, frozen=True, kw_only=True):
    """The section on paths.

    Attributes
    ----------
    rows : list of PathRow
        Entries first.
    matrices : list of Matrix
        Of the entries' groups first.
    combined_groups, tested_groups, splits, paths, segments
        As in `aiopt.paths.paths_file.RunPaths`.
    without : list of str
        Groups without paths, each with the reason.
    left_out : str
        Which trials were left out; empty if none was.
    nested : str
        What was searched anew for the paths; empty if nothing was.
    """

    rows: list[PathRow]
    matrices: list[Matrix]
    combined_groups: int
    tested_groups: int
    splits: int
    paths: int
    segments: int
    without: list[str]
    left_out: str
    nested: str = ""


def paths_view(found: RunPaths, ranking: Ranking) -> PathsView:
    """Return the section.

    Parameters
    ----------
    found : RunPaths
        Content of ``paths.json``.
    ranking : Ranking
        Of the same run.
    """
    # Where a sampler learned, the lanes here are not those that the entries are of.
    entries = [] if found.left_out and not found.nested else ranking.entries
    ranks = {(entry.group, entry.lane): entry.rank for entry in entries}
    rows = [
        PathRow(
            name=f"{group.group}, lane {lane.lane}" if rank is None else f"Entry {rank}: {group.group}",
            rank=rank,
            lane=lane,
            reading=walk_forward_reading(lane),
        )
        for group in found.groups
        for lane in group.lanes
        for rank in (ranks.get((group.group, lane.lane)),)
        if rank is not None or lane.lane == 1
    ]
    rows.sort(key=lambda row: (row.rank is None, row.rank or 0, row.name))
    config = ranking.plan.config
    first = {group: rank for (group, _), rank in reversed(ranks.items())}
    matrices = [
        Matrix(
            group=group.group,
            cells=group.matrix,
            reading=matrix_reading(group.matrix, ranking.config.confidence),
            own=(config.train_segments, 1, bool(config.anchored)),
        )
        for group in found.groups
        if group.matrix
    ]
    matrices.sort(key=lambda matrix: (first.get(matrix.group, 10**9), matrix.group))
    return PathsView(
        rows=rows[:MOST_ROWS],
        matrices=matrices[:MOST_MATRICES],
        combined_groups=found.combined_groups,
        tested_groups=found.tested_groups,
        splits=found.splits,
        paths=found.paths,
        segments=found.segments,
        without=[f"{group.group}: {group.reason}" for group in found.groups if group.reason],
        left_out=left_out_of_matrix(found.left_out) if found.nested else found.left_out,
        nested=nested_text(found),
    )


def left_out_of_matrix(left_out: str) -> str:
    """Return what is said of the matrix alone, where the paths beside it are nested."""
    said = "The walk-forward matrix is not nested: it is of the trials drawn before the first result."
    return said if left_out else ""


def power_text(ranking: Ranking) -> list[str]:
    """Return what the sweep could have found at all, as sentences."""
    plan, statistics, config = ranking.plan, ranking.statistics, ranking.config
    earlier = statistics.earlier_trials
    lines = power_lines(
        n_periods=plan.periods_of(plan.test).size,
        periods_per_year=plan.periods_per_year,
        n_trials=statistics.trials + (earlier.trials if earlier else 0),
        n_paths=max(1, statistics.candidates),
        confidence=config.confidence,
        deflated=config.evidence == DEFLATED,
        earlier=tests_before(earlier),
    )
    return [f"{line[:1].upper()}{line[1:]}{'' if line.endswith('.') else '.'}" for line in lines]
