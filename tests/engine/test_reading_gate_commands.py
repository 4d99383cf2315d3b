"""Gates of readings from the command line: a scan by the rules, a backtest with it, a judgement, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from aiopt.analyst.scans import ScanConfig, load_readings, run_scan
from aiopt.analyst.scans.reading_rows import table_of
from aiopt.analyst.settings import AnalystSettings
from aiopt.bars.files import load_bar_set
from aiopt.cli.analyst import command as analyst
from aiopt.cli.backtest import command as backtest
from aiopt.cli.pine import command as pine
from aiopt.ledger import open_ledger
from aiopt.ledger.ledger import FOLDER_VARIABLE
from aiopt.ledger.overview import overview
from aiopt.testing.bars import random_walk_bar_set, write_bar_file

pytestmark = pytest.mark.slow

SPEC = """
name: turns
params: {age: 6, least: 0.1}
entry_long: close > open and close[1] < open[1]
entry_short: close < open and close[1] > open[1]
time_stop: {bars: 4}
readings:
  without: refuse
  max_age_bars: age
  min_confidence: least
  long: {bias: [long, neutral]}
  short: {bias: [short, neutral]}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bid and ask bars, their scan, and a strategy with a gate."""
    place = tmp_path_factory.mktemp("place")
    bars = random_walk_bar_set(1500, seed=8)
    for side in (bars.bid, bars.ask):
        write_bar_file(side, place / "bars" / f"{side.price}.parquet")
    loaded = load_bar_set(place / "bars")
    run_scan(loaded, ScanConfig(windows=1500, every=3, analyst=AnalystSettings(bars=40)), place / "scan")
    (place / "turns.yaml").write_text(SPEC)
    return place


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "ledger"))


def run(command, place: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--bars", str(place / "bars")])


def gated(place: Path, *more: str) -> tuple[str, ...]:
    return str(place / "turns.yaml"), "--readings", str(place / "scan"), *more


def test_a_backtest_with_readings_says_which(place: Path) -> None:
    done = run(backtest, place, *gated(place, "--json"))
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["readings"]["reader"] == "rules"
    assert document["readings"]["latency_s"] is None
    late = json.loads(run(backtest, place, *gated(place, "--reading-latency", "900", "--json")).stdout)
    assert late["readings"]["latency_s"] == 900.0
    assert late["readings"]["hash"] != document["readings"]["hash"]
    assert [one["entry_bar"] for one in late["trades"]] != [one["entry_bar"] for one in document["trades"]]
    streamed = json.loads(run(backtest, place, *gated(place, "--signals", "streaming", "--json")).stdout)
    assert streamed["trades"] == document["trades"]
    shown = run(backtest, place, *gated(place))
    assert "by rules revision rules/" in shown.stdout
    assert "latency as it took in the scan" in shown.stdout


def test_readings_of_two_latencies_are_two_trials(place: Path) -> None:
    for more in ((), ("--reading-latency", "900"), ()):
        assert run(backtest, place, *gated(place, *more)).exit_code == 0
    (market,) = overview(open_ledger()).markets
    assert market.distinct == 2, "the third is the first again"


def test_a_gate_is_judged(place: Path) -> None:
    done = run(analyst, place, "judge-gate", *gated(place, "--draws", "19", "--json"))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["kept"] + found["removed"] == found["free"]["trades"] > 100
    assert found["control"]["draws"] == 19
    assert found["control"]["p_value"] > 0.04
    shown = run(analyst, place, "judge-gate", *gated(place, "--draws", "19"))
    assert found["verdict"] in " ".join(shown.stdout.split())
    assert "shuffled readings" in shown.stdout


GATED = "{place}/turns.yaml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GATED,), "readings: it asks for readings of a model, but none were given. Add --readings"),
        (("rsi_reversion", "--readings", "{place}/scan"), "rsi_reversion asks for no readings. Leave it out"),
        ((GATED, "--reading-latency", "3"), "none are given. Add --readings"),
        ((GATED, "--readings", "{place}/mixed.parquet"), "must be of one revision, but are by"),
        ((GATED, "--readings", "{place}/short.parquet"), "Readings must cover the bars, but"),
        ((GATED, "--readings", "{place}/other.parquet"), "but the chart of .* shows other bars"),
        ((GATED, "--readings", "{place}/none.parquet"), "none.parquet: The file cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused(place: Path, arguments: tuple[str, ...], message: str) -> None:
    rows = load_readings(place / "scan")
    mixed = [*rows[:-1], msgspec.structs.replace(rows[-1], model_revision="other")]
    other = [msgspec.structs.replace(rows[0], chart_sha256="0" * 64), *rows[1:]]
    for name, content in (("mixed", mixed), ("short", rows[: len(rows) // 2]), ("other", other)):
        pq.write_table(table_of(content), place / f"{name}.parquet")
    done = run(backtest, place, *(one.format(place=place) for one in arguments))
    with pytest.raises(Exception, match=message):
        raise done.exception
    assert done.exit_code != 0


def test_a_script_is_written_without_readings_alone(place: Path, tmp_path: Path) -> None:
    spec = str(place / "turns.yaml")
    refused = CliRunner().invoke(pine, ["emit", spec, "--out", str(tmp_path / "pine")])
    with pytest.raises(Exception, match=r"cannot know what a model read, .* --without-readings"):
        raise refused.exception
    assert not (tmp_path / "pine").exists()
    done = CliRunner().invoke(pine, ["emit", spec, "--out", str(tmp_path / "pine"), "--without-readings"])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "pine" / "turns.json").read_text())
    assert "readings" not in written
    assert written["params"] == {}
