"""Which reading is known at which bar, and files of readings that are none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from aiopt.analyst.scans import ScanConfig, WindowReading, load_readings, readings_at, run_scan
from aiopt.errors import DataError, MetricInputError
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars
from aiopt.utc import MINUTE_NS

BARS = random_walk_bars(40, seed=2, timeframe="5m")
OPENS = BARS.ts_open_ns
STEP = 5 * MINUTE_NS


def reading(close_of: int, seconds: float, **fields: object) -> WindowReading:
    """A reading of a window whose last bar is `close_of`."""
    known: dict[str, object] = {
        "number": close_of,
        "sample": f"EURUSD-5m-{close_of}",
        "instrument": "EURUSD",
        "timeframe": "5m",
        "bars": 20,
        "ts_start_ns": int(OPENS[close_of]) - 19 * STEP,
        "ts_end_ns": int(OPENS[close_of]) + STEP,
        "chart_sha256": "",
        "image_sha256": None,
        "reader": "rules",
        "asked_ns": 1,
        "answered_ns": 2,
        "seconds": seconds,
        "bias": "long",
    }
    return msgspec.convert({**known, **fields}, WindowReading)


def brute(readings: list[WindowReading], moments: np.ndarray) -> list[int]:
    """The latest window whose answer is before each moment, found by looking at all."""
    found = []
    for moment in moments:
        known = [i for i, one in enumerate(readings) if not one.failure and one.available_ns < moment]
        found.append(max(known, key=lambda i: (readings[i].ts_end_ns, readings[i].available_ns), default=-1))
    return found


def test_a_reading_counts_from_its_answer_and_not_from_its_close() -> None:
    found = readings_at(BARS, [reading(9, 0.5), reading(19, 301.0)])
    # Bar 10 opens as the first window closes: half a second too early.  The second takes a bar longer.
    assert found.tolist() == [-1] * 11 + [0] * 11 + [1] * 18
    assert readings_at(BARS, [reading(9, 0.5)], at="close").tolist() == [-1] * 10 + [0] * 30
    # Known at the very moment is not known before it.
    assert readings_at(BARS, [reading(9, 0.0)]).tolist() == [-1] * 11 + [0] * 29


def test_it_agrees_with_looking_at_every_reading() -> None:
    rng = np.random.default_rng(4)
    readings = [
        reading(int(bar), float(rng.exponential(400.0)), failure="" if rng.random() < 0.8 else "endpoint")
        for bar in rng.permutation(30)
    ]
    assert readings_at(BARS, readings).tolist() == brute(readings, OPENS)
    assert readings_at(BARS, readings, at="close").tolist() == brute(readings, OPENS + STEP)
    assert len(set(readings_at(BARS, readings).tolist())) > 5


def test_latency_and_age_may_be_said() -> None:
    one = [reading(9, 0.5)]
    assert readings_at(BARS, one, latency_s=600.0).tolist() == [-1] * 13 + [0] * 27
    aged = readings_at(BARS, one, max_age_s=900.0)
    assert aged.tolist() == [-1] * 11 + [0] * 3 + [-1] * 26
    for name in ("latency_s", "max_age_s"):
        with pytest.raises(MetricInputError, match=rf"`{name} >= 0` must hold, but got {name}=-1"):
            readings_at(BARS, one, **{name: -1.0})  # type: ignore[arg-type]


def test_readings_of_another_instrument_are_refused() -> None:
    with pytest.raises(DataError, match=r"instrument EURUSD, but one is of GBPUSD"):
        readings_at(BARS, [reading(9, 0.5, instrument="GBPUSD")])


def test_no_readings_are_known_nowhere() -> None:
    assert readings_at(BARS, []).tolist() == [-1] * 40


def test_a_scan_joins_to_its_bars_without_look_ahead(tmp_path: Path) -> None:
    bars = random_walk_bar_set(400, seed=5)
    run_scan(bars, ScanConfig(windows=50, every=5), tmp_path / "scan")
    readings = load_readings(tmp_path / "scan")
    found = readings_at(bars.bid, readings)
    for bar, index in enumerate(found):
        if index >= 0:
            assert readings[index].ts_end_ns < bars.bid.ts_open_ns[bar]
    assert (found >= 0).sum() > 200


def test_a_file_that_is_no_scan_is_refused_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "readings.parquet"
    with pytest.raises(DataError, match=r"cannot be read.*Give the readings.parquet of a scan"):
        load_readings(path)
    pl.DataFrame({"bias": ["long"]}).write_parquet(path)
    with pytest.raises(DataError, match=r"must have the columns of a scan, but number, sample"):
        load_readings(path)
    bars = random_walk_bar_set(200, seed=5)
    run_scan(bars, ScanConfig(windows=4), tmp_path / "scan")
    table = pl.read_parquet(tmp_path / "scan" / "readings.parquet")
    table = table.with_columns(bias=pl.when(pl.col("number") == 2).then(pl.lit("up")).otherwise("bias"))
    table.write_parquet(path)
    with pytest.raises(DataError, match=r"readings.parquet, row 2: .*Invalid enum value 'up'"):
        load_readings(path)
