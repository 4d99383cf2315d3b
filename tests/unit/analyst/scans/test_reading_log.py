"""From a scan's file to what a gate looks at, and files that are none for these bars."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.analyst.scans import (
    ScanConfig,
    load_readings,
    reading_log,
    readings_at,
    run_scan,
    with_readings,
)
from aiopt.analyst.settings import AnalystSettings
from aiopt.errors import ConfigError, DataError
from aiopt.strategy.reading_gate import ReadingsOnBars
from aiopt.testing.bars import random_walk_bar_set

BARS = random_walk_bar_set(300, seed=6)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans") / "scan"
    run_scan(BARS, ScanConfig(windows=300, every=3, analyst=AnalystSettings(bars=40)), folder)
    return folder


def test_a_scan_becomes_a_log(scan: Path) -> None:
    rows = load_readings(scan)
    log = with_readings(BARS, scan, latency_s=2.0).readings
    assert len(log) == len(rows) == log.chart_ends_ns.size
    assert log.origin.reader == "rules"
    one, row = log.readings[0], rows[0]
    assert (one.ts_end_ns, one.known_ns) == (row.ts_end_ns, row.ts_end_ns + 2_000_000_000)
    assert (one.bias, one.trend, one.figures["confidence"]) == (row.bias, row.trend, row.confidence)
    ago = [seen.bars_ago for reading in log.readings for seen in reading.patterns]
    assert ago == [39 - seen.last_bar for row in rows for seen in row.patterns]
    assert 0 <= min(ago) <= max(ago) < 40


@pytest.mark.parametrize("latency_s", [None, 0.0, 700.0])
def test_the_reading_of_a_bar_is_that_of_the_as_of_join(scan: Path, latency_s: float | None) -> None:
    """Two ways to say which reading is known: the join that feedback uses, and the gate's."""
    rows = load_readings(scan)
    log = reading_log(rows, latency_s=latency_s)
    joined = readings_at(BARS.bid, rows, at="close", latency_s=latency_s)
    known = ReadingsOnBars(log, BARS.bid).known
    ends = [-1 if place < 0 else log.readings[place].ts_end_ns for place in known.tolist()]
    assert ends == [-1 if place < 0 else rows[place].ts_end_ns for place in joined.tolist()]
    assert max(ends) > 0


def test_the_latency_is_part_of_the_hash(scan: Path) -> None:
    rows = load_readings(scan)
    hashes = {reading_log(rows, latency_s=late).log_hash for late in (None, 0.0, 2.0)}
    assert len(hashes) == 3


def test_readings_of_other_prices_are_refused(scan: Path) -> None:
    other = random_walk_bar_set(300, seed=7)
    with pytest.raises(DataError, match=r"scan, row 0: Readings must be of the prices .* Scan these bars"):
        with_readings(other, scan)
    assert with_readings(BARS.slice(60, 280), scan).readings is not None


def test_two_revisions_in_one_file_are_refused(scan: Path) -> None:
    rows = load_readings(scan)
    mixed = [*rows[:5], msgspec.structs.replace(rows[5], model_revision="other"), *rows[6:]]
    said = "row 5: Readings must be of one revision, but are by .* and by .* revision other"
    with pytest.raises(DataError, match=said):
        reading_log(mixed, file=Path("mixed.parquet"))
    abroad = [*rows[:5], msgspec.structs.replace(rows[5], instrument="GBPUSD")]
    with pytest.raises(DataError, match="must be of one instrument, but are of EURUSD and GBPUSD"):
        reading_log(abroad)
    failed = msgspec.structs.replace(rows[5], failure="reply", model_revision="", model_id="")
    assert len(reading_log([*rows[:5], failed])) == 5, "who did not answer has no revision"


def test_a_scan_in_which_nothing_was_read_is_refused(scan: Path) -> None:
    rows = [msgspec.structs.replace(one, failure="endpoint") for one in load_readings(scan)]
    with pytest.raises(DataError, match=r"needs readings, but none of the 87 windows has one. Scan again"):
        reading_log(rows)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="`latency_s >= 0` must hold, but got latency_s="):
            reading_log(load_readings(scan), latency_s=wrong)


def test_ends_are_those_of_all_charts(scan: Path) -> None:
    rows = load_readings(scan)
    rows[3] = msgspec.structs.replace(rows[3], failure="window")
    log = reading_log(rows)
    np.testing.assert_array_equal(log.chart_ends_ns, [one.ts_end_ns for one in rows])
    assert len(log) == len(rows) - 1
