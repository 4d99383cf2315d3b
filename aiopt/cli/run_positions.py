"""Closed positions of run folders and files, for the command that learns from them.

Owns which of a run's trades count as in-sample.  Prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from aiopt.dataset.positions import ClosedPosition, load_positions, positions_of_trades
from aiopt.errors import InputError
from aiopt.runs import RunFolder, is_run, load_run


def positions_of(paths: Sequence[Path], symbol: str | None = None) -> list[ClosedPosition]:
    """Return the closed positions of runs and of files of positions, in the order given.

    Parameters
    ----------
    paths : sequence of Path
        Run folders and files.
    symbol : str, optional
        Instrument of runs that do not say it.

    Raises
    ------
    InputError
        If a run has no ranked entries or no walk-forward plan, or a path is given twice.
    DataError
        If a file is damaged.
    """
    resolved = [Path(path).resolve() for path in paths]
    twice = next((path for path in resolved if resolved.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"Every run must be named once, but {twice} is named twice. Leave one out.")
    found: list[ClosedPosition] = []
    for path in resolved:
        of_run = is_run(path) or path.is_dir()
        found += positions_of_run(load_run(path), symbol) if of_run else load_positions(path)
    return found


def positions_of_run(run: RunFolder, symbol: str | None = None) -> list[ClosedPosition]:
    """Return the trades of a run's ranked entries.

    The emitted parameters were chosen on the development segments, and the entries ranked by them: only
    trades entered in the holdout are out of sample.

    Raises
    ------
    InputError
        If the run has no ranking, no plan or no instrument.
    """
    ranking, plan = run.ranking, run.trial_rows()[0] if run.has_trials else None
    if ranking is None or plan is None or not run.entries:
        msg = f"A run must have ranked entries with their trades, but {run.path} has none. Finish the run."
        raise InputError(msg)
    ranked = {entry.name: entry for entry in ranking.entries}
    config = run.config or {}
    found: list[ClosedPosition] = []
    for record in run.entries:
        entry = ranked.get(record.name)
        if entry is None:
            continue
        named = config.get("instrument") if entry.instrument is msgspec.UNSET else entry.instrument
        traded = str(named or symbol or "")
        if not traded:
            msg = f"The run must say what it traded, but {run.path} names no instrument."
            raise InputError(f"{msg} Say it with --instrument.")
        for part in ("in", "out"):
            trades = [
                trade
                for trade in record.trades
                if (trade.entry_ts_ns >= plan.holdout_start_ns) == (part == "out")
            ]
            found += positions_of_trades(
                trades,
                account=run.run_id,
                strategy=record.name,
                part=part,
                instrument=traded,
                timeframe=entry.timeframe,
            )
    return found
