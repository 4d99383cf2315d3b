"""The sweep and the pipeline in one process: real backtests, resuming, failures said aloud."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

import aiopt.sweep.local
from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.errors import BacktestError, ConfigError, SearchSpaceError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.market.instrument import instrument
from aiopt.optimize.configuration import OptimizeConfig, load_strategies
from aiopt.optimize.finer_grid import grid_plan, paths_on_grid
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.rerunning import bars_of_trial
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.packed_row import PackedRow, packed_row
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import read_trials
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import load_run
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.local import run_sweep_locally
from aiopt.sweep.points import judged_by, plan_context, plan_points
from aiopt.sweep.progress import SweepProgress
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.trial import TrialContext, TrialPoint, failed_row
from aiopt.testing.bars import random_walk_bars
from aiopt.ticks.sample import generate_ticks
from aiopt.utc import HOUR_NS
from cluster.cli.main import cli

CONFIG = OptimizeConfig(
    name="tiny",
    timeframes=("5m", "15m"),
    strategies=("rsi_reversion", "ema_cross_atr"),
    trials=3,
    walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
    ranking=RankingConfig(top=1, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(draws=4, neighbours=8),
)


def bars_of(timeframe: str, count: int) -> BarSet:
    bid = dataclasses.replace(random_walk_bars(count, timeframe=timeframe, seed=4), price="bid")
    sides = {name: np.round(getattr(bid, name) + 0.00006, 5) for name in ("open", "high", "low", "close")}
    ask = dataclasses.replace(bid, price="ask", **sides)
    return BarSet(instrument("EURUSD"), bid.timeframe, bid, ask, False, bid.data_hash)


@pytest.fixture(scope="module")
def bars() -> dict[str, BarSet]:
    return {"5m": bars_of("5m", 1_500), "15m": bars_of("15m", 500)}


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_interrupted_sweep_continues_to_the_same_file(
    tmp_path: Path, bars: dict[str, BarSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiopt.sweep.local, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(aiopt.sweep.local, "ROWS_AT_ONCE", 1)
    points = plan_points(load_strategies(CONFIG), CONFIG)
    context, judged = plan_context(bars, CONFIG), judged_by(bars, CONFIG)
    assert judged.stress.pip_size == 1e-4
    seen: list[SweepProgress] = []
    whole = Leaderboard(tmp_path / "whole.jsonl", judged, context.plan)
    outcome = run_sweep_locally(points, bars, context, whole, report=seen.append)
    assert outcome.progress.done == len(points) == 12
    assert [progress.done for progress in seen] == [*range(1, 13), 12]
    whole.write_trials(tmp_path / "whole.parquet")

    def interrupt(progress: SweepProgress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    journal = tmp_path / "parts.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run_sweep_locally(points, bars, context, Leaderboard(journal, judged, context.plan), report=interrupt)
    parts = Leaderboard(journal, judged, context.plan)
    again = run_sweep_locally(points, bars, context, parts)
    assert (again.progress.earlier, again.progress.done) == (5, 12)
    parts.write_trials(tmp_path / "parts.parquet")
    assert file_hash(tmp_path / "parts.parquet") == file_hash(tmp_path / "whole.parquet")


def test_no_points(bars: dict[str, BarSet]) -> None:
    context, judged = plan_context(bars, CONFIG), judged_by(bars, CONFIG)
    with pytest.raises(SearchSpaceError, match="at least one trial"):
        run_sweep_locally([], bars, context, Leaderboard(None, judged, context.plan))


def test_a_wider_spread_costs_each_round_trip_exactly_that_much(bars: dict[str, BarSet]) -> None:
    """Without stop and target the same trades are made, so that only the spread differs."""
    spec = msgspec.structs.replace(
        FAMILIES["rsi_reversion"].spec,
        params={"rsi_length": 14, "oversold": 30.0, "overbought": 70.0, "exit_level": 55.0},
        indicators={"rsi": FAMILIES["rsi_reversion"].spec.indicators["rsi"]},
        stop_loss=None,
        take_profit=None,
    )
    found = []
    for extra in (0.0, 0.5):
        with BacktestSession(bars["5m"], BacktestConfig(extra_spread_pips=extra)) as session:
            found.append(session.run(spec).trades)
    narrow, wide = found
    assert len(narrow) == len(wide) > 10
    assert {trade.side for trade in narrow} == {"long", "short"}
    for before, after in zip(narrow, wide, strict=True):
        assert (before.entry_bar, before.exit_bar, before.size) == (
            after.entry_bar,
            after.exit_bar,
            after.size,
        )
        # The commission is on the notional, which grows by half a pip too.
        assert before.pnl - after.pnl == pytest.approx(0.5e-4 * before.size, rel=1e-3)


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local") / "ticks"
    generate_ticks(folder, start="2024-03-04", days=5, ticks_per_day=4_000)
    return folder


def test_the_pipeline_needs_no_cluster(tmp_path: Path, ticks: Path) -> None:
    config = msgspec.structs.replace(CONFIG, ticks=str(ticks), timeframes=("5m",))
    lines: list[str] = []
    first = run_pipeline(config, tmp_path / "runs", log=lines.append)
    run = load_run(Path(first.run_dir))
    assert run.finished, run.describe_missing()
    assert (first.trials, first.failed) == (6, 0)
    assert len(read_trials(run.path / "trials.parquet")) == 6
    for entry in first.entries:
        assert Path(entry["pine"]).read_text().startswith("//@version=6")
    assert any("6/6 trials (100%)" in line for line in lines)
    assert not (run.path / ".tune").exists()
    assert run.robustness is not None
    assert [one.trial_id for one in run.robustness.entries] == [
        one.trial_id for one in load_run(run.path).ranking.entries
    ]
    assert any("entries fail a required gate" in line for line in lines)
    assert run.robustness.confirmed
    ran = f"NautilusTrader ran {run.robustness.confirmed} of their backtests again, all equal"
    assert any(ran in line for line in lines)
    assert ran in (run.path / "report.html").read_text()
    assert run.paths is not None
    assert {one.group for one in run.paths.groups} == {
        row.group for row in read_trials(run.path / "trials.parquet")
    }
    again = run_pipeline(config, tmp_path / "runs", log=lines.append)
    assert again.finished_before
    assert again.run_dir == first.run_dir


def test_no_trade_reaches_into_a_purge_or_an_embargo(bars: dict[str, BarSet]) -> None:
    gaps = msgspec.structs.replace(CONFIG.walk_forward, purge="3h", embargo="2h", anchored=True)
    config = msgspec.structs.replace(CONFIG, timeframes=("5m",), walk_forward=gaps)
    context = plan_context(bars, config)
    plan = context.plan
    starts = np.searchsorted(bars["5m"].bid.ts_open_ns, plan.boundaries_ns)
    spec = FAMILIES["rsi_reversion"].spec
    with BacktestSession(bars["5m"], config.backtest) as session:
        trades = session.run(spec, segments=context.segments).trades
    assert len(trades) > 10
    for trade in trades:
        entered, left = np.searchsorted(starts, [trade.entry_bar, trade.exit_bar], side="right")
        assert entered == left
    for fold in plan.folds:
        assert plan.span_ns(fold.test)[0] - plan.span_ns(fold.train)[1] == 5 * HOUR_NS


def test_a_screened_sweep_with_gaps_is_that_of_the_engine(tmp_path: Path, ticks: Path) -> None:
    gaps = msgspec.structs.replace(CONFIG.walk_forward, purge="3h", embargo="2h")
    config = msgspec.structs.replace(CONFIG, ticks=str(ticks), timeframes=("5m",), walk_forward=gaps)
    lines: list[str] = []
    run = load_run(Path(run_pipeline(config, tmp_path / "runs", log=lines.append).run_dir))
    assert any("trials run again in the engine, all rows equal" in line for line in lines)
    assert run.paths is not None
    assert (run.paths.purge_periods, run.paths.embargo_periods) == (3, 2)
    # A finer grid leaves the run as it is and does not reach into the holdout.
    before = {path: path.read_bytes() for path in run.path.rglob("*.json")}
    plan, rows = run.trial_rows()
    assert plan is not None
    grid = grid_plan(plan, bars_of_trial(run, next(rows), None), 6)
    assert (grid.start_ns, grid.holdout) == (plan.start_ns, ())
    assert grid.stop_ns <= plan.holdout_start_ns - 2 * HOUR_NS
    finer = CliRunner().invoke(cli, ["paths", str(run.path), "--segments", "6", "--json"])
    assert finer.exit_code == 0, finer.output
    assert json.loads(finer.stdout)["segments"] == 6
    assert {path: path.read_bytes() for path in run.path.rglob("*.json")} == before
    with pytest.raises(ConfigError, match="`3 <= segments <= 200` must hold, but got 2"):
        paths_on_grid(run, 2)


def test_a_sweep_whose_trials_all_fail_says_why(
    tmp_path: Path, ticks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(screen: TrialScreen, point: TrialPoint, context: TrialContext) -> PackedRow:
        row = failed_row(point, context, f"BacktestError: bar {len(point.trial_id)} is broken")
        return packed_row(row, context.plan)

    monkeypatch.setattr(TrialScreen, "packed", fail)
    config = msgspec.structs.replace(CONFIG, ticks=str(ticks), timeframes=("5m",))
    lines: list[str] = []
    with pytest.raises(BacktestError, match="all 6 failed: BacktestError: bar 22 is broken"):
        run_pipeline(config, tmp_path / "runs", log=lines.append)
    said = [line.split("] ", 1)[1] for line in lines if "sweep: " in line]
    assert "sweep: WARNING: 6 of 6 trials failed: BacktestError: bar 22 is broken" in said
    assert said[-2:] == [
        "sweep: WARNING: 6 of 6 trials failed:",
        "sweep:   6 × BacktestError: bar 22 is broken (2 groups)",
    ]
    (run_dir,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("tiny-"))
    assert load_run(run_dir).state.status == "failed"
