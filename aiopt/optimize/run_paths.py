"""The paths of a run: the stage that writes ``paths.json``.  Computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiopt.config import canonical_json
from aiopt.files import atomic_write_bytes
from aiopt.paths.judging import judge_paths
from aiopt.paths.learned import learned_trials, left_out_text
from aiopt.paths.paths_file import RunPaths
from aiopt.paths.tables import read_development
from aiopt.ranking.ranking_file import Ranking
from aiopt.runs import LEADERBOARD, PATHS, RANKING, TRIALS, read_json

Progress = Callable[[float, float], None]


def write_paths(
    run_dir: Path, *, progress: Progress | None = None, reading: Progress | None = None
) -> RunPaths:
    """Write ``paths.json`` of a run that is ranked, and return it.

    Parameters
    ----------
    run_dir : Path
        With ``trials.parquet`` and ``ranking.json``.
    progress : callable, optional
        As in `judge_paths`.
    reading : callable, optional
        Called with the trials read and their number.
    """
    ranking = read_json(run_dir / RANKING, Ranking)
    earlier = ranking.statistics.earlier_trials
    found = judge_paths(
        read_development(run_dir / TRIALS, run_dir / LEADERBOARD, progress=reading),
        ranking.plan,
        ranking.config,
        trials_counted=ranking.statistics.trials + (earlier.trials if earlier else 0),
        left_out=left_out_text(learned_trials(run_dir / TRIALS)),
        progress=progress,
    )
    atomic_write_bytes(run_dir / PATHS, canonical_json(found))
    return found
