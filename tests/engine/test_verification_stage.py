"""A run proves its scripts where the Pine engine is installed, and says so; nothing else of it changes."""

from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from aiopt.bars.files import load_bar_set
from aiopt.bars.schema import BarSet
from aiopt.cli.pine import command
from aiopt.errors import ConfigError, PineError, RunExistsError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig, load_strategies, run_identity
from aiopt.optimize.pine_config import PineConfig
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.run_verification import record_verification, write_verification
from aiopt.optimize.summary import summarise
from aiopt.pine.made_from import without_made_from
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.report import write_report
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import LOCK, VERIFICATION
from aiopt.ticks.sample import generate_ticks
from aiopt.verification.engine_folder import PineEngineError
from aiopt.verification.pine_runs import PineRunError
from aiopt.verification.scripts import task_of_file, tasks_of_run
from aiopt.verification.verification_file import RunVerification

pytestmark = pytest.mark.slow

CONFIG = OptimizeConfig(
    analysis=AnalysisConfig(enabled=False),
    timeframes=("5m",),
    strategies=("rsi_reversion", "stochastic_sma"),
    trials=2,
    walk_forward=WalkForwardConfig(train_segments=2, folds=3, holdout_segments=1),
    ranking=RankingConfig(top=2, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(enabled=False),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proved")
    generate_ticks(folder / "ticks", start="2024-03-04", days=6, ticks_per_day=4_000)
    config = msgspec.structs.replace(CONFIG, ticks=str(folder / "ticks"))
    said: list[str] = []
    result = run_pipeline(config, folder / "runs", log=said.append)
    assert result.broken_scripts == []
    assert any("was NOT verified: No Pine engine is installed" in line for line in said)
    assert all(entry["pine_verified"] is None for entry in result.entries)
    return Path(result.run_dir)


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / finished.name))


@pytest.fixture
def bars(finished: Path) -> dict[str, BarSet]:
    return {"5m": load_bar_set(finished / "bars" / "EURUSD" / "5m")}


@pytest.fixture
def installed(pine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPT_PINE_ENGINE_DIR", str(pine.engine.module.parents[3]))


def header_of(script: Path) -> str:
    """Return the comments at the top of a script as one line."""
    lines = script.read_text(encoding="utf-8").splitlines()[:60]
    return " ".join(line.removeprefix("//").strip() for line in lines)


def page_of(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text(encoding="utf-8")


def untold(done: float, total: float) -> None:
    """Tell nobody."""


def test_the_setting_is_no_part_of_a_run() -> None:
    strategies = load_strategies(CONFIG)
    off = msgspec.structs.replace(CONFIG, pine=PineConfig(verify="off"))
    assert run_identity(CONFIG, strategies, "data") == run_identity(off, strategies, "data")


def test_without_an_engine_the_way_is_told(finished: Path, bars: dict[str, BarSet], tmp_path: Path) -> None:
    assert not (finished / VERIFICATION).exists()
    for path in (finished / "pine").glob("*.pine"):
        text = path.read_text(encoding="utf-8")
        assert "NOT verified by a Pine engine" in text
        assert "aiopt pine engine install" in text
    assert "Not verified: no Pine engine was asked." in (finished / "report.html").read_text(encoding="utf-8")
    with pytest.raises(PineEngineError, match="No Pine engine is installed"):
        run_pipeline(msgspec.structs.replace(CONFIG, pine=PineConfig(verify="on")), tmp_path)
    with pytest.raises(PineEngineError, match="No Pine engine is installed"):
        write_verification(finished, bars, PineConfig(verify="on"), untold)


def test_header_report_and_result_say_what_was_proved(
    installed: None, run_dir: Path, bars: dict[str, BarSet]
) -> None:
    before = {path.name: path.read_text(encoding="utf-8") for path in (run_dir / "pine").glob("*.pine")}
    found = write_verification(run_dir, bars, PineConfig(), untold)
    assert found.broken == []
    assert set(found.entries) == {name.removesuffix(".pine") for name in before}
    for name, one in found.entries.items():
        assert one.agrees, one
        text = (run_dir / "pine" / f"{name}.pine").read_text(encoding="utf-8")
        code = [line for line in text.splitlines() if not line.startswith("//")]
        assert code == [line for line in before[f"{name}.pine"].splitlines() if not line.startswith("//")]
        header = header_of(run_dir / "pine" / f"{name}.pine")
        assert f"{one.trades} closed trades equal the backtest's in {one.engine}" in header
        assert f"on {one.bars} bars from " in header
        assert one.data_hash in header
    write_report(run_dir)
    assert "are the same in arrays, NautilusTrader and PineTS" in page_of(run_dir)
    result = summarise(run_dir, lambda line: None, finished_before=True)
    assert [entry["pine_verified"] for entry in result.entries] == [True] * len(found.entries)
    assert result.broken_scripts == []


def test_a_script_that_trades_otherwise_is_loud(
    installed: None, run_dir: Path, bars: dict[str, BarSet]
) -> None:
    first, second = sorted((run_dir / "pine").glob("*.pine"))
    for path, old, new in (
        (first, "strategy.long, qty=", "strategy.short, qty="),
        (second, "bool ready =", "bool ready = unknown(close) and"),
    ):
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
    found = write_verification(run_dir, bars, PineConfig(), untold)
    assert sorted(found.broken) == [first.stem, second.stem]
    assert "FAILED, DO NOT USE THIS SCRIPT" in first.read_text(encoding="utf-8")
    said: list[str] = []
    result = summarise(run_dir, said.append, finished_before=True)
    assert sorted(result.broken_scripts) == [first.stem, second.stem]
    assert sum(line.startswith("DO NOT USE pine/") for line in said) == 2
    write_report(run_dir)
    assert "DO NOT USE THIS SCRIPT" in page_of(run_dir)


def test_verifying_a_run_later_writes_what_the_run_would_have_written(installed: None, run_dir: Path) -> None:
    scripts = sorted((run_dir / "pine").glob("*.pine"))
    plain = {path.name: path.read_bytes() for path in scripts}

    def verify(*flags: str) -> dict[str, Any]:
        done = CliRunner().invoke(command, ["verify", str(run_dir), "--json", *flags])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert "written" not in verify("--no-write", "--entry", scripts[0].stem)
    assert {path.name: path.read_bytes() for path in scripts} == plain
    assert not (run_dir / VERIFICATION).exists()

    only = scripts[0].stem
    written = verify("--entry", only)["written"]
    assert written == [f"pine/{only}.pine", "verification.json", "report.html", "report.json"]
    assert scripts[1].read_bytes() == plain[scripts[1].name]
    assert set(verify()["written"]) == {
        f"pine/{scripts[1].name}",
        "verification.json",
        "report.html",
        "report.json",
    }
    found = msgspec.json.decode((run_dir / VERIFICATION).read_bytes(), type=RunVerification)
    for path in scripts:
        one = found.entries[path.stem]
        header = " ".join(
            line.removeprefix("//").strip() for line in path.read_text("utf-8").splitlines()[:60]
        )
        assert header.count("verified:") == 1
        assert f"{one.trades} closed trades equal the backtest's in {one.engine}" in header
        assert f"on {one.bars} bars from " in header
        assert task_of_file(path, load_bar_set(run_dir / "bars" / "EURUSD" / "5m")).script == path.read_text(
            "utf-8"
        )
    assert "are the same in arrays, NautilusTrader and PineTS" in page_of(run_dir)

    proved = {path.name: path.read_bytes() for path in scripts}
    few = CliRunner().invoke(command, ["verify", str(run_dir), "--last", "2"])
    assert few.exit_code == 1
    assert few.stdout.count("no trade was made on these bars, so what was found before stays.") == 2
    assert "nothing, it was all there" in few.stdout
    assert {path.name: path.read_bytes() for path in scripts} == proved


def test_a_run_that_works_or_changes_is_not_written(
    installed: None, run_dir: Path, bars: dict[str, BarSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = run_dir / LOCK
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = CliRunner().invoke(command, ["verify", str(run_dir)])
        assert isinstance(refused.exception, RunExistsError)
    tasks = tasks_of_run(run_dir, bars["5m"], None, None)
    failed = [PineRunError("it never ends") for _ in tasks]
    good, path = (run_dir / "pine" / f"{task.name}.pine" for task in tasks)
    path.write_text(path.read_text("utf-8") + "// mine\n", encoding="utf-8")
    with pytest.raises(PineError, match="was changed while it was verified"):
        record_verification(run_dir, tasks, failed, "PineTS")
    assert not (run_dir / VERIFICATION).exists()
    path.write_text("//@version=6\n// no header\n", encoding="utf-8")
    tasks[1] = replace(tasks[1], script=path.read_text("utf-8"))
    recorded = record_verification(run_dir, tasks, failed, "PineTS")
    assert recorded.written == (f"pine/{tasks[0].name}.pine", VERIFICATION)
    assert "has no line `// verified:`" in recorded.left[0]
    assert path.read_text("utf-8") == "//@version=6\n// no header\n"
    assert "FAILED, DO NOT USE THIS SCRIPT" in header_of(good)


def test_the_scripts_of_a_run_are_taken_with_the_bars_it_ran_on(
    run_dir: Path, bars: dict[str, BarSet]
) -> None:
    tasks = tasks_of_run(run_dir, None, None, 500)
    assert [task.name for task in tasks] == sorted(path.stem for path in (run_dir / "pine").glob("*.pine"))
    for task in tasks:
        assert len(task.bars) == 500
        assert task.bars.bid.ts_open_ns[-1] == bars["5m"].bid.ts_open_ns[-1]
        assert task.spec.spec_hash in task.script
    (only,) = tasks_of_run(run_dir, bars["5m"], tasks[-1].name, None)
    assert (only.name, len(only.bars)) == (tasks[-1].name, len(bars["5m"]))


def test_a_script_that_cannot_be_told_from_another_is_refused(
    run_dir: Path, bars: dict[str, BarSet], tmp_path: Path
) -> None:
    first, second = sorted((run_dir / "pine").glob("*.pine"))
    with pytest.raises(ConfigError, match="has no entry 'nobody'"):
        tasks_of_run(run_dir, None, "nobody", None)
    with pytest.raises(ConfigError, match=r"is .*One of them was changed"):
        task_of_file(first, bars["5m"], second.with_suffix(".json"))
    with pytest.raises(ConfigError, match="There is no file"):
        task_of_file(tmp_path / "none.pine", bars["5m"])
    alone = tmp_path / "alone.pine"
    alone.write_bytes(first.read_bytes())
    assert task_of_file(alone, bars["5m"]).spec == task_of_file(first, bars["5m"]).spec
    alone.write_text(without_made_from(first.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ConfigError, match="has no strategy to compare it with"):
        task_of_file(alone, bars["5m"])
    with pytest.raises(ConfigError, match="There is no strategy file"):
        task_of_file(alone, bars["5m"], tmp_path / "none.json")
    alone.write_text(first.read_text().replace("// chart: EURUSD,", "// chart: USDJPY,"))
    with pytest.raises(ConfigError, match="was written for USDJPY, but the bars are of EURUSD"):
        task_of_file(alone, bars["5m"], first.with_suffix(".json"))
    alone.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        task_of_file(alone, bars["5m"])
    alone.write_text("x = close + 1\n" * 360_000)
    with pytest.raises(ConfigError, match="5,040,000 characters, more than the 1,000,000 that are read"):
        task_of_file(alone, bars["5m"])
    alone.write_bytes(bytes(range(32)) * 20)
    with pytest.raises(ConfigError, match=r"holds the character U\+0000"):
        task_of_file(alone, bars["5m"])
    first.unlink()
    with pytest.raises(ConfigError, match="is missing, so it cannot be verified"):
        tasks_of_run(run_dir, None, None, None)
