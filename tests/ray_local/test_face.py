"""The face on a real cluster: the same bars and the same rows as in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import aiopt as ao
import cluster
from aiopt.face.engines import find_engine
from aiopt.ranking.trials import read_trials
from aiopt.runs import load_run
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.points import Strategy, plan_points
from cluster.lifecycle import ClusterState
from cluster.pipeline import RayStages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_bars_and_sweeps_are_the_same_on_the_cluster(ray_driver: ClusterState) -> None:
    assert type(find_engine("auto")).__name__ == "RayStages", "a connection is there: auto takes it"
    ticks = ao.sample_ticks(days=2, ticks_per_day=8_000)
    here = ao.build_bars(ticks, "5m", engine="local")
    there = cluster.build_bars(ticks, "5m")
    assert there.to_polars().equals(here.to_polars())
    assert there.data_hash == here.data_hash

    strategies = ["ema_cross_atr", "rsi_reversion"]
    local = ao.sweep(strategies, here, trials=2, engine="local")
    remote = cluster.sweep(strategies, there, trials=2, show_progress=False)
    assert remote.rows == local.rows
    assert ao.rank(remote).ranking == ao.rank(local).ranking


def test_a_connection_shows_what_there_is(ray_driver: ClusterState) -> None:
    with cluster.connect() as connection:
        assert connection.resources["CPU"] == 2
        assert repr(connection).startswith("<Connection: 2 CPUs, 0 GPUs, ")
    # One that was open before stays open.
    assert repr(connection).startswith("<Connection: 2 CPUs")


def test_the_whole_way_leaves_a_run_folder(
    ray_driver: ClusterState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = ao.sample_ticks(days=5, ticks_per_day=3_000)
    settings: dict[str, Any] = {
        "name": "small",
        "ticks": str(ticks.path),
        "timeframes": ["5m"],
        "strategies": ["ema_cross_atr"],
        "trials": 4,
        "walk_forward": {"train_segments": 2, "folds": 2, "holdout_segments": 1},
        # No entry can have so many: the Pine scripts of entries take most of a run, and others test them.
        "ranking": {"min_oos_trades": 100_000, "bootstrap_resamples": 100},
        "analysis": {"enabled": False},
    }
    run = cluster.optimize(runs_dir=tmp_path / "runs", show_progress=False, **settings)
    assert run.path.parent == tmp_path / "runs"
    folder = load_run(run.path)
    assert folder.state.status == "done"
    assert folder.ranking is not None
    assert len(folder.ranking.rejected) == 1
    assert read_trials(run.path / "trials.parquet")[0].status in {"ok", "failed"}
    assert len(read_trials(run.path / "trials.parquet")) == 4
    for name in ("config.json", "manifest.json", "leaderboard.jsonl", "ranking.json", "report.html"):
        assert (run.path / name).stat().st_size
    assert capsys.readouterr().out == ""
    # The same call finds the run and changes nothing.
    written = (run.path / "trials.parquet").stat().st_mtime_ns
    again = cluster.optimize(runs_dir=tmp_path / "runs", show_progress=False, **settings)
    assert again.path == run.path
    assert (run.path / "trials.parquet").stat().st_mtime_ns == written


def test_two_markets_are_the_same_on_the_cluster(ray_driver: ClusterState) -> None:
    """Rows and ranking of a sweep of two markets, and of trials that run again as tasks."""
    bars = [
        ao.build_bars(ao.sample_ticks(days=2, ticks_per_day=4_000, instrument=symbol, seed=seed), "5m")
        for symbol, seed in (("EURUSD", 7), ("USDJPY", 8))
    ]
    dollars = ao.BacktestConfig(account_currency="USD")
    local = ao.sweep("rsi_reversion", bars, trials=2, engine="local", backtest=dollars)
    remote = ao.sweep("rsi_reversion", bars, trials=2, engine="ray", backtest=dollars, show_progress=False)
    assert [row.trial_id for row in local.rows] == [
        f"rsi_reversion@{symbol}@5m-0000{number}" for symbol in ("EURUSD", "USDJPY") for number in range(2)
    ]
    assert remote.rows == local.rows
    assert ao.rank(remote).ranking == ao.rank(local).ranking
    space = FAMILIES["rsi_reversion"]
    points = plan_points([Strategy(space.spec, space)], local.config, ("EURUSD", "USDJPY"))
    again = RayStages().run_trials(points, local.bars, local.context)
    assert sorted(again, key=lambda row: row.trial_id) == local.rows
