"""The paths of a run on another grid of segments: its trials run again through the screen.

A position is closed at every segment's end, so another grid is another backtest.  Owns the plan of the grid
and the run again; writes nothing.  The holdout is not part of the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np

from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardPlan, plan_walk_forward
from aiopt.optimize.rerunning import bars_of_trial, trial_of
from aiopt.paths.judging import judge_paths
from aiopt.paths.learned import learned_trials, left_out_text
from aiopt.paths.paths_file import RunPaths
from aiopt.paths.tables import DevelopmentRow, compared_trials
from aiopt.ranking.trials import TrialRow, iter_trials
from aiopt.runs import TRIALS, NotARunError, RunFolder
from aiopt.sweep.screening import TrialScreen
from aiopt.timeframe import parse_timeframe

LEAST, MOST = 3, 200
"""Segments of a grid."""

Progress = Callable[[float, float], None]


def paths_on_grid(
    run: RunFolder,
    segments: int,
    *,
    conversion: Path | None = None,
    progress: Progress | None = None,
) -> RunPaths:
    """Return the paths of a ranked run on a grid of `segments` development segments.

    Parameters
    ----------
    run : RunFolder
        Whose trials and bars are used; it is left as it is.
    segments : int
        Development segments; train window and folds are the run's in proportion.
    conversion : Path, optional
        As in `aiopt.optimize.rerunning.rerun_trial`.
    progress : callable, optional
        Called with the trials run and their number.

    Raises
    ------
    ConfigError
        If the number of segments is out of range, or the span or a gap has no room for it.
    NotARunError, RunFileError, DataError
        If the run is not ranked, or files of it are missing or damaged.
    """
    if not LEAST <= segments <= MOST:
        msg = f"`{LEAST} <= segments <= {MOST}` must hold, but got {segments}. Choose e.g. 24."
        raise ConfigError(msg)
    ranking = run.ranking
    if ranking is None or run.trials_path is None:
        raise NotARunError(f"{run.path}: the run must be ranked, but is not. Finish it first.")
    wanted = compared_trials(run.trials_path)
    rows = [row for row in iter_trials(run.trials_path) if row.trial_id in wanted]
    finest = min(rows, key=lambda row: (parse_timeframe(row.timeframe).ns, row.trial_id))
    plan = grid_plan(ranking.plan, bars_of_trial(run, finest, conversion), segments)
    earlier = ranking.statistics.earlier_trials
    return judge_paths(
        _run_again(run, rows, plan, conversion, progress),
        plan,
        ranking.config,
        trials_counted=ranking.statistics.trials + (earlier.trials if earlier else 0),
        left_out=left_out_text(learned_trials(run.path / TRIALS)),
    )


def grid_plan(plan: WalkForwardPlan, bars: BarSet, segments: int) -> WalkForwardPlan:
    """Return the plan of a grid over the development span of another.

    Parameters
    ----------
    plan : WalkForwardPlan
        Of the run; its purge, embargo and kind of window are kept, and of its train window the share.
    bars : BarSet
        Its finest bars.
    segments : int
        Of the grid.
    """
    own = plan.config
    share = own.train_segments / (own.train_segments + own.folds)
    train = min(max(1, round(segments * share)), segments - own.purge_segments - 1)
    if train < 1:
        msg = (
            f"A grid must hold a train window, {own.purge_segments} purged segments and a test, but has "
            f"{segments} segments. Raise them."
        )
        raise ConfigError(msg)
    config = msgspec.structs.replace(
        own,
        train_segments=train,
        folds=segments - own.purge_segments - train,
        holdout_segments=0,
    )
    # What an embargo keeps from the holdout is no part of the grid either.
    stop_ns = plan.boundaries_ns[own.layout.starts[own.blocks - own.holdout_segments]]
    times = np.asarray(bars.bid.ts_open_ns)
    inside = times[(times >= plan.start_ns) & (times < stop_ns)]
    return plan_walk_forward(config, inside, period_ns=plan.period_ns)


def _run_again(
    run: RunFolder,
    rows: list[TrialRow],
    plan: WalkForwardPlan,
    conversion: Path | None,
    progress: Progress | None,
) -> Iterator[DevelopmentRow]:
    done = 0
    # Trials of a series come together: a group is of one.
    for _, members in groupby(rows, key=lambda row: row.group):
        screen = None
        for row in members:
            point, context = trial_of(run, row, plan)
            if screen is None:
                screen = TrialScreen(bars_of_trial(run, row, conversion), context.backtest)
            again = screen.row(point, context)
            done += 1
            if progress is not None:
                progress(done, len(rows))
            if again.ok:
                yield DevelopmentRow(
                    again.trial_id,
                    again.group,
                    again.spec_hash,
                    np.array(again.segment_trades, dtype=np.int64),
                    np.array(again.pnl, dtype=np.float64),
                )
        if screen is not None:
            screen.close()
