"""What a trial costs on disk and in memory, per year of hourly periods, on 1m, 5m and 15m bars.

Every ready family is backtested once with its own parameters over a year of generated bars (a random walk,
bid and ask), and its row is put into a leaderboard.  Bytes on disk are those the journal grows by; as JSON,
what a row took in format 1.  Memory is what Python allocates (`tracemalloc`): of a leaderboard with a
journal, of one without, and of rows unpacked: with arrays, as a ranking reads them, and with lists, as other
readers have them.

`AIOPT_BENCH_JOURNAL_DAYS` sets the span; figures are scaled to a year of 365.25 days.
"""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.evaluation.folds import WalkForwardConfig, plan_walk_forward
from aiopt.market.instrument import instrument
from aiopt.ranking.journal import Journal
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.packing import pack_row, unpack_row
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.trial import TrialContext, TrialPoint, run_trial
from aiopt.testing.bars import random_walk_bars
from aiopt.timeframe import parse_timeframe
from aiopt.utc import HOUR_NS
from benchmarks._harness import Figure

DAYS = float(os.environ.get("AIOPT_BENCH_JOURNAL_DAYS", "365.25"))
TIMEFRAMES = ("1m", "5m", "15m")
COPIES = 20
SEED = 3


def run() -> list[Figure]:
    """Measure and return the figures."""
    figures = [Figure(name="days", value=DAYS, unit="days"), Figure(name="period", value=1, unit="h")]
    for timeframe in TIMEFRAMES:
        rows, context = _rows(timeframe)
        years = (context.plan.stop_ns - context.plan.start_ns) / (8_766 * HOUR_NS)
        figures += [
            Figure(name=f"{timeframe}_{name}", value=round(value / len(rows) / years), unit=unit)
            for name, value, unit in _measured(rows, context)
        ]
    return figures


def _measured(rows: list[TrialRow], context: TrialContext) -> list[tuple[str, float, str]]:
    """Return name, total over the rows and unit of every figure."""
    packed = [pack_row(row) for row in rows]
    trades = sum(sum(row.segment_trades) + sum(row.holdout_trades) for row in rows)
    busy = sum(value != 0 for row in rows for value in (*row.pnl, *row.holdout_pnl))
    in_bytes = "bytes/trial/year"
    return [
        ("trades", trades, "trades/trial/year"),
        ("hours_with_profit", busy, "hours/trial/year"),
        ("json", sum(len(canonical_json(row)) for row in rows), in_bytes),
        ("journal", _on_disk(packed, context), in_bytes),
        ("leaderboard", _board_memory(rows, context) / COPIES, in_bytes),
        ("leaderboard_without_journal", _memory(lambda: _board(rows, context, None)) / COPIES, in_bytes),
        ("arrays", _memory(lambda: _unpacked(packed, compact=True)) / COPIES, in_bytes),
        ("lists", _memory(lambda: _unpacked(packed, compact=False)) / COPIES, in_bytes),
    ]


def _on_disk(packed: list[bytes], context: TrialContext) -> int:
    """Return the bytes a journal grows by."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leaderboard.jsonl"
        journal = Journal(path, context.plan)
        empty = path.stat().st_size
        journal.append(packed)
        journal.close()
        return path.stat().st_size - empty


def _rows(timeframe: str) -> tuple[list[TrialRow], TrialContext]:
    """Return one row per ready family over the span."""
    n_bars = int(DAYS * 5 / 7 * 86_400e9 // parse_timeframe(timeframe).ns)
    bid = random_walk_bars(n_bars, seed=SEED, timeframe=timeframe)
    one = BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash)
    plan = plan_walk_forward(WalkForwardConfig(), bid.ts_open_ns)
    context = TrialContext(backtest=BacktestConfig(), plan=plan, seed=SEED, data_hash=bid.data_hash)
    with BacktestSession(add_spread(one, 0.8), context.backtest) as session:
        rows = [
            run_trial(
                session,
                TrialPoint(f"{name}@{timeframe}-00000", name, timeframe, space.spec.params, space.spec),
                context,
            )
            for name, space in FAMILIES.items()
        ]
    failed = [row.error for row in rows if not row.ok]
    if failed:
        raise AssertionError(f"every trial must succeed, but: {failed[0]}")
    return rows, context


def _board_memory(rows: list[TrialRow], context: TrialContext) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return _memory(lambda: _board(rows, context, Path(folder) / "leaderboard.jsonl"))


def _board(rows: list[TrialRow], context: TrialContext, journal: Path | None) -> Leaderboard:
    board = Leaderboard(journal, RankingConfig(), context.plan)
    for copy in range(COPIES):
        board.add_many(msgspec.structs.replace(row, trial_id=f"{row.trial_id}-{copy}") for row in rows)
    return board


def _unpacked(packed: list[bytes], *, compact: bool) -> list[TrialRow]:
    return [unpack_row(one, compact=compact) for _ in range(COPIES) for one in packed]


def _memory(make: Callable[[], object]) -> int:
    """Return the bytes that what `make` returns keeps allocated."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = make()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return after - before
