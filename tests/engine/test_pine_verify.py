"""``aiopt pine verify``: three engines agree on what we emit, and the first difference is shown where not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiopt.bars.schema import BarSet
from aiopt.cli.pine import command
from aiopt.errors import ConfigError
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import write_script
from aiopt.pine.provenance import Provenance
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bars, write_bar_file
from aiopt.verification.pine_runs import PineRunError, PineRunner
from aiopt.verification.scripts import last_bars, task_of_file
from aiopt.verification.verification_file import Verified
from aiopt.verification.verifying import verify_scripts

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
N_BARS = 1200
ALWAYS = ("bool longSignal = ready and", "bool longSignal = close > 0.0 or")


@pytest.fixture(scope="module")
def bars() -> BarSet:
    one = random_walk_bars(N_BARS, seed=4)
    return BarSet(EURUSD, one.timeframe, one, one, True, "random-4")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pine")
    spec = FAMILIES["rsi_reversion"].spec
    return write_script(folder, "rsi", spec, provenance=Provenance(), instrument=EURUSD)


def altered(script: Path, old: str, new: str) -> Path:
    text = script.read_text(encoding="utf-8")
    assert old in text
    path = script.with_name("altered.pine")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    path.with_suffix(".json").write_bytes(script.with_suffix(".json").read_bytes())
    return path


def test_agreement_and_differences_are_found(pine, script: Path, bars: BarSet) -> None:
    rounded = "longStop := math.round_to_mintick(close - "
    stop = altered(script, rounded, f"{rounded}0.00003 + 0.0 * ")
    task = task_of_file(script, bars)
    other = task_of_file(stop, bars)
    always = task.script.replace(*ALWAYS)
    signal = replace(task, name="signal", script=always)
    broken = replace(task, name="broken", script=task.script + "\nplot(unknown(\n")
    done: list[float] = []
    tasks = [task, other, signal, broken]
    agreeing, later, early, refused = verify_scripts(tasks, PineRunner(pine.engine), done.append)
    assert isinstance(agreeing, Verified)
    assert agreeing.agrees
    assert agreeing.trades > 10
    assert (agreeing.signals, agreeing.bars, agreeing.excused) == (N_BARS, N_BARS, 0)
    assert isinstance(later, Verified)
    assert later.difference is not None
    assert later.difference.what.startswith("trade ")
    told = later.difference.views
    assert set(told) == {"arrays", "nautilus", "pine"}
    assert told["arrays"] == told["nautilus"] != told["pine"]
    assert [bar["bar"] for bar in later.difference.bars].count(later.difference.bar) == 1
    assert isinstance(early, Verified)
    assert early.difference is not None
    assert "entry signal of arrays and pine differ" in early.difference.what
    assert isinstance(refused, PineRunError)
    assert done[-1] == len(tasks)
    assert later.script_hash != agreeing.script_hash


def test_the_command_says_what_was_proved(
    pine, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOPT_PINE_ENGINE_DIR", str(pine.engine.module.parents[3]))
    path = tmp_path / "bid.parquet"
    write_bar_file(random_walk_bars(600, seed=4), path)
    good = CliRunner().invoke(command, ["verify", str(script), "--bars", str(path), "--json"])
    document = json.loads(good.stdout)
    assert document["ok"], document
    assert document["scripts"][0]["trades"] > 0
    wrong = altered(script, *ALWAYS)
    bad = CliRunner().invoke(command, ["verify", str(wrong), "--bars", str(path)])
    assert bad.exit_code == 1
    assert "DIFFERENT at" in bad.stdout
    assert "nautilus:" in bad.stdout


def test_what_cannot_be_verified_is_told(script: Path, bars: BarSet, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pine"
    foreign.write_text("//@version=6\nindicator('x')\nplot(close)\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no strategy to compare it with: there is no foreign\.json"):
        task_of_file(foreign, bars)
    alone = tmp_path / "alone.pine"
    text = script.read_text(encoding="utf-8")
    alone.write_text(text, encoding="utf-8")
    spec = FAMILIES["rsi_reversion"].spec
    assert task_of_file(alone, bars).spec == spec
    length = spec.params["rsi_length"]
    assert f"input.int({length}, " in text
    alone.write_text(text.replace(f"input.int({length}, ", "input.int(9, ", 1), encoding="utf-8")
    assert task_of_file(alone, bars).spec.params["rsi_length"] == 9
    alone.write_text(text.replace(*ALWAYS), encoding="utf-8")
    assert task_of_file(alone, bars).spec == spec
    yen = BarSet(instrument("USDJPY"), bars.timeframe, bars.bid, bars.bid, True, "x")
    with pytest.raises(ConfigError, match="was written for EURUSD, but the bars are of USDJPY"):
        task_of_file(script, yen)
    other = next(space.spec for name, space in FAMILIES.items() if name != "rsi_reversion")
    beside = tmp_path / "other.json"
    beside.write_text(other.to_json(), encoding="utf-8")
    with pytest.raises(ConfigError, match="says it was made from spec"):
        task_of_file(script, bars, beside)
    assert len(last_bars(bars, 100)) == 100
    assert last_bars(bars, None) is bars
