"""The report of a run on bars: the spread on every page, what is missing while the market was open."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import msgspec
import pytest

from aiopt.bars.manifest import BarManifest, BarOrigin, manifest_type, spread_of
from aiopt.optimize.summary import summarise
from aiopt.report import write_report
from aiopt.report.html import brief
from aiopt.report.quality import data_quality
from aiopt.runs import MANIFEST, RunFileError, read_json
from aiopt.testing.run_folder import RunModel, write_run_folder
from aiopt.ticks.manifest import Manifest, SilentHour

SPREAD = "constant 0.8 pips, added to one-sided bars (given: bid)"
HOUR_NS = 3_600_000_000_000


def manifest_of(days: int, first: dt.datetime = dt.datetime(2018, 3, 5, tzinfo=dt.UTC)) -> BarManifest:
    """Whole hours of minute bars on week days, without those of 12:00 and with half of those of 13:00."""
    first_ns = int(first.timestamp()) * 1_000_000_000
    kept = {}
    for number in range(days):
        day = first + dt.timedelta(days=number)
        if day.weekday() < 5:
            kept[f"{day:%Y-%m-%d}"] = [60] * 12 + [0, 30] + [60] * 10
    return BarManifest(
        aiopt_version="1",
        instrument="EURUSD",
        timeframe="1m",
        source="a.zip (histdata 1m bid bars)",
        spread=SPREAD,
        synthetic=False,
        data_hash="ab" * 32,
        bars=sum(map(sum, kept.values())),
        first_ts_ns=first_ns,
        last_ts_ns=first_ns + 24 * days * HOUR_NS - 60_000_000_000,
        left_out={"there twice": 3},
        silent_hours=[SilentHour(hour=f"{day}T12", reason="no_bars") for day in kept],
        day_bars=kept,
        notes=["A note."],
        sources=[
            BarOrigin(
                source="a.zip",
                format="histdata",
                clock="America/New_York",
                side="bid",
                bars=7,
                left_out={"impossible": 2},
                first_ts_ns=first_ns,
                last_ts_ns=first_ns + HOUR_NS,
                files=[],
            )
        ],
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run_folder(tmp_path / "run", RunModel(synthetic=False, trials=8))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest_of(12)))
    return folder


def test_every_page_names_the_spread(run: Path) -> None:
    page = write_report(run).read_text()
    assert page.count(SPREAD) >= 3, "in the summary, with the data, and among the caveats"
    assert "EURUSD bars of 1m" in page
    assert "Bars missing while the market was open" in page
    document = json.loads((run / "report.json").read_text())
    assert document["data"]["spread"] == SPREAD
    assert (document["data"]["bars"], document["data"]["ticks"]) == (manifest_of(12).bars, None)
    assert {(one["name"], one["value"]) for one in document["data"]["treated"]} == {
        ("there twice", "3"),
        ("impossible", "2"),
    }
    lines: list[str] = []
    assert summarise(run, lines.append, finished_before=False).spread == SPREAD
    assert f"Spread: {SPREAD}." in lines


def test_missing_bars_are_those_of_the_open_market() -> None:
    rows = data_quality(manifest_of(7)).hours
    monday, saturday, sunday = rows[0], rows[5], rows[6]
    assert monday.ticks == [0] * 12 + [60, 30] + [0] * 10
    assert saturday.ticks == [0] * 24, "closed"
    assert sunday.ticks == [0] * 21 + [60, 60, 60], "from 17:00 New York, in summer time"
    months = data_quality(manifest_of(130)).hours
    assert [row.day for row in months] == ["2018-03", "2018-04", "2018-05", "2018-06", "2018-07"]
    assert months[1].ticks[12:14] == [21 * 60, 21 * 30]
    hourly = msgspec.structs.replace(manifest_of(7), timeframe="4h")
    assert data_quality(hourly).hours == []


def test_folds_that_reach_into_another_year_name_it() -> None:
    new_year = int(dt.datetime(2018, 12, 31, 21, 30, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
    assert brief(new_year) == "31 Dec 21:30"
    assert brief(new_year, True) == "31 Dec 2018"


def test_a_manifest_is_told_by_its_content(run: Path) -> None:
    assert manifest_type(read_json(run / MANIFEST, dict)) is BarManifest
    assert manifest_type({"rows": 1}) is Manifest
    assert spread_of(read_json(run / MANIFEST, BarManifest)) == SPREAD
    (run / MANIFEST).write_text('{"kind": "bars"}')
    with pytest.raises(RunFileError, match=r"manifest\.json does not hold what this version"):
        write_report(run)
