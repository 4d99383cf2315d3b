"""A whole run of a strategy that asks for readings beside one that does not: swept, ranked, kept, rerun."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from aiopt.analyst.scans import ScanConfig, run_scan
from aiopt.analyst.settings import AnalystSettings
from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.errors import DataError, InputError, SpecError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig
from aiopt.optimize.pine_config import PineConfig
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.rerunning import as_recorded, differences, find_trial, rerun_trial
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import READINGS, load_run
from aiopt.strategy.spec import spec_from_mapping
from aiopt.strategy.spec_readings import gate_of
from aiopt.ticks.sample import generate_ticks
from aiopt.timeframe import parse_timeframe
from aiopt.verification.scripts import tasks_of_run

pytestmark = pytest.mark.slow

TURNS = """\
name: {name}
params: {{stop: 9.0{params}}}
entry_long: close > open and close[1] < open[1]
entry_short: close < open and close[1] > open[1]
stop_loss: {{unit: pips, value: stop}}
time_stop: {{bars: 5}}
{readings}
search:
  dimensions:
    stop: {{type: float, low: 5.0, high: 15.0, step: 0.5}}
    {dimensions}
"""
GATE = """\
readings:
  without: refuse
  max_age_bars: age
  min_confidence: least
  long: {bias: [long, neutral]}
  short: {bias: [short, neutral]}
  size: {low: 0.1, high: 0.6, least: 0.5, most: 2.0}
"""
SPECS = {
    "plain": TURNS.format(name="plain", params="", readings="", dimensions=""),
    "gated": TURNS.format(
        name="gated",
        params=", age: 6, least: 0.1",
        readings=GATE,
        dimensions="age: {type: int, low: 2, high: 12}\n    least: {type: float, low: 0.05, high: 0.3}",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ticks, a scan of their bars, two strategies."""
    folder = tmp_path_factory.mktemp("readings")
    generate_ticks(folder / "ticks", start="2024-03-04", days=6, ticks_per_day=3_000)
    request = BarRequest(time_rules([parse_timeframe("5m")]), ("bid", "ask"))
    build(folder / "ticks", folder / "bars", request)
    bars = load_bar_set(folder / "bars" / "EURUSD" / "5m")
    scan = ScanConfig(windows=2_000, every=2, analyst=AnalystSettings(bars=40))
    run_scan(bars, scan, folder / "scan")
    for name, text in SPECS.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def config_of(folder: Path, *names: str, **settings: object) -> OptimizeConfig:
    return OptimizeConfig(
        ticks=str(folder / "ticks"),
        analysis=AnalysisConfig(enabled=False),
        timeframes=("5m",),
        strategies=tuple(str(folder / f"{name}.yaml") for name in names),
        trials=3,
        walk_forward=WalkForwardConfig(train_segments=2, folds=3, holdout_segments=1),
        ranking=RankingConfig(top=4, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
        robustness=RobustnessConfig(draws=20),
        pine=PineConfig(verify="off"),
        **settings,
    )


@pytest.fixture(scope="module")
def run(folder: Path) -> tuple[Path, list[str], list[dict]]:
    """The run's folder, its log, its entries."""
    log: list[str] = []
    config = config_of(folder, "plain", "gated", readings=str(folder / "scan"), reading_latency_s=1.5)
    result = run_pipeline(config, folder / "runs", log=log.append)
    return Path(result.run_dir), log, result.entries


def test_gated_entries_are_ranked_and_have_no_script(run) -> None:
    run_dir, log, entries = run
    by_family = {entry["group"].partition("@")[0]: entry for entry in entries}
    assert by_family.keys() == {"plain", "gated"}
    assert by_family["gated"]["pine"] is None
    assert Path(by_family["plain"]["pine"]).is_file()
    name = by_family["gated"]["name"]
    spec = spec_from_mapping(json.loads((run_dir / "pine" / f"{name}.json").read_text()), where=name)
    assert gate_of(spec) is not None
    assert not (run_dir / "pine" / f"{name}.pine").exists()
    assert any("no script of gated will be written: a Pine Script cannot know" in line for line in log)
    assert any("pine: 1 scripts in" in line for line in log)
    assert (run_dir / "report.html").is_file()


def test_readings_are_part_of_what_the_run_is(run) -> None:
    run_dir, _, _ = run
    config = json.loads((run_dir / "config.json").read_text())
    assert config["readings"]["latency_s"] == 1.5
    assert config["readings"]["reader"] == "rules"
    assert "reading_latency_s" not in config
    rows = {row.family: row for row in load_run(run_dir).trial_rows()[1]}
    assert rows["gated"].config_hash != rows["plain"].config_hash


def test_a_trial_of_it_is_the_same_again(run) -> None:
    run_dir, _, _ = run
    found = load_run(run_dir)
    for row in load_run(run_dir).trial_rows()[1]:
        before, plan = find_trial(found, row.trial_id)
        after = rerun_trial(found, before, plan)
        assert before.status == "ok"
        assert differences(before, as_recorded(before, after, plan)) == {}


def test_a_damaged_file_of_readings_ends_a_rerun(run, tmp_path: Path) -> None:
    run_dir, _, _ = run
    found = load_run(run_dir)
    gated = next(row for row in found.trial_rows()[1] if row.family == "gated")
    before, plan = find_trial(found, gated.trial_id)
    kept = (run_dir / READINGS).read_bytes()
    try:
        (run_dir / READINGS).write_bytes(kept[:-100])
        with pytest.raises(DataError, match=r"readings.parquet: The file cannot be read"):
            rerun_trial(found, before, plan)
    finally:
        (run_dir / READINGS).write_bytes(kept)


def test_scripts_of_the_run_are_verified_without_it(run) -> None:
    run_dir, _, entries = run
    names = {entry["group"].partition("@")[0]: entry["name"] for entry in entries}
    assert [task.name for task in tasks_of_run(run_dir, None, None, None)] == [names["plain"]]
    with pytest.raises(SpecError, match="a Pine Script cannot know what a model read"):
        tasks_of_run(run_dir, None, names["gated"], None)


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (("plain", "gated"), {}, "strategy gated: readings: it asks for readings of a model, but none were"),
        (("plain",), {"readings": "scan"}, "no strategy of the run asks for readings. Leave it out"),
        (("gated",), {"readings": "scan", "timeframes": ("5m", "1h")}, ""),
        (("gated",), {"readings": "bars"}, "The file cannot be read"),
    ],
)
def test_what_does_not_fit_ends_the_run_before_it_starts(
    folder: Path, tmp_path: Path, names, settings, message: str
) -> None:
    if "readings" in settings:
        settings = settings | {"readings": str(folder / settings["readings"])}
    timeframes = settings.pop("timeframes", ("5m",))
    config = msgspec.structs.replace(config_of(folder, *names, **settings), timeframes=timeframes)
    if message:
        with pytest.raises(InputError, match=message):
            run_pipeline(config, tmp_path / "runs", log=lambda line: None)
        assert not list((tmp_path / "runs").glob("optimize-*"))
    else:  # readings of 5m charts count on 1h bars too
        result = run_pipeline(config, tmp_path / "runs", log=lambda line: None)
        assert {entry["group"] for entry in result.entries} == {"gated@5m", "gated@1h"}
