"""The ledger over real runs, sweeps and backtests: what is counted, and where it is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

import aiopt as ao
import aiopt.optimize.engine
import aiopt.sweep.local
from aiopt.backtest.session import BacktestSession
from aiopt.cli.backtest import command as backtest_command
from aiopt.cli.runs import command as runs_command
from aiopt.cli.trials import command as trials_command
from aiopt.errors import DataError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.ledger import open_ledger
from aiopt.ledger.chained_file import NAME
from aiopt.ledger.overview import overview
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.summary import RunResult
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import load_run
from aiopt.sweep.progress import SweepProgress
from aiopt.ticks.sample import generate_ticks

CONFIG = OptimizeConfig(
    name="tiny",
    timeframes=("5m",),
    strategies=("rsi_reversion", "ema_cross_atr"),
    trials=3,
    walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
    ranking=RankingConfig(top=1, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(draws=4, neighbours=8),
)


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger") / "ticks"
    generate_ticks(folder, start="2024-03-04", days=5, ticks_per_day=4_000)
    return folder


def run(ticks: Path, folder: Path, lines: list[str] | None = None, *, force: bool = False) -> RunResult:
    seed = 2 if folder.name == "second" else 1
    config = msgspec.structs.replace(CONFIG, ticks=str(ticks), seed=seed)
    said: list[str] = [] if lines is None else lines
    return run_pipeline(config, folder, log=said.append, force=force)


def test_a_second_run_counts_the_first_and_says_so_everywhere(tmp_path: Path, ticks: Path) -> None:
    first = run(ticks, tmp_path / "first")
    assert (first.earlier_trials, first.holdout_openings) == (None, [])
    ranked = Path(first.run_dir, "ranking.json")
    bytes_before, ledger_before = ranked.read_bytes(), open_ledger().path.read_bytes()
    run(ticks, tmp_path / "first", force=True)
    assert ranked.read_bytes() == bytes_before
    assert open_ledger().path.read_bytes() == ledger_before
    shutil.rmtree(first.run_dir)

    lines: list[str] = []
    second = run(ticks, tmp_path / "second", lines)
    assert second.earlier_trials is not None
    assert second.earlier_trials.runs == 1
    assert 1 <= second.earlier_trials.trials <= 6
    (opened,) = second.holdout_openings
    assert (opened.times, opened.first, opened.instrument) == (1, first.run_id, "EURUSD")
    found = load_run(Path(second.run_dir))
    assert found.ranking is not None
    counted = 6 + second.earlier_trials.trials
    assert {one.evidence.trials_counted for one in found.ranking.entries} == {counted}

    count = f"{second.earlier_trials.trials} earlier trials of 1 run on overlapping data count too"
    seen = f"This holdout was opened once before, first by {first.run_id}"
    assert any(f"ledger: {count}" in line for line in lines)
    assert any(line.startswith(seen) for line in lines)
    stated = "6 candidates and 6 of earlier tests compared"
    assert any(f"sweep: {stated}" in line for line in lines)
    assert found.ranking.statistics.luck is not None
    assert found.ranking.statistics.luck.tests == 2
    page = (found.path / "report.html").read_text()
    shown = CliRunner().invoke(runs_command, ["show", str(found.path)], catch_exceptions=False).output
    assert count in page
    # Of the lanes that were possible, those that had the trades to be chosen.
    compared = found.ranking.statistics.candidates
    assert f"{compared} candidates and {compared} of earlier tests compared" in page
    assert seen in page
    assert count in shown
    assert seen in " ".join(shown.split())
    script = next((found.path / "pine").glob("*.pine")).read_text()
    assert f"{second.earlier_trials.trials} earlier ones count too" in script
    assert "holdout seen: This holdout was opened once before" in script


def test_an_interrupted_run_is_counted_and_its_end_once(
    tmp_path: Path, ticks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiopt.sweep.local, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(aiopt.sweep.local, "ROWS_AT_ONCE", 1)

    def stop(progress: SweepProgress) -> str:
        if progress.done == 4:
            raise KeyboardInterrupt
        return ""

    with monkeypatch.context() as patch:
        patch.setattr(SweepProgress, "line", stop)
        with pytest.raises(KeyboardInterrupt):
            run(ticks, tmp_path / "first")
    (row,) = overview(open_ledger()).authors
    assert (row.trials, row.fresh) == (4, 4)
    run(ticks, tmp_path / "first")
    (row,) = overview(open_ledger()).authors
    assert (row.trials, row.fresh) == (6, 6)
    assert overview(open_ledger()).markets[0].distinct == 6


def test_a_run_without_ledger_is_added_and_a_deleted_one_stays(
    tmp_path: Path, ticks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(ticks, tmp_path / "first")
    before = overview(open_ledger())
    monkeypatch.setenv("AIOPT_LEDGER_DIR", str(tmp_path / "other"))
    added = CliRunner().invoke(
        trials_command, ["ledger", "--add", first.run_dir, "--json"], catch_exceptions=False
    )
    document = msgspec.json.decode(added.stdout)
    assert document["added"] == {first.run_dir: 6}
    after = overview(open_ledger())
    assert after.markets == before.markets
    assert [one.identity for one in after.authors] == [one.identity for one in before.authors]
    assert after.openings[0].name == first.run_id
    monkeypatch.setenv("AIOPT_LEDGER_DIR", str(tmp_path / "third"))
    CliRunner().invoke(runs_command, ["delete", first.run_dir, "--yes"], catch_exceptions=False)
    assert not Path(first.run_dir).exists()
    assert overview(open_ledger()).markets == before.markets


def test_a_damaged_ledger_stops_a_run_before_its_sweep(tmp_path: Path, ticks: Path) -> None:
    open_ledger().path.parent.mkdir(parents=True)
    open_ledger().path.with_name(NAME).write_bytes(b"0badc0de 0 00000000 {}\n")
    with pytest.raises(DataError, match="its checksum does not match"):
        run(ticks, tmp_path / "first")
    (folder,) = (one for one in (tmp_path / "first").iterdir() if one.name.startswith("tiny-"))
    assert not (folder / "trials.parquet").exists()


@pytest.fixture(scope="module")
def bars() -> ao.Bars:
    return ao.build_bars(ao.sample_ticks(days=3, ticks_per_day=8_000), "5m")


def test_sweeps_and_backtests_of_a_notebook_count(bars: ao.Bars) -> None:
    folds = WalkForwardConfig(folds=3)
    judging = {"min_oos_trades": 1, "min_train_trades": 1, "bootstrap_resamples": 100}
    swept = ao.sweep("ema_cross_atr", bars, trials=3, walk_forward=folds)
    alone = ao.rank(swept, **judging)
    assert alone.entries
    assert not alone.ranking.statistics.earlier_trials
    assert ao.rank(swept, **judging).ranking == alone.ranking
    ao.backtest("rsi_reversion", bars)
    ao.backtest("rsi_reversion", bars)
    ao.sweep("rsi_reversion", bars, trials=2, walk_forward=folds)
    after = ao.rank(swept, **judging)
    earlier = after.ranking.statistics.earlier_trials
    assert (earlier.trials, earlier.sweeps, earlier.backtests) == (3, 1, 1)
    other = ao.rank(ao.sweep("ema_cross_atr", bars, trials=3, seed=9, walk_forward=folds), **judging)
    (seen,) = other.ranking.holdout_openings
    assert (seen.times, seen.trials) == (1, 1)
    assert "This holdout was opened once before" in other._repr_html_()


def test_an_interrupted_sweep_of_a_notebook_counts(bars: ao.Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiopt.sweep.local, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(aiopt.sweep.local, "ROWS_AT_ONCE", 1)

    def stop(points: object, bars: object, context: object, board: object, **options: object) -> None:
        def report(progress: SweepProgress) -> None:
            raise KeyboardInterrupt

        original(points, bars, context, board, report=report)  # type: ignore[arg-type]

    original = aiopt.sweep.local.run_sweep_locally
    monkeypatch.setattr(aiopt.optimize.engine, "run_sweep_locally", stop)
    with pytest.raises(KeyboardInterrupt):
        ao.sweep("rsi_reversion", bars, trials=3, walk_forward=WalkForwardConfig(folds=3))
    (row,) = overview(open_ledger()).authors
    assert (row.kind, row.trials) == ("sweep", 1)


def test_the_table_of_the_ledger_fits_and_chooses(
    bars: ao.Bars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    empty = CliRunner().invoke(trials_command, ["ledger"], catch_exceptions=False)
    assert "No trial is recorded." in empty.output
    ao.rank(ao.sweep("rsi_reversion", bars, trials=3, walk_forward=WalkForwardConfig(folds=3)))
    ao.build_bars(ao.sample_ticks(days=3, ticks_per_day=8_000), "5m", out=tmp_path / "bars")
    arguments = ["ema_cross_atr", "--bars", str(tmp_path / "bars" / "EURUSD" / "5m")]
    assert not CliRunner().invoke(backtest_command, arguments, catch_exceptions=False).exit_code
    shown = CliRunner().invoke(trials_command, ["ledger"], catch_exceptions=False).output
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    assert "2024-03-04 to" in shown
    assert "EURUSD (generated): 4 distinct trials" in " ".join(shown.split())
    other = CliRunner().invoke(
        trials_command, ["ledger", "--instrument", "GBPUSD", "--json"], catch_exceptions=False
    )
    assert msgspec.json.decode(other.stdout)["authors"] == []
    every = CliRunner().invoke(trials_command, ["ledger", "--json"], catch_exceptions=False)
    names = [one["name"] for one in msgspec.json.decode(every.stdout)["authors"]]
    assert names[1:] == ["backtest of ema_cross_atr"]


def test_a_session_alone_counts_nothing(bars: ao.Bars) -> None:
    with BacktestSession(bars.bar_set, ao.BacktestConfig()) as session:
        session.run(ao.load_spec("ema_cross_atr"))
    assert open_ledger().lines() == []
