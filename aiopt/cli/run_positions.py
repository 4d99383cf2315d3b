"""Closed positions of run folders, sessions and files, for the command that learns from them.

Owns which of a run's trades count as in-sample, and that of a session's replay somebody must say it.  Prints
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from aiopt.dataset.positions import ClosedPosition, load_positions, positions_of_trades
from aiopt.errors import InputError
from aiopt.live.state.session_file import is_session
from aiopt.runs import RunFolder, is_run, load_run

if TYPE_CHECKING:
    from aiopt.live.session.session_record import SessionRecord

Part = Literal["in", "out"]


def positions_of(
    paths: Sequence[Path], symbol: str | None = None, *, replayed: Part | None = None
) -> list[ClosedPosition]:
    """Return the closed positions of runs, of sessions and of files of positions, in the order given.

    Parameters
    ----------
    paths : sequence of Path
        Folders of runs and sessions, and files.
    symbol : str, optional
        Instrument of runs that do not say it.
    replayed : {"in", "out"}, optional
        What a replay's trades are; needed where a session was one.

    Raises
    ------
    InputError
        If a run has no ranked entries or no walk-forward plan, a session was a replay and `replayed` is not
        given, or a path is given twice.
    DataError
        If a file is damaged.
    """
    resolved = [Path(path).resolve() for path in paths]
    twice = next((path for path in resolved if resolved.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"Every run must be named once, but {twice} is named twice. Leave one out.")
    found: list[ClosedPosition] = []
    for path in resolved:
        if is_session(path):
            from aiopt.live.session.session_record import read_record

            found += positions_of_session(read_record(path), replayed)
        else:
            of_run = is_run(path) or path.is_dir()
            found += positions_of_run(load_run(path), symbol) if of_run else load_positions(path)
    return found


def positions_of_session(record: SessionRecord, replayed: Part | None = None) -> list[ClosedPosition]:
    """Return the finished trades of a session.

    What trades in real time is out of sample: its strategies were chosen before.  Of a replay nobody but its
    maker knows whether they were chosen on the days that were replayed.

    Raises
    ------
    InputError
        If it was a replay, and `replayed` is not given.
    """
    if record.is_replay and replayed is None:
        msg = f"The session {record.session} replayed days of the past, so its strategies may have been "
        raise InputError(
            f"{msg}chosen on them. Say it with --replay-sample: in, if they were; out, if they were not."
        )
    found: list[ClosedPosition] = []
    for one in record.config.strategies:
        trades = [trade for trade in record.trades if trade.strategy == one.id]
        if trades:
            found += positions_of_trades(
                trades,
                account=record.session,
                strategy=one.id,
                part=replayed if record.is_replay and replayed else "out",
                instrument=record.instrument_of(one),
                timeframe=one.frame.label,
                origin="paper",
            )
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
