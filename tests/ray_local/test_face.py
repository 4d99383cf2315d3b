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
from cluster.lifecycle import ClusterState

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
        "ranking": {"top": 1, "min_oos_trades": 1, "min_train_trades": 1, "bootstrap_resamples": 100},
        "analysis": {"enabled": False},
    }
    run = cluster.optimize(runs_dir=tmp_path / "runs", show_progress=False, **settings)
    assert run.path.parent == tmp_path / "runs"
    assert load_run(run.path).finished
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
