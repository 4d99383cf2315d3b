"""From the trial rows of a run to its paths.

Owns the order of the steps and which trials may be compared.  Knows no run folder; the holdout is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.paths.combined import combined_lanes
from aiopt.paths.matrix import matrix_cells
from aiopt.paths.paths_file import GroupPaths, RunPaths
from aiopt.paths.settings import TESTED_GROUPS, combine
from aiopt.paths.tables import DevelopmentRow, make_tables
from aiopt.ranking.ranking_config import RankingConfig

Progress = Callable[[float, float], None]


def judge_paths(
    rows: Iterable[DevelopmentRow],
    plan: WalkForwardPlan,
    config: RankingConfig,
    *,
    trials_counted: int,
    left_out: str = "",
    progress: Progress | None = None,
) -> RunPaths:
    """Return the paths of all groups of a run.

    Parameters
    ----------
    rows : iterable of DevelopmentRow
        Trials that succeeded, sorted by trial id; read once, kept as sums.
    plan : WalkForwardPlan
        What the rows are measured by.
    config : RankingConfig
        Lanes and the least number of trades.
    trials_counted : int
        All trials made on the data.
    left_out : str
        What is not among the rows, and why.
    progress : callable, optional
        Called with the groups judged and their number.

    Returns
    -------
    RunPaths
        Equal rows give equal bytes as JSON.
    """
    combination = combine(plan)
    tables = make_tables(rows, combination.cuts)
    groups = []
    for number, table in enumerate(tables):
        lanes, reason = combined_lanes(
            table, plan, combination, lanes=config.lanes, min_trades=config.min_train_trades
        )
        cells = matrix_cells(
            table,
            plan,
            combination,
            min_trades=config.min_train_trades,
            trials_counted=trials_counted,
        )
        groups.append(
            GroupPaths(
                group=table.name, trials=len(table.trial_ids), lanes=lanes, matrix=cells, reason=reason
            )
        )
        if progress is not None:
            progress(number + 1, len(tables))
    return RunPaths(
        groups=groups,
        combined_groups=len(combination.groups),
        tested_groups=min(TESTED_GROUPS, len(combination.groups) - 1),
        splits=len(combination.splits),
        paths=len(combination.paths),
        purge_periods=combination.purge,
        embargo_periods=combination.embargo,
        segments=len(combination.block_edges) - 1,
        trials_counted=trials_counted,
        left_out=left_out,
    )
