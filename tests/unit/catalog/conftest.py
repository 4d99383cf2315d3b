"""A data root with one of each kind, small enough to make for every test."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.importing.bar_import import BarImport
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.featurelog import FeatureLog
from aiopt.files import sha256_file
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import Manifest, read_manifest

MONDAY_NS = int(np.datetime64("2024-05-06T00:00", "ns").astype(np.int64))
STEP_NS = 30_000_000_000


def make_ticks(count: int = 4_000) -> pl.DataFrame:
    """Return ticks over a day and a bit; some share a stamp."""
    number = np.arange(count)
    bid = 110_000 + (number * 7) % 40
    return pl.DataFrame(
        {
            "ts_event_ns": MONDAY_NS + number // 3 * 3 * STEP_NS,
            "bid": bid / 1e5,
            "ask": (bid + 10) / 1e5,
            "bid_size": (number % 5) * 100_000.0,
            "ask_size": (number % 3) * 100_000.0,
        }
    )


def write_run(folder: Path, manifest: Manifest | None, status: str = "done") -> Path:
    """Write the files by which a run folder is known."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"status": status, "stage": "report"}))
    if manifest is not None:
        (folder / "manifest.json").write_text(
            json.dumps({"data_hash": manifest.data_hash, "synthetic": True, "instrument": "EURUSD"})
        )
    return folder


def write_stream(folder: Path) -> Path:
    """Log 60 rows in six segments."""
    log = FeatureLog(folder)
    for part in range(6):
        for row in range(10):
            log.append("signals", {"ts_ns": part * 10 + row, "score": row / 7, "note": f"{part}"})
        log.flush()
    log.close()
    return folder / "signals"


def write_dataset(folder: Path, manifest: Manifest | BarImport) -> Path:
    """Write what a dataset says of itself, and one file."""
    (folder / "data").mkdir(parents=True)
    path = folder / "data" / "train-0.parquet"
    pl.DataFrame({"x": [1, 2, 3]}).write_parquet(path)
    facts = {
        "instrument": "EURUSD",
        "timeframe": "5m",
        "rows": 3,
        "data_hash": manifest.data_hash,
        "synthetic": True,
        "splits": {
            "train": {"first_decision_ns": 10, "last_decision_ns": 20},
            "test": {"first_decision_ns": 30, "last_decision_ns": 40},
        },
        "files": [{"path": "data/train-0.parquet", "sha256": sha256_file(path)}],
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with ticks, bars of them, a run on them, a download and plain Parquet."""
    base = tmp_path / "root"
    manifest = write_tick_store(base / "ticks" / "EURUSD", make_ticks(), row_group_rows=500)
    build(
        base / "ticks" / "EURUSD",
        base / "bars",
        BarRequest(parse_bar_rules("time", "5m"), ("bid", "ask")),
    )
    write_run(base / "runs" / "first", manifest)
    download = base / "downloads" / "EURUSD"
    download.mkdir(parents=True)
    (download / ".hours.json").write_text(
        json.dumps({"hours": {"2024-05-06T10": {"status": "ticks", "file": "a.bi5", "sha256": "0"}}})
    )
    (base / "log").mkdir()
    for part in range(6):
        make_ticks(300).slice(50 * part, 50).write_parquet(base / "log" / f"part-{part}.parquet")
    return base


@pytest.fixture
def manifest(root: Path) -> Manifest:
    return read_manifest(root / "ticks" / "EURUSD")


NOW = dt.datetime(2024, 5, 13, tzinfo=dt.UTC)
