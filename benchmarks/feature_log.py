"""Feature log: rows per second while a backtest runs, and what logging costs the backtest.

A streaming backtest (every bar and signal inside the strategy, as live) runs with and without a log, in turn:
it logs two rows per bar, features and signals.  In the same turns a second thread logs 10,000 rows per second
of 20 columns beside an unlogged backtest.  Last, rows are appended as fast as one thread can.  The rows of
every way are read back and counted.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.featurelog import FeatureLog, compact_stream, list_streams, read_stream
from aiopt.strategy.families import family
from aiopt.testing.bars import random_walk_bar_set
from benchmarks._harness import Figure, interleaved, median

N_BARS = 33_120
ROUNDS = 3
RATE = 10_000
BURST = 200_000
SPEC = family("ema_cross_atr").spec
CONFIG = BacktestConfig(signals="streaming")


def run() -> list[Figure]:
    bars = random_walk_bar_set(N_BARS, seed=7, timeframe="1m")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = []

        def plain() -> None:
            with BacktestSession(bars, CONFIG) as session:
                results.append(session.run(SPEC))

        def logged() -> None:
            with (
                FeatureLog(folder / f"backtest-{len(results)}") as log,
                BacktestSession(bars, CONFIG, sink=log) as session,
            ):
                results.append(session.run(SPEC))

        beside_rows: list[float] = []

        def beside() -> None:
            with _Producer(folder / f"beside-{len(results)}") as producer:
                plain()
            beside_rows.append(producer.rows_per_s)

        times = interleaved({"plain": plain, "logged": logged, "beside": beside}, ROUNDS)
        if len({result.metrics.net_profit for result in results}) != 1:
            raise AssertionError("a log must not change a backtest")
        logs = sorted(folder.glob("backtest-*"))
        for log in logs:
            rows = {stream.name: stream.rows for stream in list_streams(log)}
            expected = {"features": N_BARS, "signals": N_BARS, "trades": results[0].metrics.trades}
            if rows != expected:
                raise AssertionError(f"every row must be in the log: {rows} of {expected}")
        plain_s, logged_s = median(times["plain"]), median(times["logged"])
        burst = _burst(folder / "burst")
        size = sum(path.stat().st_size for path in logs[0].rglob("*.parquet"))
        return [
            Figure(name="backtest_without_log", value=round(plain_s, 2), unit="s"),
            Figure(name="backtest_with_log", value=round(logged_s, 2), unit="s"),
            Figure(name="backtest_slow_down", value=round(logged_s / plain_s, 3), unit="x"),
            Figure(
                name="rows_per_s_by_the_backtest",
                value=round(2 * N_BARS / logged_s),
                unit="rows/s",
                target=10_000,
            ),
            Figure(
                name="rows_per_s_beside_a_backtest",
                value=round(median(beside_rows)),
                unit="rows/s",
                target=10_000 * 0.99,
            ),
            Figure(
                name="backtest_slow_down_beside", value=round(median(times["beside"]) / plain_s, 3), unit="x"
            ),
            *burst,
            Figure(name="bytes_per_row_of_the_backtest", value=round(size / (2 * N_BARS), 1), unit="B"),
        ]


def _row(number: int) -> dict[str, int | float | bool | str]:
    """Return a row of 20 columns."""
    return {
        "ts_ns": 1_700_000_000_000_000_000 + number,
        "model": "rules",
        "ok": number % 3 == 0,
        **{f"x{column}": number * 0.001 * column for column in range(17)},
    }


class _Producer:
    """A thread that logs `RATE` rows per second, in steps of ten milliseconds, until the block ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = FeatureLog(folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._rows = 0
        self.rows_per_s = 0.0

    def __enter__(self) -> _Producer:
        self._begun = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        elapsed = time.perf_counter() - self._begun
        self._log.close()
        if read_stream(self._folder, "predictions").height != self._rows:
            raise AssertionError("every row must be in the log")
        self.rows_per_s = self._rows / elapsed

    def _work(self) -> None:
        while not self._stop.is_set():
            due = int((time.perf_counter() - self._begun) * RATE)
            while self._rows < due:
                self._log.append("predictions", _row(self._rows))
                self._rows += 1
            self._stop.wait(0.01)


def _burst(folder: Path) -> list[Figure]:
    """Append as fast as one thread can, until all is in files."""
    rows = [_row(number) for number in range(1_000)]
    begun = time.perf_counter()
    with FeatureLog(folder) as log:
        for number in range(BURST):
            log.append("predictions", rows[number % 1_000])
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    done = compact_stream(folder, "predictions")
    compacting = time.perf_counter() - begun
    if done.rows != BURST:
        raise AssertionError("every row must be in the log")
    return [
        Figure(name="rows_per_s_alone", value=round(BURST / seconds), unit="rows/s", target=10_000),
        Figure(name="compaction_rows_per_s", value=round(BURST / compacting), unit="rows/s"),
    ]
