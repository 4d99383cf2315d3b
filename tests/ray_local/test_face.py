"""The face on a real cluster: the same bars and the same rows as in this process."""

from __future__ import annotations

import pytest

import aiopt as ao
import cluster
from aiopt.face.engines import find_engine
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
