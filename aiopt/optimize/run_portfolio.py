"""The entries of a run together: the stage that writes ``portfolio.json``.

Owns how it asks for trials again.  Computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import DataError
from aiopt.files import atomic_write_bytes
from aiopt.portfolio.combining import (
    METHODS,
    alone,
    combine,
    correlations,
    daily,
    entry_paths,
    leave_one_out,
    wanted_trials,
)
from aiopt.portfolio.portfolio_file import EQUAL_RISK, RunPortfolio
from aiopt.portfolio.reading import PORTFOLIO
from aiopt.portfolio.sizing import EntrySizes, SizedTrial
from aiopt.ranking.kept_series import lacks_series, left_out_text
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import TrialRow, read_some_trials
from aiopt.runs import RANKING, TRIALS, read_json
from aiopt.sweep.trial import TrialPoint

LEAST_ENTRIES = 2

RunTrials = Callable[[Sequence[TrialPoint]], Sequence[TrialRow]]
"""Runs points and returns their rows, in any order."""


def write_portfolio(run_dir: Path, run: RunTrials, *, sized_by: str) -> RunPortfolio | None:
    """Write ``portfolio.json`` of a run that is ranked, and return it; None with fewer than two entries.

    Parameters
    ----------
    run_dir : Path
        With ``trials.parquet`` and ``ranking.json``.
    run : callable
        Runs trials on the bars and assumptions of the sweep.
    sized_by : str
        What runs them: ``screen`` or ``engine``.
    """
    ranking = read_json(run_dir / RANKING, Ranking)
    path = run_dir / PORTFOLIO
    if len(ranking.entries) < LEAST_ENTRIES:
        path.unlink(missing_ok=True)
        return None
    plan, config, entries = ranking.plan, ranking.config, ranking.entries
    rows = {row.trial_id: row for row in read_some_trials(run_dir / TRIALS, wanted_trials(ranking))}
    for row in rows.values():
        if lacks_series(row):  # what folds chose is in play
            raise DataError(left_out_text(row.trial_id), file=run_dir / TRIALS)
    paths = entry_paths(ranking, rows)
    combined = [combine(paths, method, plan, config) for method in METHODS]
    whole = next(one for one in combined if one.method == EQUAL_RISK)
    ts_ns = entries[0].out_of_sample_ts_ns
    sizes = [EntrySizes(entry, tuple(rows[fold.trial_id] for fold in entry.folds), plan) for entry in entries]
    tried = _rows([trial for one in sizes for trial in one.first_round()], run)
    tried |= _rows([trial for one in sizes for trial in one.second_round(tried)], run)
    found = RunPortfolio(
        entries=[alone(entry, plan, config) for entry in entries],
        ts_ns=ts_ns,
        correlation=correlations(paths.out_of_sample),
        daily_correlation=correlations(daily(paths.out_of_sample, ts_ns)),
        combinations=combined,
        left_out=leave_one_out(paths, whole, plan, config),
        sizing=[one.result(tried, config) for one in sizes],
        sized_by=sized_by,
    )
    atomic_write_bytes(path, canonical_json(found))
    return found


def _rows(trials: Sequence[SizedTrial], run: RunTrials) -> dict[str, TrialRow]:
    points = [
        TrialPoint(
            trial_id=trial.key,
            family=trial.chosen.family,
            timeframe=trial.chosen.timeframe,
            params=msgspec.json.decode(trial.chosen.params_json),
            spec=trial.spec,
            instrument=trial.chosen.instrument,
        )
        for trial in trials
    ]
    return {row.trial_id: row for row in run(points)}
