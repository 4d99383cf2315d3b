"""A trial of a finished or interrupted run, backtested anew, to see whether its row is still the same.

Owns the way from a run folder back to a trial's point, bars and assumptions.  Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.conversion import with_conversion
from aiopt.backtest.session import BacktestSession
from aiopt.bars.files import load_bar_set
from aiopt.bars.schema import BarSet
from aiopt.config import decode
from aiopt.errors import DataError, InputError, did_you_mean
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.optimize.run_readings import kept_readings
from aiopt.ranking.journal import JournalIndex
from aiopt.ranking.kept_series import lacks_series, summed_up
from aiopt.ranking.trial_list import ListedTrial, listed, read_listed
from aiopt.ranking.trials import TrialRow, read_plan, read_some_trials, read_trial_ids
from aiopt.runs import BARS, CONFIG, LEADERBOARD, RunFileError, RunFolder, backtest_of, markets_of
from aiopt.strategy.spec import StrategySpec
from aiopt.sweep.markets import MarketTerms
from aiopt.sweep.trial import TrialContext, TrialPoint, run_trial, terms_hash

Progress = Callable[[float], None]


def plan_and_rows(run: RunFolder) -> tuple[WalkForwardPlan, Iterator[TrialRow]]:
    """Return what the trials of a run are cut by, and their rows; of an interrupted run from the journal.

    Raises
    ------
    NotARunError, RunFileError, DataError
        If the run has no trials yet, or a file of it is damaged.
    """
    plan, rows = run.trial_rows()
    return _known_plan(run, plan), rows


def listed_trials(run: RunFolder) -> Iterator[ListedTrial]:
    """Return what a list shows of the trials of a run, interrupted ones too; errors as `plan_and_rows`."""
    if run.trials_path is None:
        plan, _ = plan_and_rows(run)
        return (listed(row, plan) for row in JournalIndex(run.path / LEADERBOARD).rows())
    return read_listed(run.trials_path, _known_plan(run, read_plan(run.trials_path)))


def _known_plan(run: RunFolder, plan: WalkForwardPlan | None) -> WalkForwardPlan:
    found = plan or (None if run.ranking is None else run.ranking.plan)
    if found is None:
        msg = f"{run.path}: the trials must name their walk-forward plan, but do not. Repeat the run."
        raise RunFileError(msg)
    return found


def find_trial(run: RunFolder, trial_id: str) -> tuple[TrialRow, WalkForwardPlan]:
    """Return a trial's row and the plan it is cut by; of an interrupted run from the journal.

    The row is as the run recorded it: of a large sweep maybe without its profits per period.

    Raises
    ------
    InputError
        If the run has no such trial.
    NotARunError, RunFileError, DataError
        If the run has no trials yet, or a file of it is damaged.
    """
    if run.trials_path is not None:
        plan = _known_plan(run, read_plan(run.trials_path))
        every = read_trial_ids(run.trials_path)
        if trial_id not in every:
            raise _no_such_trial(trial_id, every)
        return read_some_trials(run.trials_path, [trial_id])[0], plan
    plan, rows = plan_and_rows(run)
    known = []
    for row in rows:
        if row.trial_id == trial_id:
            return row, plan
        known.append(row.trial_id)
    raise _no_such_trial(trial_id, known)


def _no_such_trial(trial_id: str, known: list[str]) -> InputError:
    hint = did_you_mean(trial_id, known) or f" The first is {min(known)!r}." if known else ""
    return InputError(f"A trial must be one of the run's {len(known):,}, but {trial_id!r} is none.{hint}")


def rerun_trial(
    run: RunFolder,
    row: TrialRow,
    plan: WalkForwardPlan,
    *,
    conversion: Path | None = None,
    progress: Progress | None = None,
) -> TrialRow:
    """Backtest a trial again on the run's own bars and return its row.

    Parameters
    ----------
    run : RunFolder
        Whose bars and settings are used.
    row : TrialRow
        From `find_trial`.
    plan : WalkForwardPlan
        From `find_trial`.
    conversion : Path, optional
        Bars of the pair that the account's currency is converted by, where the run used such: the run folder
        keeps their hash, not the bars.
    progress : callable, optional
        Called with the bars done.

    Raises
    ------
    RunFileError
        If the run's configuration is missing or of another version.
    DataError
        If its bars are missing or damaged, or the conversion bars are others.
    """
    point, context = trial_of(run, row, plan)
    with BacktestSession(bars_of_trial(run, row, conversion), context.backtest, progress=progress) as session:
        return run_trial(session, point, context)


def trial_of(run: RunFolder, row: TrialRow, plan: WalkForwardPlan) -> tuple[TrialPoint, TrialContext]:
    """Return a trial and what it is measured by; errors as `rerun_trial`."""
    config = _config(run)
    where = f"{run.path / CONFIG}, backtest"
    settings = backtest_of(config, row.instrument)
    backtest = decode(settings, BacktestConfig, where=where, error=RunFileError)
    spec = msgspec.json.decode(row.spec_json, type=StrategySpec)
    read = (config.get("readings") or {}).get("hash", "")
    terms_of_run = terms_hash(backtest.config_hash, spec, read)
    if terms_of_run != row.config_hash:
        msg = (
            f"{run.path}: the trial must be one of the run's settings, but they have the hash "
            f"{terms_of_run[:12]} and the trial {row.config_hash[:12]}. "
            "The run is of another version of aiopt: rerun it with that one."
        )
        raise RunFileError(msg)
    point = TrialPoint(
        trial_id=row.trial_id,
        family=row.family,
        timeframe=row.timeframe,
        params=msgspec.json.decode(row.params_json),
        spec=spec,
        instrument=row.instrument,
        search=row.search,
        generation=row.generation,
    )
    terms = {str(row.instrument): MarketTerms(backtest, row.data_hash)} if row.instrument else {}
    context = TrialContext(
        backtest=backtest,
        plan=plan,
        seed=row.seed,
        data_hash=row.data_hash,
        markets=terms,
        readings_hash=read,
    )
    return point, context


def as_recorded(before: TrialRow, after: TrialRow, plan: WalkForwardPlan) -> TrialRow:
    """Return a trial's new row in the form of its recorded one.

    Where that has a hash instead of its profits per period, or beside them, so has the new one: the hashes
    are equal only if all profits are.
    """
    return summed_up(after, plan, keep=not lacks_series(before)) if before.summed_up else after


def differences(before: TrialRow, after: TrialRow) -> dict[str, tuple[Any, Any]]:
    """Return the columns in which two rows differ, with both values; empty: they are equal bit for bit."""
    found = {}
    for name in TrialRow.__struct_fields__:
        one, other = (
            None if value is msgspec.UNSET else value
            for value in (getattr(before, name), getattr(after, name))
        )
        if msgspec.msgpack.encode(one) != msgspec.msgpack.encode(other):
            found[name] = (one, other)
    return found


def _config(run: RunFolder) -> dict[str, Any]:
    if run.config is None:
        raise RunFileError(f"{run.path}: {CONFIG} must be there, but is not. Repeat the run.")
    return run.config


def bars_of_trial(run: RunFolder, row: TrialRow, conversion: Path | None) -> BarSet:
    """Return the run's own bars that a trial ran on; errors as `rerun_trial`."""
    config = _config(run)
    symbol = str(row.instrument or config.get("instrument", ""))
    folder = run.path / BARS / symbol / row.timeframe
    if not folder.is_dir():
        msg = "the run's own bars must be there, but are not. Were they pruned? Run the same command again."
        raise DataError(msg, file=folder)
    bars = kept_readings(load_bar_set(folder), config, run.path)
    kept = markets_of(config).get(symbol, config).get("conversion")
    if kept is None:
        return bars
    if conversion is None:
        msg = (
            f"The run's account is converted by bars of {kept['instrument']}, which a run folder does not "
            "keep. Name them: --conversion PATH."
        )
        raise InputError(msg)
    rates = load_bar_set(conversion)
    if rates.data_hash != kept["data_hash"]:
        msg = (
            f"the conversion bars must be those of the run, but their hash is {rates.data_hash[:12]}, not "
            f"{kept['data_hash'][:12]}."
        )
        raise DataError(msg, file=conversion)
    return with_conversion(bars, rates)
